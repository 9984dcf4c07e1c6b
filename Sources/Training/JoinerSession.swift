// Hot: no allocation, existential, String, await or Foundation per record in the steady state.
import Events
import Kafka
import Learning
import Logging
import Model
import Telemetry

/// Why a session of the joiner ended.
enum JoinerServiceError: Error, CustomStringConvertible {
  case partitionsDiffer([(topic: String, count: Int)])
  case noSuchPartition(Int32, count: Int)
  case clientFailed(KafkaError)

  var description: String {
    switch self {
    case .partitionsDiffer(let topics):
      """
      \(topics.map { "\($0.topic) has \($0.count) partitions" }.joined(separator: ", ")): features, labels and examples \
      must have the same number, since an event and its label meet in one; create the topics anew with equal counts
      """
    case .noSuchPartition(let partition, let count):
      "partition \(partition) is to be joined, but the topics have \(count); change the joiner's partitions or the topics"
    case .clientFailed(let error): "the Kafka client failed: \(error)"
    }
  }
}

/// One life of the joiner's Kafka clients, on the joiner's thread.
final class JoinerSession: @unchecked Sendable {
  /// One partition: its joiner, and what is on the way for it.
  private final class Lane {
    let partition: Int32
    let joiner: Joiner
    var told = JoinerCounts()
    /// Batches that wait for dead letters or for room in the producer, oldest first.
    var held: [(bytes: [UInt8], deadLetters: Int)] = []
    var deadLettersSettled = 0
    var restarts = 0
    var failure: Joiner.Failure?
    /// Which topics are assigned, and which of those are paused: features, labels, examples.
    var isAssigned = [false, false, false]
    var isPaused = [false, false, false]
    /// The oldest record timestamp among this turn's labels.
    var oldestLabelMilliseconds = Int64.max

    init(partition: Int32, joiner: Joiner) {
      self.partition = partition
      self.joiner = joiner
    }
  }

  private enum Topic { static let features = 0, labels = 1, examples = 2 }

  private let settings: JoinerServiceSettings
  private let metrics: JoinerMetrics
  private let logger: Logger
  private let consumer: KafkaConsumer
  private let producer: KafkaProducer
  private let examples: ProducerTopic
  private let deadLetters: ProducerTopic
  private let topicNames: [String]
  /// The consumer's index of each of our three topics.
  private var topicIndices: [Int] = []
  private let events: EventDecoder
  private let labels: LabelDecoder
  /// What the models take; a label must suit one of them.
  private let taken: [(labels: ClosedRange<Double>, weights: ClosedRange<Double>)]
  private let rows = RowBatch()
  private let lanes: [Lane]
  /// Partition number to lane; -1: not ours.
  private let laneOf: [Int]
  private var failure: JoinerServiceError?
  private var isStopping = false

  init(
    specification: ModelSpecification, kafka: KafkaSettings, settings: JoinerServiceSettings, metrics: JoinerMetrics, logger: Logger
  ) throws {
    self.settings = settings
    self.metrics = metrics
    self.logger = logger
    events = EventDecoder(specification: specification, limits: settings.limits)
    labels = LabelDecoder(limits: settings.limits)
    taken = (settings.models.isEmpty ? [specification] : settings.models).map { ($0.labelRange, 0...max(0, $0.label.weightMax)) }
    let producer = try KafkaProducer(kafka, logger: logger)
    self.producer = producer
    let topicNames = [settings.featuresTopic, settings.labelsTopic, settings.examplesTopic]
    self.topicNames = topicNames
    let counts = try topicNames.map { name in (topic: name, count: try producer.topic(name).partitionCount) }
    guard counts.allSatisfy({ $0.count == counts[0].count }) else { throw JoinerServiceError.partitionsDiffer(counts) }
    examples = try producer.topic(settings.examplesTopic)
    deadLetters = try producer.topic(settings.deadLetterTopic)
    let count = counts[0].count
    let partitions = settings.partitions ?? (0..<Int32(clamping: count)).map { $0 }
    if let wrong = partitions.first(where: { $0 < 0 || Int($0) >= count }) {
      throw JoinerServiceError.noSuchPartition(wrong, count: count)
    }
    var random = SystemRandomNumberGenerator()
    let joinerSettings = settings.joiner ?? JoinerSettings(specification)
    lanes = partitions.map { Lane(partition: $0, joiner: Joiner(joinerSettings, seed: random.next())) }
    var laneOf = Array(repeating: -1, count: count)
    for (index, partition) in partitions.enumerated() { laneOf[Int(partition)] = index }
    self.laneOf = laneOf
    consumer = try KafkaConsumer(kafka, group: nil, isolation: .readUncommitted, reportsPartitionEnds: true, logger: logger)
    for name in topicNames { topicIndices.append(try consumer.topicIndex(name)) }
    for index in lanes.indices {
      let lane = lanes[index]
      lane.joiner.onBatch = { [unowned self] batch, record in append(batch, record, index) }
      lane.joiner.onDeadLetter = { [unowned self] offset, problem, form, record in
        let contentType = form.contentType
        sendDeadLetter(
          lane, offset, reason: problem.rawValue, field: "id", message: Self.message(problem), contentType: "\(contentType)", record)
      }
    }
  }

  func wakeUp() { consumer.wakeUp() }

  /// Frees the clients. Nobody may wake them any more.
  func close() {
    consumer.close()
    producer.close()
  }

  // MARK: The loop

  /// Works until `until` says so, or throws what made going on impossible.
  func run(until isStopRequested: () -> Bool, onReadiness: (String?) -> Void) throws {
    consumer.onEvent = { [unowned self] in handle($0) }
    producer.onEvent = { [unowned self] in
      if case .fatal(let error) = $0 { failure = .clientFailed(error) }
    }
    var nextReport = MonotonicClock.nanoseconds()
    onReadiness("reading what was decided before")
    var reason: String? = "reading what was decided before"
    while !isStopRequested() {
      try turn(waitMilliseconds: 50)
      let now = MonotonicClock.nanoseconds()
      if now >= nextReport {
        nextReport = now + 200_000_000
        report()
      }
      let current = unreadyReason
      if current != reason {
        reason = current
        onReadiness(current)
      }
    }
    onReadiness("stopping")
    try finish()
    report()
  }

  private var unreadyReason: String? {
    for lane in lanes where lane.joiner.phase != .live {
      if let failure = lane.joiner.failure { return "partition \(lane.partition): \(failure)" }
      if lane.joiner.counts.accepted == 0 { return "partition \(lane.partition): reading what was decided before" }
    }
    return nil
  }

  private func turn(waitMilliseconds: Int32) throws {
    startLanes()
    try steer()
    let isHeld = lanes.contains { !$0.held.isEmpty }
    consumer.poll(timeoutMilliseconds: isHeld ? 1 : waitMilliseconds, max: settings.pollRecordsMax) {
      (messages: borrowing MessageBatch) in take(messages)
    }
    settle(timeoutMilliseconds: 0)
    let now = MonotonicClock.nanoseconds()
    let quietTime = lanes.count > 1 ? watermarkOfBusy : nil
    for index in lanes.indices {
      let lane = lanes[index]
      lane.joiner.tell(nowNanoseconds: now, wallMilliseconds: WallClock.milliseconds())
      lane.joiner.turn(nowNanoseconds: now, elsewhereMilliseconds: quietTime)
      if lane.oldestLabelMilliseconds != .max {
        metrics.labelAge.record(nanoseconds: max(0, WallClock.milliseconds() - lane.oldestLabelMilliseconds) &* 1_000_000)
      }
      notice(lane)
      flush(lane, index)
      lane.oldestLabelMilliseconds = .max
    }
    if let failure { throw failure }
    if producer.needsRecreation {
      throw JoinerServiceError.clientFailed(KafkaError(code: .fatal, message: "the producer can send no more", isFatal: true))
    }
  }

  /// The least watermark of the partitions that are not quiet: what quiet ones may follow.
  private var watermarkOfBusy: Int64? {
    var least: Int64?
    for lane in lanes where lane.joiner.phase == .live && !lane.joiner.isQuiet {
      guard let time = lane.joiner.watermarkMilliseconds else { return nil }
      least = min(least ?? time, time)
    }
    return least
  }

  /// A joiner that started over leaves nothing behind.
  private func notice(_ lane: Lane) {
    let counts = lane.joiner.counts
    guard counts.restarts != lane.restarts else { return }
    lane.restarts = counts.restarts
    lane.held.removeAll()
    if let failure = lane.joiner.failure, failure != lane.failure {
      logger.error("Joining cannot go on", metadata: ["partition": "\(lane.partition)", "reason": "\(failure)"])
    } else if lane.joiner.failure == nil {
      logger.notice("Joining starts over: another joiner's batch was accepted, or an own one was lost",
        metadata: ["partition": "\(lane.partition)", "restarts": "\(counts.restarts)"])
    }
    lane.failure = lane.joiner.failure
  }

  // MARK: Where to read

  private func startLanes() {
    let now = MonotonicClock.nanoseconds()
    for lane in lanes where lane.joiner.phase == .idle && now >= lane.joiner.startNanoseconds && !isStopping {
      do {
        // Examples first: what they cover is then below the ends of the others.
        let examples = try ends(Topic.examples, lane)
        let features = try ends(Topic.features, lane)
        let labels = try ends(Topic.labels, lane)
        lane.joiner.tell(nowNanoseconds: now, wallMilliseconds: WallClock.milliseconds())
        lane.joiner.start(.init(examples: examples, features: features, labels: labels), nowNanoseconds: now)
      } catch {
        lane.joiner.postpone(nowNanoseconds: MonotonicClock.nanoseconds())
        logger.warning("The ends of the topics are not known", metadata: ["partition": "\(lane.partition)", "error": "\(error)"])
      }
    }
  }

  private func ends(_ topic: Int, _ lane: Lane) throws -> Range<Int64> {
    let (low, high) = try consumer.watermarks(topic: topicNames[topic], partition: lane.partition, timeoutMilliseconds: 5_000)
    return low..<max(low, high)
  }

  /// Brings pauses and positions to what the joiners want.
  private func steer() throws {
    for lane in lanes {
      let joiner = lane.joiner
      let reads = [joiner.readsFeatures && !isStopping, joiner.readsLabels && !isStopping, joiner.readsExamples]
      let seeks = [joiner.seekFeatures, joiner.seekLabels, joiner.seekExamples]
      for topic in 0..<3 {
        if let offset = seeks[topic] { try move(lane, topic, to: offset) }
        guard lane.isAssigned[topic], lane.isPaused[topic] == reads[topic] else { continue }
        if reads[topic] {
          try consumer.resume(topic: topicIndices[topic], partition: lane.partition)
        } else {
          try consumer.pause(topic: topicIndices[topic], partition: lane.partition)
        }
        lane.isPaused[topic] = !reads[topic]
      }
      joiner.seekFeatures = nil
      joiner.seekLabels = nil
      joiner.seekExamples = nil
    }
  }

  private func move(_ lane: Lane, _ topic: Int, to offset: Int64) throws {
    // Resumed first: librdkafka resumes at the last record that was handed out, and a seek before that would be forgotten.
    if lane.isAssigned[topic] && lane.isPaused[topic] {
      try consumer.resume(topic: topicIndices[topic], partition: lane.partition)
      lane.isPaused[topic] = false
    }
    if lane.isAssigned[topic] {
      try consumer.seek(topic: topicIndices[topic], partition: lane.partition, to: .exact(offset))
    } else {
      try consumer.addAssignments([
        TopicPartitionOffset(topic: topicNames[topic], partition: lane.partition, offset: .exact(offset))
      ])
      lane.isAssigned[topic] = true
      lane.isPaused[topic] = false
    }
  }

  private func handle(_ event: ConsumerEvent) {
    switch event {
    case .partitionEnd(let topic, let partition, let offset):
      guard let lane = lane(partition) else { return }
      switch topic {
      case topicIndices[Topic.features]: lane.joiner.reachedFeatures(offset)
      case topicIndices[Topic.labels]: lane.joiner.reachedLabels(offset)
      default: lane.joiner.reachedExamples(offset)
      }
    case .offsetOutOfRange(let topic, let partition, let offset, let error):
      guard let lane = lane(partition) else { return }
      logger.error(
        "An offset is not in the log", metadata: [
          "topic": "\(consumer.topicName(topic))", "partition": "\(partition)", "offset": "\(offset)", "error": "\(error)",
        ])
      // The start finds out what is gone, counts it, and goes on behind it or says why not.
      lane.joiner.interrupt(nowNanoseconds: MonotonicClock.nanoseconds())
    case .fatal(let error): failure = .clientFailed(error)
    case .brokersUnreachable(let error), .error(let error), .commitFailed(let error):
      logger.warning("Kafka", metadata: ["error": "\(error)"])
    case .partitionError(let topic, let partition, let error):
      logger.warning("Kafka", metadata: ["topic": "\(consumer.topicName(topic))", "partition": "\(partition)", "error": "\(error)"])
    }
  }

  @inline(__always)
  private func lane(_ partition: Int32) -> Lane? {
    guard partition >= 0, Int(partition) < laneOf.count, laneOf[Int(partition)] >= 0 else { return nil }
    return lanes[laneOf[Int(partition)]]
  }

  // MARK: Records

  private func take(_ messages: borrowing MessageBatch) {
    let now = MonotonicClock.nanoseconds()
    let wall = WallClock.milliseconds()
    for lane in lanes { lane.joiner.tell(nowNanoseconds: now, wallMilliseconds: wall) }
    for index in 0..<messages.count {
      let message = messages[index]
      guard let lane = lane(message.partition) else { continue }
      let value = message.value ?? UnsafeRawBufferPointer(start: nil, count: 0)
      if message.topic == topicIndices[Topic.labels] {
        takeLabel(message, value, lane)
      } else if message.topic == topicIndices[Topic.features] {
        takeFeature(message, value, lane)
      } else {
        lane.joiner.examples(offset: message.offset, value: value, contentType: message.header("content-type"))
      }
    }
  }

  private func takeFeature(_ message: KafkaMessage, _ value: UnsafeRawBufferPointer, _ lane: Lane) {
    guard lane.joiner.takesFeature(message.offset) else { return }
    rows.removeAll()
    let event = events.decode(value, contentType: message.header("content-type"), into: rows)
    // A record of several rows has one id for all of them: no label can say which it means.
    guard event.ok, event.rowCount == 1, event.id.count > 0 else {
      return lane.joiner.skipFeature(offset: message.offset, record: value)
    }
    lane.joiner.feature(
      offset: message.offset, id: event.id,
      timeMilliseconds: event.eventTimeMilliseconds == .min ? message.timestampMilliseconds : event.eventTimeMilliseconds,
      form: event.form, label: event.label, weight: event.weight, record: value)
  }

  private func takeLabel(_ message: KafkaMessage, _ value: UnsafeRawBufferPointer, _ lane: Lane) {
    guard lane.joiner.takesLabel(message.offset) else { return }
    let label = labels.decode(value, contentType: message.header("content-type"))
    guard label.ok else {
      if lane.joiner.isNewLabel(message.offset) { sendDeadLetter(lane, message, value) }
      return lane.joiner.badLabel(offset: message.offset, record: value)
    }
    // Before it meets its event: the right label may still come.
    guard isTaken(label.value, label.weight) else {
      if lane.joiner.isNewLabel(message.offset) { sendDeadLetter(lane, message, value, outside(label.value, label.weight)) }
      return lane.joiner.badLabel(offset: message.offset, record: value)
    }
    if message.timestampMilliseconds > 0 { lane.oldestLabelMilliseconds = min(lane.oldestLabelMilliseconds, message.timestampMilliseconds) }
    lane.joiner.label(
      offset: message.offset, id: label.id,
      timeMilliseconds: label.eventTimeMilliseconds == .min ? message.timestampMilliseconds : label.eventTimeMilliseconds,
      value: label.value, weight: label.weight, form: label.form, record: value)
  }

  @inline(__always)
  private func isTaken(_ label: Double, _ weight: Double) -> Bool {
    for model in taken where model.labels.contains(label) && model.weights.contains(weight) { return true }
    return false
  }

  private func outside(_ label: Double, _ weight: Double) -> EventProblem {
    func text(_ ranges: [ClosedRange<Double>]) -> String {
      ranges.map { "\($0.lowerBound) to \($0.upperBound)" }.joined(separator: " or ")
    }
    if taken.contains(where: { $0.labels.contains(label) }) {
      return EventProblem(reason: .numberOutOfRange, field: "weight", message: "\(weight) is outside of what the model takes: \(text(taken.map(\.weights)))")
    }
    return EventProblem(reason: .labelOutOfRange, field: "label", message: "\(label) is outside of what the model takes: \(text(taken.map(\.labels)))")
  }

  // MARK: Batches

  private func append(_ batch: Joiner.Batch, _ record: UnsafeRawBufferPointer, _ index: Int) {
    let lane = lanes[index]
    metrics.batchExamples.record(Int(batch.header.count))
    metrics.batchBytes.record(record.count)
    if lane.held.isEmpty, lane.deadLettersSettled >= batch.deadLetterCount, produce(record, lane, index) { return }
    lane.held.append((Array(record), batch.deadLetterCount))
  }

  private func produce(_ record: UnsafeRawBufferPointer, _ lane: Lane, _ index: Int) -> Bool {
    // The record's time is that of its oldest label: the trainer passes it on, and freshness counts from it.
    let stamp = lane.oldestLabelMilliseconds == .max ? 0 : lane.oldestLabelMilliseconds
    switch producer.produce(
      examples, partition: lane.partition, value: record, timestampMilliseconds: stamp,
      opaque: Self.opaque(index, restarts: lane.joiner.counts.restarts, isDeadLetter: false))
    {
    case .queued: return true
    case .queueFull: return false
    case .failed(let error):
      if failure == nil { failure = .clientFailed(error) }
      return true
    }
  }

  private func flush(_ lane: Lane, _ index: Int) {
    var sent = 0
    for item in lane.held {
      guard lane.deadLettersSettled >= item.deadLetters, item.bytes.withUnsafeBytes({ produce($0, lane, index) }) else { break }
      sent += 1
    }
    if sent > 0 { lane.held.removeFirst(sent) }
  }

  private static let laneMask: UInt = (1 << 23) - 1
  private static let restartsMask: UInt = (1 << 40) - 1

  /// What a delivery report brings back: the kind, the lane, and which life of its joiner it belongs to.
  private static func opaque(_ index: Int, restarts: Int, isDeadLetter: Bool) -> UInt {
    (UInt(restarts) & restartsMask) << 24 | UInt(index) << 1 | (isDeadLetter ? 1 : 0)
  }

  /// Takes delivery reports.
  private func settle(timeoutMilliseconds: Int32) {
    producer.poll(timeoutMilliseconds: timeoutMilliseconds) { [unowned self] opaque, _, _, error in delivered(opaque, error) }
  }

  private func delivered(_ opaque: UInt, _ error: KafkaError?) {
    let lane = lanes[Int(opaque >> 1 & Self.laneMask)]
    if opaque & 1 == 1 {
      lane.deadLettersSettled += 1
      if let error { loseDeadLetter(lane, error) }
    } else if let error, opaque >> 24 == UInt(lane.joiner.counts.restarts) & Self.restartsMask {
      // Whether it is in the log is not known: the log will say.
      logger.warning("A batch of examples is not delivered", metadata: ["partition": "\(lane.partition)", "error": "\(error)"])
      lane.joiner.interrupt(nowNanoseconds: MonotonicClock.nanoseconds())
    }
  }

  // MARK: Dead letters

  private static func message(_ problem: Joiner.LabelProblem) -> String {
    switch problem {
    case .withoutEvent: "no event with this id came within the join window"
    case .waitingFull: "no event with this id had come, and too many labels waited"
    case .afterExpiry: "the event with this id had expired early, because too many events waited"
    }
  }

  private func sendDeadLetter(
    _ lane: Lane, _ message: KafkaMessage, _ record: UnsafeRawBufferPointer, _ problem: EventProblem? = nil
  ) {
    let problem = problem ?? labels.problem()
    let contentType = message.header("content-type").map { String(decoding: $0, as: UTF8.self) }
    sendDeadLetter(
      lane, message.offset, reason: problem.reason.rawValue, field: problem.field, message: problem.message, contentType: contentType,
      record)
  }

  private func sendDeadLetter(
    _ lane: Lane, _ offset: Int64, reason: String, field: String, message: String, contentType: String?,
    _ record: UnsafeRawBufferPointer
  ) {
    var letter = DeadLetter(
      EventProblem(reason: .other, field: field, message: message), topic: settings.labelsTopic, partition: lane.partition,
      offset: offset, contentType: contentType)
    letter.reason = reason
    let value = letter.carry(record)
    let headers = KafkaHeaders()
    for header in letter.headers { headers.append(header.name, header.value) }
    metrics.deadLetter(reason: reason)
    let index = laneOf[Int(lane.partition)]
    let target = lane.partition % Int32(clamping: deadLetters.partitionCount)
    while failure == nil {
      switch producer.produce(deadLetters, partition: target, value: value, headers: headers, opaque: Self.opaque(index, restarts: 0, isDeadLetter: true)) {
      case .queued: return
      case .queueFull: settle(timeoutMilliseconds: 5)
      case .failed(let error):
        lane.deadLettersSettled += 1
        return loseDeadLetter(lane, error)
      }
    }
  }

  private func loseDeadLetter(_ lane: Lane, _ error: KafkaError) {
    metrics.deadLettersLost.add()
    logger.error("A dead letter is lost", metadata: ["partition": "\(lane.partition)", "error": "\(error)"])
  }

  // MARK: The end

  /// Reads no more input, covers what was taken, and waits for its batches to come back.
  private func finish() throws {
    isStopping = true
    for lane in lanes { lane.joiner.finish() }
    let deadline = MonotonicClock.nanoseconds() + settings.stopMilliseconds * 1_000_000
    while MonotonicClock.nanoseconds() < deadline {
      for index in lanes.indices { flush(lanes[index], index) }
      if lanes.allSatisfy({ $0.joiner.phase != .live || ($0.held.isEmpty && $0.joiner.inFlightBatches == 0) }) { break }
      try turn(waitMilliseconds: 5)
    }
    producer.flush(timeoutMilliseconds: 1_000) { [unowned self] opaque, _, _, error in delivered(opaque, error) }
  }

  private func report() {
    for lane in lanes {
      let counts = lane.joiner.counts
      metrics.add(counts, since: lane.told)
      lane.told = counts
      let positions = lane.joiner.positions
      func lag(_ topic: Int, _ position: Int64) -> Int64? {
        consumer.lastSeenWatermarks(topic: topicIndices[topic], partition: lane.partition).map { max(0, $0.high - position) }
      }
      metrics.show(
        lane.joiner, partition: lane.partition, lagFeatures: lag(Topic.features, positions.features),
        lagLabels: lag(Topic.labels, positions.labels))
    }
  }
}
