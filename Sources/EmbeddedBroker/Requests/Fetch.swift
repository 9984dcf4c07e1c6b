// Hot: once per fetch request and wake-up. Batches go from the page cache into the reply, unseen.
import Logging
import NIOCore

extension Broker {
  /// Longest poll, whatever the client asks for.
  private static let waitMillisecondsMax: Int32 = 60_000

  /// Fetch v0...12. Answered at once when there is enough to read or something to say, else when there is, or when the
  /// client's time is over. Fetch sessions (KIP-227) are declined: session id 0.
  func fetch(_ reader: inout WireReader, _ request: Request) throws(WireError) {
    let version = request.version
    let wait = request.connection.fetch
    wait.clear()
    wait.reply = request.reply
    _ = try reader.int32("replica_id")
    let waitMilliseconds = min(max(0, try reader.int32("max_wait_ms")), Self.waitMillisecondsMax)
    wait.bytesMin = Int(max(0, try reader.int32("min_bytes")))
    wait.bytesMax = version >= 3 ? Int(max(0, try reader.int32("max_bytes"))) : Int.max
    wait.bytesMax = min(wait.bytesMax, settings.fetchBytesMax)
    wait.bytesMin = min(wait.bytesMin, wait.bytesMax)
    if version >= 4 { _ = try reader.int8("isolation_level") }
    let sessionID = version >= 7 ? try reader.int32("session_id") : 0
    if version >= 7 { _ = try reader.int32("session_epoch") }

    var known = 0
    var mustReply = false
    for _ in 0..<(try reader.arrayCount("topics", elementBytesMin: 3)) {
      let name = try reader.string("topic")
      let topic = catalog.topics[name]
      let first = wait.partitions.count
      for _ in 0..<(try reader.arrayCount("partitions", elementBytesMin: 16)) {
        let index = try reader.int32("partition")
        let leaderEpoch = version >= 9 ? try reader.int32("current_leader_epoch") : -1
        let offset = try reader.int64("fetch_offset")
        if version >= 12 { _ = try reader.int32("last_fetched_epoch") }
        if version >= 5 { _ = try reader.int64("log_start_offset") }
        let bytesMax = Int(max(0, try reader.int32("partition_max_bytes")))
        try reader.tags()
        let entry = FetchWait.PartitionRequest(
          index: index, partition: topic?.partition(index), offset: offset, bytesMax: bytesMax, leaderEpoch: leaderEpoch)
        wait.partitions.append(entry)
        if fetchError(entry) != .none {
          mustReply = true
        } else if let log = entry.partition?.log, offset < log.endOffset {
          // Exact only when it matters: with the usual minimum of 1 anything will do.
          known += wait.bytesMin <= 1 ? 1 : log.bytesAvailable(from: offset, limit: wait.bytesMin)
        }
      }
      try reader.tags()
      wait.topics.append(FetchWait.TopicRequest(name: name, partitions: first..<wait.partitions.count))
    }
    if version >= 7 {
      for _ in 0..<(try reader.arrayCount("forgotten_topics_data", elementBytesMin: 3)) {
        _ = try reader.string("topic")
        for _ in 0..<(try reader.arrayCount("partitions", elementBytesMin: 4)) { _ = try reader.int32("partition") }
        try reader.tags()
      }
    }
    if version >= 11 { _ = try reader.string("rack_id") }
    try reader.tags()

    if sessionID != 0 { return replyFetchError(.fetchSessionIDNotFound, request) }
    wait.bytesSeen = known
    if mustReply || known >= wait.bytesMin || waitMilliseconds == 0 || wait.partitions.isEmpty && wait.bytesMin == 0 {
      replyFetch(wait)
    } else {
      beginWait(wait, milliseconds: Int(waitMilliseconds))
    }
  }

  private func fetchError(_ entry: FetchWait.PartitionRequest) -> ErrorCode {
    guard let partition = entry.partition, !partition.isDeleted else { return .unknownTopicOrPartition }
    if entry.leaderEpoch > 0 { return .unknownLeaderEpoch }
    if entry.offset < partition.log.startOffset || entry.offset > partition.log.endOffset { return .offsetOutOfRange }
    return .none
  }

  private func replyFetchError(_ error: ErrorCode, _ request: Request) {
    request.reply { writer in
      writer.int32(0)
      writer.error(error)
      writer.int32(0)
      writer.arrayCount(0)
      writer.tags()
    }
  }

  func replyFetch(_ wait: FetchWait) {
    let version = wait.reply.version
    var budget = wait.bytesMax
    var isFirst = true
    wait.connection.reply(wait.reply) { writer in
      if version >= 1 { writer.int32(0) }
      if version >= 7 {
        writer.error(.none)
        writer.int32(0)
      }
      writer.arrayCount(wait.topics.count)
      for topic in wait.topics {
        writer.string(topic.name)
        writer.arrayCount(topic.partitions.count)
        for index in topic.partitions {
          let taken = writePartition(wait.partitions[index], budget: budget, atLeastOne: isFirst, version, &writer)
          if taken > 0 { isFirst = false }
          budget = max(0, budget - taken)
        }
        writer.tags()
      }
      writer.tags()
    }
  }

  /// Returns the bytes of records written.
  private func writePartition(
    _ entry: FetchWait.PartitionRequest, budget: Int, atLeastOne: Bool, _ version: Int16, _ writer: inout WireWriter
  ) -> Int {
    var error = fetchError(entry)
    var extent: PartitionLog.Extent?
    if error == .none, let log = entry.partition?.log {
      do throws(StorageError) {
        extent = try log.extent(from: entry.offset, bytesMax: min(budget, entry.bytesMax), atLeastOne: atLeastOne)
      } catch let failure {
        logger.error("read failed", metadata: ["partition": "\(log.name)", "error": "\(failure)"])
        error = .storageError
      }
    }
    let start = writer.buffer.writerIndex
    writePartitionHead(entry, error, version, &writer)
    writer.bytesLength(extent?.byteCount ?? 0)
    if let extent, let log = entry.partition?.log {
      do throws(StorageError) {
        try log.read(extent, into: &writer.buffer)
      } catch let failure {
        logger.error("read failed", metadata: ["partition": "\(log.name)", "error": "\(failure)"])
        writer.buffer.moveWriterIndex(to: start)
        writePartitionHead(entry, .storageError, version, &writer)
        writer.bytesLength(0)
        writer.tags()
        return 0
      }
    }
    writer.tags()
    return extent?.byteCount ?? 0
  }

  private func writePartitionHead(
    _ entry: FetchWait.PartitionRequest, _ error: ErrorCode, _ version: Int16, _ writer: inout WireWriter
  ) {
    let log = error == .none || error == .offsetOutOfRange ? entry.partition?.log : nil
    writer.int32(entry.index)
    writer.error(error)
    writer.int64(log?.endOffset ?? -1)
    if version >= 4 { writer.int64(log?.endOffset ?? -1) }
    if version >= 5 { writer.int64(log?.startOffset ?? -1) }
    if version >= 4 { writer.nullArray() }
    if version >= 11 { writer.int32(-1) }
  }
}
