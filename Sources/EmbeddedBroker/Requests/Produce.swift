// Hot: once per produce request. Batches go from the input buffer to the file; the reply is written as they are read.

extension Broker {
  /// Produce v0...9. Versions below 3 carry message formats that this broker does not store; they get an error that says
  /// so.
  func produce(_ reader: inout WireReader, _ request: Request) throws(WireError) {
    let version = request.version
    let transactionalID = version >= 3 ? try reader.nullableString("transactional_id") : nil
    let acks = try reader.int16("acks")
    _ = try reader.int32("timeout_ms")
    let now = Self.wallMilliseconds()
    let synchronously = settings.flush == .everyBatch

    // The whole request is read before anything of it is appended: a malformed one must not half happen.
    let topicCount = try reader.arrayCount("topic_data", elementBytesMin: 3)
    var topics: [(name: String, batches: [(partition: Int32, records: UnsafeRawBufferPointer?)])] = []
    topics.reserveCapacity(topicCount)
    for _ in 0..<topicCount {
      let name = try reader.string("name")
      let count = try reader.arrayCount("partition_data", elementBytesMin: 5)
      var batches: [(partition: Int32, records: UnsafeRawBufferPointer?)] = []
      batches.reserveCapacity(count)
      for _ in 0..<count {
        let partition = try reader.int32("index")
        let records = try reader.nullableBytes("records")
        try reader.tags()
        batches.append((partition, records))
      }
      try reader.tags()
      topics.append((name, batches))
    }
    try reader.tags()

    func append(_ topic: Topic?, _ index: Int32, _ records: UnsafeRawBufferPointer?) -> (PartitionLog.AppendOutcome, PartitionLog?) {
      if transactionalID != nil {
        return (.refused(.invalidRequest, "transactions are not supported by the embedded broker"), nil)
      }
      guard acks >= -1, acks <= 1 else { return (.refused(.invalidRequest, "acks \(acks)"), nil) }
      guard let partition = topic?.partition(index) else { return (.refused(.unknownTopicOrPartition, "no such partition"), nil) }
      guard let records else { return (.refused(.invalidRecord, "no records"), partition.log) }
      let outcome = partition.log.append(records, now: now, synchronously: synchronously)
      if case .appended = outcome { grew(partition, by: records.count) }
      return (outcome, partition.log)
    }

    if acks == 0 {
      // Nobody waits for the outcome; Kafka closes the connection so that the client notices that something is wrong.
      for (name, batches) in topics {
        let topic = catalog.topics[name]
        for (index, records) in batches {
          if case .refused(let code, let message) = append(topic, index, records).0 {
            return request.connection.close("produce without acknowledgement failed: \(code): \(message)")
          }
        }
      }
      return
    }

    request.reply { writer in
      writer.array(topics) { writer, element in
        let topic = catalog.topics[element.name]
        writer.string(element.name)
        writer.array(element.batches) { writer, batch in
          let (outcome, log) = append(topic, batch.partition, batch.records)
          var code = ErrorCode.none
          var baseOffset: Int64 = -1
          var message: String?
          switch outcome {
          case .appended(let offset), .duplicate(let offset): baseOffset = offset
          case .refused(let refused, let why):
            code = refused
            message = why
          }
          writer.int32(batch.partition)
          writer.error(code)
          writer.int64(baseOffset)
          if version >= 2 { writer.int64(-1) }
          if version >= 5 { writer.int64(log?.startOffset ?? -1) }
          if version >= 8 {
            writer.arrayCount(0)
            writer.nullableString(message)
          }
          writer.tags()
        }
        writer.tags()
      }
      if version >= 1 { writer.int32(0) }
      writer.tags()
    }
  }
}
