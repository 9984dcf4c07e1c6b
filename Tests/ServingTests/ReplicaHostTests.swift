import EmbeddedBroker
import Events
import Foundation
import Kafka
import Learning
import Logging
import Model
@testable import Serving
import Telemetry
import Testing
import UpdateLog

/// A broker of its own, with topics, a producer and hosts that are stopped at the end.
final class HostBench {
  let directory: String
  let broker: EmbeddedBroker
  let kafka: KafkaSettings
  let admin: KafkaAdmin
  let producer: KafkaProducer
  let logger: Logger
  private var hosts: [ReplicaHost] = []

  init(partitions: Int = 2) async throws {
    directory = NSTemporaryDirectory() + "millrace-hosts-" + UUID().uuidString
    var logger = Logger(label: "hosts")
    logger.logLevel = .error
    self.logger = logger
    var settings = BrokerSettings(dataDirectory: directory + "/broker")
    settings.autoCreateTopics = false
    broker = EmbeddedBroker(settings: settings, logger: logger)
    let port = try await broker.start()
    kafka = KafkaSettings(bootstrapServers: "127.0.0.1:\(port)")
    admin = try KafkaAdmin(kafka)
    try admin.ensureTopics([TopicSpec(name: "examples", partitions: partitions)])
    producer = try KafkaProducer(kafka)
  }

  func stop() async {
    for host in hosts { host.stop() }
    producer.close()
    await broker.stop()
    try? FileManager.default.removeItem(atPath: directory)
  }

  static func specification(shards: Int = 3, count: Bool = false) -> ModelSpecification {
    ModelSpecification(
      name: "m", family: count ? .count : .linear(loss: .logistic), features: count ? [] : [.categorical("a"), .categorical("b")],
      shards: shards)
  }

  func host(
    _ specification: ModelSpecification, training: ReplicaHostSettings.Training = .none, policy: PositionPolicy = .follow,
    watermark: LabelWatermark = LabelWatermark(), checkpoints: String? = nil, change: (inout ReplicaHostSettings) -> Void = { _ in }
  ) throws -> ReplicaHost {
    var settings = ReplicaHostSettings(specification: specification, training: training, policy: policy)
    settings.checkpointDirectory = checkpoints.map { directory + "/" + $0 }
    // A loaded test machine stands still now and then.
    settings.stallMillisecondsMax = 5_000
    change(&settings)
    let host = try ReplicaHost(
      specification: specification, settings: settings, kafka: kafka, watermark: watermark, registry: Registry(), logger: logger)
    hosts.append(host)
    try host.start()
    return host
  }

  /// Writes examples with their labels, number by number, alternating between partitions.
  func produce(_ numbers: Range<Int>, partitions: Int = 2) throws {
    let topic = try producer.topic("examples")
    for number in numbers {
      let text =
        #"{"id":"e\#(number)","event_time":\#(number * 1_000),"label":\#(number % 3 == 0 ? 1 : 0),"features":{"a":"\#(number % 11)","b":"\#(number % 3)"}}"#
      let result = Array(text.utf8).withUnsafeBytes {
        producer.produce(topic, partition: Int32(number % partitions), value: $0)
      }
      #expect(result == .queued)
    }
    var failed: KafkaError?
    let isDone = producer.flush(timeoutMilliseconds: 30_000) { _, _, _, error in failed = failed ?? error }
    #expect(isDone && failed == nil)
  }

  /// One batch as a joiner writes it, covering labels up to `labelsTo`.
  func produceBatch(_ partition: Int32, batch: UInt64, follows: UInt64, labels: Range<Int64>) throws {
    let writer = ExampleWriter()
    writer.begin()
    for offset in labels {
      let id = Array("b\(offset)".utf8)
      let event = Array(#"{"id":"b\#(offset)","features":{"a":"1"}}"#.utf8)
      id.withUnsafeBytes { id in
        event.withUnsafeBytes { event in
          var example = ExampleView()
          example.id = id
          example.event = event
          example.label = 1
          writer.append(example)
        }
      }
    }
    var header = ExampleBatchHeader()
    header.featuresFrom = labels.lowerBound
    header.featuresTo = labels.upperBound
    header.labelsFrom = labels.lowerBound
    header.labelsTo = labels.upperBound
    header.batch = batch
    header.follows = follows
    let topic = try producer.topic("examples")
    #expect(producer.produce(topic, partition: partition, value: writer.finish(header)) == .queued)
    let isDone = producer.flush(timeoutMilliseconds: 30_000) { _, _, _, _ in }
    #expect(isDone)
  }
}

/// Tries until `condition` holds; a generous deadline, so that a slow machine does not fail a test.
private func eventually(_ what: Comment, seconds: Int64 = 60, sourceLocation: SourceLocation = #_sourceLocation, _ condition: () -> Bool) {
  let deadline = MonotonicClock.nanoseconds() + seconds * 1_000_000_000
  while !condition() {
    if MonotonicClock.nanoseconds() > deadline {
      Issue.record(what, sourceLocation: sourceLocation)
      return
    }
    usleep(1_000)
  }
}

@Suite(.serialized) struct ReplicaHostTests {
  private func hasLearned(_ host: ReplicaHost, _ offsets: [Int64]) -> Bool {
    offsets.indices.allSatisfy { (host.progress(Int32($0))?.offset ?? 0) >= offsets[$0] }
  }

  @Test func trainsAndIsFollowedBitForBit() async throws {
    let bench = try await HostBench()
    let specification = HostBench.specification()
    let trainer = try bench.host(specification, training: .all)
    try bench.produce(0..<1_000)
    eventually("all examples learned") { hasLearned(trainer, [500, 500]) }
    let follower = try bench.host(specification)
    eventually("the follower has caught up") { follower.isReady && hasLearned(follower, [500, 500]) }
    try bench.produce(1_000..<1_200)
    eventually("later examples reach both") { hasLearned(trainer, [600, 600]) && hasLearned(follower, [600, 600]) }
    #expect(follower.waitUntil(positions: trainer.positions, timeoutMilliseconds: 30_000))
    trainer.stop()
    #expect(follower.waitUntil(positions: trainer.positions, timeoutMilliseconds: 30_000))
    eventually("the follower has what the trainer appended last") {
      follower.set.shards.indices.allSatisfy { follower.positions[$0] >= trainer.positions[$0] }
    }
    follower.stop()
    #expect(follower.set.validation.examples == 1_200)
    for shard in 0..<3 {
      #expect(follower.set.shards[shard].counts.examples == 1_200)
      if follower.set.shards[shard].nextOffset == trainer.set.shards[shard].nextOffset {
        #expect(follower.set.shards[shard].stateHash == trainer.set.shards[shard].stateHash)
      }
      #expect(follower.set.shards[shard].divergence == nil)
      #expect(follower.set.shards[shard].recomputedStateHash() == follower.set.shards[shard].stateHash)
    }
    await bench.stop()
  }

  @Test func whoStoodStillIsNotReadyAndAnswers() async throws {
    let bench = try await HostBench()
    // Every turn counts as standing still: ready for an instant at most.
    let host = try bench.host(HostBench.specification()) { $0.stallMillisecondsMax = -1_000_000 }
    eventually("the replicas have caught up") { host.canAnswer }
    eventually("a loop that stood still is not ready") { !host.isReady }
    eventually("it says why") { host.problem?.contains("stood still") ?? false }
    #expect(host.canAnswer)
    await bench.stop()
  }

  @Test func rivalsCountEveryExampleOnce() async throws {
    let bench = try await HostBench()
    let specification = HostBench.specification(count: true)
    let first = try bench.host(specification, training: .all)
    let second = try bench.host(specification, training: .all)
    eventually("both are ready") { first.isReady && second.isReady }
    for start in stride(from: 0, to: 2_000, by: 200) { try bench.produce(start..<start + 200) }
    eventually("all examples learned", seconds: 120) { hasLearned(first, [1_000, 1_000]) && hasLearned(second, [1_000, 1_000]) }
    first.stop()
    second.stop()
    let home = RowID.shard(of: RowID.count, count: 3)
    for host in [first, second] { #expect(host.set.shards[home].row(RowID.count).count == 2_000) }
    await bench.stop()
  }

  @Test func goesOnFromACheckpointAndTrimsTheLog() async throws {
    let bench = try await HostBench(partitions: 1)
    let specification = HostBench.specification(shards: 2, count: true)
    var learned = 0
    for life in 0..<3 {
      let host = try bench.host(specification, training: .all, checkpoints: "checkpoints")
      if life > 0 { #expect(host.set.shards.allSatisfy { $0.nextOffset > 0 }, "restored before the log is read") }
      try bench.produce(learned..<learned + 300, partitions: 1)
      learned += 300
      eventually("life \(life): all examples learned") { hasLearned(host, [Int64(learned)]) }
      host.stop()
      #expect(host.set.shards[RowID.shard(of: RowID.count, count: 2)].row(RowID.count).count == Int64(learned))
    }
    let consumer = try KafkaConsumer(bench.kafka)
    eventually("the log is trimmed below the older checkpoint") {
      ((try? consumer.watermarks(topic: specification.updatesTopic, partition: 0, timeoutMilliseconds: 5_000))?.low ?? 0) > 0
    }
    consumer.close()
    // Without the checkpoint nobody can start: said, and not silently half a model.
    let late = try bench.host(specification)
    eventually("the host says that the start of the log is gone") { late.problem?.contains("trimmed") == true }
    #expect(!late.isReady)
    late.stop()
    await bench.stop()
  }

  @Test func writesACheckpointOnDemandWhileItLearns() async throws {
    let bench = try await HostBench()
    let specification = HostBench.specification()
    let host = try bench.host(specification, training: .all, checkpoints: "checkpoints")
    try bench.produce(0..<500)
    eventually("learned") { hasLearned(host, [250, 250]) }
    #expect(host.requestCheckpoint())
    eventually("written") { host.metrics.checkpoints.value == 1 }
    try bench.produce(500..<600)
    eventually("still learning") { hasLearned(host, [300, 300]) }
    await bench.stop()
  }

  @Test func holdsAndRefreshesByEventTime() async throws {
    let bench = try await HostBench()
    let specification = HostBench.specification()
    let watermark = LabelWatermark()
    let online = try bench.host(specification, training: .all, watermark: watermark)
    eventually("ready") { online.isReady }
    let frozen = try bench.host(specification, policy: .hold(untilEventTimeMilliseconds: 300_000), watermark: watermark) { $0.arm = "frozen" }
    let nightly = try bench.host(specification, policy: .refresh(everyMilliseconds: 200_000), watermark: watermark) { $0.arm = "nightly" }
    for start in stride(from: 0, to: 500, by: 50) {
      try bench.produce(start..<start + 50)
      eventually("learned up to \(start + 50)") { hasLearned(online, [Int64(start + 50) / 2, Int64(start + 50) / 2]) }
    }
    #expect(watermark.milliseconds == 499_000)
    #expect(frozen.waitUntil(positions: online.positions, timeoutMilliseconds: 30_000))
    #expect(nightly.waitUntil(positions: online.positions, timeoutMilliseconds: 30_000))
    #expect(frozen.isReady && nightly.isReady)
    let frozenThrough = frozen.set.shards.map(\.labelsThroughMilliseconds).max() ?? 0
    let nightlyThrough = nightly.set.shards.map(\.labelsThroughMilliseconds).max() ?? 0
    #expect(frozenThrough < 300_000 && frozenThrough >= 240_000, "held at \(frozenThrough)")
    #expect(nightlyThrough < 400_000 && nightlyThrough >= 340_000, "refreshed at \(nightlyThrough)")
    try bench.produce(500..<700)
    eventually("learned") { hasLearned(online, [350, 350]) }
    #expect(nightly.waitUntil(positions: online.positions, timeoutMilliseconds: 30_000))
    let refreshed = nightly.set.shards.map(\.labelsThroughMilliseconds).max() ?? 0
    #expect(refreshed < 600_000 && refreshed > nightlyThrough, "refreshed at \(refreshed)")
    #expect((frozen.set.shards.map(\.labelsThroughMilliseconds).max() ?? 0) == frozenThrough)
    await bench.stop()
  }

  @Test func wakesWhoWaitsForLabels() async throws {
    let bench = try await HostBench()
    let host = try bench.host(HostBench.specification(), training: .all)
    eventually("ready") { host.isReady }
    #expect(!host.waitUntil(labelsPartition: 1, offset: 1, timeoutMilliseconds: 1))
    try bench.produceBatch(1, batch: 71, follows: 0, labels: 0..<10)
    #expect(host.waitUntil(labelsPartition: 1, offset: 10, timeoutMilliseconds: 60_000))
    // A rival's batch and a repeated one teach nothing and hold nothing up.
    try bench.produceBatch(1, batch: 99, follows: 98, labels: 10..<20)
    try bench.produceBatch(1, batch: 71, follows: 0, labels: 0..<10)
    try bench.produceBatch(1, batch: 72, follows: 71, labels: 10..<15)
    #expect(host.waitUntil(labelsOffsets: [0, 15], timeoutMilliseconds: 60_000))
    #expect(!host.waitUntil(labelsPartition: 1, offset: 16, timeoutMilliseconds: 1))
    host.stop()
    for replica in host.set.shards { #expect(replica.counts.examples == 15) }
    #expect(host.metrics.freshness.count > 0)
    await bench.stop()
  }

  @Test func refusesTheLogOfAnotherSpecification() async throws {
    let bench = try await HostBench()
    let first = try bench.host(HostBench.specification())
    eventually("ready") { first.isReady }
    var changed = HostBench.specification()
    changed.learning.gradientBound = 5
    let second = try bench.host(changed)
    eventually("said") { second.problem?.contains("new version") == true }
    #expect(!second.isReady)
    await bench.stop()
  }

  @Test func sendsBeaconsWhileNothingHappens() async throws {
    let bench = try await HostBench()
    let specification = HostBench.specification(shards: 2)
    let host = try bench.host(specification, training: .all) { $0.beaconMilliseconds = 20 }
    eventually("beacons come back") { host.positions.allSatisfy { $0 > 5 } }
    #expect(host.metrics.beacons.value > 0)
    await bench.stop()
  }

  @Test func waitsForABrokerThatIsNotThereAndStops() throws {
    var logger = Logger(label: "hosts")
    logger.logLevel = .critical
    let specification = HostBench.specification()
    let host = try ReplicaHost(
      specification: specification, settings: ReplicaHostSettings(specification: specification),
      kafka: KafkaSettings(bootstrapServers: "127.0.0.1:1"), registry: Registry(), logger: logger)
    try host.start()
    eventually("said") { host.problem?.contains("No Kafka broker answers") == true }
    #expect(!host.isReady)
    host.stop()
  }
}

@Suite struct ReplicaHostBacklogTests {
  @Test func keepsOrderAndBytesOfWhatWaits() {
    var backlog = ReplicaHostBacklog(bytesMax: 1 << 20)
    defer { backlog.deallocate() }
    var next: Int64 = 0
    var taken: Int64 = 0
    for round in 0..<2_000 {
      for _ in 0..<(round % 7) {
        Array(repeating: UInt8(truncatingIfNeeded: next), count: Int(next % 97)).withUnsafeBytes { payload in
          Array("type".utf8).withUnsafeBytes { type in
            backlog.append(
              .init(
                partition: Int32(next % 2), offset: next, bytes: payload, contentType: next % 3 == 0 ? type : nil,
                timestampMilliseconds: next))
          }
        }
        next += 1
      }
      for _ in 0..<(round % 6) {
        guard let front = backlog.front else { break }
        #expect(front.offset == taken)
        #expect(front.bytes.count == Int(taken % 97) && front.bytes.allSatisfy { $0 == UInt8(truncatingIfNeeded: taken) })
        #expect((front.contentType != nil) == (taken % 3 == 0))
        #expect(front.timestampMilliseconds == taken)
        backlog.removeFirst()
        taken += 1
      }
    }
    #expect(backlog.count == Int(next - taken))
    backlog.removeAll(partition: 0)
    while let front = backlog.front {
      #expect(front.partition == 1)
      backlog.removeFirst()
    }
    #expect(backlog.waitingBytes == 0)
  }
}

@Suite struct PositionPolicyTests {
  @Test func boundariesAreMultiplesBelowTheWatermark() {
    let daily = PositionPolicy.refresh(everyMilliseconds: 100)
    #expect(daily.boundary(watermarkMilliseconds: 250) == 200)
    #expect(daily.boundary(watermarkMilliseconds: 300) == 300)
    #expect(daily.boundary(watermarkMilliseconds: -1) == -100)
    #expect(daily.boundary(watermarkMilliseconds: .min) == .min)
    #expect(PositionPolicy.refresh(everyMilliseconds: 100, offsetMilliseconds: 30).boundary(watermarkMilliseconds: 229) == 130)
    #expect(PositionPolicy.hold(untilEventTimeMilliseconds: 7).boundary(watermarkMilliseconds: 999) == 7)
    #expect(PositionPolicy.follow.boundary(watermarkMilliseconds: 0) == .max)
  }
}
