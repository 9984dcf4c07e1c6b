// Hot: no allocation, existential, String, await or Foundation per record in the steady state.
import Events
import Kafka
import Learning
import Logging
import Model
import Telemetry
import UpdateLog

/// One life of a host's Kafka clients, on the host's thread. It ends when the host is stopped, or by
/// throwing what keeps it from going on; the replicas outlive it.
final class ReplicaHostSession: @unchecked Sendable {
  let host: ReplicaHost
  let settings: ReplicaHostSettings
  let set: ReplicaSet
  let shards: [ShardReplica]
  let metrics: ReplicaHostMetrics
  let logger: Logger
  let consumer: KafkaConsumer
  let producer: KafkaProducer?
  let updates: ProducerTopic?
  let updatesIndex: Int
  var training: ReplicaHostTraining?

  /// One update partition.
  struct Shard {
    /// Caught up when the replica has passed this offset.
    var target: Int64 = 0
    /// When the last record or beacon was applied.
    var newsNanoseconds: Int64 = 0
    var beaconNanoseconds: Int64 = 0
    /// The boundary of event time that holds the replica; `Int64.max`: nothing does.
    var heldAt: Int64 = .max
    var pauses = false
    /// The record in front of the position is still to be compared with the one that was applied.
    var verifies = false
  }
  var states: [Shard]
  var failure: ReplicaHostError?
  private var caughtUp = false
  /// Source partitions whose progress changed since the last publication.
  private var changedSources: [Int32] = []
  private var changed = true
  private var metricsNanoseconds: Int64 = 0
  private var validationNanoseconds: Int64 = 0
  private let beaconNanoseconds: Int64?
  private let writer = UpdateRecordWriter()

  /// - Parameter isStopRequested: ends waiting for a broker that does not answer.
  init(host: ReplicaHost, isStopRequested: () -> Bool) throws {
    self.host = host
    settings = host.settings
    set = host.set
    shards = host.set.shards
    metrics = host.metrics
    logger = host.logger
    states = Array(repeating: Shard(), count: shards.count)
    let trains = settings.training != .none
    let beacon = settings.beaconMilliseconds ?? (trains ? 250 : nil)
    beaconNanoseconds = beacon.map { Int64(max(1, $0)) * 1_000_000 }
    let admin = try KafkaAdmin(host.kafka, logger: logger)
    let isReachable = admin.waitUntilReachable { waited, error in
      host.setReady(false, because: "\(error), waiting for \(waited / 1_000) s")
      if waited / 1_000 % 5 == 1 { host.logger.warning("waiting for Kafka", metadata: ["error": "\(error)"]) }
      return !isStopRequested()
    }
    guard isReachable else { throw ReplicaHostError.stopped }
    if settings.createsLog {
      try UpdateLogReplay.ensureTopic(
        settings.updatesTopic, shards: shards.count, replication: settings.replicationFactor, admin)
    }
    let count = try Self.partitionCount(settings.updatesTopic, admin)
    guard count == shards.count else {
      throw KafkaError(
        code: .invalidPartitions,
        message: "Topic \"\(settings.updatesTopic)\" has \(count) partitions and the model has \(shards.count) shards")
    }
    consumer = try KafkaConsumer(host.kafka, isolation: .readUncommitted, logger: logger)
    updatesIndex = try consumer.topicIndex(settings.updatesTopic)
    if settings.createsLog || beacon != nil || trains {
      let producer = try KafkaProducer(host.kafka, logger: logger)
      self.producer = producer
      updates = try producer.topic(settings.updatesTopic)
    } else {
      producer = nil
      updates = nil
    }
    if trains, let producer, let updates {
      training = try ReplicaHostTraining(
        host: host, consumer: consumer, producer: producer, updates: updates,
        partitionCount: Self.partitionCount(settings.examplesTopic, admin))
    }
  }

  private static func partitionCount(_ topic: String, _ admin: KafkaAdmin) throws -> Int {
    guard let count = try admin.partitionCount(topic) else {
      throw KafkaError(code: .unknownTopicOrPartition, message: "Topic \"\(topic)\" does not exist")
    }
    return count
  }

  func wakeUp() { consumer.wakeUp() }

  /// Closes the clients; nobody may wake the session any more.
  func close() {
    consumer.close()
    producer?.close()
  }

  // MARK: Life

  func run(until isStopRequested: () -> Bool, onCaughtUp: () -> Void) throws {
    consumer.onEvent = { [unowned self] in handle($0) }
    producer?.onEvent = { [unowned self] in
      if case .fatal(let error) = $0 { failure = .clientFailed(error) }
    }
    host.setReady(false, because: "catching up with the update log")
    try open()
    var stalled = false
    while !isStopRequested() {
      let began = MonotonicClock.nanoseconds()
      let timeout = pollTimeoutMilliseconds(began)
      try iterate(timeoutMilliseconds: timeout)
      if !caughtUp, isCaughtUp {
        caughtUp = true
        stalled = false
        host.setReady(true, because: nil)
        onCaughtUp()
        logger.info("replicas caught up", metadata: ["arm": "\(settings.arm)", "positions": "\(shards.map(\.nextOffset))"])
        training?.begin(nowNanoseconds: MonotonicClock.nanoseconds())
      } else if caughtUp, stalled, isCaughtUp {
        stalled = false
        host.setReady(true, because: nil)
      }
      let stood = (MonotonicClock.nanoseconds() - began) / 1_000_000 - Int64(timeout)
      if caughtUp, stood > Int64(settings.stallMillisecondsMax) {
        // Whoever stood still does not know what was appended meanwhile: not ready until that is known and applied.
        stalled = true
        host.setReady(false, because: "the apply loop stood still for \(stood) ms")
        try queryTargets()
      }
    }
    finish()
  }

  /// Finds where the log begins and ends, writes its first record if it has none, and starts reading.
  private func open() throws {
    var assignments: [TopicPartitionOffset] = []
    for shard in shards.indices {
      var ends = try consumer.watermarks(topic: updatesIndex, partition: Int32(shard), timeoutMilliseconds: 5_000)
      if ends.low == 0, ends.high == 0, let producer, let updates, settings.createsLog {
        try UpdateLogReplay.appendSpecification(host.specification, shard: shard, producer, updates)
        ends = try consumer.watermarks(topic: updatesIndex, partition: Int32(shard), timeoutMilliseconds: 5_000)
      }
      let next = shards[shard].nextOffset
      guard next >= ends.low else {
        throw ReplicaHostError.startOfLogPassed(
          topic: settings.updatesTopic, shard: shard, needed: next, logStart: ends.low)
      }
      guard next <= ends.high else {
        throw ReplicaHostError.logTooShort(
          topic: settings.updatesTopic, shard: shard, position: next, logEnd: ends.high)
      }
      states[shard].target = ends.high
      states[shard].newsNanoseconds = MonotonicClock.nanoseconds()
      states[shard].verifies = next > ends.low && shards[shard].lastRecordCRC != nil
      assignments.append(
        TopicPartitionOffset(
          topic: settings.updatesTopic, partition: Int32(shard),
          offset: .exact(states[shard].verifies ? next - 1 : next)))
    }
    try consumer.assign(assignments)
    for replica in shards { for partition in replica.acceptance.progress.keys { noteSource(partition) } }
    changed = true
    publish()
  }

  private func queryTargets() throws {
    for shard in shards.indices {
      states[shard].target = try consumer.watermarks(
        topic: updatesIndex, partition: Int32(shard), timeoutMilliseconds: 5_000).high
    }
  }

  private var isCaughtUp: Bool {
    for shard in shards.indices where shards[shard].nextOffset < states[shard].target && states[shard].heldAt == .max {
      return false
    }
    return true
  }

  private func finish() {
    host.setReady(false, because: "stopping")
    if let producer {
      _ = producer.flush(timeoutMilliseconds: 5_000) { _, _, _, _ in }
    }
    host.checkpoints?.finish(set)
  }

  // MARK: One round

  private func pollTimeoutMilliseconds(_ now: Int64) -> Int32 {
    if training?.isHungry == true || host.checkpoints?.isCapturing == true { return 0 }
    var deadline = now + 100_000_000
    if let beaconNanoseconds {
      for state in states { deadline = min(deadline, max(state.newsNanoseconds, state.beaconNanoseconds) + beaconNanoseconds) }
    }
    if let training { deadline = min(deadline, training.deadlineNanoseconds) }
    if case .refresh = settings.policy { deadline = min(deadline, now + 5_000_000) }
    return Int32(clamping: max(0, (deadline - now + 999_999) / 1_000_000))
  }

  private func iterate(timeoutMilliseconds: Int32) throws {
    let count = consumer.poll(timeoutMilliseconds: timeoutMilliseconds, max: settings.pollRecordsMax) {
      (messages: borrowing MessageBatch) in
      let now = MonotonicClock.nanoseconds()
      for index in 0..<messages.count where messages[index].topic == updatesIndex {
        apply(messages[index], nowNanoseconds: now)
      }
      publish()
      if let training, failure == nil { training.take(messages, nowNanoseconds: now) }
    }
    if let failure { throw failure }
    let now = MonotonicClock.nanoseconds()
    try training?.step(isDrained: count < settings.pollRecordsMax, nowNanoseconds: now)
    try release()
    if caughtUp { sendBeacons(now) }
    producer?.poll(timeoutMilliseconds: 0) { [training] opaque, _, _, error in
      if error != nil { training?.undelivered(opaque) }
    }
    host.checkpoints?.step(set, caughtUp: caughtUp, nowNanoseconds: now)
    if now - metricsNanoseconds >= 100_000_000 {
      metricsNanoseconds = now
      tell(now)
    }
  }

  /// One record of the update log.
  private func apply(_ message: KafkaMessage, nowNanoseconds now: Int64) {
    let index = Int(message.partition)
    guard index >= 0, index < shards.count, failure == nil else { return }
    let replica = shards[index]
    let bytes = message.value ?? UnsafeRawBufferPointer(start: nil, count: 0)
    if states[index].verifies, message.offset == replica.nextOffset - 1 {
      states[index].verifies = false
      if UpdateRecordView.checksum(bytes) != replica.lastRecordCRC {
        failure = .logDiffers(topic: settings.updatesTopic, shard: index, offset: message.offset)
      }
      return
    }
    guard message.offset >= replica.nextOffset, states[index].heldAt == .max else { return }
    guard message.offset == replica.nextOffset else {
      failure = .startOfLogPassed(
        topic: settings.updatesTopic, shard: index, needed: replica.nextOffset, logStart: message.offset)
      return
    }
    applyNext(bytes, at: message.offset, shard: index, nowNanoseconds: now)
  }

  private func applyNext(_ bytes: UnsafeRawBufferPointer, at offset: Int64, shard index: Int, nowNanoseconds now: Int64) {
    let replica = shards[index]
    let record: UpdateRecordView
    do {
      record = try UpdateRecordView.parse(bytes)
    } catch {
      // Passed over by every replica alike; applying says so and moves on.
      _ = replica.apply(bytes, offset: offset)
      metrics.drop("invalid")
      logger.warning(
        "a record of the update log cannot be read and is passed over",
        metadata: ["topic": "\(settings.updatesTopic)", "shard": "\(index)", "offset": "\(offset)", "reason": "\(error)"])
      changed = true
      return
    }
    let header = record.header
    if header.kind == .update, settings.policy != .follow, header.eventTimeThroughMilliseconds != UpdateHeader.noTime,
      header.eventTimeThroughMilliseconds >= boundary
    {
      states[index].heldAt = boundary
      states[index].pauses = true
      changed = true
      return
    }
    let outcome = replica.apply(record, offset: offset)
    changed = true
    states[index].newsNanoseconds = now
    replica.noteNews(nanoseconds: now)
    switch outcome {
    case .accepted(let kind):
      metrics.accepted.add()
      if kind == .update || kind == .skip { noteSource(header.sourcePartition) }
      if kind == .thaw { for partition in replica.acceptance.progress.keys { noteSource(partition) } }
      if kind == .update, header.labelProducedNanoseconds > 0,
        index == ValidationSample.homeShard(ofSourcePartition: header.sourcePartition, shards: shards.count)
      {
        metrics.freshness.record(nanoseconds: max(0, WallClock.nanoseconds() - header.labelProducedNanoseconds))
      }
    case .dropped(let reason):
      metrics.drop(reason.name)
      if header.kind == .spec, reason == .specMismatch {
        failure = .otherSpecification(
          topic: settings.updatesTopic, shard: index, found: header.specHash, expected: replica.specHash)
      }
    case .invalid: metrics.drop("invalid")
    case .alreadyApplied: break
    case .outOfMemory:
      failure = .replicaBroken(topic: settings.updatesTopic, shard: index, offset: offset, "memory is out")
    }
    if replica.divergence != nil { failure = .diverged(topic: settings.updatesTopic, shard: index, offset: offset) }
    training?.trainer.observe(shard: index, record: record, accepted: outcome.isAccepted, nowNanoseconds: now)
  }

  private func noteSource(_ partition: Int32) {
    if !changedSources.contains(partition) { changedSources.append(partition) }
  }

  /// Tells other threads what was applied.
  private func publish() {
    guard changed else { return }
    changed = false
    host.board.publish { sources, positions, heldAt in
      for partition in changedSources {
        var least = shards[0].acceptance.progress(of: partition)
        for replica in shards.dropFirst() {
          let progress = replica.acceptance.progress(of: partition)
          if progress.offset < least.offset { least = progress }
        }
        sources[partition] = least
      }
      for shard in shards.indices {
        positions[shard] = shards[shard].nextOffset
        heldAt[shard] = states[shard].heldAt
      }
    }
    changedSources.removeAll(keepingCapacity: true)
    if settings.policy == .follow {
      for replica in shards { host.watermark.raise(to: replica.labelsThroughMilliseconds) }
    }
  }

  // MARK: Positions held back

  /// Records with a label time at or after this wait.
  private var boundary: Int64 {
    settings.policy.boundary(watermarkMilliseconds: host.watermark.milliseconds)
  }

  /// Pauses partitions whose next record is held back, and lets those go on whose boundary has moved.
  private func release() throws {
    guard settings.policy != .follow else { return }
    let now = boundary
    for shard in shards.indices where states[shard].heldAt != .max {
      if states[shard].heldAt < now {
        states[shard].heldAt = .max
        changed = true
        let resumes = !states[shard].pauses
        states[shard].pauses = false
        try consumer.seek(topic: updatesIndex, partition: Int32(shard), to: .exact(shards[shard].nextOffset))
        if resumes { try consumer.resume(topic: updatesIndex, partition: Int32(shard)) }
      } else if states[shard].pauses {
        states[shard].pauses = false
        try consumer.pause(topic: updatesIndex, partition: Int32(shard))
      }
    }
    publish()
  }

  // MARK: Beacons, events, metrics

  /// Says on silent partitions that nothing happened, so that replicas elsewhere know how fresh they are.
  private func sendBeacons(_ now: Int64) {
    guard let beaconNanoseconds, let producer, let updates else { return }
    for shard in shards.indices {
      let last = max(states[shard].newsNanoseconds, states[shard].beaconNanoseconds)
      guard now - last >= beaconNanoseconds else { continue }
      states[shard].beaconNanoseconds = now
      let replica = shards[shard]
      let header = UpdateHeader(
        kind: .beacon, specHash: replica.specHash, epoch: replica.acceptance.epoch,
        basis: (offset: replica.nextOffset, stateHash: replica.stateHash))
      if producer.produce(updates, partition: Int32(shard), value: writer.control(header)) == .queued { metrics.beacons.add() }
    }
  }

  private func handle(_ event: ConsumerEvent) {
    switch event {
    case .offsetOutOfRange(let topic, let partition, let offset, let error):
      if topic == updatesIndex {
        let index = Int(partition)
        guard index >= 0, index < shards.count else { return }
        let start = (try? consumer.watermarks(topic: updatesIndex, partition: partition, timeoutMilliseconds: 5_000))?.low ?? -1
        failure = .startOfLogPassed(
          topic: settings.updatesTopic, shard: index, needed: shards[index].nextOffset, logStart: start)
      } else if let lost = training?.outOfRange(topic: topic, partition: partition, offset: offset) {
        logger.critical("learning stops on a partition", metadata: ["reason": "\(lost)"])
        metrics.sourcesLost.add()
      } else {
        logger.warning("an examples partition is sought again", metadata: ["partition": "\(partition)", "offset": "\(offset)", "error": "\(error)"])
      }
    case .fatal(let error): failure = .clientFailed(error)
    case .brokersUnreachable(let error):
      logger.warning("no Kafka broker answers", metadata: ["arm": "\(settings.arm)", "error": "\(error)"])
    case .partitionError(_, let partition, let error):
      logger.warning("a partition cannot be read now", metadata: ["partition": "\(partition)", "error": "\(error)"])
    case .error(let error), .commitFailed(let error):
      logger.warning("Kafka consumer", metadata: ["error": "\(error)"])
    case .partitionEnd: break
    }
  }

  private func tell(_ now: Int64) {
    training?.tell()
    var oldest = now
    var rows = 0
    var through = Int64.min
    for shard in shards.indices {
      if states[shard].heldAt == .max { oldest = min(oldest, states[shard].newsNanoseconds) }
      rows += shards[shard].rowCount
      through = max(through, shards[shard].labelsThroughMilliseconds)
      metrics.positions[shard].set(Double(shards[shard].nextOffset))
    }
    metrics.staleness.set(Double(now - oldest) / 1e9)
    metrics.rows.set(Double(rows))
    if through != .min { metrics.labelsThrough.set(Double(through) / 1e3) }
    // Thousands of bins for each shard: not for every look.
    if now - validationNanoseconds >= 1_000_000_000 {
      validationNanoseconds = now
      metrics.validation(set.validation, window: set.windowedValidation)
    }
  }
}
