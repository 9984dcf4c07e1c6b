internal import CKafka

extension KafkaConsumer {
  /// Remembers `next` as the offset to commit for this partition: everything below is done.
  /// Allocates nothing. Fails for a partition that is not assigned (any more).
  public func storeOffset(topic: Int, partition: Int32, next: Int64) throws(KafkaError) {
    assertOwner()
    // The call takes the last offset done.
    let code = rd_kafka_offset_store(topics.handle(topic), partition, next - 1)
    if code.isError { throw KafkaError(code, "Offset \(next) of \(topicName(topic))/\(partition) is not stored") }
  }

  /// Commits what is stored, without waiting; a failure comes as `ConsumerEvent.commitFailed`.
  public func commit() throws(KafkaError) {
    assertOwner()
    let code = rd_kafka_commit(client, nil, 1)
    if code.isError && code != RD_KAFKA_RESP_ERR__NO_OFFSET { throw KafkaError(code, "Offsets are not committed") }
  }

  /// Commits what is stored and waits for the broker's answer.
  public func commit(timeoutMilliseconds: Int32) throws(KafkaError) {
    assertOwner()
    try commitAndWait(nil, timeoutMilliseconds)
  }

  /// Commits these offsets (each the next one to read, `.exact`) and waits for the answer.
  public func commit(_ offsets: [TopicPartitionOffset], timeoutMilliseconds: Int32) throws(KafkaError) {
    assertOwner()
    let list = PartitionList(offsets)
    try commitAndWait(list.native, timeoutMilliseconds)
  }

  func commitAndWait(
    _ offsets: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>?, _ timeoutMilliseconds: Int32
  ) throws(KafkaError) {
    // Its own queue: an answer that comes too late goes nowhere.
    guard let answers = rd_kafka_queue_new(client) else {
      throw KafkaError(code: .wrongState, message: "Offsets are not committed: no queue")
    }
    defer { rd_kafka_queue_destroy(answers) }
    let code = rd_kafka_commit_queue(client, offsets, answers, nil, nil)
    if code == RD_KAFKA_RESP_ERR__NO_OFFSET { return }
    if code.isError { throw KafkaError(code, "Offsets are not committed") }
    guard let event = rd_kafka_queue_poll(answers, timeoutMilliseconds) else {
      throw KafkaError(
        code: .timedOut, message: "Offsets are not committed: no answer in \(timeoutMilliseconds) ms")
    }
    defer { rd_kafka_event_destroy(event) }
    let answer = rd_kafka_event_error(event)
    if answer.isError && answer != RD_KAFKA_RESP_ERR__NO_OFFSET {
      throw KafkaError(answer, "Offsets are not committed")
    }
  }

  /// The offset that the group committed for this partition; nil when it never did.
  public func committed(
    topic: Int, partition: Int32, timeoutMilliseconds: Int32
  ) throws(KafkaError) -> Int64? {
    assertOwner()
    let list = one(topic, partition)
    let code = rd_kafka_committed(client, list.native, timeoutMilliseconds)
    if code.isError { throw KafkaError(code, "Committed offsets are not known") }
    try list.checkEach("No committed offset of")
    return list[0].offset >= 0 ? list[0].offset : nil
  }

  /// The next offset that `poll` will hand out; nil before the first record.
  public func position(topic: Int, partition: Int32) throws(KafkaError) -> Int64? {
    assertOwner()
    let list = one(topic, partition)
    let code = rd_kafka_position(client, list.native)
    if code.isError { throw KafkaError(code, "The position is not known") }
    return list[0].offset >= 0 ? list[0].offset : nil
  }

  /// Asks the broker for the oldest offset and for the one after the newest.
  public func watermarks(
    topic: String, partition: Int32, timeoutMilliseconds: Int32
  ) throws(KafkaError) -> (low: Int64, high: Int64) {
    assertOwner()
    var low: Int64 = 0
    var high: Int64 = 0
    let code = rd_kafka_query_watermark_offsets(client, topic, partition, &low, &high, timeoutMilliseconds)
    if code.isError { throw KafkaError(code, "The ends of \(topic)/\(partition) are not known") }
    return (low, high)
  }

  public func watermarks(
    topic: Int, partition: Int32, timeoutMilliseconds: Int32
  ) throws(KafkaError) -> (low: Int64, high: Int64) {
    try watermarks(topic: topicName(topic), partition: partition, timeoutMilliseconds: timeoutMilliseconds)
  }

  /// What the last fetch said about the partition's ends: no request, and nil before the first.
  public func lastSeenWatermarks(topic: Int, partition: Int32) -> (low: Int64, high: Int64)? {
    assertOwner()
    var low: Int64 = -1
    var high: Int64 = -1
    let code = rd_kafka_get_watermark_offsets(
      client, rd_kafka_topic_name(topics.handle(topic)), partition, &low, &high)
    return code.isError || high < 0 ? nil : (low, high)
  }

  /// The first offset whose record has this timestamp or a later one; nil when there is none.
  public func offset(
    topic: String, partition: Int32, atOrAfterMilliseconds: Int64, timeoutMilliseconds: Int32
  ) throws(KafkaError) -> Int64? {
    assertOwner()
    let list = PartitionList(capacity: 1)
    list.add(topic: topic, partition: partition, offset: atOrAfterMilliseconds)
    let code = rd_kafka_offsets_for_times(client, list.native, timeoutMilliseconds)
    if code.isError { throw KafkaError(code, "Offsets for times are not known") }
    try list.checkEach("No offset for a time of")
    return list[0].offset >= 0 ? list[0].offset : nil
  }
}
