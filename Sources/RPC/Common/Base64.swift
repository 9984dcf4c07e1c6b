/// The form of metadata whose name ends in `-bin`. Writers leave the padding out, readers take both. Source: gRPC over HTTP2,
/// "Binary-Header"; RFC 4648, section 4.
public enum Base64 {
  private static let digits: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

  /// The encoded form, without padding.
  public static func encode(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
    var encoded: [UInt8] = []
    encoded.reserveCapacity((bytes.count / 3 + 1) * 4)
    var bits: UInt32 = 0
    var held: UInt32 = 0
    for byte in bytes {
      bits = bits << 8 | UInt32(byte)
      held += 8
      while held >= 6 {
        held -= 6
        encoded.append(digits.utf8Start[Int(bits >> held & 63)])
      }
    }
    if held > 0 { encoded.append(digits.utf8Start[Int(bits << (6 - held) & 63)]) }
    return encoded
  }

  /// The bytes of an encoded form, with padding or without; nil when it is none.
  public static func decode(_ text: UnsafeRawBufferPointer) -> [UInt8]? {
    var end = text.count
    var padding = 0
    while end > 0, padding < 2, text[end - 1] == UInt8(ascii: "=") {
      end -= 1
      padding += 1
    }
    guard end % 4 != 1, padding == 0 || (end + padding) % 4 == 0 else { return nil }
    var decoded: [UInt8] = []
    decoded.reserveCapacity(end / 4 * 3 + 2)
    var bits: UInt32 = 0
    var held: UInt32 = 0
    for index in 0..<end {
      guard let value = value(text[index]) else { return nil }
      bits = bits << 6 | value
      held += 6
      if held >= 8 {
        held -= 8
        decoded.append(UInt8(truncatingIfNeeded: bits >> held))
      }
    }
    return decoded
  }

  private static func value(_ digit: UInt8) -> UInt32? {
    switch digit {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt32(digit - UInt8(ascii: "A"))
    case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt32(digit - UInt8(ascii: "a")) + 26
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(digit - UInt8(ascii: "0")) + 52
    // Some writers use the form for URLs.
    case UInt8(ascii: "+"), UInt8(ascii: "-"): 62
    case UInt8(ascii: "/"), UInt8(ascii: "_"): 63
    default: nil
    }
  }
}
