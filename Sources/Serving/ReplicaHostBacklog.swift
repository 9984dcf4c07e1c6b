// Hot: no allocation per record in the steady state.

/// Examples records that were polled while the trainer had too much in flight, in the order they came,
/// copied because poll's payloads are only borrowed. Bounded: beyond `bytesMax` the host pauses the
/// examples partitions. Owned by the host's thread.
struct ReplicaHostBacklog {
  private struct Record {
    var partition: Int32
    var offset: Int64
    var start: Int
    var length: Int
    /// The content type's bytes follow the payload's; -1: there is none.
    var contentTypeLength: Int
    var timestampMilliseconds: Int64

    var size: Int { length + max(0, contentTypeLength) }
  }

  /// One record in the backlog. Its bytes are valid until the next append.
  struct Waiting {
    var partition: Int32
    var offset: Int64
    var bytes: UnsafeRawBufferPointer
    var contentType: UnsafeRawBufferPointer?
    var timestampMilliseconds: Int64
  }

  /// At this many bytes the host stops fetching…
  let bytesMax: Int
  /// …and goes on below this.
  var resumeBytes: Int { bytesMax / 4 }

  private var bytes: UnsafeMutableRawPointer
  private var capacity: Int
  private var end = 0
  private var records: [Record] = []
  private var first = 0

  init(bytesMax: Int = 16 << 20) {
    self.bytesMax = bytesMax
    capacity = 1 << 16
    bytes = .allocate(byteCount: capacity, alignment: 16)
  }

  func deallocate() { bytes.deallocate() }

  var isEmpty: Bool { first == records.count }
  var count: Int { records.count - first }
  /// Bytes of the records that wait.
  private(set) var waitingBytes = 0
  var isFull: Bool { waitingBytes >= bytesMax }

  /// Copies the record behind the others.
  mutating func append(_ waiting: Waiting) {
    let payload = waiting.bytes
    let contentType = waiting.contentType
    let record = Record(
      partition: waiting.partition, offset: waiting.offset, start: 0, length: payload.count,
      contentTypeLength: contentType?.count ?? -1, timestampMilliseconds: waiting.timestampMilliseconds)
    if end + record.size > capacity { makeRoom(record.size) }
    if let base = payload.baseAddress { (bytes + end).copyMemory(from: base, byteCount: payload.count) }
    if let contentType, let base = contentType.baseAddress {
      (bytes + end + payload.count).copyMemory(from: base, byteCount: contentType.count)
    }
    records.append(record)
    records[records.count - 1].start = end
    end += record.size
    waitingBytes += record.size
  }

  /// The oldest record.
  var front: Waiting? {
    guard first < records.count else { return nil }
    let record = records[first]
    return Waiting(
      partition: record.partition, offset: record.offset,
      bytes: UnsafeRawBufferPointer(start: bytes + record.start, count: record.length),
      contentType: record.contentTypeLength < 0
        ? nil : UnsafeRawBufferPointer(start: bytes + record.start + record.length, count: record.contentTypeLength),
      timestampMilliseconds: record.timestampMilliseconds)
  }

  mutating func removeFirst() {
    precondition(first < records.count, "an empty backlog has no first record")
    waitingBytes -= records[first].size
    first += 1
    if first == records.count {
      records.removeAll(keepingCapacity: true)
      first = 0
      end = 0
    }
  }

  /// Forgets the records of one partition: the trainer wants it from elsewhere.
  mutating func removeAll(partition: Int32) {
    var kept = first
    for index in first..<records.count {
      if records[index].partition == partition {
        waitingBytes -= records[index].size
      } else {
        records[kept] = records[index]
        kept += 1
      }
    }
    records.removeLast(records.count - kept)
    if first == records.count {
      records.removeAll(keepingCapacity: true)
      first = 0
      end = 0
    }
  }

  private mutating func makeRoom(_ additional: Int) {
    // The live part moves to the front, of a larger block when it would still not fit.
    let start = first < records.count ? records[first].start : end
    let live = end - start
    var larger = capacity
    while live + additional > larger { larger *= 2 }
    if larger == capacity && live * 2 <= capacity {
      bytes.copyMemory(from: bytes + start, byteCount: live)
    } else {
      if larger == capacity { larger *= 2 }
      let grown = UnsafeMutableRawPointer.allocate(byteCount: larger, alignment: 16)
      grown.copyMemory(from: bytes + start, byteCount: live)
      bytes.deallocate()
      bytes = grown
      capacity = larger
    }
    records.removeFirst(first)
    first = 0
    for index in records.indices { records[index].start -= start }
    end = live
  }
}
