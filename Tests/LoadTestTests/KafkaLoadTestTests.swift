import EmbeddedBroker
import Events
import Foundation
import Kafka
import Logging
import Model
import Synchronization
import Telemetry
import Testing

@testable import LoadTest

/// The load tests against an embedded broker and a stand-in for the predictor that answers with
/// the event's id.
@Suite struct KafkaLoadTestTests {
  /// Reads the features topic and answers each event on the same partition, but leaves out and
  /// repeats some when asked to.
  final class Answerer: @unchecked Sendable {
    private let consumer: KafkaConsumer
    private let producer: KafkaProducer
    private let thread = Mutex<OwnerThread?>(nil)
    private let leaveOutEvery: Int

    init(_ settings: KafkaSettings, leaveOutEvery: Int = .max) throws {
      consumer = try KafkaConsumer(settings, isolation: .readUncommitted)
      producer = try KafkaProducer(settings)
      self.leaveOutEvery = leaveOutEvery
      try consumer.assign((0..<2).map { TopicPartitionOffset(topic: "features", partition: $0, offset: .beginning) })
      consumer.handOver()
    }

    func start() throws {
      let specification = try StandardModel.specification()
      let started = OwnerThread(name: "answerer") { [self] thread in
        guard let topic = try? producer.topic("predictions") else { return }
        let decoder = EventDecoder(specification: specification)
        let encoder = PredictionEncoder(model: "loadtest", version: 1, arm: "online")
        let batch = RowBatch()
        let output = OutputBuffer()
        let scores: [Float] = [0.5]
        let position: [Int64] = [1, 1]
        var count = 0
        while !thread.isStopRequested {
          consumer.poll(timeoutMilliseconds: 20) { messages in
            messages.forEach { message in
              guard let value = message.value else { return }
              batch.removeAll()
              let decoded = decoder.decode(value, contentType: message.header("content-type"), into: batch)
              count += 1
              guard decoded.ok, count % leaveOutEvery != 0 else { return }
              output.removeAll()
              scores.withUnsafeBufferPointer { scores in
                position.withUnsafeBufferPointer { position in
                  encoder.score(
                    form: decoded.form, id: decoded.id, from: message.offset, to: message.offset + 1, scores: scores,
                    position: position, labelsThrough: 0, into: output)
                }
              }
              _ = producer.produce(topic, partition: message.partition, value: output.bytes)
            }
          }
          producer.poll { _, _, _, _ in }
        }
        consumer.close()
        producer.close()
      }
      try started.start()
      thread.withLock { $0 = started }
    }

    func stop() {
      let started = thread.withLock { $0 }
      started?.requestStop()
      started?.join()
    }
  }

  private func withTopics(_ body: @escaping @Sendable (KafkaSettings) throws -> Void) async throws {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("loadtest-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: directory) }
    var logger = Logger(label: "broker")
    logger.logLevel = .error
    let broker = EmbeddedBroker(settings: BrokerSettings(dataDirectory: directory), logger: logger)
    let port = try await broker.start()
    let outcome: Result<Void, any Error> = await withCheckedContinuation { continuation in
      let thread = OwnerThread(name: "test") { _ in
        continuation.resume(
          returning: Result {
            let settings = KafkaSettings(bootstrapServers: "127.0.0.1:\(port)", clientID: "test")
            try KafkaAdmin(settings).ensureTopics(
              ["features", "labels", "predictions"].map { TopicSpec(name: $0, partitions: 2) })
            try body(settings)
          })
      }
      do { try thread.start() } catch { continuation.resume(returning: .failure(error)) }
    }
    await broker.stop()
    try outcome.get()
  }

  @Test(arguments: EventForm.allCases) func everyAnswerIsMatched(form: EventForm) async throws {
    try await withTopics { settings in
      let answerer = try Answerer(settings)
      try answerer.start()
      defer { answerer.stop() }
      let profile = LoadProfile(
        warmUpSeconds: 0.2, steps: [LoadStep(ratePerSecond: 500, seconds: 1), LoadStep(ratePerSecond: 1_000, seconds: 1)])
      let target = LoadTarget(kafka: settings, specification: try StandardModel.specification(), form: form, arm: form == .json ? "online" : nil)
      let report = try KafkaLoadTest(target, profile: profile).run()
      #expect(report.errors == 0)
      #expect(report.events > 1_000)
      #expect(report.steps.count == 2)
      #expect(report.latency.p50 > 0 && report.latency.max >= report.latency.p999)
      #expect(report.errorReasons.values.allSatisfy { $0 == 0 })
    }
  }

  @Test func whatIsNotAnsweredIsAnError() async throws {
    try await withTopics { settings in
      let answerer = try Answerer(settings, leaveOutEvery: 10)
      try answerer.start()
      defer { answerer.stop() }
      let profile = LoadProfile(warmUpSeconds: 0, steps: [LoadStep(ratePerSecond: 1_000, seconds: 0.5)], arrivals: .fixed)
      let test = KafkaLoadTest(LoadTarget(kafka: settings, specification: try StandardModel.specification()), profile: profile)
      let report = try test.run()
      #expect(report.events > 400)
      #expect(report.errors == report.events / 10)
    }
  }

  @Test func aBacklogIsDrainedAndEveryAnswerChecked() async throws {
    try await withTopics { settings in
      let answerer = try Answerer(settings)
      let target = LoadTarget(kafka: settings, specification: try StandardModel.specification())
      let report = try DrainTest(target, events: 20_000).run {
        // Nothing was predicted before: the whole backlog is measured.
        try? answerer.start()
      }
      answerer.stop()
      #expect(report.errors == 0)
      #expect(report.measuredEvents == 20_000)
      #expect(!report.keptUp)
      #expect(report.achievedPerSecond > 0)
      #expect(report.text.contains("20,000"))
    }
  }

  @Test func aMissingTopicIsSaid() async throws {
    try await withTopics { settings in
      let target = LoadTarget(kafka: settings, specification: try StandardModel.specification(), predictionsTopic: "absent")
      let profile = LoadProfile(steps: [LoadStep(ratePerSecond: 1, seconds: 1)])
      let error = try #require(throws: LoadTestError.self) { try KafkaLoadTest(target, profile: profile).run() }
      #expect(error.message.contains("absent"))
    }
  }

  /// A stand-in for the replica: labels count as learned as soon as they are in the topic.
  @Test func freshnessFollowsWhatIsApplied() async throws {
    try await withTopics { settings in
      let watcher = try KafkaConsumer(settings, isolation: .readUncommitted)
      let ends = Mutex<[Int32: Int64]>([:])
      let follower = OwnerThread(name: "follower") { thread in
        try? watcher.assign((0..<2).map { TopicPartitionOffset(topic: "labels", partition: $0, offset: .beginning) })
        while !thread.isStopRequested {
          watcher.poll(timeoutMilliseconds: 20) { batch in
            batch.forEach { message in ends.withLock { $0[message.partition] = message.offset + 1 } }
          }
        }
        watcher.close()
      }
      try follower.start()
      defer {
        follower.requestStop()
        follower.join()
      }
      let target = LoadTarget(kafka: settings, specification: try StandardModel.specification())
      let profile = LoadProfile(warmUpSeconds: 0.2, steps: [LoadStep(ratePerSecond: 1_000, seconds: 1)])
      let test = LearnLoadTest(target, profile: profile, leadEvents: 100, logger: Logger(label: "test"))
      let report = try test.run(labelsTo: { partition in ends.withLock { $0[partition] ?? 0 } }, progress: { _ in })
      #expect(report.errors == 0)
      #expect(report.events > 800)
      #expect(report.latency.p50 > 0)
      #expect(report.errorReasons.values.allSatisfy { $0 == 0 })
    }
  }
}
