import ArgumentParser

@main
struct Millrace: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "millrace", abstract: "Real-time inference on streams.", subcommands: [BrokerCommand.self, ProduceCommand.self, TailCommand.self, BenchCommand.self])
}
