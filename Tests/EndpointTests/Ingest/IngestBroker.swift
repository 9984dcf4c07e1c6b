import EmbeddedBroker
import Events
import Foundation
import Kafka
import Learning
import Logging
import Model
import Telemetry
import Testing

/// A broker with the topics that ingest writes to, and eyes to look into them.
final class IngestBroker {
  let kafka: KafkaSettings
  static let partitions = 2
  private let settings: BrokerSettings
  private var broker: EmbeddedBroker

  private init(_ settings: BrokerSettings) async throws {
    var settings = settings
    broker = EmbeddedBroker(settings: settings, logger: Self.quiet)
    settings.port = try await broker.start()
    self.settings = settings
    kafka = KafkaSettings(bootstrapServers: "127.0.0.1:\(settings.port)")
  }

  func goAway() async { await broker.stop() }

  /// With its records, at its port.
  func comeBack() async throws {
    broker = EmbeddedBroker(settings: settings, logger: Self.quiet)
    _ = try await broker.start()
  }

  static func with(_ body: (IngestBroker) async throws -> Void) async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("millrace-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    var settings = BrokerSettings(dataDirectory: folder.path)
    settings.autoCreateTopics = false
    let broker = try await IngestBroker(settings)
    do {
      let names = ["features", "labels", "examples", "features.dead-letter", "labels.dead-letter"]
      try KafkaAdmin(broker.kafka).ensureTopics(names.map { TopicSpec(name: $0, partitions: partitions) })
      try await body(broker)
    } catch {
      await broker.goAway()
      throw error
    }
    await broker.goAway()
  }

  static var quiet: Logger {
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    return logger
  }

  struct Read {
    var partition: Int32
    var offset: Int64
    var key: [UInt8]
    var value: [UInt8]
    var headers: [String: String]
  }

  /// Everything that is in a topic now.
  func read(_ topic: String) throws -> [Read] {
    let consumer = try KafkaConsumer(kafka, isolation: .readUncommitted)
    defer { consumer.close() }
    var missing = 0
    for partition in 0..<Int32(Self.partitions) {
      let (low, high) = try consumer.watermarks(topic: topic, partition: partition, timeoutMilliseconds: 60_000)
      missing += Int(high - low)
    }
    try consumer.assign((0..<Int32(Self.partitions)).map { .init(topic: topic, partition: $0, offset: .beginning) })
    var records: [Read] = []
    let deadline = MonotonicClock.nanoseconds() + 20_000_000_000
    while records.count < missing && MonotonicClock.nanoseconds() < deadline {
      consumer.poll(timeoutMilliseconds: 100) { (messages: borrowing MessageBatch) in
        for index in 0..<messages.count {
          let message = messages[index]
          records.append(
            Read(
              partition: message.partition, offset: message.offset, key: message.key.map { Array($0) } ?? [],
              value: message.value.map { Array($0) } ?? [],
              headers: Dictionary(
                message.headers.map { ($0.name, String(decoding: $0.value ?? [], as: UTF8.self)) }, uniquingKeysWith: { first, _ in first })))
        }
      }
    }
    return records
  }

  func produce(_ topic: String, _ records: [(key: String, value: [UInt8])]) throws {
    let producer = try KafkaProducer(kafka)
    defer { producer.close() }
    let handle = try producer.topic(topic)
    for (key, value) in records {
      let result = value.withUnsafeBytes {
        producer.produce(handle, partition: Int32(partition(forKey: key, count: handle.partitionCount)), value: $0)
      }
      #expect(result == .queued)
    }
    #expect(producer.flush(timeoutMilliseconds: 20_000) { _, _, _, _ in })
  }

  /// Ids and labels of what a trainer would learn.
  func examples() throws -> [(id: String, label: Double, form: EventForm?, event: [UInt8])] {
    var states = Array(repeating: ExamplesReaderState(), count: Self.partitions)
    let reader = ExampleReader()
    var examples: [(id: String, label: Double, form: EventForm?, event: [UInt8])] = []
    for record in try read("examples") {
      record.value.withUnsafeBytes { bytes in
        guard reader.read(bytes), states[Int(record.partition)].accept(reader.header.claim, at: record.offset) else { return }
        var example = ExampleView()
        while reader.next(&example) {
          examples.append((String(decoding: example.id, as: UTF8.self), example.label, example.form, Array(example.event)))
        }
      }
    }
    return examples
  }

  static func wait(_ what: Comment, seconds: Int64 = 30, _ condition: () throws -> Bool) async throws {
    let deadline = MonotonicClock.nanoseconds() + seconds * 1_000_000_000
    while MonotonicClock.nanoseconds() < deadline {
      if try condition() { return }
      try await Task.sleep(for: .milliseconds(10))
    }
    Issue.record("not in time: \(what)")
  }
}
