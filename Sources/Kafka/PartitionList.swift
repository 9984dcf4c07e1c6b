internal import CKafka

/// librdkafka's list of partitions with offsets, freed with its owner.
struct PartitionList: ~Copyable {
  let native: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>

  init(capacity: Int = 1) { native = rd_kafka_topic_partition_list_new(Int32(clamping: capacity)) }

  /// Takes over `native`.
  init(consuming native: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>) { self.native = native }

  init(_ partitions: some Collection<TopicPartitionOffset>) {
    self.init(capacity: partitions.count)
    for partition in partitions {
      add(topic: partition.topic, partition: partition.partition, offset: partition.offset.native)
    }
  }

  init(_ partitions: some Collection<TopicPartition>) {
    self.init(capacity: partitions.count)
    for partition in partitions {
      add(topic: partition.topic, partition: partition.partition, offset: StartOffset.committed.native)
    }
  }

  deinit { rd_kafka_topic_partition_list_destroy(native) }

  func add(topic: String, partition: Int32, offset: Int64) {
    rd_kafka_topic_partition_list_add(native, topic, partition)?.pointee.offset = offset
  }

  var count: Int { Int(native.pointee.cnt) }

  subscript(index: Int) -> rd_kafka_topic_partition_t {
    get { native.pointee.elems[index] }
    nonmutating set { native.pointee.elems[index] = newValue }
  }

  var topicPartitions: [TopicPartition] {
    (0..<count).map {
      TopicPartition(topic: String(cString: self[$0].topic), partition: self[$0].partition)
    }
  }

  var topicPartitionOffsets: [TopicPartitionOffset] {
    (0..<count).map {
      TopicPartitionOffset(
        topic: String(cString: self[$0].topic), partition: self[$0].partition,
        offset: StartOffset(native: self[$0].offset))
    }
  }

  /// Throws for the first partition that carries an error.
  func checkEach(_ attempt: String) throws(KafkaError) {
    for index in 0..<count where self[index].err.isError {
      throw KafkaError(
        self[index].err, "\(attempt) \(String(cString: self[index].topic))/\(self[index].partition)")
    }
  }
}
