import ArgumentParser
import Foundation
import Kernels

@main
struct Millrace: AsyncParsableCommand {
  static let version = "0.1.0"

  static let configuration = CommandConfiguration(
    commandName: "millrace",
    abstract: "Real-time inference on streams: events in, predictions out, labels learned.",
    discussion: """
      EXAMPLES
        A year of real flights, predicted and learned from as they land:
          millrace demo flights

        An instance with an embedded Kafka, then an event, its prediction, its label:
          millrace run --config deploy/quickstart.yaml
          millrace produce features --jsonl events.jsonl
          millrace tail predictions
          millrace produce labels --jsonl labels.jsonl

        A prediction asked for by gRPC:
          millrace predict --feature carrier=AA --feature temp=39.2
      """,
    version: version,
    subcommands: [
      RunCommand.self, DemoCommand.self, ProduceCommand.self, TailCommand.self, PredictCommand.self, TopicsCommand.self, BrokerCommand.self,
      ModelCommand.self, LoadTestCommand.self, BenchCommand.self,
    ])

  /// Parses the command line and runs what it asks for; help, the version and wrong usage are answered in any environment.
  static func main() async {
    do {
      var command = try await asyncParseAsRoot()
      if !(command is Self), type(of: command).configuration.commandName != "help" { try refuseUnknownInstructionSet() }
      if var command = command as? any AsyncParsableCommand { try await command.run() } else { try command.run() }
    } catch {
      exit(withError: error)
    }
  }

  /// Whoever sets `MILLRACE_ISA` compares instruction sets, or rules one out: to go on with another one would answer a different question.
  private static func refuseUnknownInstructionSet() throws {
    do throws(InstructionSetError) {
      try InstructionSet.check(environment: ProcessInfo.processInfo.environment["MILLRACE_ISA"])
    } catch {
      report("\(error)")
      throw ExitCode.dataError
    }
  }
}
