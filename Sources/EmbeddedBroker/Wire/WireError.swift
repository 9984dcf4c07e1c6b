/// Why bytes from a connection could not be read as what they claim to be. The connection that sent them is closed;
/// nothing else happens.
struct WireError: Error, CustomStringConvertible, Equatable {
  enum Reason: Equatable {
    case truncated
    case negativeLength
    case tooLong
    case invalidUTF8
    case unexpectedNull
    case invalidValue
    case trailingBytes
  }

  let reason: Reason
  /// The protocol's name of the field that was being read.
  let field: StaticString
  /// Byte position in the request, counted after its size field.
  let position: Int

  var description: String { "\(reason) in field \(field) at byte \(position)" }

  static func == (a: WireError, b: WireError) -> Bool {
    a.reason == b.reason && a.position == b.position && a.field.description == b.field.description
  }
}
