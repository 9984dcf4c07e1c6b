import ArgumentParser
import Foundation
import Kafka
import Model
import Serving
import UpdateLog

/// What the subcommands share that look at a model's update log.
struct ModelLogOptions: ParsableArguments {
  @Argument(help: ArgumentHelp("The model as name.version, for example flights.1; or a bundle's file.", valueName: "model"))
  var model: String

  @OptionGroup var connection: KafkaConnection

  @Option(help: ArgumentHelp("The model's YAML. Needed when the first record of its log was trimmed away.", valueName: "file"))
  var file: String?

  @Option(help: ArgumentHelp("Directory of checkpoints.", valueName: "directory"))
  var checkpoints: String?

  @Flag(help: "Print JSON.")
  var json = false

  /// The file, when a bundle is meant and not a model that lives in its log.
  var bundle: String? {
    model.hasSuffix(".millrace") || model.contains("/") || FileManager.default.fileExists(atPath: model) ? model : nil
  }

  func kafka() throws -> KafkaSettings { try connection.settings(clientID: "millrace-model") }

  func specification() throws -> ModelSpecification {
    guard let file else { return try UpdateLogReplay.specification(identifier: model, kafka: kafka()) }
    let read = try readSpecification(file)
    guard read.identifier == model else {
      throw ValidationError("\(file) describes \(read.identifier), not \(model)")
    }
    return read
  }

  func store(_ specification: ModelSpecification) throws -> CheckpointStore {
    guard let checkpoints else { throw ValidationError("--checkpoints needs a directory") }
    return CheckpointStore(directory: checkpoints, specification: specification)
  }
}

func readSpecification(_ file: String) throws -> ModelSpecification {
  guard let text = try? String(contentsOfFile: file, encoding: .utf8) else {
    throw ValidationError("\(file) cannot be read")
  }
  return try ModelSpecification.parse(yaml: text, file: file)
}

/// Shows how far a replay is, on a terminal.
struct ReplayBar {
  private let isShown = isatty(STDERR_FILENO) != 0
  private var shown = -1

  mutating func show(_ done: Int64, _ total: Int64) {
    guard isShown, total > 0 else { return }
    let percent = Int(done * 100 / total)
    guard percent != shown else { return }
    shown = percent
    let filled = percent * 40 / 100
    let bar = String(repeating: "#", count: filled) + String(repeating: ".", count: 40 - filled)
    FileHandle.standardError.write(Data("\rreplaying [\(bar)] \(percent) % of \(total) records\(done >= total ? "\n" : "")".utf8))
  }
}
