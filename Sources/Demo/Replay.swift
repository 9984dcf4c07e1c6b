internal import Events
internal import Kafka
internal import Model
public import Telemetry

/// Sends a stream's questions and labels to a running system in event-time order and takes its predictions back.
///
/// One thread owns it: the one that calls `run`. `onProgress` is called there, between steps; it may read everything.
public final class Replay {
  public let stream: ReplayStream
  public let settings: ReplaySettings
  public let instance: DemoInstance
  public let scores: ModelScores
  public private(set) var audit = Audit()
  /// Question sent (at full steam: due) until the online arm's prediction is here.
  public let latency = LatencyHistogram()
  /// In lockstep: a step's labels sent until the online arm has applied them all. Otherwise what the instance tells.
  public var freshness: HistogramSnapshot? { isLockstep ? applied.snapshot() : instance.freshness?() }
  /// The event-time clock, milliseconds since 1970.
  public private(set) var clockMilliseconds: Int64 = 0
  public private(set) var questionsSent = 0
  public private(set) var labelsSent = 0
  /// Questions that the online arm has answered.
  public private(set) var answered = 0
  /// Of the stream's time, 0 ... 1.
  public private(set) var fraction = 0.0
  public private(set) var startNanoseconds = MonotonicClock.nanoseconds()
  /// Source offsets that were shed: gap records.
  public private(set) var shedOffsets: Int64 = 0

  private let isLockstep: Bool
  private let applied = LatencyHistogram()
  private let producer: KafkaProducer
  private let consumer: KafkaConsumer
  private let features: ProducerTopic
  private let labels: ProducerTopic
  private let headers: KafkaHeaders
  private let labelHeaders: KafkaHeaders
  private let events: EventWriter
  private let labelWriter: LabelWriter
  private let reader = PredictionReader()
  private let armNames: [[UInt8]]
  private let modelName: [UInt8]
  private let onlineIndex: Int
  /// When each question was sent, or was due.
  private var sentNanoseconds: [Int64]
  /// In lockstep the start of each question's tick.
  private var ticks: [Int64]
  private var nextLabel = 0
  private var labelOffsets: [Int64]
  private var labelsUndelivered = 0
  /// Question-and-arm pairs still to come.
  private var awaited = 0
  private var failure: ReplayError?

  /// Labels carry this bit in their opaque word, to be told from questions in delivery reports.
  private static let labelMark: UInt = 1
  private static let pollMax = 4096

  /// Connects; throws when topics are missing or do not fit together.
  public init(stream: ReplayStream, settings: ReplaySettings, instance: DemoInstance) throws(ReplayError) {
    self.stream = stream
    self.settings = settings
    self.instance = instance
    scores = ModelScores(arms: instance.arms, stream: stream)
    if case .lockstep = settings.pace { isLockstep = true } else { isLockstep = false }
    guard !isLockstep || instance.waitUntilLabelsApplied != nil else {
      throw .setup("lockstep needs the instance in this process: leave --bootstrap out, or use --speed")
    }
    guard let online = instance.arms.firstIndex(of: instance.onlineArm) else {
      throw .setup("the arms \(instance.arms) do not include \"\(instance.onlineArm)\"")
    }
    onlineIndex = online
    armNames = instance.arms.map { Array($0.utf8) }
    modelName = Array(instance.model.utf8)
    headers = KafkaHeaders()
    headers.append("content-type", "\(settings.form.contentType)")
    events = EventWriter(form: settings.form)
    labelWriter = LabelWriter(form: settings.form)
    labelHeaders = KafkaHeaders()
    labelHeaders.append("content-type", "\(labelWriter.form.contentType)")
    sentNanoseconds = [Int64](repeating: 0, count: stream.count)
    ticks = [Int64](repeating: 0, count: stream.count)
    do throws(KafkaError) {
      producer = try KafkaProducer(instance.kafka)
      features = try producer.topic(instance.featuresTopic)
      labels = try producer.topic(instance.labelsTopic)
      let predictions = try producer.topic(instance.predictionsTopic)
      labelOffsets = [Int64](repeating: 0, count: labels.partitionCount)
      consumer = try KafkaConsumer(instance.kafka, isolation: .readUncommitted)
      guard features.partitionCount == labels.partitionCount, features.partitionCount == predictions.partitionCount else {
        throw KafkaError(
          code: .unknownPartitionLocally,
          message: "\(features.name), \(labels.name) and \(predictions.name) have \(features.partitionCount), \(labels.partitionCount) and "
            + "\(predictions.partitionCount) partitions: they must have the same number")
      }
      // From exactly here, so that answers to earlier runs are left out and none to this one is missed.
      var starts: [TopicPartitionOffset] = []
      for partition in 0..<predictions.partitionCount {
        let ends = try consumer.watermarks(topic: predictions.name, partition: Int32(partition), timeoutMilliseconds: 10_000)
        starts.append(.init(topic: predictions.name, partition: Int32(partition), offset: .exact(ends.high)))
      }
      try consumer.assign(starts)
    } catch {
      throw .kafka(error)
    }
    consumer.onEvent = { [unowned self] event in
      if case .fatal(let error) = event { failure = failure ?? .kafka(error) }
    }
    producer.onEvent = { [unowned self] event in
      if case .fatal(let error) = event { failure = failure ?? .kafka(error) }
    }
    clockMilliseconds = stream.asks.first ?? 0
  }

  /// Replays the whole stream. Ends early with `ReplayError.stopped` when `isStopped` turns true; predictions so far stay scored.
  public func run(isStopped: () -> Bool = { false }, onProgress: (Replay) -> Void = { _ in }) throws(ReplayError) {
    startNanoseconds = MonotonicClock.nanoseconds()
    switch settings.pace {
    case .lockstep(let tick): try runLockstep(max(1, tick), isStopped, onProgress)
    case .speed(let speed): try runByTheClock(speed, isStopped, onProgress)
    }
    fraction = 1
    onProgress(self)
  }

  /// Ends the connections.
  public func close() {
    producer.flush(timeoutMilliseconds: 2_000) { _, _, _, _ in }
    producer.close { _, _, _, _ in }
    consumer.close()
  }

  public var elapsedSeconds: Double { Double(MonotonicClock.nanoseconds() - startNanoseconds) / 1e9 }

  // MARK: Lockstep

  private func runLockstep(_ tick: Int64, _ isStopped: () -> Bool, _ onProgress: (Replay) -> Void) throws(ReplayError) {
    var question = 0
    while question < stream.count {
      if isStopped() { throw .stopped }
      let start = CalendarTime.floorDivide(stream.asks[question], tick) * tick
      clockMilliseconds = start
      try teach(through: start)
      let now = MonotonicClock.nanoseconds()
      while question < stream.count, stream.asks[question] < start + tick {
        ticks[question] = start
        try ask(question, dueNanoseconds: now)
        question += 1
      }
      try takeAnswers()
      progress()
      onProgress(self)
    }
    // What is still in the air teaches too, so that the learner ends where the stream does.
    try teach(through: .max)
    onProgress(self)
  }

  /// Sends the labels that landed by `time` and waits until they are applied.
  private func teach(through time: Int64) throws(ReplayError) {
    let before = MonotonicClock.nanoseconds()
    let first = nextLabel
    try sendLabels(through: time)
    guard nextLabel > first else { return }
    var deadline = Deadline(settings.patienceMilliseconds)
    while labelsUndelivered > 0 {
      if producer.poll(timeoutMilliseconds: 1000, delivered) > 0 { deadline.restart() }
      try check()
      if deadline.hasPassed { throw .stalled("\(labelsUndelivered) labels are not acknowledged by the broker after \(deadline.text)") }
    }
    do {
      try instance.waitUntilLabelsApplied?(labelOffsets)
    } catch {
      throw .notApplied("labels up to \(CalendarTime.minute(milliseconds: clockMilliseconds)) are not applied: \(error)")
    }
    // One figure for each label, as each waited as long as the step at most.
    applied.record(nanoseconds: MonotonicClock.nanoseconds() - before, count: nextLabel - first)
  }

  /// Waits until all questions asked are answered by all arms.
  private func takeAnswers() throws(ReplayError) {
    var deadline = Deadline(settings.patienceMilliseconds)
    while awaited > 0 {
      let before = awaited
      consumer.poll(timeoutMilliseconds: 100, max: Self.pollMax) { batch in batch.forEach { take($0) } }
      producer.poll(timeoutMilliseconds: 0, delivered)
      try check()
      if awaited < before { deadline.restart() }
      if deadline.hasPassed { throw .stalled(missingText(after: deadline.text)) }
    }
    producer.poll(timeoutMilliseconds: 0, delivered)
  }

  // MARK: By the clock

  private func runByTheClock(_ speed: Double, _ isStopped: () -> Bool, _ onProgress: (Replay) -> Void) throws(ReplayError) {
    guard speed > 0, let origin = stream.asks.first else { throw .setup("a speed is above 0") }
    var question = 0
    var deadline = Deadline(settings.patienceMilliseconds)
    while question < stream.count || awaited > 0 {
      if isStopped() { throw .stopped }
      let elapsed = Double(MonotonicClock.nanoseconds() - startNanoseconds) / 1e6
      let isUnbounded = speed.isInfinite
      let clock = isUnbounded ? Int64.max : origin + Int64(min(elapsed * speed, 1e15))
      var sent = 0
      while question < stream.count, stream.asks[question] <= clock, sent < 512 {
        if isUnbounded, awaited >= settings.inFlightMax * instance.arms.count { break }
        // Labels before the questions that were asked after they landed.
        try sendLabels(through: stream.asks[question])
        let due = isUnbounded
          ? MonotonicClock.nanoseconds() : startNanoseconds + Int64(Double(stream.asks[question] - origin) / speed * 1e6)
        try ask(question, dueNanoseconds: due)
        clockMilliseconds = stream.asks[question]
        question += 1
        sent += 1
      }
      if !isUnbounded { try sendLabels(through: clock) }
      producer.poll(timeoutMilliseconds: 0, delivered)
      // Waiting for answers is the wait for the next question too, a millisecond at a time.
      let before = awaited
      consumer.poll(timeoutMilliseconds: sent == 512 ? 0 : 1, max: Self.pollMax) { batch in batch.forEach { take($0) } }
      try check()
      if awaited < before || sent > 0 || awaited == 0 { deadline.restart() }
      if deadline.hasPassed { throw .stalled(missingText(after: deadline.text)) }
      progress()
      onProgress(self)
    }
    try sendLabels(through: .max)
    producer.flush(timeoutMilliseconds: Int32(clamping: settings.patienceMilliseconds), delivered)
    try check()
  }

  // MARK: Sending

  private func ask(_ question: Int, dueNanoseconds: Int64) throws(ReplayError) {
    var digits = Digits(question)
    try digits.withBytes { (id) throws(ReplayError) in
      events.begin(id: id, key: nil, eventTimeMilliseconds: stream.asks[question])
      stream.write(question, events)
      try produce(features, id, events.finish(), headers, opaque: 0)
    }
    sentNanoseconds[question] = dueNanoseconds
    questionsSent += 1
    awaited += instance.arms.count
  }

  private func sendLabels(through time: Int64) throws(ReplayError) {
    while nextLabel < stream.count {
      let question = Int(stream.landingOrder[nextLabel])
      guard stream.lands[question] <= time else { return }
      var digits = Digits(question)
      try digits.withBytes { (id) throws(ReplayError) in
        let record = labelWriter.write(
          id: id, key: nil, eventTimeMilliseconds: stream.lands[question], label: Double(stream.labels[question]))
        labelsUndelivered += 1
        try produce(labels, id, record, labelHeaders, opaque: Self.labelMark)
      }
      scores.land(question: question)
      nextLabel += 1
      labelsSent += 1
    }
  }

  /// The id is the key: a question and its label meet in one partition.
  private func produce(
    _ topic: ProducerTopic, _ id: UnsafeRawBufferPointer, _ record: UnsafeRawBufferPointer, _ headers: KafkaHeaders, opaque: UInt
  ) throws(ReplayError) {
    let partition = Int32(partition(forKey: id, count: topic.partitionCount))
    var deadline = Deadline(settings.patienceMilliseconds)
    while true {
      switch producer.produce(topic, partition: partition, key: id, value: record, headers: headers, opaque: opaque) {
      case .queued: return
      case .failed(let error): throw .kafka(error)
      case .queueFull:
        if producer.poll(timeoutMilliseconds: 100, delivered) > 0 { deadline.restart() }
        try check()
        if deadline.hasPassed { throw .stalled("the broker takes no records: \(producer.outstandingCount) are waiting after \(deadline.text)") }
      }
    }
  }

  private func delivered(_ opaque: UInt, _ partition: Int32, _ offset: Int64, _ error: KafkaError?) {
    if let error {
      failure = failure ?? .kafka(error)
      return
    }
    guard opaque == Self.labelMark else { return }
    labelsUndelivered -= 1
    labelOffsets[Int(partition)] = max(labelOffsets[Int(partition)], offset + 1)
  }

  // MARK: Taking

  private func take(_ message: KafkaMessage) {
    guard let value = message.value else { return }
    guard reader.read(value, contentType: message.header("content-type")) else {
      failure = failure ?? .refused("a prediction at \(instance.predictionsTopic)/\(message.partition)@\(message.offset) cannot be read: \(reader.problem().message)")
      return
    }
    let prediction = reader.prediction
    guard prediction.model.elementsEqual(modelName), let arm = armNames.firstIndex(where: { prediction.arm.elementsEqual($0) }) else { return }
    switch prediction.kind {
    case .error:
      failure = failure ?? .refused(
        "arm \(instance.arms[arm]) refused the event at \(instance.featuresTopic)/\(message.partition)@\(prediction.from): "
          + String(decoding: prediction.errorMessage, as: UTF8.self))
    case .gap:
      shedOffsets += prediction.to - prediction.from
      // A shed question never gets a score; it is not waited for.
      awaited = max(0, awaited - Int(prediction.to - prediction.from))
      if isLockstep { failure = failure ?? .refused("questions were shed: \(String(decoding: prediction.gapReason, as: UTF8.self))") }
    case .scores:
      // Ids of other producers are left alone.
      guard let question = number(prediction.id), question < stream.count, sentNanoseconds[question] != 0, let score = prediction.scores.first
      else { return }
      guard scores.record(arm: arm, question: question, score: score) else { return }
      awaited -= 1
      // By the clock there is no such limit: an answer may know what landed while its question was on the way.
      if isLockstep {
        audit.check(
          question: question, arm: instance.arms[arm], tickMilliseconds: ticks[question],
          labelsThroughMilliseconds: prediction.labelsThroughMilliseconds)
      }
      guard arm == onlineIndex else { return }
      answered += 1
      latency.record(nanoseconds: MonotonicClock.nanoseconds() - sentNanoseconds[question])
    }
  }

  private func number(_ id: UnsafeRawBufferPointer) -> Int? {
    guard id.count > 0, id.count <= 10 else { return nil }
    var value = 0
    for byte in id {
      guard byte >= 48, byte <= 57 else { return nil }
      value = value * 10 + Int(byte - 48)
    }
    return value
  }

  private func check() throws(ReplayError) {
    if let failure { throw failure }
  }

  private func progress() {
    guard let first = stream.asks.first, let last = stream.asks.last, last > first else { return }
    fraction = min(1, max(0, Double(clockMilliseconds - first) / Double(last - first)))
  }

  private func missingText(after patience: String) -> String {
    let arms = instance.arms.indices.map { arm in
      let missing = (0..<questionsSent).reduce(0) { $0 + (scores.isAnswered(arm: arm, question: $1) ? 0 : 1) }
      return "\(instance.arms[arm]) \(missing)"
    }
    return "no prediction came for \(patience); unanswered questions by arm: \(arms.joined(separator: ", "))"
  }
}

/// Patience by the monotonic clock.
private struct Deadline {
  private let milliseconds: Int64
  private var end: Int64

  init(_ milliseconds: Int64) {
    self.milliseconds = milliseconds
    end = MonotonicClock.nanoseconds() + milliseconds * 1_000_000
  }

  mutating func restart() { end = MonotonicClock.nanoseconds() + milliseconds * 1_000_000 }
  var hasPassed: Bool { MonotonicClock.nanoseconds() > end }
  var text: String { milliseconds % 1000 == 0 ? "\(milliseconds / 1000) s" : "\(milliseconds) ms" }
}

/// A whole number's decimal digits, without a String.
private struct Digits {
  private var storage: (UInt64, UInt64, UInt64) = (0, 0, 0)
  private let number: Int

  init(_ number: Int) { self.number = number }

  mutating func withBytes<E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> Void) throws(E) {
    let number = number
    try withUnsafeMutableBytes(of: &storage) { (bytes) throws(E) in
      var position = bytes.count
      var rest = number
      repeat {
        position -= 1
        bytes[position] = UInt8(truncatingIfNeeded: rest % 10) + 48
        rest /= 10
      } while rest > 0
      try body(UnsafeRawBufferPointer(rebasing: bytes[position...]))
    }
  }
}
