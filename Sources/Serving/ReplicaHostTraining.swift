// Hot: no allocation, existential, String, await or Foundation per record in the steady state.
import Events
import Kafka
import Learning
import Logging
import Model
import Telemetry
import UpdateLog

/// The shell of a host's trainer: gives it examples records and time, and performs what it asks for. On the
/// host's thread, with the host's consumer.
final class ReplicaHostTraining {
  let trainer: Trainer
  private let consumer: KafkaConsumer
  private let producer: KafkaProducer
  private let updates: ProducerTopic
  private let topic: String
  private let topicIndex: Int
  private let partitions: [Int32]
  private let metrics: ReplicaHostMetrics
  private let logger: Logger
  private var backlog: ReplicaHostBacklog
  private var isPaused = false
  private var isFull = false

  /// One examples partition, by its number.
  private struct Source {
    var assigned = false
    /// Where the trainer wants to read from; -1: it goes on.
    var seek: Int64 = -1
    /// An append for it was refused or failed.
    var failed = false
    /// Its next offset is gone from the topic.
    var lost = false
  }
  private var sources: [Source]
  private var anySeek = false
  private var anyFailed = false
  private var told = TrainerCounters()

  init(host: ReplicaHost, consumer: KafkaConsumer, producer: KafkaProducer, updates: ProducerTopic, partitionCount: Int) throws {
    self.consumer = consumer
    self.producer = producer
    self.updates = updates
    topic = host.settings.examplesTopic
    topicIndex = try consumer.topicIndex(topic)
    metrics = host.metrics
    logger = host.logger
    backlog = ReplicaHostBacklog(bytesMax: host.settings.backlogBytesMax)
    sources = Array(repeating: Source(), count: partitionCount)
    switch host.settings.training {
    case .none: partitions = []
    case .all: partitions = (0..<Int32(clamping: partitionCount)).map { $0 }
    case .partitions(let chosen):
      partitions = chosen.filter { $0 >= 0 && Int($0) < partitionCount }
    }
    trainer = Trainer(
      specification: host.specification, set: host.set, settings: host.settings.trainer,
      seed: host.settings.seed ?? UInt64.random(in: .min ... .max))
  }

  deinit { backlog.deallocate() }

  var deadlineNanoseconds: Int64 { trainer.deadlineNanoseconds }

  /// Records wait in memory and the trainer can take them: do not wait for more.
  var isHungry: Bool { !backlog.isEmpty && !isFull }

  /// The replicas have caught up: start.
  func begin(nowNanoseconds: Int64) {
    for partition in partitions { trainer.assign(partition: partition, nowNanoseconds: nowNanoseconds) }
  }

  /// The examples records of one poll, after its update records.
  func take(_ messages: borrowing MessageBatch, nowNanoseconds: Int64) {
    for index in 0..<messages.count {
      let message = messages[index]
      guard message.topic == topicIndex, Int(message.partition) < sources.count else { continue }
      guard sources[Int(message.partition)].seek < 0 else { continue }
      let bytes = message.value ?? UnsafeRawBufferPointer(start: nil, count: 0)
      let record = ReplicaHostBacklog.Waiting(
        partition: message.partition, offset: message.offset, bytes: bytes, contentType: message.header("content-type"),
        timestampMilliseconds: message.timestampMilliseconds)
      if !backlog.isEmpty || !offer(record, nowNanoseconds) { backlog.append(record) }
    }
  }

  /// Gives one record to the trainer.
  /// - Returns: false when it is to be kept for later.
  private func offer(_ record: ReplicaHostBacklog.Waiting, _ now: Int64) -> Bool {
    // The joiner stamps a record with the time of its oldest label.
    let stamp = record.timestampMilliseconds
    let produced = stamp > 0 && stamp < .max / 1_000_000 ? stamp * 1_000_000 : .max
    while true {
      switch trainer.take(
        partition: record.partition, offset: record.offset, record: record.bytes, contentType: record.contentType,
        producedNanoseconds: produced, nowNanoseconds: now)
      {
      case .taken, .ignored:
        return true
      case .full:
        isFull = true
        return false
      case .again:
        perform(now)
        // The actions may have moved the source away from this record.
        if sources[Int(record.partition)].seek >= 0 { return true }
      }
    }
  }

  /// After each poll: what waits in memory, then what the trainer wants done.
  func step(isDrained: Bool, nowNanoseconds now: Int64) throws {
    isFull = false
    perform(now)
    while let front = backlog.front {
      if sources[Int(front.partition)].seek < 0, !offer(front, now) { break }
      // A seek inside has emptied the source's part of the backlog.
      if let still = backlog.front, still.partition == front.partition, still.offset == front.offset { backlog.removeFirst() }
    }
    trainer.flush(drained: isDrained && backlog.isEmpty)
    perform(now)
    if anyFailed {
      anyFailed = false
      for partition in sources.indices where sources[partition].failed {
        sources[partition].failed = false
        trainer.appendFailed(sourcePartition: Int32(partition), nowNanoseconds: now)
      }
    }
    trainer.tick(nowNanoseconds: now)
    perform(now)
    if anySeek { try seek() }
    try balance()
  }

  /// Whether an append failed is known later; whom it was for comes back in `opaque`.
  func undelivered(_ opaque: UInt) {
    guard opaque > 0, opaque <= UInt(sources.count) else { return }
    sources[Int(opaque) - 1].failed = true
    anyFailed = true
  }

  private func perform(_ now: Int64) {
    while let action = trainer.nextAction(nowNanoseconds: now) {
      switch action {
      case .append(let shard, let partition, let bytes):
        let result = producer.produce(updates, partition: Int32(shard), value: bytes, opaque: UInt(partition) + 1)
        if result != .queued { undelivered(UInt(partition) + 1) }
      case .seek(let partition, let offset):
        sources[Int(partition)].seek = offset
        backlog.removeAll(partition: partition)
        anySeek = true
      }
    }
  }

  private func seek() throws {
    anySeek = false
    for partition in sources.indices where sources[partition].seek >= 0 {
      let offset = sources[partition].seek
      sources[partition].seek = -1
      if sources[partition].assigned {
        try consumer.seek(topic: topicIndex, partition: Int32(partition), to: .exact(offset))
      } else {
        sources[partition].assigned = true
        try consumer.addAssignments([
          TopicPartitionOffset(topic: topic, partition: Int32(partition), offset: .exact(offset))
        ])
        if isPaused { try consumer.pause(topic: topicIndex, partition: Int32(partition)) }
      }
    }
  }

  /// Stops fetching while memory is full of examples, and goes on when most of them are learned.
  private func balance() throws {
    if !isPaused, backlog.isFull {
      isPaused = true
      for partition in sources.indices where sources[partition].assigned {
        try consumer.pause(topic: topicIndex, partition: Int32(partition))
      }
    } else if isPaused, backlog.waitingBytes <= backlog.resumeBytes {
      isPaused = false
      for partition in sources.indices where sources[partition].assigned {
        try consumer.resume(topic: topicIndex, partition: Int32(partition))
      }
    }
  }

  /// The trainer's position in a source is not in the topic (any more): stop there, and say so. Going on
  /// anywhere else would lose examples silently.
  func outOfRange(topic index: Int, partition: Int32, offset: Int64) -> ReplicaHostError? {
    guard index == topicIndex, Int(partition) < sources.count, !sources[Int(partition)].lost else { return nil }
    guard let wanted = trainer.position(of: partition) else { return nil }
    let ends = try? consumer.watermarks(topic: topicIndex, partition: partition, timeoutMilliseconds: 5_000)
    guard let ends else { return nil }
    if wanted >= ends.low, wanted <= ends.high {
      sources[Int(partition)].seek = wanted
      anySeek = true
      return nil
    }
    sources[Int(partition)].lost = true
    trainer.revoke(partition: partition)
    backlog.removeAll(partition: partition)
    return .sourceLost(topic: topic, partition: partition, needed: wanted, logStart: ends.low)
  }

  /// Brings the counters up to date.
  func tell() {
    let counters = trainer.counters
    metrics.examplesLearned.add(counters.examplesLearned - told.examplesLearned)
    metrics.examplesInvalid.add(counters.examplesInvalid - told.examplesInvalid)
    metrics.trainerResyncs.add(counters.resyncs - told.resyncs)
    metrics.inFlightExamples.set(Double(trainer.examplesInFlight))
    told = counters
  }
}
