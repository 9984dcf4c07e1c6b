import NIOCore

/// Writes Kafka's primitive types into a buffer; `flexible` switches to the compact forms (KIP-482).
struct WireWriter {
  var buffer: ByteBuffer
  var flexible = false

  init(_ buffer: ByteBuffer) { self.buffer = buffer }

  mutating func int8(_ value: Int8) { buffer.writeInteger(value) }
  mutating func int16(_ value: Int16) { buffer.writeInteger(value) }
  mutating func int32(_ value: Int32) { buffer.writeInteger(value) }
  mutating func int64(_ value: Int64) { buffer.writeInteger(value) }
  mutating func bool(_ value: Bool) { buffer.writeInteger(UInt8(value ? 1 : 0)) }
  mutating func error(_ code: ErrorCode) { buffer.writeInteger(code.rawValue) }

  mutating func uuid(_ value: TopicID) {
    buffer.writeInteger(value.high)
    buffer.writeInteger(value.low)
  }

  mutating func unsignedVarint(_ value: UInt32) {
    var rest = value
    while rest >= 0x80 {
      buffer.writeInteger(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    buffer.writeInteger(UInt8(rest))
  }

  mutating func nullableString(_ value: String?) {
    guard let value else {
      if flexible { buffer.writeInteger(UInt8(0)) } else { buffer.writeInteger(Int16(-1)) }
      return
    }
    // Longer text than the form can hold only comes from ourselves (error messages): cut it.
    let utf8 = value.utf8.count <= Int(Int16.max) ? value : String(value.prefix(4000))
    if flexible { unsignedVarint(UInt32(utf8.utf8.count) + 1) } else { buffer.writeInteger(Int16(utf8.utf8.count)) }
    buffer.writeString(utf8)
  }

  mutating func string(_ value: String) { nullableString(value) }

  mutating func bytes(_ value: [UInt8]) {
    bytesLength(value.count)
    buffer.writeBytes(value)
  }

  /// The length of a byte field; its bytes follow.
  mutating func bytesLength(_ count: Int) {
    if flexible { unsignedVarint(UInt32(count) + 1) } else { buffer.writeInteger(Int32(count)) }
  }

  mutating func arrayCount(_ count: Int) {
    if flexible { unsignedVarint(UInt32(count) + 1) } else { buffer.writeInteger(Int32(count)) }
  }

  mutating func nullArray() {
    if flexible { buffer.writeInteger(UInt8(0)) } else { buffer.writeInteger(Int32(-1)) }
  }

  mutating func array<C: Collection>(_ elements: C, _ body: (inout WireWriter, C.Element) -> Void) {
    arrayCount(elements.count)
    for element in elements { body(&self, element) }
  }

  /// An empty tag section; nothing in a form that is not flexible.
  mutating func tags() { if flexible { buffer.writeInteger(UInt8(0)) } }
}
