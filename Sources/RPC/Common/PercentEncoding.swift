/// The form of `grpc-message`: UTF-8 bytes, where all but printable ASCII, and `%` itself, are written as `%` and two hexadecimal
/// digits. Source: gRPC over HTTP2, "Status-Message".
public enum PercentEncoding {
  private static let digits: StaticString = "0123456789ABCDEF"

  /// Appends the encoded form of `text`, at most `countMax` bytes of it; what is beyond is cut off at a whole character of the code.
  public static func append(_ text: UnsafeRawBufferPointer, to queue: inout ByteQueue, countMax: Int = .max) {
    var left = countMax
    for byte in text {
      if isPlain(byte) {
        guard left >= 1 else { return }
        queue.append(byte)
        left -= 1
      } else {
        guard left >= 3 else { return }
        queue.append(UInt8(ascii: "%"))
        queue.append(digits.utf8Start[Int(byte >> 4)])
        queue.append(digits.utf8Start[Int(byte & 15)])
        left -= 3
      }
    }
  }

  /// The encoded form.
  public static func encode(_ text: String) -> String {
    var queue = ByteQueue()
    defer { queue.deallocate() }
    var text = text
    text.withUTF8 { append(UnsafeRawBufferPointer($0), to: &queue) }
    return String(decoding: queue.bytes, as: UTF8.self)
  }

  /// The text of an encoded form. What is no valid code stands for itself, as the specification asks: a message is for people and
  /// must not be lost because of how it was written.
  public static func decode(_ bytes: UnsafeRawBufferPointer) -> String {
    var decoded: [UInt8] = []
    decoded.reserveCapacity(bytes.count)
    var index = 0
    while index < bytes.count {
      if bytes[index] == UInt8(ascii: "%"), bytes.count - index >= 3, let high = value(bytes[index + 1]), let low = value(bytes[index + 2]) {
        decoded.append(high << 4 | low)
        index += 3
      } else {
        decoded.append(bytes[index])
        index += 1
      }
    }
    return String(decoding: decoded, as: UTF8.self)
  }

  @inline(__always)
  private static func isPlain(_ byte: UInt8) -> Bool { byte >= 0x20 && byte <= 0x7e && byte != UInt8(ascii: "%") }

  private static func value(_ digit: UInt8) -> UInt8? {
    switch digit {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
    case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
    case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
    default: nil
    }
  }
}
