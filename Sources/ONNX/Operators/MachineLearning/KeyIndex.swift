// Hot: `find` of each element.
internal import Model

/// Places of keys: whole numbers, hashes of texts, or the bits of floats. Open addressing, half full at most. Immutable.
final class KeyIndex: @unchecked Sendable {
  private let keys: UnsafeMutablePointer<UInt64>
  private let places: UnsafeMutablePointer<Int32>
  private let mask: Int

  /// Of equal keys the first one is found.
  init(_ list: [UInt64]) {
    var capacity = 8
    while capacity < list.count * 2 { capacity *= 2 }
    mask = capacity - 1
    keys = .allocate(capacity: capacity)
    keys.initialize(repeating: 0, count: capacity)
    places = .allocate(capacity: capacity)
    places.initialize(repeating: -1, count: capacity)
    for (place, key) in list.enumerated() {
      var slot = Self.slot(key) & mask
      while places[slot] >= 0, keys[slot] != key { slot = (slot + 1) & mask }
      if places[slot] >= 0 { continue }
      keys[slot] = key
      places[slot] = Int32(clamping: place)
    }
  }

  deinit {
    keys.deallocate()
    places.deallocate()
  }

  /// -1: none.
  @inline(__always) func find(_ key: UInt64) -> Int {
    var slot = Self.slot(key) & mask
    while places[slot] >= 0 {
      if keys[slot] == key { return Int(places[slot]) }
      slot = (slot &+ 1) & mask
    }
    return -1
  }

  @inline(__always) private static func slot(_ key: UInt64) -> Int {
    Int(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) >> 20)
  }

  /// What equal values have in common: all NaNs are one, both zeros are one.
  @inline(__always) static func key(_ value: Double) -> UInt64 { value.isNaN ? Double.nan.bitPattern : value == 0 ? 0 : value.bitPattern }
  /// A NaN that no value's key is.
  static let noKey = Double.nan.bitPattern | 1
  @inline(__always) static func key(_ value: Int64) -> UInt64 { UInt64(bitPattern: value) }
}

/// The keys of a tensor's elements.
enum KeyReader {
  case floats, doubles, integers, narrowIntegers, shortIntegers, texts

  init?(_ element: TensorElement) {
    switch element {
    case .float32: self = .floats
    case .float64: self = .doubles
    case .int64: self = .integers
    case .int32: self = .narrowIntegers
    case .int16: self = .shortIntegers
    case .text: self = .texts
    default: return nil
    }
  }

  @inline(__always) func key(_ tensor: Tensor, _ index: Int) -> UInt64 {
    switch self {
    case .floats: KeyIndex.key(Double(tensor.floats[index]))
    case .doubles: KeyIndex.key(tensor.pointer(Double.self)[index])
    case .integers: KeyIndex.key(tensor.pointer(Int64.self)[index])
    case .narrowIntegers: KeyIndex.key(Int64(tensor.pointer(Int32.self)[index]))
    case .shortIntegers: KeyIndex.key(Int64(tensor.pointer(Int16.self)[index]))
    case .texts: tensor.pointer(UInt64.self)[index]
    }
  }
}
