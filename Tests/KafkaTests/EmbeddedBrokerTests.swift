import EmbeddedBroker
import Foundation
import Kafka
import Logging
import Synchronization
import Telemetry
import Testing

/// The client against a broker that keeps what it is told.
@Suite struct EmbeddedBrokerTests {
  /// Runs `body` on a thread of its own beside a broker on a free port; stops the broker after it.
  static func withBroker(_ body: @escaping @Sendable (KafkaSettings) throws -> Void) async throws {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("kafka-tests-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: directory) }
    var settings = BrokerSettings(dataDirectory: directory)
    settings.autoCreateTopics = false
    var logger = Logger(label: "broker")
    logger.logLevel = .error
    let broker = EmbeddedBroker(settings: settings, logger: logger)
    let port = try await broker.start()
    let outcome: Result<Void, any Error> = await withCheckedContinuation { continuation in
      let thread = OwnerThread(name: "test") { _ in
        continuation.resume(returning: Result { try body(KafkaSettings(bootstrapServers: "127.0.0.1:\(port)", clientID: "test")) })
      }
      do { try thread.start() } catch { continuation.resume(returning: .failure(error)) }
    }
    await broker.stop()
    try outcome.get()
  }

  @Test func adminCreatesDescribesTrimsAndDeletes() async throws {
    try await Self.withBroker { settings in
      let admin = try KafkaAdmin(settings)
      #expect(admin.waitUntilReachable(timeoutMilliseconds: 60_000))
      let spec = TopicSpec(name: "a", partitions: 3, config: ["retention.ms": "-1"])
      #expect(try admin.createTopics([spec]) == [TopicResult(name: "a", error: nil)])
      #expect(try admin.createTopics([spec]).first?.error?.code == .topicAlreadyExists)
      try admin.ensureTopics([spec, TopicSpec(name: "b", partitions: 1)])
      let wrong = try #require(throws: KafkaError.self) { try admin.ensureTopics([TopicSpec(name: "a", partitions: 4)]) }
      #expect(wrong.message.contains("\"a\" has 3 partitions where 4"))
      #expect(try admin.listTopics().filter { !$0.name.hasPrefix("__") }.map(\.name) == ["a", "b"])
      let description = try #require(try admin.describeTopic("a"))
      #expect(description.partitions == 3)
      #expect(description.config["retention.ms"] == "-1")
      #expect(try admin.describeTopic("absent") == nil)

      let producer = try KafkaProducer(settings)
      try producer.fill("a", partitions: 3, perPartition: 20)
      producer.close()
      try admin.deleteRecords(before: [TopicPartitionOffset(topic: "a", partition: 1, offset: .exact(12))])
      let consumer = try KafkaConsumer(settings)
      let ends = try consumer.watermarks(topic: "a", partition: 1, timeoutMilliseconds: 30_000)
      #expect(ends.low == 12 && ends.high == 20)
      // Reading below the log's start is an event, not a silent jump.
      var outOfRange: Int64?
      consumer.onEvent = { if case .offsetOutOfRange(_, _, let offset, _) = $0 { outOfRange = offset } }
      try consumer.assign([TopicPartitionOffset(topic: "a", partition: 1, offset: .exact(5))])
      eventually("the event") {
        consumer.serve()
        return outOfRange != nil
      }
      #expect(outOfRange == 5)
      try consumer.seek(topic: 0, partition: 1, to: .beginning)
      #expect(consumer.read(8).map(\.offset) == (12..<20).map(Int64.init))
      consumer.close()
      #expect(try admin.deleteTopics(["b"]) == [TopicResult(name: "b", error: nil)])
      #expect(try admin.deleteTopics(["b"]).first?.error != nil)
    }
  }

  @Test func offsetsForTimesAndCommitsAreKept() async throws {
    try await Self.withBroker { settings in
      try KafkaAdmin(settings).ensureTopics([TopicSpec(name: "t", partitions: 1)])
      let producer = try KafkaProducer(settings)
      let topic = try producer.topic("t")
      for index in 0..<10 {
        #expect(producer.send(topic, 0, "\(index)", timestampMilliseconds: 1_000_000 + Int64(index) * 1_000) == .queued)
        producer.deliverAll()
      }
      producer.close()
      let consumer = try KafkaConsumer(settings, group: "g")
      #expect(try consumer.offset(topic: "t", partition: 0, atOrAfterMilliseconds: 1_003_500, timeoutMilliseconds: 30_000) == 4)
      #expect(try consumer.offset(topic: "t", partition: 0, atOrAfterMilliseconds: 2_000_000, timeoutMilliseconds: 30_000) == nil)
      try consumer.assign([TopicPartitionOffset(topic: "t", partition: 0, offset: .beginning)])
      #expect(consumer.read(10).count == 10)
      // Nothing is stored unless told.
      try consumer.commit(timeoutMilliseconds: 30_000)
      #expect(try consumer.committed(topic: 0, partition: 0, timeoutMilliseconds: 30_000) == nil)
      try consumer.storeOffset(topic: 0, partition: 0, next: 7)
      try consumer.commit(timeoutMilliseconds: 30_000)
      #expect(try consumer.committed(topic: 0, partition: 0, timeoutMilliseconds: 30_000) == 7)
      try consumer.commit(
        [TopicPartitionOffset(topic: "t", partition: 0, offset: .exact(8))], timeoutMilliseconds: 30_000)
      consumer.close()
      let again = try KafkaConsumer(settings, group: "g")
      try again.assign([TopicPartitionOffset(topic: "t", partition: 0, offset: .committed)])
      #expect(again.read(2).map(\.offset) == [8, 9])
      again.close()
    }
  }

  /// Two members share; one leaves; the other takes over from what was committed, and every record
  /// is read exactly once although only the acknowledged prefix is stored.
  @Test func twoConsumersShareAndTakeOver() async throws {
    try await Self.withBroker { settings in
      try KafkaAdmin(settings).ensureTopics([TopicSpec(name: "t", partitions: 4)])
      let producer = try KafkaProducer(settings)
      try producer.fill("t", partitions: 4, perPartition: 50)

      final class Member {
        let consumer: KafkaConsumer
        var held: Set<Int32> = []
        var read: [Copied] = []
        var assignedAt: [Int32: StartOffset] = [:]

        init(_ settings: KafkaSettings) throws {
          consumer = try KafkaConsumer(settings, group: "shared")
          try consumer.subscribe(["t"]) { [unowned self] consumer, change in
            switch change {
            case .assigned(let partitions):
              for partition in partitions {
                held.insert(partition.partition)
                assignedAt[partition.partition] = partition.offset
              }
            case .revoked(let partitions, _):
              for partition in partitions {
                // What was read is done: store it now, it is committed next.
                if let last = read.last(where: { $0.partition == partition.partition }) {
                  try? consumer.storeOffset(topic: 0, partition: partition.partition, next: last.offset + 1)
                }
                held.remove(partition.partition)
              }
            }
          }
        }

        func poll() { consumer.poll(timeoutMilliseconds: 20, max: 10) { batch in batch.forEach { read.append(Copied($0)) } } }
      }

      let first = try Member(settings)
      eventually("the first has all") {
        first.poll()
        return first.held.count == 4 && first.read.count == 200
      }
      let second = try Member(settings)
      eventually("they share") {
        first.poll()
        second.poll()
        return first.held.count == 2 && second.held.count == 2
      }
      #expect(first.held.isDisjoint(with: second.held))
      // The second goes on where the first committed.
      #expect(second.assignedAt.values.allSatisfy { $0 == .exact(50) })
      try producer.fill("t", partitions: 4, perPartition: 25)
      producer.close()
      eventually("both read") {
        first.poll()
        second.poll()
        return first.read.count + second.read.count >= 300
      }
      first.consumer.close()
      #expect(first.held.isEmpty)
      eventually("the second takes over") {
        second.poll()
        return second.held.count == 4
      }
      for _ in 0..<10 { second.poll() }
      second.consumer.close()
      let all = (first.read + second.read).map { "\($0.partition):\($0.offset)" }
      #expect(all.count == 300)
      #expect(Set(all).count == 300)
    }
  }

  @Test func aTopicThatIsMissingIsReadOnceItIsThere() async throws {
    try await Self.withBroker { settings in
      let consumer = try KafkaConsumer(settings)
      try consumer.assign([TopicPartitionOffset(topic: "later", partition: 0, offset: .beginning)])
      for _ in 0..<10 { consumer.serve() }
      try KafkaAdmin(settings).ensureTopics([TopicSpec(name: "later", partitions: 1)])
      let producer = try KafkaProducer(settings)
      try producer.fill("later", partitions: 1, perPartition: 3)
      producer.close()
      #expect(consumer.read(3).count == 3)
      consumer.close()
    }
  }
}
