import ArgumentParser
import Events
import Foundation
import Kafka

/// `millrace tail`: what is in the topics, for people or as JSON.
struct TailCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tail",
    abstract: "Show predictions, updates, dead letters, examples, labels or events as they are in their topics.",
    discussion: """
      Predictions that answer a source offset again (as after a restart) are left out: the first in the log counts.

      EXAMPLES
        All predictions so far:
          millrace tail predictions

        New ones as they come, as JSON, until 100 were shown:
          millrace tail predictions --follow --json --count 100

        What a trainer appends to the update log of version 1 of the model flights:
          millrace tail updates --model flights.1 --follow

        Why events were refused:
          millrace tail dead-letters

      EXIT CODES
        0 at the end or after --count records, 1 when no broker answers or the topic is missing, 64 for wrong usage.
      """)

  enum Kind: String, ExpressibleByArgument, CaseIterable {
    case predictions, updates, deadLetters = "dead-letters", examples, labels, features
  }

  @Argument(help: "What to show: predictions, updates, dead-letters, examples, labels or features.")
  var kind: Kind

  @Option(help: ArgumentHelp("The topic. Default: the usual name; of updates and dead letters every one there is.", valueName: "topic"))
  var topic: String?

  @Option(help: ArgumentHelp("Updates: the model, name.version.", valueName: "name.version"))
  var model: String?

  @Option(help: ArgumentHelp("Where to start: beginning, end, or an offset. Default: beginning; with --follow, end.", valueName: "place"))
  var from: String?

  @Option(help: ArgumentHelp("Stop after so many records.", valueName: "count"))
  var count: Int?

  @Option(help: ArgumentHelp("Only this partition.", valueName: "number"))
  var partition: Int32?

  @Flag(name: .shortAndLong, help: "Wait for new records instead of stopping at the end.")
  var follow = false

  @Flag(help: "One JSON object for each record.")
  var json = false

  @OptionGroup var connection: KafkaConnection

  func validate() throws {
    guard start != nil else { throw ValidationError("--from is '\(from ?? "")', expected beginning, end or an offset") }
    if let count, count < 1 { throw ValidationError("--count takes 1 or more") }
    if model != nil, kind != .updates { throw ValidationError("--model goes with updates") }
    if model != nil, topic != nil { throw ValidationError("--model and --topic exclude each other") }
    _ = try connection.settings()
  }

  private var start: StartOffset? {
    switch from {
    case nil: follow ? .end : .beginning
    case "beginning"?: .beginning
    case "end"?: .end
    case let text?: Int64(text).flatMap { $0 >= 0 ? .exact($0) : nil }
    }
  }

  func run() throws {
    // A reader that went away (`… | head`) ends this quietly.
    signal(SIGPIPE, SIG_DFL)
    do {
      try show()
    } catch let error as KafkaError {
      report(error.message)
      throw ExitCode.failure
    }
  }

  private func show() throws {
    let settings = try connection.settings()
    let partitions = try partitions(reachedAdmin(settings))
    // Whole topics of decisions and predictions are small records: what is there is read in large pieces.
    let consumer = try KafkaConsumer(settings, isolation: .readCommitted, reportsPartitionEnds: true)
    defer { consumer.close() }
    var failure: KafkaError?
    var open = Set(partitions.map(\.topicPartition))
    consumer.onEvent = { event in
      switch event {
      case .partitionEnd(let topic, let partition, _):
        open.remove(TopicPartition(topic: consumer.topicName(topic), partition: partition))
      case .offsetOutOfRange(let topic, let partition, let offset, _):
        failure = KafkaError(
          code: .offsetOutOfRange,
          message: "\(consumer.topicName(topic))/\(partition) has no offset \(offset): try --from beginning")
      case .brokersUnreachable(let error): report("\(error.message); trying again")
      case .fatal(let error): failure = error
      case .partitionError, .commitFailed, .error: break
      }
    }
    try consumer.assign(partitions)
    var printer = RecordPrinter(kind: kind, asJSON: json, names: consumer.topicName)
    var shown = 0
    while failure == nil, shown < count ?? .max, follow || !open.isEmpty {
      consumer.poll(timeoutMilliseconds: 200) { batch in
        batch.forEach { message in
          guard shown < count ?? .max, printer.print(message) else { return }
          shown += 1
        }
      }
      printer.flush()
    }
    if let failure { throw failure }
    if printer.leftOut > 0 { report("\(printer.leftOut) repeated predictions left out") }
  }

  /// The partitions to read.
  private func partitions(_ admin: KafkaAdmin) throws -> [TopicPartitionOffset] {
    let all = try admin.listTopics()
    let wanted: [TopicDescription]
    if let name = topic ?? model.map({ "\($0).updates" }) ?? usualTopic {
      guard let found = all.first(where: { $0.name == name }) else {
        throw KafkaError(code: .unknownTopicOrPartition, message: "There is no topic \(name). `millrace topics` shows what there is.")
      }
      wanted = [found]
    } else {
      let suffix = kind == .updates ? ".updates" : ".dead-letter"
      wanted = all.filter { $0.name.hasSuffix(suffix) }
      guard !wanted.isEmpty else {
        throw KafkaError(code: .unknownTopicOrPartition, message: "There is no topic whose name ends with \(suffix).")
      }
    }
    let partitions = wanted.flatMap { topic in
      (0..<Int32(clamping: topic.partitions)).filter { partition == nil || partition == $0 }
        .map { TopicPartitionOffset(topic: topic.name, partition: $0, offset: start ?? .beginning) }
    }
    guard !partitions.isEmpty else {
      throw KafkaError(code: .unknownPartitionLocally, message: "\(wanted[0].name) has no partition \(partition ?? 0)")
    }
    return partitions
  }

  /// Nil for kinds that have a topic each for several others.
  private var usualTopic: String? {
    switch kind {
    case .predictions, .examples, .labels, .features: kind.rawValue
    case .updates, .deadLetters: nil
    }
  }
}
