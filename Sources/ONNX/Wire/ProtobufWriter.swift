/// Writes protobuf's wire format.
struct ProtobufWriter {
  private(set) var bytes: [UInt8] = []

  mutating func varint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(truncatingIfNeeded: rest))
  }

  mutating func int(_ number: Int, _ value: Int) {
    varint(UInt64(number) << 3)
    varint(UInt64(bitPattern: Int64(value)))
  }

  mutating func message(_ number: Int, _ contents: some Collection<UInt8>) {
    varint(UInt64(number) << 3 | 2)
    varint(UInt64(contents.count))
    bytes.append(contentsOf: contents)
  }

  mutating func string(_ number: Int, _ text: String) { message(number, Array(text.utf8)) }

  /// A field as it stands in other bytes, key included.
  mutating func raw(_ field: UnsafeRawBufferPointer) { bytes.append(contentsOf: field) }
}
