public import Kafka
public import Model
public import UpdateLog

/// Reads the update log of one model from where replicas stand to its end, once: for inspection, checkpoints and
/// verification outside of a serving process. Used by one thread.
public final class UpdateLogReplay {
  public let specification: ModelSpecification
  public let topic: String
  private let kafka: KafkaSettings

  public init(specification: ModelSpecification, kafka: KafkaSettings) {
    self.specification = specification
    topic = specification.updatesTopic
    self.kafka = kafka
  }

  /// Makes sure that the topic exists with one partition for each shard and that each begins with the specification.
  /// - Returns: the shards whose first record was written now.
  @discardableResult
  public static func create(_ specification: ModelSpecification, kafka: KafkaSettings, replication: Int = 1) throws -> [Int] {
    let admin = try KafkaAdmin(kafka)
    try ensureTopic(specification.updatesTopic, shards: specification.shards, replication: replication, admin)
    let consumer = try KafkaConsumer(kafka, isolation: .readUncommitted)
    defer { consumer.close() }
    let producer = try KafkaProducer(kafka)
    defer { producer.close() }
    let updates = try producer.topic(specification.updatesTopic)
    var written: [Int] = []
    for shard in 0..<specification.shards {
      let ends = try consumer.watermarks(topic: specification.updatesTopic, partition: Int32(shard), timeoutMilliseconds: 10_000)
      guard ends.low == 0, ends.high == 0 else { continue }
      try appendSpecification(specification, shard: shard, producer, updates)
      written.append(shard)
    }
    return written
  }

  static func ensureTopic(_ topic: String, shards: Int, replication: Int, _ admin: KafkaAdmin) throws {
    try admin.ensureTopics([
      TopicSpec(
        name: topic, partitions: shards, replication: replication,
        config: ["cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"])
    ])
  }

  /// Writes the first record of a shard. Two writers at once are harmless: the second record says the same.
  static func appendSpecification(_ specification: ModelSpecification, shard: Int, _ producer: KafkaProducer, _ updates: ProducerTopic) throws {
    // The record's bytes live in the writer.
    let writer = UpdateRecordWriter()
    defer { withExtendedLifetime(writer) {} }
    let bytes = writer.spec(specification)
    if case .failed(let error) = producer.produce(updates, partition: Int32(shard), value: bytes) { throw error }
    var failed: KafkaError?
    let done = producer.flush(timeoutMilliseconds: 10_000) { _, _, _, error in failed = failed ?? error }
    if let failed { throw failed }
    guard done else {
      throw KafkaError(code: .timedOut, message: "The first record of \(updates.name)/\(shard) was not acknowledged in 10 s")
    }
  }

  /// The specification that the log of a model begins with.
  /// - Parameter identifier: `<name>.<version>`.
  /// - Throws: when there is no such topic, or its first record was trimmed away.
  public static func specification(identifier: String, kafka: KafkaSettings) throws -> ModelSpecification {
    let topic = identifier + ".updates"
    let consumer = try KafkaConsumer(kafka, isolation: .readUncommitted)
    defer { consumer.close() }
    let ends = try consumer.watermarks(topic: topic, partition: 0, timeoutMilliseconds: 10_000)
    guard ends.low == 0 else { throw ReplicaHostError.startOfLogPassed(topic: topic, shard: 0, needed: 0, logStart: ends.low) }
    guard ends.high > 0 else {
      throw KafkaError(code: .noOffset, message: "Topic \"\(topic)\" is empty: no model was created there")
    }
    try consumer.assign([TopicPartitionOffset(topic: topic, partition: 0, offset: .exact(0))])
    var found: ModelSpecification?
    var problem: (any Error)?
    for _ in 0..<100 where found == nil && problem == nil {
      consumer.poll(timeoutMilliseconds: 100, max: 1) { messages in
        do {
          let record = try UpdateRecordView.parse(messages[0].value ?? UnsafeRawBufferPointer(start: nil, count: 0))
          guard case .spec(_, let bytes) = record.control else {
            throw KafkaError(code: .wrongState, message: "\(topic)/0 does not begin with a specification")
          }
          found = try ModelSpecification(canonicalBytes: bytes)
        } catch {
          problem = error
        }
      }
    }
    if let problem { throw problem }
    guard let found else { throw KafkaError(code: .timedOut, message: "The first record of \(topic)/0 did not come in 10 s") }
    return found
  }

  /// The oldest offset and the end of each shard's partition.
  public func ends() throws -> [(low: Int64, high: Int64)] {
    let consumer = try KafkaConsumer(kafka, isolation: .readUncommitted)
    defer { consumer.close() }
    return try ends(consumer)
  }

  private func ends(_ consumer: KafkaConsumer) throws -> [(low: Int64, high: Int64)] {
    try (0..<specification.shards).map {
      try consumer.watermarks(topic: topic, partition: Int32($0), timeoutMilliseconds: 10_000)
    }
  }

  /// Applies everything up to the end of the log as it is now.
  ///
  /// - Parameters:
  ///   - set: replicas of the specification, anywhere in the log.
  ///   - onRecord: called after each record, with the replica standing behind it.
  ///   - onProgress: records applied of those to apply, now and then.
  /// - Throws: `ReplicaHostError` when the log does not begin early enough, ends too early, or is not the one that the
  ///   replicas come from.
  public func run(
    _ set: ReplicaSet, onRecord: (_ shard: Int, _ offset: Int64, _ outcome: ApplyOutcome) -> Void = { _, _, _ in },
    onProgress: (_ done: Int64, _ total: Int64) -> Void = { _, _ in }
  ) throws {
    let consumer = try KafkaConsumer(kafka, isolation: .readUncommitted)
    defer { consumer.close() }
    let ends = try ends(consumer)
    var verifies = Array(repeating: false, count: ends.count)
    var total: Int64 = 0
    var assignments: [TopicPartitionOffset] = []
    for (shard, replica) in set.shards.enumerated() {
      let next = replica.nextOffset
      guard next >= ends[shard].low else {
        throw ReplicaHostError.startOfLogPassed(topic: topic, shard: shard, needed: next, logStart: ends[shard].low)
      }
      guard next <= ends[shard].high else {
        throw ReplicaHostError.logTooShort(topic: topic, shard: shard, position: next, logEnd: ends[shard].high)
      }
      total += ends[shard].high - next
      verifies[shard] = next > ends[shard].low && replica.lastRecordCRC != nil
      guard verifies[shard] || next < ends[shard].high else { continue }
      assignments.append(
        TopicPartitionOffset(topic: topic, partition: Int32(shard), offset: .exact(verifies[shard] ? next - 1 : next)))
    }
    try consumer.assign(assignments)
    var failure: ReplicaHostError?
    consumer.onEvent = {
      if case .fatal(let error) = $0 { failure = .clientFailed(error) }
      if case .offsetOutOfRange(_, let partition, let offset, _) = $0 {
        failure = .startOfLogPassed(topic: self.topic, shard: Int(partition), needed: offset, logStart: -1)
      }
    }
    var done: Int64 = 0
    while failure == nil, zip(set.shards, ends).contains(where: { $0.nextOffset < $1.high }) || verifies.contains(true) {
      consumer.poll(timeoutMilliseconds: 100, max: 1_024) { messages in
        for index in 0..<messages.count where failure == nil {
          let message = messages[index]
          let shard = Int(message.partition)
          let replica = set.shards[shard]
          let bytes = message.value ?? UnsafeRawBufferPointer(start: nil, count: 0)
          if verifies[shard] {
            verifies[shard] = false
            if UpdateRecordView.checksum(bytes) != replica.lastRecordCRC {
              failure = .logDiffers(topic: topic, shard: shard, offset: message.offset)
            }
            continue
          }
          guard message.offset >= replica.nextOffset, message.offset < ends[shard].high else { continue }
          let outcome = replica.apply(bytes, offset: message.offset)
          if case .outOfMemory = outcome {
            failure = .replicaBroken(topic: topic, shard: shard, offset: message.offset, "memory is out")
          }
          done += 1
          onRecord(shard, message.offset, outcome)
        }
      }
      onProgress(done, total)
    }
    if let failure { throw failure }
  }
}
