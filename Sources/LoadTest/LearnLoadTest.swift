// Hot: sending (the driver's closure) and `LabelWatch.look`. No allocation per label.
internal import Events
internal import Glibc
internal import Kafka
public import Logging
internal import Model
internal import Serving
internal import Synchronization
internal import Telemetry
internal import UpdateLog

/// Freshness: produces features and their labels, and measures from the time that a label was due
/// until a serving replica in this process has applied the update that covers it: joined, learned,
/// appended, applied. The replica is this test's own, fed by the update log as any other.
///
/// Each feature event is produced `leadEvents` ahead of its label, so that no label waits for its
/// features. The test must be the labels topic's only producer while it runs (checked).
public final class LearnLoadTest: @unchecked Sendable {
  /// How long after the last label its update may come.
  public static let answerSecondsMax: Double = 10

  private let target: LoadTarget
  private let profile: LoadProfile
  private let leadEvents: Int
  private let logger: Logger
  private let stopping = Atomic<Bool>(false)

  public init(_ target: LoadTarget, profile: LoadProfile, leadEvents: Int = 1_000, logger: Logger) {
    self.target = target
    self.profile = profile
    self.leadEvents = leadEvents
    self.logger = logger
  }

  public func requestStop() { stopping.store(true, ordering: .relaxed) }

  /// Hosts a replica that follows the model's update log, then runs.
  public func run(progress: (LoadProgress) -> Void = { _ in }) throws -> LoadReport {
    var settings = ReplicaHostSettings(specification: target.specification, arm: "loadtest")
    settings.createsLog = false
    let host = try ReplicaHost(
      specification: target.specification, settings: settings, kafka: target.kafka, registry: Registry(), logger: logger)
    try host.start()
    defer { host.stop() }
    let deadline = MonotonicClock.nanoseconds() + 120_000_000_000
    while !host.isReady {
      guard MonotonicClock.nanoseconds() < deadline, !stopping.load(ordering: .relaxed) else {
        throw LoadTestError(
          "The replica of \(target.specification.identifier) is not ready: \(host.problem ?? "stopped"). Is millrace running with this model?")
      }
      usleep(20_000)
    }
    return try run(labelsTo: { host.progress($0)?.labelsTo ?? 0 }, progress: progress)
  }

  /// As above, with whoever knows how far labels are applied: `labelsTo` gives the offset below
  /// which all labels of a partition are in every shard. Called from a thread of the test.
  func run(labelsTo: @escaping @Sendable (Int32) -> Int64, progress: (LoadProgress) -> Void) throws -> LoadReport {
    let producer = try KafkaProducer(target.kafka, lingerMilliseconds: 0, logger: logger)
    let features = try producer.topic(target.featuresTopic)
    let labels = try producer.topic(target.labelsTopic)
    let partitions = features.partitionCount
    guard labels.partitionCount == partitions else {
      throw LoadTestError(
        "Topics \"\(target.featuresTopic)\" and \"\(target.labelsTopic)\" have \(partitions) and \(labels.partitionCount) partitions: they must have the same number.")
    }
    let ends = try labelEnds(partitions)
    let mark = EventBodies.runMark(seed: UInt64(bitPattern: MonotonicClock.nanoseconds()))
    let source = Handed(
      LabelledEvents(
        EventBodies(
          target.specification, form: target.form, count: max(EventBodies.countMin, target.bodies), partitions: partitions,
          mark: mark, seed: profile.seed)))
    let eventHeaders = KafkaHeaders(["content-type": "\(target.form.contentType)"])
    let labelHeaders = KafkaHeaders(["content-type": "\(source.value.labels.form.contentType)"])
    let sent = SentLabels(partitions: partitions, bases: ends, capacity: profile.eventsBound)
    let delivery = DeliveryThread(producer)
    try delivery.start()
    let stopping = { [self] in self.stopping.load(ordering: .relaxed) }

    @Sendable func produce(
      _ topic: ProducerTopic, _ partition: Int32, _ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer,
      _ headers: KafkaHeaders, until giveUp: Int64
    ) -> Bool {
      while true {
        switch producer.produce(topic, partition: partition, key: key, value: value, headers: headers) {
        case .queued: return true
        case .failed: return false
        case .queueFull:
          if self.stopping.load(ordering: .relaxed) || MonotonicClock.nanoseconds() > giveUp { return false }
          usleep(200)
        }
      }
    }
    @Sendable func produceEvent(_ index: Int, until giveUp: Int64) -> Bool {
      let event = source.value.bodies.patch(index)
      return produce(features, event.partition, event.key, event.value, eventHeaders, until: giveUp)
    }

    let giveUp = MonotonicClock.nanoseconds() + KafkaLoadTest.refusalNanosecondsMax
    for index in 0..<leadEvents { _ = produceEvent(index, until: giveUp) }
    let timeline = Timeline(profile, startNanoseconds: MonotonicClock.nanoseconds() + 200_000_000)
    let recorder = LatencyRecorder(timeline)
    let watch = LabelWatch(sent, recorder, labelsTo)
    try watch.start()
    let driver = OpenLoopDriver(profile, timeline: timeline) { [leadEvents] index, intended in
      let giveUp = intended + KafkaLoadTest.refusalNanosecondsMax
      guard produceEvent(index + leadEvents, until: giveUp) else { return false }
      let (partition, key, value) = source.value.label(index)
      // Noted before it is produced: the update may be back before this thread goes on.
      guard sent.note(partition, intended) else { return false }
      return produce(labels, partition, key, value, labelHeaders, until: giveUp)
    }
    try driver.start()
    let begun = timeline.startNanoseconds
    var told = begun
    while MonotonicClock.nanoseconds() < timeline.endNanoseconds {
      usleep(20_000)
      if stopping() { driver.requestStop(); break }
      let now = MonotonicClock.nanoseconds()
      if now - told >= 1_000_000_000 {
        told = now
        progress(
          LoadProgress(
            seconds: Double(now - begun) / 1e9, totalSeconds: profile.totalSeconds, sent: driver.sent, answered: watch.applied))
      }
    }
    guard let outcome = driver.join() else { throw LoadTestError("The generator did not run.") }
    watch.waitUntilApplied(outcome.eventCount, seconds: Self.answerSecondsMax, isStopped: stopping)
    watch.stop()
    let undelivered = delivery.stop()
    producer.close(flushMilliseconds: 1_000)
    var reasons: [String: Int] = [
      "not taken by the producer": outcome.refused.reduce(0, +), "not delivered": undelivered,
    ]
    let foreign = zip(try labelEnds(partitions), sent.ends).reduce(0) { $0 + Int($1.0 - $1.1) }
    if foreign != 0 && undelivered == 0 {
      reasons["labels by other producers meanwhile: these figures do not hold"] = abs(foreign)
    }
    return LoadReport(
      title: "Label to serving replica",
      measured: "from the time a label was due until a serving replica had applied the update that covers it on every shard",
      details: [
        ("model", target.specification.identifier), ("shards", String(target.specification.shards)),
        ("features", String(target.specification.features.count)), ("form", "\(target.form)"),
        ("partitions", String(partitions)), ("arrivals", "\(profile.arrivals.rawValue), seed \(profile.seed)"),
        ("broker", target.kafka.bootstrapServers),
      ], profile: profile, outcome: outcome, recorder: recorder, errorReasons: reasons)
  }

  private func labelEnds(_ partitions: Int) throws -> [Int64] {
    let consumer = try KafkaConsumer(target.kafka, isolation: .readUncommitted, logger: logger)
    defer { consumer.close() }
    return try (0..<Int32(partitions)).map {
      try consumer.watermarks(topic: target.labelsTopic, partition: $0, timeoutMilliseconds: 30_000).high
    }
  }
}

/// Bodies of events and the labels that go with them. Owned by the thread that sends.
final class LabelledEvents {
  let bodies: EventBodies
  let labels: LabelWriter
  private let id: UnsafeMutableRawBufferPointer

  init(_ bodies: EventBodies) {
    self.bodies = bodies
    labels = LabelWriter(form: bodies.form)
    id = .allocate(byteCount: EventBodies.idLength, alignment: 1)
    id.copyBytes(from: bodies.mark)
  }

  deinit { id.deallocate() }

  /// A label by the event's index alone: three in ten are 1.
  func label(_ index: Int) -> (partition: Int32, key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
    let (key, partition) = bodies.key(index)
    EventBodies.writeHex(UInt64(index), id.baseAddress.unsafelyUnwrapped + EventBodies.markLength)
    var random = SplitMix(state: UInt64(index))
    let value = labels.write(
      id: UnsafeRawBufferPointer(id), key: key, eventTimeMilliseconds: nil, label: random.unit() < 0.3 ? 1 : 0)
    return (partition, key, value)
  }
}

/// When each label was due, by partition and by its place in it. One thread notes, one reads what
/// was noted; being the only producer, the n-th label noted has the n-th offset from the base.
final class SentLabels: @unchecked Sendable {
  let partitions: Int
  let bases: [Int64]
  private let capacity: Int
  private let times: [UnsafeMutablePointer<Int64>]
  private let counts: UnsafeMutablePointer<Int64>

  init(partitions: Int, bases: [Int64], capacity: Int) {
    self.partitions = partitions
    self.bases = bases
    self.capacity = capacity
    // Pages that are never written cost nothing.
    times = (0..<partitions).map { _ in .allocate(capacity: capacity) }
    counts = .allocate(capacity: partitions)
    counts.initialize(repeating: 0, count: partitions)
  }

  deinit {
    for times in times { times.deallocate() }
    counts.deallocate()
  }

  func note(_ partition: Int32, _ intended: Int64) -> Bool {
    let partition = Int(partition)
    let count = Int(counts[partition])
    guard count < capacity else { return false }
    times[partition][count] = intended
    counts[partition] += 1
    return true
  }

  /// For labels below an applied offset only: they went through the broker since they were noted.
  func due(_ partition: Int, _ place: Int) -> Int64 { times[partition][place] }

  /// Offsets after the last label noted; once the sender has ended.
  var ends: [Int64] { (0..<partitions).map { bases[$0] + counts[$0] } }
}

/// Looks at how far labels are applied, several thousand times a second, and records those that
/// newly are.
final class LabelWatch: @unchecked Sendable {
  private static let lookMicroseconds: UInt32 = 150

  private let sent: SentLabels
  private let recorder: LatencyRecorder
  private let labelsTo: @Sendable (Int32) -> Int64
  private let appliedCount = Atomic<Int>(0)
  private let thread = Mutex<OwnerThread?>(nil)
  private var next: [Int64]

  init(_ sent: SentLabels, _ recorder: LatencyRecorder, _ labelsTo: @escaping @Sendable (Int32) -> Int64) {
    self.sent = sent
    self.recorder = recorder
    self.labelsTo = labelsTo
    next = sent.bases
  }

  var applied: Int { appliedCount.load(ordering: .relaxed) }

  func start() throws {
    let started = OwnerThread(name: "load-freshness") { [self] thread in
      OwnerThread.sharpenTimers()
      while !thread.isStopRequested {
        look()
        usleep(Self.lookMicroseconds)
      }
      look()
    }
    try started.start()
    thread.withLock { $0 = started }
  }

  private func look() {
    var newly = 0
    for partition in 0..<sent.partitions {
      let to = labelsTo(Int32(partition))
      guard to > next[partition] else { continue }
      let now = MonotonicClock.nanoseconds()
      for offset in next[partition]..<to {
        recorder.record(
          intendedNanoseconds: sent.due(partition, Int(offset - sent.bases[partition])), nowNanoseconds: now)
      }
      newly += Int(to - next[partition])
      next[partition] = to
    }
    if newly > 0 { appliedCount.add(newly, ordering: .relaxed) }
  }

  func waitUntilApplied(_ count: Int, seconds: Double, isStopped: () -> Bool) {
    var last = applied
    var lastChange = MonotonicClock.nanoseconds()
    while applied < count && !isStopped() {
      usleep(5_000)
      if applied != last {
        last = applied
        lastChange = MonotonicClock.nanoseconds()
      } else if Double(MonotonicClock.nanoseconds() - lastChange) / 1e9 > seconds {
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
    started?.join()
  }
}
