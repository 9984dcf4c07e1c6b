internal import Foundation

/// The names of a model's features, found by their bytes: an open-addressed table of hashes, tried after the guess that features come in
/// the order of the specification. One for each thread, as the guess is state.
final class FeatureNames {
  private let count: Int
  private let mask: Int
  private let table: UnsafeMutablePointer<Int32>
  /// Name i is the bytes from `starts[i]` to `starts[i + 1]`.
  private let starts: UnsafeMutablePointer<Int32>
  private let bytes: UnsafeMutablePointer<UInt8>
  @exclusivity(unchecked) private var guess = 0

  init(_ names: [String]) {
    count = names.count
    var capacity = 4
    while capacity < names.count * 4 { capacity *= 2 }
    mask = capacity - 1
    table = .allocate(capacity: capacity)
    table.initialize(repeating: -1, count: capacity)
    starts = .allocate(capacity: names.count + 1)
    bytes = .allocate(capacity: max(1, names.reduce(0) { $0 + $1.utf8.count }))
    var position = 0
    starts[0] = 0
    for (index, name) in names.enumerated() {
      for byte in name.utf8 {
        bytes[position] = byte
        position += 1
      }
      starts[index + 1] = Int32(position)
      var place = Int(truncatingIfNeeded: hash64(self.name(index), seed: 0)) & mask
      while table[place] >= 0 { place = (place + 1) & mask }
      table[place] = Int32(index)
    }
  }

  deinit {
    table.deallocate()
    starts.deallocate()
    bytes.deallocate()
  }

  func begin() { guess = 0 }

  func index(of name: UnsafeRawBufferPointer) -> Int {
    if guess < count, isEqual(guess, name) {
      guess += 1
      return guess - 1
    }
    var place = Int(truncatingIfNeeded: hash64(name, seed: 0)) & mask
    while table[place] >= 0 {
      let index = Int(table[place])
      if isEqual(index, name) {
        guess = index + 1
        return index
      }
      place = (place + 1) & mask
    }
    return -1
  }

  private func name(_ index: Int) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: bytes + Int(starts[index]), count: Int(starts[index + 1] - starts[index]))
  }

  @inline(__always)
  private func isEqual(_ index: Int, _ name: UnsafeRawBufferPointer) -> Bool {
    let start = Int(starts[index])
    guard Int(starts[index + 1]) - start == name.count, let base = name.baseAddress else { return false }
    return memcmp(bytes + start, base, name.count) == 0
  }
}
