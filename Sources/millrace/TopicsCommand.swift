import ArgumentParser
import Foundation
import Kafka

/// `millrace topics`: what is on a Kafka cluster, without other tools.
struct TopicsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "topics",
    abstract: "List, describe, create and delete Kafka topics.",
    discussion: """
      EXAMPLES
        millrace topics list
        millrace topics describe features --bootstrap 127.0.0.1:9092
        millrace topics create features labels examples predictions --partitions 4
        millrace topics delete predictions
      """,
    subcommands: [List.self, Describe.self, Create.self, Delete.self], defaultSubcommand: List.self)

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List all topics with their partitions and records.")
    @OptionGroup var connection: KafkaConnection
    @Flag(help: "One JSON object for each topic.") var json = false

    func run() throws {
      try connection.use { admin, kafka in
        let consumer = try KafkaConsumer(kafka)
        defer { consumer.close() }
        var rows: [[String]] = []
        for topic in try admin.listTopics() {
          var records: Int64 = 0
          for partition in 0..<Int32(clamping: topic.partitions) {
            let (low, high) = try consumer.watermarks(topic: topic.name, partition: partition, timeoutMilliseconds: 10_000)
            records += high - low
          }
          if json {
            print(#"{"name":"\#(topic.name)","partitions":\#(topic.partitions),"replication":\#(topic.replication),"records":\#(records)}"#)
          } else {
            rows.append([topic.name, "\(topic.partitions)", "\(topic.replication)", "\(records)"])
          }
        }
        if !json { printTable(["TOPIC", "PARTITIONS", "REPLICATION", "RECORDS"], rows) }
      }
    }
  }

  struct Describe: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show a topic's partitions, offsets and configuration.")
    @Argument(help: "The topic.") var topic: String
    @OptionGroup var connection: KafkaConnection

    func run() throws {
      try connection.use { admin, kafka in
        guard let found = try admin.describeTopic(topic) else { throw missing(topic) }
        let consumer = try KafkaConsumer(kafka)
        defer { consumer.close() }
        let rows = try (0..<Int32(clamping: found.partitions)).map { partition in
          let (low, high) = try consumer.watermarks(topic: topic, partition: partition, timeoutMilliseconds: 10_000)
          return ["\(partition)", "\(low)", "\(high)", "\(high - low)"]
        }
        printTable(["PARTITION", "FIRST", "NEXT", "RECORDS"], rows)
        print("")
        for (name, value) in found.config.sorted(by: { $0.key < $1.key }) { print("\(name) = \(value)") }
      }
    }
  }

  struct Create: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Create topics, all with the same number of partitions; those that exist are left alone.")
    @Argument(help: "The topics.") var topics: [String]
    @Option(help: "Partitions of each.") var partitions = 2
    @Option(help: "Copies of each partition.") var replication = 1
    @OptionGroup var connection: KafkaConnection

    func validate() throws {
      guard (1...100_000).contains(partitions) else { throw ValidationError("--partitions takes 1 or more") }
      guard (1...32).contains(replication) else { throw ValidationError("--replication takes 1 to 32") }
    }

    func run() throws {
      try connection.use { admin, _ in
        let config = ["cleanup.policy": "delete"]
        try admin.ensureTopics(
          topics.map { TopicSpec(name: $0, partitions: partitions, replication: replication, config: config) })
      }
    }
  }

  struct Delete: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Delete topics and everything in them.")
    @Argument(help: "The topics.") var topics: [String]
    @OptionGroup var connection: KafkaConnection

    func run() throws {
      try connection.use { admin, _ in
        var failed = false
        for result in try admin.deleteTopics(topics) {
          if let error = result.error {
            failed = true
            report("\(result.name): \(error)")
          } else {
            print("deleted \(result.name)")
          }
        }
        if failed { throw ExitCode.failure }
      }
    }
  }

  private static func missing(_ topic: String) -> ExitCode {
    report("There is no topic \(topic). `millrace topics list` shows what there is.")
    return .failure
  }
}

/// Columns as wide as their widest cell; numbers to the right.
func printTable(_ header: [String], _ rows: [[String]]) {
  let widths = header.indices.map { column in ([header] + rows).map { $0[column].count }.max() ?? 0 }
  for row in [header] + rows {
    let cells = row.indices.map { column in
      let padding = String(repeating: " ", count: widths[column] - row[column].count)
      let isNumber = rows.allSatisfy { Double($0[column]) != nil } && !rows.isEmpty
      return isNumber ? padding + row[column] : row[column] + padding
    }
    print(cells.joined(separator: "  ").replacing(#/ +$/#, with: ""))
  }
}
