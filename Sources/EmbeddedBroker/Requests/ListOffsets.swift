import Logging

extension Broker {
  /// ListOffsets v1...7: the end (-1), the start (-2), the record with the greatest timestamp (-3), or the first one at or after
  /// a time.
  func listOffsets(_ reader: inout WireReader, _ request: Request) throws(WireError) {
    let version = request.version
    _ = try reader.int32("replica_id")
    if version >= 2 { _ = try reader.int8("isolation_level") }
    var topics: [(name: String, partitions: [(index: Int32, leaderEpoch: Int32, timestamp: Int64)])] = []
    for _ in 0..<(try reader.arrayCount("topics", elementBytesMin: 3)) {
      let name = try reader.string("name")
      var partitions: [(index: Int32, leaderEpoch: Int32, timestamp: Int64)] = []
      for _ in 0..<(try reader.arrayCount("partitions", elementBytesMin: 12)) {
        let index = try reader.int32("partition_index")
        let leaderEpoch = version >= 4 ? try reader.int32("current_leader_epoch") : -1
        let timestamp = try reader.int64("timestamp")
        try reader.tags()
        partitions.append((index, leaderEpoch, timestamp))
      }
      try reader.tags()
      topics.append((name, partitions))
    }
    try reader.tags()

    request.reply { writer in
      if version >= 2 { writer.int32(0) }
      writer.array(topics) { writer, element in
        let topic = catalog.topics[element.name]
        writer.string(element.name)
        writer.array(element.partitions) { writer, wanted in
          let answer = offset(topic?.partition(wanted.index)?.log, wanted.timestamp, leaderEpoch: wanted.leaderEpoch)
          writer.int32(wanted.index)
          writer.error(answer.error)
          writer.int64(answer.timestamp)
          writer.int64(answer.offset)
          if version >= 4 { writer.int32(answer.offset >= 0 ? 0 : -1) }
          writer.tags()
        }
        writer.tags()
      }
      writer.tags()
    }
  }

  private func offset(_ log: PartitionLog?, _ timestamp: Int64, leaderEpoch: Int32) -> (
    error: ErrorCode, timestamp: Int64, offset: Int64
  ) {
    guard let log else { return (.unknownTopicOrPartition, -1, -1) }
    if leaderEpoch > 0 { return (.unknownLeaderEpoch, -1, -1) }
    do throws(StorageError) {
      switch timestamp {
      case -1: return (.none, -1, log.endOffset)
      case -2: return (.none, -1, log.startOffset)
      case -3:
        let found = try log.offsetOfMaxTimestamp()
        return (.none, found?.timestamp ?? -1, found?.offset ?? -1)
      case 0...:
        let found = try log.offset(atOrAfterTimestamp: timestamp)
        return (.none, found?.timestamp ?? -1, found?.offset ?? -1)
      default: return (.invalidRequest, -1, -1)
      }
    } catch {
      logger.error("look-up by time failed", metadata: ["partition": "\(log.name)", "error": "\(error)"])
      return (.storageError, -1, -1)
    }
  }

  /// OffsetForLeaderEpoch v0...4 (KIP-101, KIP-320): there is one epoch, 0, and it reaches to the end.
  func offsetForLeaderEpoch(_ reader: inout WireReader, _ request: Request) throws(WireError) {
    let version = request.version
    if version >= 3 { _ = try reader.int32("replica_id") }
    var topics: [(name: String, partitions: [(index: Int32, current: Int32, epoch: Int32)])] = []
    for _ in 0..<(try reader.arrayCount("topics", elementBytesMin: 3)) {
      let name = try reader.string("topic")
      var partitions: [(index: Int32, current: Int32, epoch: Int32)] = []
      for _ in 0..<(try reader.arrayCount("partitions", elementBytesMin: 8)) {
        let index = try reader.int32("partition")
        let current = version >= 2 ? try reader.int32("current_leader_epoch") : -1
        let epoch = try reader.int32("leader_epoch")
        try reader.tags()
        partitions.append((index, current, epoch))
      }
      try reader.tags()
      topics.append((name, partitions))
    }
    try reader.tags()
    request.reply { writer in
      if version >= 2 { writer.int32(0) }
      writer.array(topics) { writer, element in
        let topic = catalog.topics[element.name]
        writer.string(element.name)
        writer.array(element.partitions) { writer, wanted in
          let log = topic?.partition(wanted.index)?.log
          let isKnown = log != nil && wanted.epoch == 0 && wanted.current <= 0
          writer.error(log == nil ? .unknownTopicOrPartition : wanted.current > 0 ? .unknownLeaderEpoch : .none)
          writer.int32(wanted.index)
          if version >= 1 { writer.int32(isKnown ? 0 : -1) }
          writer.int64(isKnown ? log?.endOffset ?? -1 : -1)
          writer.tags()
        }
        writer.tags()
      }
      writer.tags()
    }
  }
}
