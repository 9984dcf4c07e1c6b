internal import CKafka

extension KafkaConsumer {
  // MARK: Topics

  /// The index that records of this topic carry in `KafkaMessage.topic`.
  public func topicIndex(_ name: String) throws(KafkaError) -> Int {
    guard let index = topics.index(of: name) else {
      throw KafkaError(rd_kafka_last_error(), "Topic \"\(name)\" is refused")
    }
    return index
  }

  public func topicName(_ index: Int) -> String { topics.names[index] }

  // MARK: Assigning by hand

  /// Reads exactly these partitions from these offsets, replacing what was read before. An empty
  /// list stops everything. Not for a consumer that subscribed.
  public func assign(_ partitions: [TopicPartitionOffset]) throws(KafkaError) {
    assertOwner()
    for partition in partitions { _ = try topicIndex(partition.topic) }
    let list = PartitionList(partitions)
    let code = rd_kafka_assign(client, list.native)
    if code.isError { throw KafkaError(code, "Partitions are not assigned") }
  }

  /// Reads these partitions too. They must not be assigned already.
  public func addAssignments(_ partitions: [TopicPartitionOffset]) throws(KafkaError) {
    assertOwner()
    for partition in partitions { _ = try topicIndex(partition.topic) }
    let list = PartitionList(partitions)
    if let error = rd_kafka_incremental_assign(client, list.native) {
      throw KafkaError(consuming: error, "Partitions are not added")
    }
  }

  /// Stops reading these partitions. They must be assigned.
  public func removeAssignments(_ partitions: [TopicPartition]) throws(KafkaError) {
    assertOwner()
    let list = PartitionList(partitions)
    if let error = rd_kafka_incremental_unassign(client, list.native) {
      throw KafkaError(consuming: error, "Partitions are not removed")
    }
  }

  /// What is assigned now, by hand or by the group.
  public func assignment() throws(KafkaError) -> [TopicPartition] {
    assertOwner()
    var native: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>?
    let code = rd_kafka_assignment(client, &native)
    guard !code.isError, let native else { throw KafkaError(code, "The assignment is not known") }
    return PartitionList(consuming: native).topicPartitions
  }

  // MARK: Back-pressure

  /// Delivers nothing from this partition until `resume`; polling must go on. What was read ahead
  /// is dropped and read again later.
  public func pause(topic: Int, partition: Int32) throws(KafkaError) {
    assertOwner()
    let list = one(topic, partition)
    let code = rd_kafka_pause_partitions(client, list.native)
    if code.isError { throw KafkaError(code, "Partitions are not paused") }
    try list.checkEach("Not paused:")
  }

  public func resume(topic: Int, partition: Int32) throws(KafkaError) {
    assertOwner()
    let list = one(topic, partition)
    let code = rd_kafka_resume_partitions(client, list.native)
    if code.isError { throw KafkaError(code, "Partitions are not resumed") }
    try list.checkEach("Not resumed:")
  }

  /// Pauses whatever is assigned now.
  public func pauseAll() throws(KafkaError) {
    let list = PartitionList(try assignment())
    let code = rd_kafka_pause_partitions(client, list.native)
    if code.isError { throw KafkaError(code, "Partitions are not paused") }
  }

  /// Resumes whatever is assigned now.
  public func resumeAll() throws(KafkaError) {
    let list = PartitionList(try assignment())
    let code = rd_kafka_resume_partitions(client, list.native)
    if code.isError { throw KafkaError(code, "Partitions are not resumed") }
  }

  // MARK: Seeking

  /// Reads on from `offset`; also the answer to `ConsumerEvent.offsetOutOfRange`. What was read
  /// ahead is dropped.
  public func seek(
    topic: Int, partition: Int32, to offset: StartOffset, timeoutMilliseconds: Int32 = 5_000
  ) throws(KafkaError) {
    assertOwner()
    let name = topicName(topic)
    let list = PartitionList([TopicPartitionOffset(topic: name, partition: partition, offset: offset)])
    if let error = rd_kafka_seek_partitions(client, list.native, timeoutMilliseconds) {
      throw KafkaError(consuming: error, "Seek of \(name)/\(partition) failed")
    }
    let code = list[0].err
    guard code.isError else { return }
    // A partition that stopped on an offset out of range cannot be sought: it is assigned anew.
    guard code == RD_KAFKA_RESP_ERR__STATE else {
      throw KafkaError(code, "Seek of \(name)/\(partition) failed")
    }
    try reassign(TopicPartitionOffset(topic: name, partition: partition, offset: offset))
  }

  private func reassign(_ target: TopicPartitionOffset) throws(KafkaError) {
    guard subscription != nil else {
      try removeAssignments([target.topicPartition])
      try addAssignments([target])
      return
    }
    // Under a group with the range strategy only the whole assignment can be set: the others go on
    // from where they are.
    let list = PartitionList(try assignment())
    let code = rd_kafka_position(client, list.native)
    if code.isError { throw KafkaError(code, "Positions are not known") }
    var partitions: [TopicPartitionOffset] = []
    var found = false
    for partition in list.topicPartitionOffsets {
      let isTarget = partition.topicPartition == target.topicPartition
      found = found || isTarget
      partitions.append(isTarget ? target : partition)
    }
    guard found else {
      throw KafkaError(code: .wrongState, message: "\(target.topicPartition) is not assigned")
    }
    try assign(partitions)
  }

  func one(_ topic: Int, _ partition: Int32, offset: Int64 = StartOffset.committed.native) -> PartitionList {
    let list = PartitionList(capacity: 1)
    list.add(topic: topicName(topic), partition: partition, offset: offset)
    return list
  }
}
