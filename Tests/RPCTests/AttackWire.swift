/// HTTP/2 frames made by hand (RFC 9113, section 4; RFC 7541 for the header blocks): whatever a test wants to put on the wire, right or
/// wrong.
enum AttackWire {
  enum Kind: UInt8 {
    case data, headers, priority, reset, settings, pushPromise, ping, goAway, windowUpdate, continuation
  }

  static let endStream: UInt8 = 0x1
  static let acknowledge: UInt8 = 0x1
  static let endHeaders: UInt8 = 0x4
  static let padded: UInt8 = 0x8
  static let prioritized: UInt8 = 0x20

  static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

  /// One frame. `length` lies about the payload's size.
  static func frame(
    _ kind: Kind, flags: UInt8 = 0, stream: UInt32 = 0, _ payload: [UInt8] = [], length: Int? = nil
  ) -> [UInt8] {
    frame(rawKind: kind.rawValue, flags: flags, stream: stream, payload, length: length)
  }

  static func frame(rawKind: UInt8, flags: UInt8, stream: UInt32, _ payload: [UInt8], length: Int? = nil) -> [UInt8] {
    let length = UInt32(length ?? payload.count)
    return [UInt8(truncatingIfNeeded: length >> 16), UInt8(truncatingIfNeeded: length >> 8), UInt8(truncatingIfNeeded: length)]
      + [rawKind, flags] + bytes(stream) + payload
  }

  static func bytes(_ number: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: number >> (24 - 8 * $0)) } }

  static func settings(_ entries: [(id: UInt16, value: UInt32)] = []) -> [UInt8] {
    frame(.settings, entries.flatMap { [UInt8($0.id >> 8), UInt8($0.id & 0xff)] + bytes($0.value) })
  }

  static let settingsAcknowledged = frame(.settings, flags: acknowledge)

  static func windowUpdate(_ stream: UInt32, _ increment: UInt32) -> [UInt8] {
    frame(.windowUpdate, stream: stream, bytes(increment))
  }

  static func reset(_ stream: UInt32, _ code: UInt32 = 8) -> [UInt8] { frame(.reset, stream: stream, bytes(code)) }

  static func ping(_ number: UInt32) -> [UInt8] { frame(.ping, bytes(0) + bytes(number)) }

  /// A header block of literals that no table keeps, not Huffman coded.
  static func block(_ fields: [(String, [UInt8])]) -> [UInt8] {
    fields.flatMap { [0] + string(Array($0.0.utf8)) + string($0.1) }
  }

  static func block(_ fields: [(String, String)]) -> [UInt8] { block(fields.map { ($0.0, Array($0.1.utf8)) }) }

  static func headers(_ stream: UInt32, _ fields: [(String, String)], end: Bool = false) -> [UInt8] {
    frame(.headers, flags: endHeaders | (end ? endStream : 0), stream: stream, block(fields))
  }

  /// The header fields of a call, as stock clients send them.
  static func request(_ path: String, _ extra: [(String, String)] = []) -> [(String, String)] {
    [
      (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost"), ("te", "trailers"),
      ("content-type", "application/grpc"),
    ] + extra
  }

  /// A gRPC message with its five bytes before it.
  static func message(_ bytes: [UInt8], compressed: UInt8 = 0, length: UInt32? = nil) -> [UInt8] {
    [compressed] + self.bytes(length ?? UInt32(bytes.count)) + bytes
  }

  static func data(_ stream: UInt32, _ bytes: [UInt8], end: Bool = false) -> [UInt8] {
    frame(.data, flags: end ? endStream : 0, stream: stream, bytes)
  }

  /// Headers, one message in one frame, end.
  static func unary(
    _ stream: UInt32, _ path: String, _ bytes: [UInt8], _ extra: [(String, String)] = []
  ) -> [UInt8] {
    headers(stream, request(path, extra)) + data(stream, message(bytes), end: true)
  }

  /// RFC 7541, section 5.2, without Huffman.
  private static func string(_ bytes: [UInt8]) -> [UInt8] {
    var length = bytes.count
    guard length >= 127 else { return [UInt8(length)] + bytes }
    var prefix: [UInt8] = [127]
    length -= 127
    while length >= 128 {
      prefix.append(UInt8(length % 128) | 128)
      length /= 128
    }
    return prefix + [UInt8(length)] + bytes
  }
}
