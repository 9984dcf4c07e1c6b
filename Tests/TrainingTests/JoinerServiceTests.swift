import EmbeddedBroker
import Events
import Foundation
import Kafka
import Learning
import Logging
import Model
import Telemetry
import Testing

@testable import Training

/// Features and labels in, examples out, through a real log and the real client.
@Suite(.serialized) struct JoinerServiceTests {
  static let model = """
    model: clicks
    version: 1
    family: linear
    loss: logistic
    features:
      city: categorical
    """
  static let base: Int64 = 1_700_000_000_000

  @Test func joinsAndGoesOnAfterARestart() async throws {
    try await withBroker { kafka in
      try createTopics(kafka, partitions: 2)
      let registry = Registry()
      let service = try makeService(kafka, registry: registry)
      try service.start()
      // Half of the labels come before their events.
      for n in 0..<100 {
        try produce(kafka, n % 2 == 0 ? [("features", event(n)), ("labels", label(n))] : [("labels", label(n)), ("features", event(n))])
      }
      try produce(kafka, [("labels", "{\"id\":"), ("labels", label(5)), ("features", event(5))])
      try wait("100 examples") { try accepted(kafka, partitions: 2).count == 100 }
      service.stop()
      #expect(service.unreadyReason == "stopped")

      // While nobody joins: one label for an event that waits, and new pairs.
      try produce(kafka, [("features", event(200)), ("labels", label(201))])
      let second = try makeService(kafka, registry: registry)
      try second.start()
      try wait("it is ready") { second.isReady }
      try produce(kafka, [("labels", label(200)), ("features", event(201)), ("labels", label(5)), ("features", event(300)), ("labels", label(300))])
      try wait("103 examples") { try accepted(kafka, partitions: 2).count == 103 }
      second.stop()

      let examples = try accepted(kafka, partitions: 2)
      #expect(Set(examples.map(\.id)) == Set((0..<100).map { "e\($0)" } + ["e200", "e201", "e300"]))
      #expect(examples.count == 103, "each once")
      for example in examples {
        let n = Int(example.id.dropFirst()) ?? -1
        #expect(example.label == Double(n % 2) && example.event == event(n) && example.labelTime == Self.base + Int64(n) * 10 + 5_000)
      }
      let letters = try read(kafka, "labels.dead-letter", partitions: 2)
      #expect(letters.map(\.value) == ["{\"id\":"])
      #expect(letters.first?.headers["millrace-reason"]?.isEmpty == false)
      #expect(letters.first?.headers["millrace-source-topic"] == "labels")
      let text = registry.text()
      #expect(text.contains("millrace_joiner_matched_total{model=\"clicks.1\"} 103"), "\(text.split(separator: "\n").filter { $0.contains("matched") })")
    }
  }

  @Test func rivalsDecideEachEventOnce() async throws {
    try await withBroker { kafka in
      try createTopics(kafka, partitions: 1)
      let services = try (0..<3).map { _ in try makeService(kafka, registry: Registry()) }
      for service in services { try service.start() }
      for round in 0..<30 {
        let range = round * 20..<(round + 1) * 20
        try produce(kafka, range.map { ("features", event($0)) } + range.map { ("labels", label($0)) })
      }
      try wait("600 examples") { try accepted(kafka, partitions: 1).count >= 600 }
      for service in services { service.stop() }
      let examples = try accepted(kafka, partitions: 1)
      #expect(examples.count == 600)
      #expect(Set(examples.map(\.id)).count == 600)
    }
  }

  @Test func expiredEventsBecomeNegativesAndLonelyLabelsDeadLetters() async throws {
    try await withBroker { kafka in
      try createTopics(kafka, partitions: 1)
      let service = try makeService(kafka, registry: Registry(), onExpiry: .negative)
      try service.start()
      defer { service.stop() }
      try produce(kafka, [("features", event(1)), ("features", event(2)), ("labels", label(1)), ("labels", label(7))])
      // Event time moves on: a day later.
      let late = 86_400_000 / 10 + 1_000
      try produce(kafka, [("features", event(late)), ("labels", label(late))])
      try wait("three examples") { try accepted(kafka, partitions: 1).count == 3 }
      let examples = try accepted(kafka, partitions: 1)
      let negative = examples.first { $0.id == "e2" }
      #expect(negative?.expired == true && negative?.label == 0)
      try wait("a dead letter") { try !read(kafka, "labels.dead-letter", partitions: 1).isEmpty }
      let letters = try read(kafka, "labels.dead-letter", partitions: 1)
      #expect(letters.map { $0.headers["millrace-reason"] } == ["label_without_event"])
      #expect(letters.map(\.value) == [label(7)])
      #expect(letters.map { $0.headers["millrace-source-offset"] } == ["1"])
    }
  }

  @Test func differingPartitionCountsAreNamedAndTriedAgain() async throws {
    try await withBroker { kafka in
      let admin = try KafkaAdmin(kafka)
      try admin.ensureTopics([
        TopicSpec(name: "features", partitions: 2), TopicSpec(name: "labels", partitions: 3), TopicSpec(name: "examples", partitions: 2),
        TopicSpec(name: "labels.dead-letter", partitions: 1),
      ])
      let service = try makeService(kafka, registry: Registry())
      try service.start()
      defer { service.stop() }
      try wait("the reason is told") { service.unreadyReason?.contains("features has 2 partitions, labels has 3 partitions") == true }
      _ = try admin.deleteTopics(["labels"])
      try wait("the topic is there") {
        try admin.ensureTopics([TopicSpec(name: "labels", partitions: 2)])
        return try admin.partitionCount("labels") == 2
      }
      try wait("it goes on") { service.isReady }
    }
  }

  // MARK: Steps

  private func event(_ n: Int) -> String {
    #"{"id":"e\#(n)","event_time":\#(Self.base + Int64(n) * 10),"features":{"city":"c\#(n % 7)"}}"#
  }
  private func label(_ n: Int) -> String {
    #"{"id":"e\#(n)","event_time":\#(Self.base + Int64(n) * 10 + 5_000),"label":\#(n % 2)}"#
  }

  private func withBroker(_ body: (KafkaSettings) async throws -> Void) async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("millrace-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    var logger = Logger(label: "test")
    logger.logLevel = .error
    var settings = BrokerSettings(dataDirectory: folder.path)
    settings.autoCreateTopics = false
    let broker = EmbeddedBroker(settings: settings, logger: logger)
    let port = try await broker.start()
    do { try await body(KafkaSettings(bootstrapServers: "127.0.0.1:\(port)")) } catch {
      await broker.stop()
      throw error
    }
    await broker.stop()
  }

  private func createTopics(_ kafka: KafkaSettings, partitions: Int) throws {
    try KafkaAdmin(kafka).ensureTopics(
      ["features", "labels", "examples", "labels.dead-letter"].map { TopicSpec(name: $0, partitions: partitions) })
  }

  private func makeService(
    _ kafka: KafkaSettings, registry: Registry, onExpiry: JoinSettings.OnExpiry = .drop
  ) throws -> JoinerService {
    var specification = try ModelSpecification.parse(yaml: Self.model, file: "clicks.yaml")
    specification.join.windowMilliseconds = 60_000
    specification.join.onExpiry = onExpiry
    var joiner = JoinerSettings(specification)
    joiner.coverMilliseconds = 50
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    return JoinerService(
      specification: specification, kafka: kafka, settings: JoinerServiceSettings(joiner: joiner), registry: registry, logger: logger)
  }

  private func produce(_ kafka: KafkaSettings, _ records: [(topic: String, text: String)]) throws {
    let producer = try KafkaProducer(kafka)
    defer { producer.close() }
    for (topic, text) in records {
      let handle = try producer.topic(topic)
      // By the id, as producers do.
      let id = text.split(separator: "\"").dropFirst(3).first.map(String.init) ?? ""
      let target = Int32(partition(forKey: id, count: handle.partitionCount))
      let result = Array(text.utf8).withUnsafeBytes { producer.produce(handle, partition: target, value: $0) }
      #expect(result == .queued)
    }
    var failures = 0
    let flushed = producer.flush(timeoutMilliseconds: 20_000) { _, _, _, error in failures += error == nil ? 0 : 1 }
    #expect(flushed && failures == 0)
  }

  private struct Read {
    var partition: Int32
    var offset: Int64
    var value: String
    var bytes: [UInt8]
    var headers: [String: String]
  }

  private func read(_ kafka: KafkaSettings, _ topic: String, partitions: Int) throws -> [Read] {
    let consumer = try KafkaConsumer(kafka, isolation: .readUncommitted)
    defer { consumer.close() }
    var missing = 0
    for partition in 0..<Int32(partitions) {
      let (low, high) = try consumer.watermarks(topic: topic, partition: partition, timeoutMilliseconds: 60_000)
      missing += Int(high - low)
    }
    try consumer.assign((0..<Int32(partitions)).map { .init(topic: topic, partition: $0, offset: .beginning) })
    var records: [Read] = []
    let deadline = MonotonicClock.nanoseconds() + 20_000_000_000
    while records.count < missing && MonotonicClock.nanoseconds() < deadline {
      consumer.poll(timeoutMilliseconds: 100) { (messages: borrowing MessageBatch) in
        for index in 0..<messages.count {
          let message = messages[index]
          let bytes = message.value.map { Array($0) } ?? []
          records.append(
            Read(
              partition: message.partition, offset: message.offset, value: String(decoding: bytes, as: UTF8.self), bytes: bytes,
              headers: Dictionary(
                message.headers.map { ($0.name, String(decoding: $0.value ?? [], as: UTF8.self)) }, uniquingKeysWith: { first, _ in first })))
        }
      }
    }
    return records
  }

  private struct Example {
    var id: String
    var label: Double
    var labelTime: Int64
    var expired: Bool
    var event: String
  }

  /// What a trainer would learn.
  private func accepted(_ kafka: KafkaSettings, partitions: Int) throws -> [Example] {
    var states = Array(repeating: ExamplesReaderState(), count: partitions)
    let reader = ExampleReader()
    var examples: [Example] = []
    for record in try read(kafka, "examples", partitions: partitions) {
      record.bytes.withUnsafeBytes { bytes in
        let isRead = reader.read(bytes)
        #expect(isRead)
        guard isRead, states[Int(record.partition)].accept(reader.header.claim, at: record.offset) else { return }
        var example = ExampleView()
        while reader.next(&example) {
          examples.append(
            Example(
              id: String(decoding: example.id, as: UTF8.self), label: example.label, labelTime: example.labelTimeMilliseconds,
              expired: example.expired, event: String(decoding: example.event, as: UTF8.self)))
        }
      }
    }
    return examples
  }

  private func wait(_ what: String, _ condition: () throws -> Bool) throws {
    let deadline = MonotonicClock.nanoseconds() + 30_000_000_000
    while MonotonicClock.nanoseconds() < deadline {
      if try condition() { return }
      usleep(20_000)
    }
    Issue.record("not in time: \(what)")
  }
}
