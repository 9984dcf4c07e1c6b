internal import Events
public import Foundation
internal import Glibc
internal import Kafka
public import Logging
internal import Synchronization
internal import Telemetry

/// How fast a backlog goes from features to predictions.
public struct DrainReport: Sendable, Equatable, Codable {
  /// Events in the backlog.
  public var events: Int
  /// Events per second at which the backlog was produced.
  public var offeredPerSecond: Double
  /// Predictions per second while it was drained.
  public var achievedPerSecond: Double
  /// Seconds that `achievedPerSecond` was measured over, and the events in them.
  public var seconds: Double
  public var measuredEvents: Int
  /// The predictions kept up with the producer, so that there was hardly a backlog: the rate is that of both
  /// together, and a lower bound.
  public var keptUp: Bool
  /// Events without a prediction.
  public var errors: Int
  public var errorReasons: [String: Int]
  public var bytesPerEvent: Double

  enum CodingKeys: String, CodingKey {
    case events, seconds, errors
    case offeredPerSecond = "offered_per_second"
    case achievedPerSecond = "achieved_per_second"
    case measuredEvents = "measured_events"
    case keptUp = "kept_up"
    case errorReasons = "error_reasons"
    case bytesPerEvent = "bytes_per_event"
  }

  public var text: String {
    """
    drained \(LoadReport.rate(achievedPerSecond)) events/s (\(LoadReport.grouped(Double(measuredEvents))) events of \(Int(bytesPerEvent)) bytes in \(String(format: "%.2f", seconds)) s)
    backlog of \(LoadReport.grouped(Double(events))) events, produced at \(LoadReport.rate(offeredPerSecond)) events/s, \(errors) without a prediction
    """ + (keptUp ? "\nthe predictions kept up with the producer: at least this; start the predicting process after the backlog for its own rate" : "")
      + errorReasons.filter { $0.value > 0 }.sorted { $0.key < $1.key }.map { "\n\($0.value) × \($0.key)" }.joined()
  }

  public func json() throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    return try encoder.encode(self)
  }
}

/// Produces a backlog as fast as it goes, then measures how fast predictions come for what is left
/// of it. Answers are counted by the ends of the predictions topic, so that no reader shares the
/// cores, and checked one by one afterwards, outside the measured time.
///
/// For the whole backlog to count, start the predicting process after the backlog is there; one
/// that runs already drains while the backlog is produced, and only the rest is measured.
public final class DrainTest: @unchecked Sendable {
  public static let eventsMax = 100_000_000
  /// Without a new prediction for so long the test ends.
  static let stallSecondsMax: Double = 60

  private let target: LoadTarget
  private let events: Int
  private let seed: UInt64
  private let logger: Logger?
  private let stopping = Atomic<Bool>(false)

  public init(_ target: LoadTarget, events: Int, seed: UInt64 = 1, logger: Logger? = nil) {
    precondition(events > 0 && events <= Self.eventsMax, "\(events) events")
    self.target = target
    self.events = events
    self.seed = seed
    self.logger = logger
  }

  public func requestStop() { stopping.store(true, ordering: .relaxed) }

  private struct Sample {
    var nanoseconds: Int64
    var records: Int
  }

  /// - Parameters:
  ///   - backlogReady: called once the backlog is produced, before waiting for predictions.
  ///   - progress: about once a second, with records produced and predictions seen.
  public func run(
    backlogReady: () -> Void = {}, progress: (_ produced: Int, _ predicted: Int) -> Void = { _, _ in }
  ) throws -> DrainReport {
    let mark = EventBodies.runMark(seed: UInt64(bitPattern: MonotonicClock.nanoseconds()))
    let due = DueTimes(capacity: events)
    let watcher = try KafkaConsumer(target.kafka, isolation: .readUncommitted, logger: logger)
    defer { watcher.close() }
    let admin = try KafkaAdmin(target.kafka)
    guard let partitions = try admin.partitionCount(target.predictionsTopic) else {
      throw LoadTestError("There is no topic \"\(target.predictionsTopic)\". Name it with --predictions, or create it with millrace topics create.")
    }
    let starts = try ends(watcher, partitions)
    func predicted() throws -> Int { zip(try ends(watcher, partitions), starts).reduce(0) { $0 + Int($1.0 - $1.1) } }

    let begun = MonotonicClock.nanoseconds()
    let (undelivered, bytesPerEvent) = try produce(mark, due) { produced in progress(produced, 0) }
    let producedAt = MonotonicClock.nanoseconds()
    // Before anybody is told: whoever starts then has the whole backlog before it.
    var samples: [Sample] = [Sample(nanoseconds: MonotonicClock.nanoseconds(), records: try predicted())]
    backlogReady()
    var lastChange = samples[0].nanoseconds
    var told = lastChange
    let wanted = events - undelivered
    while samples[samples.count - 1].records < wanted && !stopping.load(ordering: .relaxed) {
      usleep(20_000)
      let sample = Sample(nanoseconds: MonotonicClock.nanoseconds(), records: try predicted())
      if sample.records != samples[samples.count - 1].records { lastChange = sample.nanoseconds }
      samples.append(sample)
      if sample.nanoseconds - told > 1_000_000_000 {
        told = sample.nanoseconds
        progress(events, sample.records)
      }
      if Double(sample.nanoseconds - lastChange) / 1e9 > Self.stallSecondsMax { break }
    }
    // From the last sample before the first growth to the last growth.
    let last = samples.lastIndex { $0.records != samples[samples.count - 1].records }.map { $0 + 1 } ?? 0
    let first = samples.firstIndex { $0.records > samples[0].records }.map { $0 - 1 } ?? 0
    let keptUp = samples[0].records > wanted * 4 / 5
    let from = keptUp ? Sample(nanoseconds: begun, records: 0) : samples[first]
    let seconds = Double(samples[last].nanoseconds - from.nanoseconds) / 1e9
    let measured = samples[last].records - from.records
    let (answered, reasons) = try check(mark, due, starts)
    return DrainReport(
      events: events, offeredPerSecond: Double(events) / (Double(producedAt - begun) / 1e9),
      achievedPerSecond: seconds > 0 ? Double(measured) / seconds : 0, seconds: seconds, measuredEvents: measured,
      keptUp: keptUp, errors: events - answered, errorReasons: reasons, bytesPerEvent: bytesPerEvent)
  }

  private func ends(_ consumer: KafkaConsumer, _ partitions: Int) throws -> [Int64] {
    try (0..<Int32(partitions)).map {
      try consumer.watermarks(topic: target.predictionsTopic, partition: $0, timeoutMilliseconds: 30_000).high
    }
  }

  private func produce(
    _ mark: [UInt8], _ due: DueTimes, _ progress: (Int) -> Void
  ) throws -> (undelivered: Int, bytesPerEvent: Double) {
    // Larger requests than on latency paths: nothing waits for these.
    let producer = try KafkaProducer(target.kafka, lingerMilliseconds: 5, logger: logger)
    let topic = try producer.topic(target.featuresTopic)
    let bodies = EventBodies(
      target.specification, form: target.form, count: max(EventBodies.countMin, target.bodies),
      partitions: topic.partitionCount, mark: mark, seed: seed)
    let headers = KafkaHeaders(["content-type": "\(target.form.contentType)"])
    var failures = 0
    func count(_: UInt, _: Int32, _: Int64, error: KafkaError?) { if error != nil { failures += 1 } }
    var told = MonotonicClock.nanoseconds()
    var index = 0
    while index < events && !stopping.load(ordering: .relaxed) {
      _ = due.set(index, told)
      let event = bodies.patch(index)
      switch producer.produce(topic, partition: event.partition, key: event.key, value: event.value, headers: headers) {
      case .queued:
        index += 1
        if index & 4_095 == 0 {
          producer.poll(timeoutMilliseconds: 0, count)
          let now = MonotonicClock.nanoseconds()
          if now - told > 1_000_000_000 {
            told = now
            progress(index)
          }
        }
      case .queueFull:
        producer.poll(timeoutMilliseconds: 10, count)
      case .failed(let error):
        throw error
      }
    }
    failures += events - index
    if !producer.flush(timeoutMilliseconds: 120_000, count) {
      throw LoadTestError("The backlog could not be produced: \(producer.outstandingCount) records are not acknowledged after two minutes.")
    }
    let bytesPerEvent = bodies.bytesPerEvent
    producer.close()
    return (failures, bytesPerEvent)
  }

  /// Reads the predictions that came and counts the events that have one.
  private func check(_ mark: [UInt8], _ due: DueTimes, _ starts: [Int64]) throws -> (answered: Int, reasons: [String: Int]) {
    let receiver = try AnswerReceiver(target, mark: mark, due: due, logger: logger)
    try receiver.assign(starts)
    let profile = LoadProfile(warmUpSeconds: 0, steps: [LoadStep(ratePerSecond: 1, seconds: 1)])
    try receiver.start(LatencyRecorder(Timeline(profile, startNanoseconds: 0)))
    receiver.waitForAnswers(to: events, seconds: 3) { stopping.load(ordering: .relaxed) }
    receiver.stop()
    return (receiver.answered, receiver.reasons)
  }
}
