// Hot: no allocation, existential, String, await or Foundation per event in the steady state.
import Events
import Glibc
import Kafka
import Logging
import Model
import Telemetry

/// Why a session of the stream predictor ended.
enum StreamPredictorError: Error, CustomStringConvertible {
  case partitionsDiffer(features: String, Int, predictions: String, Int)
  case notDelivered(KafkaError)
  case clientFailed(KafkaError)
  case startOfLogPassed(topic: String, partition: Int32, offset: Int64)

  var description: String {
    switch self {
    case .partitionsDiffer(let features, let featureCount, let predictions, let predictionCount):
      """
      topic \(predictions) has \(predictionCount) partitions and \(features) has \(featureCount): \
      each prediction goes to its event's partition; create \(predictions) with \(featureCount) partitions
      """
    case .notDelivered(let error): "a prediction was not delivered: \(error)"
    case .clientFailed(let error): "the Kafka client failed: \(error)"
    case .startOfLogPassed(let topic, let partition, let offset):
      "\(topic)/\(partition): offset \(offset) is no longer in the log"
    }
  }
}

func pause(milliseconds: UInt32) { usleep(milliseconds * 1_000) }

/// One life of the predictor's Kafka clients, on the predictor's thread.
final class StreamPredictorSession: @unchecked Sendable {
  private let arms: [Arm]
  private let armCount: Int
  private let batch: PredictionBatch
  private let settings: StreamPredictorSettings
  private let metrics: StreamPredictorMetrics
  private let logger: Logger

  private let consumer: KafkaConsumer
  private let producer: KafkaProducer
  private let predictions: ProducerTopic
  private let deadLetters: ProducerTopic
  private let featuresIndex: Int
  /// The key of each arm's predictions: "model/arm".
  private let keys: [UnsafeRawBufferPointer]

  private var tracker: OutputTracker
  private var failure: StreamPredictorError?
  private var isPaused = false

  /// What the current poll brought for each features partition.
  private struct Polled {
    var from: Int64 = 0
    var to: Int64 = 0
    var slot: OutputTracker.Slot = -1
    /// The offset that follows all that was taken since the partition was assigned; -1 before the first.
    var expected: Int64 = -1
  }
  private var polled: [Polled]

  init(
    model: String, batch: PredictionBatch, kafka: KafkaSettings,
    settings: StreamPredictorSettings, metrics: StreamPredictorMetrics, logger: Logger
  ) throws {
    arms = batch.arms
    armCount = batch.armNames.count
    self.batch = batch
    self.settings = settings
    self.metrics = metrics
    self.logger = logger
    tracker = OutputTracker(rangesMax: settings.openRangesMax)
    producer = try KafkaProducer(kafka, lingerMilliseconds: settings.lingerMilliseconds, logger: logger)
    predictions = try producer.topic(settings.predictionsTopic)
    deadLetters = try producer.topic(settings.deadLetterTopic)
    let features = try producer.topic(settings.featuresTopic)
    guard predictions.partitionCount >= features.partitionCount else {
      throw StreamPredictorError.partitionsDiffer(
        features: features.name, features.partitionCount, predictions: predictions.name,
        predictions.partitionCount)
    }
    polled = Array(repeating: Polled(), count: features.partitionCount)
    consumer = try KafkaConsumer(kafka, group: settings.group, isolation: .readUncommitted, logger: logger)
    featuresIndex = try consumer.topicIndex(settings.featuresTopic)
    keys = batch.armNames.map { arm in
      let bytes = Array("\(model)/\(arm)".utf8)
      let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
      copy.copyBytes(from: bytes)
      return UnsafeRawBufferPointer(copy)
    }
  }

  deinit { for key in keys { key.deallocate() } }

  func wakeUp() { consumer.wakeUp() }

  /// Frees the clients. Nobody may wake them any more.
  func close() {
    consumer.close()
    producer.close()
  }

  /// Works until `until` says so, or throws what made going on impossible. Either way nothing that was
  /// answered is lost: offsets are committed only for what was acknowledged.
  func run(until isStopRequested: () -> Bool, onReadiness: (String?) -> Void) throws {
    consumer.onEvent = { [unowned self] in handle($0) }
    producer.onEvent = { [unowned self] in
      if case .fatal(let error) = $0 { failure = .clientFailed(error) }
    }
    try consumer.subscribe([settings.featuresTopic], onRebalance: { [unowned self] _, change in rebalance(change) })
    onReadiness("waiting for features partitions")
    var told = false
    var nextCommit = MonotonicClock.nanoseconds()
    while !isStopRequested() {
      try waitWhileArmsCatchUp(isStopRequested)
      if tracker.openCount < settings.openRangesMax {
        let idle: Int32 = tracker.openCount > 0 ? 5 : 100
        consumer.poll(timeoutMilliseconds: idle, max: settings.pollEventsMax) { (messages: borrowing MessageBatch) in
          take(messages)
        }
        settle(timeoutMilliseconds: 0)
      } else {
        settle(timeoutMilliseconds: 5)
      }
      if let failure { throw failure }
      if !told, try !consumer.assignment().isEmpty {
        told = true
        onReadiness(nil)
      }
      let now = MonotonicClock.nanoseconds()
      if now >= nextCommit {
        nextCommit = now + settings.commitIntervalMilliseconds * 1_000_000
        storeAcknowledged()
        try? consumer.commit()
        reportLag()
      }
    }
    onReadiness("stopping")
    finish()
  }

  // MARK: One poll

  private func take(_ messages: borrowing MessageBatch) {
    let start = MonotonicClock.nanoseconds()
    batch.removeAll()
    for partition in polled.indices { polled[partition].slot = -1 }
    let count = messages.count
    var oldest = Int64.max
    for index in 0..<count {
      let message = messages[index]
      let offset = message.offset
      let partition = Int(message.partition)
      while partition >= polled.count { polled.append(Polled()) }
      if polled[partition].slot == -1 {
        polled[partition].from = offset
        polled[partition].slot = -2
      }
      polled[partition].to = offset &+ 1
      let value = message.value ?? UnsafeRawBufferPointer(start: nil, count: 0)
      let decoded = batch.add(
        partition: message.partition, offset: offset, value: value, contentType: message.header("content-type"))
      if !decoded { sendDeadLetterLater(index) }
      let stamp = message.timestampMilliseconds
      if stamp > 0 && stamp < oldest { oldest = stamp }
    }
    for partition in polled.indices where polled[partition].slot == -2 { open(partition) }
    let decoded = MonotonicClock.nanoseconds()
    while !batch.score() && failure == nil { settle(timeoutMilliseconds: 1) }
    let scored = MonotonicClock.nanoseconds()
    for arm in 0..<armCount {
      let key = keys[arm]
      for index in batch.items.indices {
        let item = batch.items[index]
        send(batch.encode(item, arm: arm), key: key, partition: item.partition)
      }
    }
    for index in deadLettersToSend { sendDeadLetter(messages[index], batch.items[index]) }
    deadLettersToSend.removeAll(keepingCapacity: true)
    for partition in polled.indices where polled[partition].slot >= 0 { tracker.seal(polled[partition].slot) }
    let produced = MonotonicClock.nanoseconds()
    metrics.events.add(count)
    metrics.predictions.add(count &* armCount)
    if batch.unknownFeatures > 0 { metrics.unknownFeatures.add(batch.unknownFeatures) }
    metrics.batchRows.record(count)
    metrics.decode.record(nanoseconds: decoded - start)
    metrics.score.record(nanoseconds: scored - decoded)
    metrics.produce.record(nanoseconds: produced - scored)
    if oldest != Int64.max {
      metrics.age.record(nanoseconds: max(0, WallClock.milliseconds() - oldest) &* 1_000_000)
    }
    metrics.openRanges.set(Double(tracker.openCount))
  }

  private func open(_ partition: Int) {
    let range = polled[partition]
    let missing = range.expected >= 0 && range.expected < range.from
    polled[partition].expected = range.to
    while failure == nil {
      if let slot = tracker.open(
        partition: Int32(truncatingIfNeeded: partition), from: missing ? range.expected : range.from, to: range.to)
      {
        polled[partition].slot = slot
        if missing { coverGap(partition: Int32(truncatingIfNeeded: partition), from: range.expected, to: range.from) }
        return
      }
      settle(timeoutMilliseconds: 5)
    }
  }

  /// Offsets that hold no record any more (trimmed before they were answered) are covered all the same.
  private func coverGap(partition: Int32, from: Int64, to: Int64) {
    metrics.missing.add(Int(clamping: to - from))
    for arm in 0..<armCount {
      send(batch.encodeGap(from: from, to: to, arm: arm), key: keys[arm], partition: partition)
    }
  }

  private func send(_ value: UnsafeRawBufferPointer, key: UnsafeRawBufferPointer, partition: Int32) {
    let slot = polled[Int(partition)].slot
    guard slot >= 0, failure == nil else { return }
    tracker.expect(slot)
    while true {
      switch producer.produce(
        predictions, partition: partition, key: key, value: value, opaque: UInt(bitPattern: slot))
      {
      case .queued: return
      case .queueFull: settle(timeoutMilliseconds: 2)
      case .failed(let error):
        failure = .notDelivered(error)
        return
      }
      if failure != nil { return }
    }
  }

  // MARK: Dead letters

  private var deadLettersToSend: [Int] = []
  private func sendDeadLetterLater(_ index: Int) { deadLettersToSend.append(index) }

  private func sendDeadLetter(_ message: KafkaMessage, _ item: PredictionBatch.Item) {
    guard let problem = batch.problem(of: item) else { return }
    let slot = polled[Int(item.partition)].slot
    guard slot >= 0, failure == nil else { return }
    metrics.deadLetter(reason: problem.reason.rawValue)
    let contentType = message.header("content-type").map { String(decoding: $0, as: UTF8.self) }
    var letter = DeadLetter(
      problem, topic: settings.featuresTopic, partition: item.partition, offset: item.offset, contentType: contentType)
    let value = message.value.map { letter.carry($0) }
    let headers = KafkaHeaders()
    for (name, value) in letter.headers { headers.append(name, value) }
    tracker.expect(slot)
    while true {
      switch producer.produce(
        deadLetters, partition: item.partition % Int32(clamping: deadLetters.partitionCount), key: message.key,
        value: value, headers: headers, opaque: UInt(bitPattern: slot))
      {
      case .queued: return
      case .queueFull: settle(timeoutMilliseconds: 2)
      case .failed(let error):
        failure = .notDelivered(error)
        return
      }
      if failure != nil { return }
    }
  }

  // MARK: Acknowledgement

  private func settle(timeoutMilliseconds: Int32) {
    producer.poll(timeoutMilliseconds: timeoutMilliseconds) { opaque, _, _, error in
      if let error {
        if failure == nil { failure = .notDelivered(error) }
      } else {
        tracker.acknowledge(Int(bitPattern: opaque))
      }
    }
    if producer.needsRecreation && failure == nil {
      failure = .clientFailed(KafkaError(code: .fatal, message: "the producer can send nothing more", isFatal: true))
    }
  }

  private func storeAcknowledged() {
    tracker.takeCommittable { partition, next in
      // Fails for a partition that is no longer ours: its next owner answers again, readers drop it.
      try? consumer.storeOffset(topic: featuresIndex, partition: partition, next: next)
    }
  }

  private func rebalance(_ change: Rebalance) {
    switch change {
    case .assigned(let partitions):
      for partition in partitions {
        let index = Int(partition.partition)
        while index >= polled.count { polled.append(Polled()) }
        polled[index].expected = if case .exact(let offset) = partition.offset { offset } else { -1 }
      }
      logger.info("Features partitions assigned", metadata: ["partitions": "\(partitions.map(\.partition))"])
    case .revoked(let partitions, let lost):
      if !lost {
        drain(milliseconds: 2_000)
        storeAcknowledged()
      }
      for partition in partitions { tracker.forget(partition.partition) }
    }
  }

  /// Waits for the reports of everything handed over.
  private func drain(milliseconds: Int64) {
    let deadline = MonotonicClock.nanoseconds() + milliseconds * 1_000_000
    while tracker.openCount > 0 && failure == nil && MonotonicClock.nanoseconds() < deadline {
      settle(timeoutMilliseconds: 10)
    }
  }

  private func finish() {
    drain(milliseconds: 10_000)
    storeAcknowledged()
    do { try consumer.commit(timeoutMilliseconds: 3_000) } catch {
      logger.warning("Offsets were not committed; the next start answers some events again", metadata: ["error": "\(error)"])
    }
  }

  // MARK: Events

  private func handle(_ event: ConsumerEvent) {
    switch event {
    case .brokersUnreachable(let error):
      logger.warning("No Kafka broker answers; trying on", metadata: ["error": "\(error)"])
    case .offsetOutOfRange(_, let partition, let offset, _):
      // Retention passed us, or the topic was made anew: go on at the start of the log, and say so.
      logger.error(
        "Features were trimmed before they were answered; going on at the start of the log",
        metadata: ["partition": "\(partition)", "offset": "\(offset)"])
      tracker.forget(partition)
      do { try consumer.seek(topic: featuresIndex, partition: partition, to: .beginning) } catch {
        failure = .startOfLogPassed(topic: settings.featuresTopic, partition: partition, offset: offset)
      }
    case .fatal(let error): failure = .clientFailed(error)
    case .partitionError(_, let partition, let error):
      logger.warning("Features partition cannot be read now", metadata: ["partition": "\(partition)", "error": "\(error)"])
    case .commitFailed(let error): logger.warning("Offsets were not committed", metadata: ["error": "\(error)"])
    case .error(let error): logger.warning("Kafka consumer", metadata: ["error": "\(error)"])
    case .partitionEnd: break
    }
  }

  /// An arm that stops being ready answers nothing. For a moment the records just wait; a longer wait pauses
  /// the partitions, so that polling can go on and the group does not take this member for stuck.
  private func waitWhileArmsCatchUp(_ isStopRequested: () -> Bool) throws {
    if !isPaused {
      guard !armsAreReady else { return }
      let deadline = MonotonicClock.nanoseconds() + 2_000_000_000
      while !armsAreReady && !isStopRequested() && MonotonicClock.nanoseconds() < deadline {
        settle(timeoutMilliseconds: 1)
      }
      guard !armsAreReady && !isStopRequested() else { return }
      try consumer.pauseAll()
      isPaused = true
    } else if armsAreReady {
      try consumer.resumeAll()
      isPaused = false
    }
  }

  private var armsAreReady: Bool {
    for arm in arms where !arm.isReady() { return false }
    // A version that is served no more is let go even when no events come; a model that was unloaded has none.
    batch.refresh()
    return batch.isAnswerable
  }

  private func reportLag() {
    for partition in polled.indices {
      let number = Int32(truncatingIfNeeded: partition)
      if let (_, high) = consumer.lastSeenWatermarks(topic: featuresIndex, partition: number),
        let position = try? consumer.position(topic: featuresIndex, partition: number)
      {
        metrics.lag(partition: number, records: max(0, high - position))
      }
    }
  }
}
