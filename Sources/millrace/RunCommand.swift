import ArgumentParser
import Foundation
import Logging
import Model
import Operations
import Settings

/// `millrace run`: every role of one instance, from its configuration file.
struct RunCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Run an instance: broker, joiner, trainer, replicas, stream prediction, gRPC and REST, admin page.",
    discussion: """
      Without a Kafka in the configuration an embedded broker runs in the same process: one node, for development and \
      tests. Every key of the configuration is described in docs/configuration.md; an empty file is valid.

      EXAMPLES
        The quick start: one model, an embedded Kafka on 127.0.0.1:9092, gRPC on 8001, REST on 8000, the admin page on 8002:
          millrace run --config deploy/quickstart.yaml

        A model without a configuration file:
          millrace run --model deploy/models/flights.yaml

        Check a configuration and stop (exit status 65 and every mistake with its line, if there are any):
          millrace run --config millrace.yaml --check

      SIGNALS
        SIGTERM and SIGINT stop cleanly: health says NOT_SERVING, what was taken is answered, offsets are committed, a \
      checkpoint is written. A second signal quits at once.

      EXIT CODES
        0 after a signal, 1 when it cannot start or a part fails, 64 for wrong usage, 65 for a wrong configuration.
      """)

  @Option(name: .shortAndLong, help: ArgumentHelp("Configuration file. Default: millrace.yaml here, if there is one.", valueName: "file"))
  var config: String?

  @Option(help: ArgumentHelp("A model specification to run beside those of the configuration; repeatable.", valueName: "file"))
  var model: [String] = []

  @Option(help: ArgumentHelp("Where the embedded broker and checkpoints live; overrides the configuration.", valueName: "directory"))
  var data: String?

  @Flag(help: "Only check the configuration.")
  var check = false

  func run() async throws {
    let settings = try readSettings()
    if check {
      let count = settings.models.count + settings.bundles.count
      print("The configuration is valid: \(count) model(s), roles \(settings.roles.map(\.rawValue).sorted().joined(separator: ", ")).")
      return
    }
    let sink = StructuredLogHandler.bootstrap(level: settings.logging.level, format: settings.logging.format)
    defer { sink.flush() }
    let logger = Logger(label: "millrace")
    let lifecycle = Lifecycle(logger: logger, stopWithinMilliseconds: settings.stopWithinMilliseconds)
    Instance(settings: settings, logger: logger).register(in: lifecycle)
    do { try await lifecycle.run() } catch {
      sink.flush()
      throw ExitCode.failure
    }
  }

  private func readSettings() throws -> InstanceSettings {
    var settings = InstanceSettings()
    let file = config ?? (FileManager.default.fileExists(atPath: "millrace.yaml") ? "millrace.yaml" : nil)
    do throws(SettingsErrors) {
      if let file { settings = try InstanceSettings.load(path: file) }
      for path in model { settings.models.append(try ModelSpecification.load(path: path)) }
    } catch {
      throw refused(error)
    }
    if let data { settings.dataDirectory = data }
    return settings
  }
}

extension ExitCode {
  /// A file that the user wrote cannot be used as it is (EX_DATAERR of sysexits.h).
  static let dataError = ExitCode(65)
}

/// Says on standard error what is wrong with a configuration or a model, every problem with its line.
func refused(_ errors: SettingsErrors) -> ExitCode {
  let count = errors.problems.count
  let heading = count == 1 ? "One problem:" : "\(count) problems:"
  report("\(heading)\n\(errors)")
  return .dataError
}
