import ArgumentParser

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
}
