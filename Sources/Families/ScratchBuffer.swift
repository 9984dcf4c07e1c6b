// Hot: no allocation once it has grown.

/// Memory of one thread that grows by doubling and is reused; 64-byte aligned, for numbers alone.
final class ScratchBuffer<Element: BitwiseCopyable> {
  @exclusivity(unchecked) private(set) var start: UnsafeMutablePointer<Element>
  @exclusivity(unchecked) private(set) var capacity: Int

  init(capacity: Int = 0) {
    self.capacity = max(64, capacity)
    start = Self.allocate(self.capacity)
  }

  deinit { start.deallocate() }

  /// Room for `count` elements; what was there may be lost.
  @inline(__always)
  func reserve(_ count: Int) -> UnsafeMutablePointer<Element> {
    if count > capacity { grow(count) }
    return start
  }

  @inline(never)
  private func grow(_ count: Int) {
    start.deallocate()
    capacity = max(count, capacity * 2)
    start = Self.allocate(capacity)
  }

  private static func allocate(_ count: Int) -> UnsafeMutablePointer<Element> {
    UnsafeMutableRawPointer.allocate(byteCount: count * MemoryLayout<Element>.stride + 64, alignment: 64).bindMemory(to: Element.self, capacity: count)
  }
}
