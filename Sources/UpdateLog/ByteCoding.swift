/// Appends little-endian numbers.
struct ByteWriter {
  var bytes: [UInt8] = []

  mutating func put<T: FixedWidthInteger>(_ value: T) { withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) } }
  mutating func put(_ value: Double) { put(value.bitPattern) }
  mutating func put(_ value: [UInt8]) {
    put(UInt32(value.count))
    bytes.append(contentsOf: value)
  }
}

/// Reads what `ByteWriter` wrote; any bytes give a value or an error, never a trap.
struct ByteReader {
  struct Short: Error {}

  let bytes: UnsafeRawBufferPointer
  var at = 0

  mutating func get<T: FixedWidthInteger & BitwiseCopyable>(_: T.Type = T.self) throws(Short) -> T {
    guard bytes.count - at >= MemoryLayout<T>.size else { throw Short() }
    defer { at += MemoryLayout<T>.size }
    return T(littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: T.self))
  }

  mutating func double() throws(Short) -> Double { Double(bitPattern: try get()) }

  mutating func array() throws(Short) -> [UInt8] {
    let count = Int(try get(UInt32.self))
    guard bytes.count - at >= count else { throw Short() }
    defer { at += count }
    return Array(bytes[at..<at + count])
  }

  /// A count of things that take at least `minimumBytes` each: bounded by what is left.
  mutating func count(minimumBytes: Int) throws(Short) -> Int {
    let count = Int(try get(UInt32.self))
    guard count <= (bytes.count - at) / minimumBytes else { throw Short() }
    return count
  }

  var isAtEnd: Bool { at == bytes.count }
}
