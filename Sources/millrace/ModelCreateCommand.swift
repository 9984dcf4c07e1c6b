import ArgumentParser
import Foundation
import Kafka
import Model
import Serving

struct ModelCreateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "create", abstract: "Make a model's topics and write the first record of its update log.")

  @Option(help: ArgumentHelp("The model's YAML.", valueName: "file"))
  var file: String

  @OptionGroup var connection: KafkaConnection

  @Option(help: ArgumentHelp("Partitions of features, labels, examples and predictions.", valueName: "count"))
  var partitions = 4

  @Option(help: ArgumentHelp("Copies of each partition.", valueName: "count"))
  var replication = 1

  @Option(help: ArgumentHelp("Topics to make besides the update log, comma separated.", valueName: "names"))
  var topics = "features,labels,examples,predictions,features.dead-letter,labels.dead-letter"

  func validate() throws {
    guard (1...1024).contains(partitions) else { throw ValidationError("--partitions takes 1 to 1024") }
    guard (1...16).contains(replication) else { throw ValidationError("--replication takes 1 to 16") }
  }

  func run() throws {
    let specification = try readSpecification(file)
    let kafka = try connection.settings(clientID: "millrace-model")
    let admin = try KafkaAdmin(kafka)
    guard admin.waitUntilReachable(timeoutMilliseconds: 10_000) else {
      throw CleanFailure("no Kafka broker answers at \(kafka.bootstrapServers)")
    }
    let names = topics.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
    try admin.ensureTopics(
      names.map {
        TopicSpec(
          name: $0, partitions: partitions, replication: replication,
          config: $0.hasSuffix("predictions") || $0.hasSuffix(".dead-letter") ? [:] : ["cleanup.policy": "delete"])
      })
    let written = try UpdateLogReplay.create(specification, kafka: kafka, replication: replication)
    print("\(specification.identifier)  specification \(hex(specification.hash))  \(specification.shards) shards in \(specification.updatesTopic)")
    print(written.isEmpty ? "it existed already" : "the first record was written to \(written.count) of \(specification.shards) shards")
  }
}
