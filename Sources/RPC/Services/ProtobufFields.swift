// Protobuf by hand, for calls that come rarely: the services that every gRPC server has, and control calls. Hot paths have their own
// readers in C.

/// Reads the fields of one message in their order. Whatever is broken is an `INVALID_ARGUMENT` that names the message.
package struct ProtobufReader {
  package enum Value: Sendable, Equatable {
    case varint(UInt64)
    case fixed64(UInt64)
    case fixed32(UInt32)
    /// A text, bytes, a message or packed numbers.
    case slice(ArraySlice<UInt8>)
  }

  package let message: String
  private var rest: ArraySlice<UInt8>

  /// `message` names the message in errors.
  package init(_ bytes: ArraySlice<UInt8>, of message: String) {
    rest = bytes
    self.message = message
  }

  package init(_ bytes: [UInt8], of message: String) { self.init(bytes[...], of: message) }

  /// The next field; nil at the end.
  package mutating func next() throws(RPCStatus) -> (number: UInt32, value: Value)? {
    guard !rest.isEmpty else { return nil }
    let tag = try varint()
    guard let number = UInt32(exactly: tag >> 3), (1...Self.numberMax).contains(number) else { throw broken("a field number is out of range") }
    switch tag & 7 {
    case 0: return (number, .varint(try varint()))
    case 1: return (number, .fixed64(try fixed(8)))
    case 2:
      guard let length = Int(exactly: try varint()), length <= rest.count else { throw broken("it ends inside field \(number)") }
      defer { rest = rest.dropFirst(length) }
      return (number, .slice(rest.prefix(length)))
    case 5: return (number, .fixed32(UInt32(truncatingIfNeeded: try fixed(4))))
    default: throw broken("field \(number) is in a wire type that no message here uses")
    }
  }

  /// The value as a text.
  package func text(_ value: Value, _ field: String) throws(RPCStatus) -> String {
    guard case .slice(let bytes) = value else { throw broken("\(field) is not a string") }
    guard let text = String(validating: bytes, as: UTF8.self) else { throw broken("\(field) is not UTF-8") }
    return text
  }

  /// The value as bytes or a message.
  package func bytes(_ value: Value, _ field: String) throws(RPCStatus) -> ArraySlice<UInt8> {
    guard case .slice(let bytes) = value else { throw broken("\(field) is not length-delimited") }
    return bytes
  }

  /// The value as a number: any of the integer types and bool.
  package func number(_ value: Value, _ field: String) throws(RPCStatus) -> UInt64 {
    guard case .varint(let number) = value else { throw broken("\(field) is not a number") }
    return number
  }

  /// The value of a repeated number: packed, or one of several fields.
  package func numbers(_ value: Value, _ field: String) throws(RPCStatus) -> [UInt64] {
    guard case .slice(let packed) = value else { return [try number(value, field)] }
    var inner = ProtobufReader(packed, of: "\(message).\(field)")
    var numbers: [UInt64] = []
    while !inner.rest.isEmpty { numbers.append(try inner.varint()) }
    return numbers
  }

  package func broken(_ reason: String) -> RPCStatus { RPCStatus(.invalidArgument, "\(message): \(reason)") }

  /// What protobuf allows.
  private static let numberMax: UInt32 = (1 << 29) - 1

  private mutating func varint() throws(RPCStatus) -> UInt64 {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while let byte = rest.popFirst() {
      // The tenth byte holds one bit.
      guard shift < 63 || byte <= 1 else { throw broken("a number has more than 64 bits") }
      value |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return value }
      shift += 7
    }
    throw broken("it ends inside a number")
  }

  private mutating func fixed(_ count: Int) throws(RPCStatus) -> UInt64 {
    guard rest.count >= count else { throw broken("it ends inside a number") }
    var value: UInt64 = 0
    for byte in rest.prefix(count).reversed() { value = value << 8 | UInt64(byte) }
    rest = rest.dropFirst(count)
    return value
  }
}

/// Writes one message, field by field. Fields at their default are written too: leave them out by not calling.
package struct ProtobufWriter {
  package private(set) var bytes: [UInt8] = []

  package init() {}

  package mutating func varint(_ number: UInt32, _ value: UInt64) {
    append(varint: UInt64(number) << 3)
    append(varint: value)
  }

  package mutating func text(_ number: UInt32, _ value: String) { slice(number, Array(value.utf8)[...]) }

  package mutating func slice(_ number: UInt32, _ value: ArraySlice<UInt8>) {
    append(varint: UInt64(number) << 3 | 2)
    append(varint: UInt64(value.count))
    bytes.append(contentsOf: value)
  }

  package mutating func slice(_ number: UInt32, _ value: UnsafeRawBufferPointer) {
    append(varint: UInt64(number) << 3 | 2)
    append(varint: UInt64(value.count))
    bytes.append(contentsOf: value)
  }

  package mutating func double(_ number: UInt32, _ value: Double) {
    append(varint: UInt64(number) << 3 | 1)
    withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes.append(contentsOf: $0) }
  }

  package mutating func message(_ number: UInt32, _ write: (inout ProtobufWriter) -> Void) {
    var inner = ProtobufWriter()
    write(&inner)
    slice(number, inner.bytes[...])
  }

  /// Fields that were written elsewhere.
  package mutating func append(_ fields: ProtobufWriter) { bytes += fields.bytes }

  /// Numbers as proto3 packs them; nothing when there are none.
  package mutating func packed(_ number: UInt32, _ values: [UInt64]) {
    guard !values.isEmpty else { return }
    message(number) { inner in for value in values { inner.append(varint: value) } }
  }

  private mutating func append(varint value: UInt64) {
    var value = value
    while value >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: value) | 0x80)
      value >>= 7
    }
    bytes.append(UInt8(truncatingIfNeeded: value))
  }
}
