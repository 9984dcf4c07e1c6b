// Hot: written per append, searched per fetch at the tail. No allocation after init.

/// The exact places of the last batches of a log. Consumers at the tail nearly always ask for one of them, so their
/// fetches need no walk through the file.
struct RecentBatches {
  private static let capacity = 64

  private var offsets: [Int64]
  private var positions: [Int]
  private var count = 0
  private var next = 0

  init() {
    offsets = [Int64](repeating: 0, count: Self.capacity)
    positions = [Int](repeating: 0, count: Self.capacity)
  }

  mutating func append(offset: Int64, position: Int) {
    offsets[next] = offset
    positions[next] = position
    next = (next + 1) % Self.capacity
    count = min(count + 1, Self.capacity)
  }

  mutating func removeAll() { count = 0 }

  /// The position of the batch that holds `offset`, which must be below the end of the log; nil when it is older
  /// than what is kept.
  func position(of offset: Int64) -> Int? {
    var slot = next
    for _ in 0..<count {
      slot = (slot + Self.capacity - 1) % Self.capacity
      if offsets[slot] <= offset { return positions[slot] }
    }
    return nil
  }
}
