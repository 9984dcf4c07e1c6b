// Hot: `index(of:)`.

/// The texts of a model as outputs give them: an index for each hash. Immutable; any thread.
final class TextIndices: @unchecked Sendable {
  /// All texts; the last one, empty, stands for what is none of them.
  let texts: [String]
  private let hashes: UnsafeMutablePointer<UInt64>
  private let indices: UnsafeMutablePointer<UInt64>
  private let mask: Int

  init(_ table: TextTable) {
    let all = table.all
    texts = all.map { String(decoding: $0.text, as: UTF8.self) } + [""]
    var capacity = 16
    while capacity < 2 * all.count { capacity *= 2 }
    mask = capacity - 1
    hashes = .allocate(capacity: capacity)
    indices = .allocate(capacity: capacity)
    hashes.initialize(repeating: 0, count: capacity)
    indices.initialize(repeating: UInt64(all.count), count: capacity)
    for (index, entry) in all.enumerated() {
      var slot = Int(truncatingIfNeeded: entry.hash) & mask
      while indices[slot] != UInt64(all.count) { slot = (slot + 1) & mask }
      hashes[slot] = entry.hash
      indices[slot] = UInt64(index)
    }
  }

  deinit {
    hashes.deallocate()
    indices.deallocate()
  }

  @inline(__always) func index(of hash: UInt64) -> UInt64 {
    let none = UInt64(truncatingIfNeeded: texts.count - 1)
    var slot = Int(truncatingIfNeeded: hash) & mask
    while indices[slot] != none {
      if hashes[slot] == hash { return indices[slot] }
      slot = (slot &+ 1) & mask
    }
    return none
  }
}
