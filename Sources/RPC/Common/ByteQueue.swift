// Hot: one for each call that holds bytes. Grows, never shrinks by itself, and allocates nothing while the bytes fit.

/// Bytes taken in at the end and given out at the front, in one block of memory.
///
/// A plain value that owns memory by hand, so that it can live in a struct behind a pointer: whoever owns the queue calls
/// `deallocate()` once. Copies share the block; keep one.
public struct ByteQueue {
  private var base: UnsafeMutableRawPointer?
  /// Bytes of the block.
  public private(set) var capacity = 0
  private var start = 0
  private var end = 0

  /// An empty queue without memory.
  public init() {}

  public var count: Int { end &- start }
  public var isEmpty: Bool { end == start }

  /// What the queue holds, valid until the next change of the queue.
  public var bytes: UnsafeRawBufferPointer {
    guard let base else { return UnsafeRawBufferPointer(start: nil, count: 0) }
    return UnsafeRawBufferPointer(start: base + start, count: end &- start)
  }

  /// The same for writing, for a length that becomes known after what follows it.
  public var mutableBytes: UnsafeMutableRawBufferPointer {
    guard let base else { return UnsafeMutableRawBufferPointer(start: nil, count: 0) }
    return UnsafeMutableRawBufferPointer(start: base + start, count: end &- start)
  }

  /// Makes room for `count` more bytes and returns where they go. Follow with `advance(by:)`.
  public mutating func reserve(_ count: Int) -> UnsafeMutableRawPointer {
    precondition(count >= 0, "room for \(count) bytes")
    if let base, capacity &- end >= count { return base + end }
    return makeRoom(count)
  }

  /// Counts `count` bytes, written where `reserve` said, as held.
  public mutating func advance(by count: Int) {
    assert(count >= 0 && end + count <= capacity, "\(count) bytes written, \(capacity - end) reserved")
    end &+= count
  }

  public mutating func append(_ bytes: UnsafeRawBufferPointer) {
    guard let from = bytes.baseAddress, bytes.count > 0 else { return }
    reserve(bytes.count).copyMemory(from: from, byteCount: bytes.count)
    end &+= bytes.count
  }

  public mutating func append(_ byte: UInt8) {
    reserve(1).storeBytes(of: byte, as: UInt8.self)
    end &+= 1
  }

  /// Gives out the first `count` bytes. At most as many as it holds.
  public mutating func removeFirst(_ count: Int) {
    precondition(count >= 0 && count <= end &- start, "\(count) of \(end &- start) bytes removed")
    start &+= count
    if start == end {
      start = 0
      end = 0
    }
  }

  /// Empties the queue and keeps its memory.
  public mutating func removeAll() {
    start = 0
    end = 0
  }

  /// Empties the queue; gives its memory back when that is more than `capacityMax` bytes.
  public mutating func removeAll(keeping capacityMax: Int) {
    removeAll()
    if capacity > capacityMax { deallocate() }
  }

  /// Gives the memory back. The queue is empty then and may be used again.
  public mutating func deallocate() {
    base?.deallocate()
    base = nil
    capacity = 0
    start = 0
    end = 0
  }

  private mutating func makeRoom(_ count: Int) -> UnsafeMutableRawPointer {
    let held = end &- start
    let needed = held + count
    if let base, needed <= capacity, start >= capacity / 2 {
      // More than half was given out already: moving the rest to the front is cheap over time.
      base.copyMemory(from: base + start, byteCount: held)
      start = 0
      end = held
      return base + held
    }
    let grown = max(needed, capacity &* 2, 256)
    let block = UnsafeMutableRawPointer.allocate(byteCount: grown, alignment: 16)
    if let base {
      block.copyMemory(from: base + start, byteCount: held)
      base.deallocate()
    }
    base = block
    capacity = grown
    start = 0
    end = held
    return block + held
  }
}
