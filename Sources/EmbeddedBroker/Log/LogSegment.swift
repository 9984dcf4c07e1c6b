import NIOCore

/// One file of a partition's log: record batches as they came, one behind the other.
///
/// The index lives in memory; it is saved beside the file when the segment is closed or the broker stops, and rebuilt
/// from the file when the saved one is missing or shorter.
final class LogSegment {
  let baseOffset: Int64
  let path: String
  /// Bytes of whole batches in the file.
  private(set) var byteCount = 0
  private(set) var nextOffset: Int64
  private(set) var maxTimestamp: Int64 = -1
  private(set) var index = SegmentIndex()
  /// Open while in use; a closed segment's file is opened on demand and closed again by `release`.
  private var descriptor: Int32 = -1
  private var usedSinceRelease = false

  private static let indexMagic: UInt32 = 0x4D52_5331

  static func fileName(baseOffset: Int64) -> String {
    let digits = String(baseOffset)
    return String(repeating: "0", count: max(0, 20 - digits.count)) + digits + ".log"
  }

  static func baseOffset(fileName: String) -> Int64? {
    guard fileName.hasSuffix(".log"), fileName.count == 24 else { return nil }
    guard let offset = Int64(fileName.dropLast(4)), offset >= 0 else { return nil }
    return offset
  }

  private var indexPath: String { String(path.dropLast(4)) + ".index" }

  /// Creates an empty segment.
  init(creating baseOffset: Int64, in directory: String) throws(StorageError) {
    self.baseOffset = baseOffset
    self.nextOffset = baseOffset
    self.path = directory + "/" + Self.fileName(baseOffset: baseOffset)
    descriptor = try LogFile.open(path, create: true)
    try LogFile.truncate(descriptor, path, to: 0)
  }

  /// What was found when a segment was opened.
  struct Recovery {
    /// Bytes behind the last intact batch, cut off.
    var tornBytes = 0
    /// Bytes that the saved index did not cover and that were checked.
    var scannedBytes = 0
  }

  /// Opens a segment: trusts the part that a saved index covers, checks every batch behind it and cuts off a torn
  /// tail.
  init(opening baseOffset: Int64, in directory: String, recovery: inout Recovery) throws(StorageError) {
    self.baseOffset = baseOffset
    self.nextOffset = baseOffset
    self.path = directory + "/" + Self.fileName(baseOffset: baseOffset)
    descriptor = try LogFile.open(path, create: false)
    let size = try LogFile.size(descriptor, path)
    loadIndex(fileBytes: size)
    let file = try MappedFile(descriptor: descriptor, path: path, count: size)
    recovery.scannedBytes = size - byteCount
    file.withBytes { bytes in
      while byteCount < size {
        let rest = UnsafeRawBufferPointer(rebasing: bytes[byteCount...])
        guard let header = RecordBatchHeader.intact(rest), header.baseOffset >= nextOffset else { break }
        note(header, nextOffset: header.nextOffset, bytes: header.totalBytes)
      }
    }
    if byteCount < size {
      recovery.tornBytes = size - byteCount
      try LogFile.truncate(descriptor, path, to: byteCount)
    }
  }

  deinit { closeDescriptor(descriptor) }

  private func note(_ header: RecordBatchHeader, nextOffset: Int64, bytes: Int) {
    index.append(offset: header.baseOffset, position: byteCount, maxTimestampBefore: maxTimestamp)
    byteCount += bytes
    self.nextOffset = nextOffset
    if header.maxTimestamp > maxTimestamp { maxTimestamp = header.maxTimestamp }
  }

  private func file() throws(StorageError) -> Int32 {
    usedSinceRelease = true
    if descriptor < 0 { descriptor = try LogFile.open(path, create: false) }
    return descriptor
  }

  /// Closes the file unless it was used since the last call.
  func release() {
    if !usedSinceRelease, descriptor >= 0 {
      closeDescriptor(descriptor)
      descriptor = -1
    }
    usedSinceRelease = false
  }

  /// Appends a checked batch at `header.baseOffset` (already the assigned one). `head` is the patched start of the batch, `rest`
  /// what follows. On failure the file is as before.
  func append(_ header: RecordBatchHeader, head: UnsafeRawBufferPointer, rest: UnsafeRawBufferPointer) throws(StorageError) {
    let descriptor = try file()
    do throws(StorageError) {
      try LogFile.write(descriptor, path, head, rest, at: byteCount)
    } catch {
      // Whatever was written of it would look like a torn tail; it must not stay before the next batch.
      try LogFile.truncate(descriptor, path, to: byteCount)
      throw error
    }
    note(header, nextOffset: header.nextOffset, bytes: head.count + rest.count)
  }

  /// Makes the file's bytes durable.
  func synchronize() throws(StorageError) { try LogFile.synchronize(try file(), path) }

  /// The position of the batch that holds `offset`, or of the first one behind it; `byteCount` when there is none.
  func position(of offset: Int64) throws(StorageError) -> Int {
    try walk(from: index.position(notAfterOffset: offset)) { $0.lastOffset >= offset }?.position ?? byteCount
  }

  /// The first batch with a timestamp of `timestamp` or later and a record at `offset` or later.
  func batch(atOrAfterTimestamp timestamp: Int64, from offset: Int64) throws(StorageError) -> (
    header: RecordBatchHeader, position: Int
  )? {
    guard maxTimestamp >= timestamp else { return nil }
    let start = max(index.position(beforeTimestamp: timestamp), index.position(notAfterOffset: offset))
    return try walk(from: start) { $0.maxTimestamp >= timestamp && $0.lastOffset >= offset }
  }

  /// Walks over batch heads from a batch boundary until one matches. Reads heads only, a few together when batches are
  /// small.
  func walk(from start: Int, until matches: (RecordBatchHeader) -> Bool) throws(StorageError)
    -> (header: RecordBatchHeader, position: Int)?
  {
    let descriptor = try file()
    let window = 4096
    return try withUnsafeTemporaryAllocation(byteCount: window, alignment: 8) { scratch throws(StorageError) in
      var position = start
      var windowStart = start
      var windowCount = 0
      while position + RecordBatchHeader.byteCount <= byteCount {
        if position + RecordBatchHeader.byteCount > windowStart + windowCount || position < windowStart {
          windowStart = position
          let count = min(window, byteCount - position)
          windowCount = try LogFile.read(
            descriptor, path, into: UnsafeMutableRawBufferPointer(rebasing: scratch[..<count]), at: position)
          guard windowCount >= RecordBatchHeader.byteCount, let _ = scratch.baseAddress else { break }
        }
        guard let base = scratch.baseAddress else { break }
        let header = RecordBatchHeader(base + (position - windowStart))
        guard header.isPlausible else { break }
        if matches(header) { return (header, position) }
        position += header.totalBytes
      }
      return nil
    }
  }

  /// How many bytes of whole batches a read from `position` (a batch boundary) gives: as many as fit `bytesMax`, at least one
  /// batch if `atLeastOne`.
  func extent(from position: Int, bytesMax: Int, atLeastOne: Bool) throws(StorageError) -> Int {
    let available = byteCount - position
    guard available >= RecordBatchHeader.byteCount else { return 0 }
    let want = max(0, min(available, bytesMax))
    if want == available { return want }
    // Cut at a batch boundary.
    let limit = position + want
    var cut = max(position, index.boundary(notAfterPosition: limit))
    _ = try walk(from: cut) { header in
      if cut + header.totalBytes > limit {
        if cut == position && atLeastOne { cut += header.totalBytes }
        return true
      }
      cut += header.totalBytes
      return false
    }
    return min(cut, byteCount) - position
  }

  /// Appends `count` bytes from `position` to `buffer`, all or none.
  func read(from position: Int, count: Int, into buffer: inout ByteBuffer) throws(StorageError) {
    let descriptor = try file()
    let start = buffer.writerIndex
    var failure: StorageError?
    let got = buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { space in
      do throws(StorageError) {
        return try LogFile.read(
          descriptor, path, into: UnsafeMutableRawBufferPointer(rebasing: space[..<count]), at: position)
      } catch {
        failure = error
        return 0
      }
    }
    if failure == nil, got == count { return }
    buffer.moveWriterIndex(to: start)
    // A file shorter than what was written to it: somebody else cut it.
    throw failure ?? StorageError("read", path, code: 5)
  }

  /// The file's bytes, for scans.
  func map() throws(StorageError) -> MappedFile { try MappedFile(descriptor: try file(), path: path, count: byteCount) }

  /// Saves the index beside the file, so that the next start needs no scan.
  func saveIndex() throws(StorageError) {
    try ChecksummedFile.write(indexPath, magic: Self.indexMagic) { writer in
      writer.int64(Int64(byteCount))
      writer.int64(nextOffset)
      writer.int64(maxTimestamp)
      writer.array(index.entries) { writer, entry in
        writer.int64(entry.offset)
        writer.int64(Int64(entry.position))
        writer.int64(entry.maxTimestampBefore)
      }
    }
  }

  private func loadIndex(fileBytes: Int) {
    guard let payload = ChecksummedFile.read(indexPath, magic: Self.indexMagic) else { return }
    payload.withUnsafeBytes { bytes in
      do throws(WireError) {
        var reader = WireReader(bytes)
        let covered = try reader.int64("byteCount")
        let next = try reader.int64("nextOffset")
        let latest = try reader.int64("maxTimestamp")
        guard covered >= 0, covered <= Int64(fileBytes), next >= baseOffset else { return }
        let count = try reader.arrayCount("entries", elementBytesMin: 24)
        var entries: [SegmentIndex.Entry] = []
        entries.reserveCapacity(count)
        for _ in 0..<count {
          let entry = SegmentIndex.Entry(
            offset: try reader.int64("offset"), position: Int(try reader.int64("position")),
            maxTimestampBefore: try reader.int64("maxTimestampBefore"))
          guard entry.position >= (entries.last?.position ?? 0), entry.position <= Int(covered) else { return }
          entries.append(entry)
        }
        index = SegmentIndex(entries: entries)
        byteCount = Int(covered)
        nextOffset = next
        maxTimestamp = latest
      } catch {
        // A saved index is only a shortcut.
      }
    }
  }

  /// Removes the files.
  func remove() throws(StorageError) {
    closeDescriptor(descriptor)
    descriptor = -1
    try LogFile.remove(path)
    try LogFile.remove(indexPath)
  }
}
