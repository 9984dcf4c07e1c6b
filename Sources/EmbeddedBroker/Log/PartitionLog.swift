// Hot: `append` and `read` run per request. Steady state allocates nothing of its own but producers' entries.
import Logging
import NIOCore

/// One partition: its segments on disk, in order, and what idempotent producers did to it.
///
/// Owned by the broker's event loop. A batch is in the file (`write` has returned) before `append` does, so what was
/// acknowledged survives the end of the process; surviving the end of the machine is the flush policy's business.
final class PartitionLog {
  let directory: String
  let name: String
  var configuration: TopicConfiguration
  private(set) var segments: [LogSegment] = []
  private(set) var producers = ProducerTable()
  /// The first offset that may be read.
  private(set) var startOffset: Int64 = 0
  private var recent = RecentBatches()
  /// Written since the last `synchronize`.
  private(set) var isDirty = false
  /// Wall clock of the first append to the active segment.
  private var activeSince: Int64 = 0
  private let logger: Logger

  /// The offset that the next record gets.
  private(set) var endOffset: Int64 = 0

  private static let startMagic: UInt32 = 0x4D52_4C53
  private var startPath: String { directory + "/log-start" }
  private var producersPath: String { directory + "/producers" }

  /// Opens or creates the log in `directory`, and repairs what a crash left.
  init(directory: String, name: String, configuration: TopicConfiguration, now: Int64, logger: Logger) throws(StorageError) {
    self.directory = directory
    self.name = name
    self.configuration = configuration
    self.logger = logger
    try LogFile.makeDirectory(directory)
    try openSegments()
    try recoverProducers(now: now)
    let saved = ChecksummedFile.read(startPath, magic: Self.startMagic).flatMap { bytes in
      bytes.withUnsafeBytes { pointer in
        var reader = WireReader(pointer)
        return try? reader.int64("start")
      }
    }
    startOffset = min(max(segments[0].baseOffset, saved ?? 0), endOffset)
    activeSince = now
  }

  private var active: LogSegment { segments[segments.count - 1] }

  private func openSegments() throws(StorageError) {
    let bases = try LogFile.list(directory).compactMap(LogSegment.baseOffset(fileName:)).sorted()
    for (index, base) in bases.enumerated() {
      if let last = segments.last, base != last.nextOffset {
        // Only a crash of the machine can lose the end of a segment that has successors. What follows a hole cannot be
        // served under its offsets without the hole being a silent one, so it is set aside, not deleted.
        for lost in bases[index...] {
          let path = directory + "/" + LogSegment.fileName(baseOffset: lost)
          try LogFile.rename(path, path + ".unreachable")
        }
        logger.error(
          "log has a hole: the segments behind it are set aside", metadata: ["partition": "\(name)", "offset": "\(last.nextOffset)"])
        break
      }
      var recovery = LogSegment.Recovery()
      let segment = try LogSegment(opening: base, in: directory, recovery: &recovery)
      if recovery.tornBytes > 0 {
        logger.warning(
          "cut off a torn tail",
          metadata: ["partition": "\(name)", "segment": "\(base)", "bytes": "\(recovery.tornBytes)", "end": "\(segment.nextOffset)"])
      }
      segments.append(segment)
    }
    if segments.isEmpty { segments.append(try LogSegment(creating: 0, in: directory)) }
    endOffset = active.nextOffset
  }

  /// Loads the saved table and replays the batches behind it.
  private func recoverProducers(now: Int64) throws(StorageError) {
    var from: Int64 = 0
    if let saved = ProducerTable.load(producersPath), saved.offset <= endOffset {
      producers = saved.table
      from = saved.offset
    }
    for segment in segments where segment.nextOffset > from {
      let start = try segment.position(of: max(from, segment.baseOffset))
      var table = producers
      _ = try segment.walk(from: start) { header in
        if header.hasProducer { table.append(header, now: now) }
        return false
      }
      producers = table
    }
  }

  // MARK: Append

  enum AppendOutcome {
    case appended(baseOffset: Int64)
    /// An idempotent producer's retry; it is in the log already.
    case duplicate(baseOffset: Int64)
    case refused(ErrorCode, String)
  }

  /// Checks and appends one produced batch. `bytes` may be anything.
  func append(_ bytes: UnsafeRawBufferPointer, now: Int64, synchronously: Bool) -> AppendOutcome {
    var header: RecordBatchHeader
    switch RecordBatchHeader.validate(bytes, bytesMax: configuration.messageBytesMax) {
    case .failure(let refusal): return .refused(refusal.code, refusal.message)
    case .success(let valid): header = valid
    }
    if header.hasProducer {
      switch producers.decide(header) {
      case .append: break
      case .duplicate(let baseOffset): return .duplicate(baseOffset: baseOffset)
      case .refuse(let code, let message): return .refused(code, message)
      }
    }
    guard let base = bytes.baseAddress, endOffset <= Int64.max - Int64(Int32.max) - 1 else {
      return .refused(.unknownServerError, "the partition is full")
    }
    header.baseOffset = endOffset
    do throws(StorageError) {
      if active.byteCount > 0, active.byteCount + bytes.count > configuration.segmentBytes { try roll(now: now) }
      let position = active.byteCount
      // The patched head: base offset, length as it was, leader epoch 0.
      var head = (header.baseOffset.bigEndian, header.batchLength.bigEndian, Int32(0))
      try withUnsafeBytes(of: &head) { headBytes throws(StorageError) in
        try active.append(
          header, head: UnsafeRawBufferPointer(rebasing: headBytes[..<RecordBatchHeader.patchedBytes]),
          rest: UnsafeRawBufferPointer(
            start: base + RecordBatchHeader.patchedBytes, count: bytes.count - RecordBatchHeader.patchedBytes))
      }
      if position == 0 { activeSince = now }
      recent.append(offset: header.baseOffset, position: position)
      endOffset = header.nextOffset
      if header.hasProducer { producers.append(header, now: now) }
      isDirty = true
      if synchronously { try synchronize() }
    } catch {
      logger.error("append failed", metadata: ["partition": "\(name)", "error": "\(error)"])
      return .refused(.storageError, "\(error)")
    }
    return .appended(baseOffset: header.baseOffset)
  }

  /// Closes the active segment and begins a new one.
  private func roll(now: Int64) throws(StorageError) {
    let next = try LogSegment(creating: endOffset, in: directory)
    // Shortcuts for the next start; without them it reads the segment.
    do throws(StorageError) {
      try active.saveIndex()
      try producers.save(producersPath, offset: endOffset)
    } catch {
      logger.warning("could not save an index", metadata: ["partition": "\(name)", "error": "\(error)"])
    }
    segments.append(next)
    recent.removeAll()
    activeSince = now
  }

  func synchronize() throws(StorageError) {
    guard isDirty else { return }
    try active.synchronize()
    isDirty = false
  }

  // MARK: Read

  /// The segment that holds `offset`, which must be in `startOffset..<endOffset`.
  private func segment(for offset: Int64) -> LogSegment {
    if offset >= active.baseOffset { return active }
    var low = 0
    var high = segments.count
    while low < high {
      let middle = (low + high) / 2
      if segments[middle].baseOffset <= offset { low = middle + 1 } else { high = middle }
    }
    return segments[max(0, low - 1)]
  }

  private func position(of offset: Int64, in segment: LogSegment) throws(StorageError) -> Int {
    if segment === active, let position = recent.position(of: offset) { return position }
    return try segment.position(of: offset)
  }

  /// Whole batches of one segment, ready to be read.
  struct Extent {
    fileprivate let segment: LogSegment
    fileprivate let position: Int
    let byteCount: Int
  }

  /// The batches that a read from `offset` gives, beginning with the one that holds it: what fits `bytesMax`, at least one if
  /// `atLeastOne`. `offset` must be in `startOffset...endOffset`; nil when there is nothing to read.
  func extent(from offset: Int64, bytesMax: Int, atLeastOne: Bool) throws(StorageError) -> Extent? {
    guard offset < endOffset, bytesMax > 0 || atLeastOne else { return nil }
    let segment = segment(for: offset)
    let position = try position(of: offset, in: segment)
    let count = try segment.extent(from: position, bytesMax: bytesMax, atLeastOne: atLeastOne)
    return count > 0 ? Extent(segment: segment, position: position, byteCount: count) : nil
  }

  /// Appends the extent's bytes to `buffer`, all or none.
  func read(_ extent: Extent, into buffer: inout ByteBuffer) throws(StorageError) {
    try extent.segment.read(from: extent.position, count: extent.byteCount, into: &buffer)
  }

  /// About how many bytes a fetch from `offset` could return, not counting further than `limit`.
  func bytesAvailable(from offset: Int64, limit: Int) -> Int {
    guard offset < endOffset, offset >= startOffset else { return 0 }
    let first = segment(for: offset)
    guard let position = try? position(of: offset, in: first) else { return limit }
    var bytes = first.byteCount - position
    if first !== active, bytes < limit {
      for segment in segments where segment.baseOffset > first.baseOffset {
        bytes += segment.byteCount
        if bytes >= limit { break }
      }
    }
    return min(bytes, limit)
  }

  /// The first record with a timestamp of `timestamp` or later: its offset and time. Of a compressed batch the first record
  /// counts (the broker does not unpack), so the answer may be early by less than a batch, never late.
  func offset(atOrAfterTimestamp timestamp: Int64) throws(StorageError) -> (offset: Int64, timestamp: Int64)? {
    for segment in segments where segment.nextOffset > startOffset {
      guard let found = try segment.batch(atOrAfterTimestamp: timestamp, from: startOffset) else { continue }
      let exact = try segment.map().withBytes { bytes in
        RecordTimes.firstRecord(
          in: UnsafeRawBufferPointer(rebasing: bytes[found.position...]), header: found.header, atOrAfter: max(timestamp, 0),
          from: startOffset)
      }
      if let exact { return exact }
      return (max(found.header.baseOffset, startOffset), found.header.maxTimestamp)
    }
    return nil
  }

  /// The batch with the greatest timestamp: its last offset and that time.
  func offsetOfMaxTimestamp() throws(StorageError) -> (offset: Int64, timestamp: Int64)? {
    guard let segment = segments.filter({ $0.nextOffset > startOffset }).max(by: { $0.maxTimestamp < $1.maxTimestamp }),
      let found = try segment.batch(atOrAfterTimestamp: segment.maxTimestamp, from: 0)
    else { return nil }
    return (found.header.lastOffset, found.header.maxTimestamp)
  }

  var byteCount: Int { segments.reduce(0) { $0 + $1.byteCount } }

  // MARK: Trimming

  /// Makes records below `offset` unreadable and removes segments that hold nothing else. Returns the new start.
  func deleteRecords(before offset: Int64, now: Int64) throws(StorageError) -> Int64 {
    guard offset > startOffset else { return startOffset }
    let start = min(offset, endOffset)
    try ChecksummedFile.write(startPath, magic: Self.startMagic) { $0.int64(start) }
    startOffset = start
    // Nothing is left of the active segment: begin another, so that this one's space comes back too.
    if start == endOffset, active.byteCount > 0 { try roll(now: now) }
    try removeSegments { $0.nextOffset <= start }
    return startOffset
  }

  /// Applies the topic's limits of size and age, and closes files that were not used for a while.
  func applyRetention(now: Int64) throws(StorageError) {
    defer { for segment in segments.dropLast() { segment.release() } }
    producers.expire(before: now - 7 * 24 * 3_600_000)
    let activeExpired =
      configuration.retentionMilliseconds >= 0 && !configuration.isCompacted && active.byteCount > 0
      && active.maxTimestamp < now - configuration.retentionMilliseconds
      && activeSince < now - configuration.retentionMilliseconds
    let activeAged = configuration.segmentMilliseconds > 0 && active.byteCount > 0 && now - activeSince > configuration.segmentMilliseconds
    if activeExpired || activeAged { try roll(now: now) }
    guard !configuration.isCompacted else { return }
    if configuration.retentionMilliseconds >= 0 {
      let limit = now - configuration.retentionMilliseconds
      try removeSegments { $0.maxTimestamp < limit }
    }
    if configuration.retentionBytes >= 0 {
      var excess = Int64(byteCount) - configuration.retentionBytes
      try removeSegments { segment in
        excess -= Int64(segment.byteCount)
        return excess >= 0
      }
    }
  }

  /// Removes closed segments from the front as long as the predicate holds.
  private func removeSegments(while predicate: (LogSegment) -> Bool) throws(StorageError) {
    while segments.count > 1, predicate(segments[0]) {
      // First out of sight: a failed removal leaves a file that the next start finds, not a hole.
      let removed = segments.removeFirst()
      startOffset = max(startOffset, segments[0].baseOffset)
      try removed.remove()
    }
  }

  /// Saves what makes the next start quick.
  func close() {
    do throws(StorageError) {
      try active.saveIndex()
      try producers.save(producersPath, offset: endOffset)
    } catch {
      logger.warning("could not save an index", metadata: ["partition": "\(name)", "error": "\(error)"])
    }
  }
}
