// Hot: sending (the driver's closure) and receiving (`receive`). No allocation per event.
public import Events
internal import Glibc
public import Kafka
public import Logging
public import Model
internal import Synchronization
internal import Telemetry

/// What a load test needs to know about where it sends.
public struct LoadTarget: Sendable {
  public var kafka: KafkaSettings
  public var featuresTopic: String
  public var labelsTopic: String
  public var predictionsTopic: String
  public var specification: ModelSpecification
  public var form: EventForm
  /// Only answers of this arm count; nil: the first answer to each event.
  public var arm: String?
  /// Distinct bodies.
  public var bodies: Int

  public init(
    kafka: KafkaSettings, specification: ModelSpecification, form: EventForm = .protobuf, featuresTopic: String = "features",
    labelsTopic: String = "labels", predictionsTopic: String = "predictions", arm: String? = nil, bodies: Int = 16_384
  ) {
    self.kafka = kafka
    self.specification = specification
    self.form = form
    self.featuresTopic = featuresTopic
    self.labelsTopic = labelsTopic
    self.predictionsTopic = predictionsTopic
    self.arm = arm
    self.bodies = bodies
  }
}

/// A running load test, once a second.
public struct LoadProgress: Sendable {
  public var seconds: Double
  public var totalSeconds: Double
  public var sent: Int
  public var answered: Int
}

/// Why a load test could not be run.
public struct LoadTestError: Error, CustomStringConvertible {
  public let message: String
  public init(_ message: String) { self.message = message }
  public var description: String { message }
}

/// Features topic to predictions topic: produces events at the times that the profile says, and
/// matches each prediction to its event by the id. A latency runs from the time that the event was
/// due to its prediction's arrival at a consumer, by one monotonic clock.
public final class KafkaLoadTest: @unchecked Sendable {
  /// How long after the last event its answer may come.
  public static let answerSecondsMax: Double = 10
  /// How long one event may wait for room in the producer's queue.
  static let refusalNanosecondsMax: Int64 = 10_000_000_000

  /// At high rates a little patience in the producer costs less than a request for each event; it counts in the
  /// latency. `linger.ms` among the Kafka properties overrides it.
  static let lingerMilliseconds = 0.5

  private let target: LoadTarget
  private let profile: LoadProfile
  private let logger: Logger?
  private let stopping = Atomic<Bool>(false)

  public init(_ target: LoadTarget, profile: LoadProfile, logger: Logger? = nil) {
    self.target = target
    self.profile = profile
    self.logger = logger
  }

  /// Ends the run early; what was measured so far is reported.
  public func requestStop() { stopping.store(true, ordering: .relaxed) }

  /// Runs and blocks until the report is there.
  public func run(progress: (LoadProgress) -> Void = { _ in }) throws -> LoadReport {
    let producer = try KafkaProducer(target.kafka, lingerMilliseconds: Self.lingerMilliseconds, logger: logger)
    let topic = try producer.topic(target.featuresTopic)
    let mark = EventBodies.runMark(seed: UInt64(bitPattern: MonotonicClock.nanoseconds()))
    let bodies = Handed(
      EventBodies(
        target.specification, form: target.form, count: max(EventBodies.countMin, target.bodies),
        partitions: topic.partitionCount, mark: mark, seed: profile.seed))
    let bytesPerEvent = bodies.value.bytesPerEvent
    let headers = KafkaHeaders(["content-type": "\(target.form.contentType)"])
    let due = DueTimes(capacity: profile.eventsBound)
    let receiver = try AnswerReceiver(target, mark: mark, due: due, logger: logger)
    try receiver.waitUntilAssigned()
    let timeline = Timeline(profile, startNanoseconds: MonotonicClock.nanoseconds() + 50_000_000)
    let recorder = LatencyRecorder(timeline)
    try receiver.start(recorder)
    let delivery = DeliveryThread(producer)
    try delivery.start()
    let driver = OpenLoopDriver(profile, timeline: timeline) { [self] index, intended in
      guard due.set(index, intended) else { return false }
      let event = bodies.value.patch(index)
      let giveUp = intended + Self.refusalNanosecondsMax
      while true {
        switch producer.produce(topic, partition: event.partition, key: event.key, value: event.value, headers: headers) {
        case .queued: return true
        case .failed: return false
        case .queueFull:
          if stopping.load(ordering: .relaxed) || MonotonicClock.nanoseconds() > giveUp { return false }
          usleep(200)
        }
      }
    }
    try driver.start()
    // Watch until the last event is sent.
    let begun = timeline.startNanoseconds
    var told = begun
    while MonotonicClock.nanoseconds() < timeline.endNanoseconds {
      usleep(20_000)
      if stopping.load(ordering: .relaxed) { driver.requestStop(); break }
      let now = MonotonicClock.nanoseconds()
      if now - told >= 1_000_000_000 {
        told = now
        progress(
          LoadProgress(
            seconds: Double(now - begun) / 1e9, totalSeconds: profile.totalSeconds, sent: driver.sent, answered: receiver.answered))
      }
    }
    guard let outcome = driver.join() else { throw LoadTestError("The generator did not run.") }
    receiver.waitForAnswers(to: outcome.eventCount, seconds: Self.answerSecondsMax) { stopping.load(ordering: .relaxed) }
    receiver.stop()
    let undelivered = delivery.stop()
    producer.close(flushMilliseconds: 1_000)
    var reasons = receiver.reasons
    reasons["not taken by the producer"] = outcome.refused.reduce(0, +)
    reasons["not delivered"] = undelivered
    let report = LoadReport(
      title: "Features topic to predictions topic",
      measured: "from the time an event was due to its prediction's arrival at a consumer, one monotonic clock",
      details: [
        ("model", target.specification.identifier), ("features", String(target.specification.features.count)),
        ("form", "\(target.form)"), ("bytes per event", String(Int(bytesPerEvent))),
        ("partitions", String(topic.partitionCount)), ("arrivals", "\(profile.arrivals.rawValue), seed \(profile.seed)"),
        ("broker", target.kafka.bootstrapServers),
      ], profile: profile, outcome: outcome, recorder: recorder, errorReasons: reasons)
    return report
  }
}

/// Hands an object of one thread over to another.
struct Handed<Value>: @unchecked Sendable {
  let value: Value
  init(_ value: Value) { self.value = value }
}

/// When each event of a run was due, by index. The driver writes an event's time before it produces
/// the event; the receiver reads it after the event's answer came back through the broker.
final class DueTimes: @unchecked Sendable {
  private let times: UnsafeMutablePointer<Int64>
  private let answered: UnsafeMutablePointer<Bool>
  let capacity: Int

  init(capacity: Int) {
    self.capacity = capacity
    times = .allocate(capacity: capacity)
    times.initialize(repeating: 0, count: capacity)
    answered = .allocate(capacity: capacity)
    answered.initialize(repeating: false, count: capacity)
  }

  deinit {
    times.deallocate()
    answered.deallocate()
  }

  @inline(__always)
  func set(_ index: Int, _ nanoseconds: Int64) -> Bool {
    guard index < capacity else { return false }
    times[index] = nanoseconds
    return true
  }

  /// The event's time at its first answer; nil for a repeated answer or an index that never was.
  @inline(__always)
  func take(_ index: Int) -> Int64? {
    guard index >= 0 && index < capacity && !answered[index] else { return nil }
    answered[index] = true
    return times[index]
  }
}

/// Drains delivery reports and counts failures.
final class DeliveryThread: @unchecked Sendable {
  private let failures = Atomic<Int>(0)
  private let thread = Mutex<OwnerThread?>(nil)
  private let producer: KafkaProducer

  init(_ producer: KafkaProducer) { self.producer = producer }

  func start() throws {
    let started = OwnerThread(name: "load-delivery") { [producer, self] thread in
      while !thread.isStopRequested {
        producer.poll(timeoutMilliseconds: 100) { _, _, _, error in
          if error != nil { failures.add(1, ordering: .relaxed) }
        }
      }
    }
    started.setWakeUp { [producer] in producer.wakeUp() }
    try started.start()
    thread.withLock { $0 = started }
  }

  /// - Returns: records that were not delivered.
  func stop() -> Int {
    let started = thread.withLock { thread in
      defer { thread = nil }
      return thread
    }
    started?.requestStop()
    started?.join()
    return failures.load(ordering: .relaxed)
  }
}

/// Reads the predictions topic from where it ended at the start and matches answers to events.
final class AnswerReceiver: @unchecked Sendable {
  private let consumer: KafkaConsumer
  private let target: LoadTarget
  private let mark: UInt64
  private let due: DueTimes
  private let thread = Mutex<OwnerThread?>(nil)
  private let answeredCount = Atomic<Int>(0)
  private let repeatedCount = Atomic<Int>(0)
  private let told = Mutex<[String: Int]>([:])
  private let reader = Handed(PredictionReader())

  init(_ target: LoadTarget, mark: [UInt8], due: DueTimes, logger: Logger?) throws {
    self.target = target
    self.mark = EventBodies.word(mark)
    self.due = due
    consumer = try KafkaConsumer(target.kafka, isolation: .readUncommitted, logger: logger)
  }

  /// Looks up where the topic ends now and reads on from there.
  func waitUntilAssigned() throws {
    let admin = try KafkaAdmin(target.kafka)
    guard let partitions = try admin.partitionCount(target.predictionsTopic) else {
      throw LoadTestError("There is no topic \"\(target.predictionsTopic)\". Start millrace first, or name the topic with --predictions.")
    }
    var starts: [TopicPartitionOffset] = []
    for partition in 0..<Int32(partitions) {
      let ends = try consumer.watermarks(topic: target.predictionsTopic, partition: partition, timeoutMilliseconds: 10_000)
      starts.append(TopicPartitionOffset(topic: target.predictionsTopic, partition: partition, offset: .exact(ends.high)))
    }
    try consumer.assign(starts)
    consumer.handOver()
  }

  /// Reads on from these offsets of the predictions topic.
  func assign(_ starts: [Int64]) throws {
    try consumer.assign(
      starts.enumerated().map {
        TopicPartitionOffset(topic: target.predictionsTopic, partition: Int32($0.offset), offset: .exact($0.element))
      })
    consumer.handOver()
  }

  var answered: Int { answeredCount.load(ordering: .relaxed) }

  /// Answers that were not scores, and what could not be read.
  var reasons: [String: Int] {
    var reasons = told.withLock { $0 }
    let repeated = repeatedCount.load(ordering: .relaxed)
    if repeated > 0 && target.arm == nil { reasons["answers beside an event's first (other arms, or repeated): no errors"] = repeated }
    return reasons
  }

  func start(_ recorder: LatencyRecorder) throws {
    let started = OwnerThread(name: "load-receiver") { [self] thread in
      while !thread.isStopRequested {
        consumer.poll(timeoutMilliseconds: 100, max: 4_096) { batch in receive(batch, recorder) }
      }
      consumer.close()
    }
    started.setWakeUp { [consumer] in consumer.wakeUp() }
    try started.start()
    thread.withLock { $0 = started }
  }

  private func receive(_ batch: borrowing MessageBatch, _ recorder: LatencyRecorder) {
    let now = MonotonicClock.nanoseconds()
    var matched = 0
    for position in 0..<batch.count {
      guard let value = batch[position].value else { continue }
      guard let index = EventBodies.index(in: value, mark: mark) else {
        unmatched(value)
        continue
      }
      if target.arm != nil && !isOfArm(value) { continue }
      guard let intended = due.take(index) else {
        repeatedCount.add(1, ordering: .relaxed)
        continue
      }
      recorder.record(intendedNanoseconds: intended, nowNanoseconds: now)
      matched += 1
    }
    answeredCount.add(matched, ordering: .relaxed)
  }

  private func isOfArm(_ value: UnsafeRawBufferPointer) -> Bool {
    guard let arm = target.arm, reader.value.read(value) else { return false }
    return reader.value.prediction.arm.elementsEqual(arm.utf8)
  }

  /// A record without one of our ids: an error stub, a gap, or somebody else's. Rare: may allocate.
  private func unmatched(_ value: UnsafeRawBufferPointer) {
    guard reader.value.read(value) else { return }
    let prediction = reader.value.prediction
    let reason: String
    switch prediction.kind {
    case .scores: return
    case .error: reason = "answered by an error: " + String(decoding: prediction.errorReason, as: UTF8.self)
    case .gap: reason = "shed: " + String(decoding: prediction.gapReason, as: UTF8.self)
    }
    told.withLock { $0[reason, default: 0] += 1 }
  }

  /// Waits until this many events are answered, or nothing has come for so long.
  func waitForAnswers(to count: Int, seconds: Double, isStopped: () -> Bool) {
    var last = answered
    var lastChange = MonotonicClock.nanoseconds()
    while answered < count && !isStopped() {
      usleep(5_000)
      let now = MonotonicClock.nanoseconds()
      if answered != last {
        last = answered
        lastChange = now
      } else if Double(now - lastChange) / 1e9 > seconds {
        return
      }
    }
  }

  func stop() {
    let started = thread.withLock { thread in
      defer { thread = nil }
      return thread
    }
    started?.requestStop()
    started?.setWakeUp(nil)
    started?.join()
  }
}
