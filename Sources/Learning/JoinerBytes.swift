// Hot: no allocation in the steady state; chunks are reused.

/// Bytes of many small things (ids, payloads), kept in large chunks. A chunk goes back when nothing in it is alive, and sparse chunks
/// are emptied by moving what is left, so that a few long-lived payloads cannot hold much dead memory.
final class JoinerBytes {
  /// Where some bytes are. Plain data; valid until `release` or until `compact` reports a move.
  struct Reference: Equatable {
    var chunk: UInt32 = .max
    var start: UInt32 = 0
    var count: UInt32 = 0

    static let none = Reference()
  }

  private struct Chunk {
    var base: UnsafeMutableRawPointer?
    var capacity: Int
    var used: Int
    var live: Int
  }

  /// Before each block: who owns it (-1: released), and how many bytes follow.
  private static let blockHeaderBytes = 8
  private static let sparesMax = 4

  private let chunkBytes: Int
  private var chunks: [Chunk] = []
  private var vacant: [Int] = []
  private var spares: [UnsafeMutableRawPointer] = []
  private var current = -1
  private var sweep = 0
  /// Bytes of blocks that are alive, with their headers.
  private(set) var liveBytes = 0
  /// Bytes of all chunks in use.
  private(set) var chunkedBytes = 0

  init(chunkBytes: Int = 1 << 18) {
    self.chunkBytes = chunkBytes
  }

  deinit {
    for chunk in chunks { chunk.base?.deallocate() }
    for spare in spares { spare.deallocate() }
  }

  /// Copies `bytes` in. `owner` (at least 0) is told when the block moves.
  func store(_ bytes: UnsafeRawBufferPointer, owner: Int32) -> Reference {
    guard let source = bytes.baseAddress, bytes.count > 0 else { return .none }
    precondition(bytes.count <= Int(UInt32.max) - 64, "a block of \(bytes.count) bytes")
    let size = Self.blockBytes(bytes.count)
    if current < 0 || chunks[current].capacity - chunks[current].used < size { open(size) }
    let start = chunks[current].used
    guard let base = chunks[current].base else { return .none }
    let block = base + start
    block.storeBytes(of: owner, as: Int32.self)
    block.storeBytes(of: UInt32(bytes.count), toByteOffset: 4, as: UInt32.self)
    (block + Self.blockHeaderBytes).copyMemory(from: source, byteCount: bytes.count)
    chunks[current].used = start + size
    chunks[current].live += size
    liveBytes += size
    return Reference(chunk: UInt32(current), start: UInt32(start), count: UInt32(bytes.count))
  }

  /// The bytes, borrowed until the next call that changes something.
  @inline(__always)
  func bytes(_ reference: Reference) -> UnsafeRawBufferPointer {
    guard reference.count > 0, let base = chunks[Int(reference.chunk)].base else {
      return UnsafeRawBufferPointer(start: nil, count: 0)
    }
    return UnsafeRawBufferPointer(
      start: base + Int(reference.start) + Self.blockHeaderBytes, count: Int(reference.count))
  }

  func release(_ reference: Reference) {
    guard reference.count > 0 else { return }
    let index = Int(reference.chunk)
    let size = Self.blockBytes(Int(reference.count))
    if let base = chunks[index].base { (base + Int(reference.start)).storeBytes(of: -1, as: Int32.self) }
    chunks[index].live -= size
    liveBytes -= size
    assert(chunks[index].live >= 0, "released twice")
    if chunks[index].live == 0 { empty(index) }
  }

  func removeAll() {
    for index in chunks.indices where chunks[index].base != nil {
      chunks[index].live = 0
      if index != current { empty(index) }
    }
    if current >= 0 { chunks[current].used = 0 }
    liveBytes = 0
  }

  /// Empties at most one sparse chunk when more than half of the memory is dead.
  func compact(_ moved: (_ owner: Int32, _ from: Reference, _ to: Reference) -> Void) {
    guard chunkedBytes > 4 * chunkBytes, chunkedBytes > 2 * liveBytes, !chunks.isEmpty else { return }
    for _ in 0..<min(8, chunks.count) {
      sweep = sweep + 1 < chunks.count ? sweep + 1 : 0
      let chunk = chunks[sweep]
      guard sweep != current, let base = chunk.base, chunk.live * 2 < chunk.used else { continue }
      var at = 0
      let victim = sweep
      // Keeps the chunk's memory until the walk is over.
      chunks[victim].live += 1
      while at < chunk.used {
        let owner = (base + at).load(as: Int32.self)
        let count = (base + at).load(fromByteOffset: 4, as: UInt32.self)
        if owner >= 0 {
          let old = Reference(chunk: UInt32(victim), start: UInt32(at), count: count)
          let new = store(UnsafeRawBufferPointer(start: base + at + Self.blockHeaderBytes, count: Int(count)), owner: owner)
          moved(owner, old, new)
          release(old)
        }
        at += Self.blockBytes(Int(count))
      }
      chunks[victim].live -= 1
      if chunks[victim].live == 0 { empty(victim) }
      return
    }
  }

  @inline(__always)
  private static func blockBytes(_ count: Int) -> Int { (count + blockHeaderBytes + 7) & ~7 }

  private func open(_ size: Int) {
    let old = current
    let capacity = max(size, chunkBytes)
    let base =
      capacity == chunkBytes
      ? spares.popLast() ?? .allocate(byteCount: capacity, alignment: 16)
      : UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 16)
    let chunk = Chunk(base: base, capacity: capacity, used: 0, live: 0)
    if let index = vacant.popLast() {
      chunks[index] = chunk
      current = index
    } else {
      chunks.append(chunk)
      current = chunks.count - 1
    }
    chunkedBytes += capacity
    if old >= 0, chunks[old].live == 0 { empty(old) }
  }

  /// Nothing in the chunk is alive: its memory is free again.
  private func empty(_ index: Int) {
    guard index != current else {
      chunks[index].used = 0
      return
    }
    guard let base = chunks[index].base else { return }
    chunkedBytes -= chunks[index].capacity
    if chunks[index].capacity == chunkBytes && spares.count < Self.sparesMax {
      spares.append(base)
    } else {
      base.deallocate()
    }
    chunks[index] = Chunk(base: nil, capacity: 0, used: 0, live: 0)
    vacant.append(index)
  }
}
