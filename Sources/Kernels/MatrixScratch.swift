// Hot: no allocation once it has grown.

/// Memory that products work in. Owned by one thread and reused for all its products, one at a time; it grows to what the largest one needs.
public final class MatrixScratch {
  @exclusivity(unchecked) private var memory: UnsafeMutableRawPointer
  @exclusivity(unchecked) public private(set) var byteCount: Int

  /// Room for `byteCount` bytes; more is made when it is needed.
  public init(byteCount: Int = 0) {
    self.byteCount = max(64, byteCount)
    memory = .allocate(byteCount: self.byteCount, alignment: 64)
  }

  deinit { memory.deallocate() }

  /// At least `count` bytes, 64-byte aligned; what they held may be lost. Valid until the next call.
  @inline(__always) public func bytes(_ count: Int) -> UnsafeMutableRawPointer {
    if count > byteCount { grow(count) }
    return memory
  }

  @inline(never) private func grow(_ count: Int) {
    memory.deallocate()
    byteCount = max(count, byteCount * 2)
    memory = .allocate(byteCount: byteCount, alignment: 64)
  }
}
