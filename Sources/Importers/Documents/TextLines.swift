import CSimdJSON
import Glibc

/// The lines of a mapped text, one after the other, without copying them.
struct TextLines {
  private let bytes: UnsafeRawBufferPointer
  private(set) var offset = 0
  /// Of the line that `next` gave last, from 1.
  private(set) var number = 0

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  /// The next line without its end (`\n` or `\r\n`); nil at the end of the text.
  mutating func next() -> TextSlice? {
    guard offset < bytes.count, let base = bytes.baseAddress else { return nil }
    let start = base + offset
    let rest = bytes.count - offset
    var count = rest
    if let end = memchr(start, 10, rest) {
      count = UnsafeRawPointer(end) - start
      offset += count + 1
    } else {
      offset = bytes.count
    }
    number += 1
    if count > 0, start.load(fromByteOffset: count - 1, as: UInt8.self) == 13 { count -= 1 }
    return TextSlice(UnsafeRawBufferPointer(start: start, count: count))
  }
}

/// Bytes of a mapped text; valid as long as the text is.
struct TextSlice {
  let bytes: UnsafeRawBufferPointer

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  var isEmpty: Bool { bytes.isEmpty }
  var string: String { String(decoding: bytes, as: UTF8.self) }
  /// For messages: what stands there, cut short.
  var excerpt: String { String(decoding: bytes.prefix(40), as: UTF8.self) + (bytes.count > 40 ? "…" : "") }

  func starts(with text: StaticString) -> Bool {
    guard let base = bytes.baseAddress, bytes.count >= text.utf8CodeUnitCount else { return false }
    return memcmp(base, text.utf8Start, text.utf8CodeUnitCount) == 0
  }

  static func == (slice: TextSlice, text: StaticString) -> Bool {
    slice.bytes.count == text.utf8CodeUnitCount && slice.starts(with: text)
  }

  func dropping(_ count: Int) -> TextSlice { TextSlice(UnsafeRawBufferPointer(rebasing: bytes.dropFirst(count))) }

  /// What stands before and behind the first `separator`; nil when there is none.
  func split(at separator: UInt8) -> (TextSlice, TextSlice)? {
    guard let base = bytes.baseAddress, let found = memchr(base, Int32(separator), bytes.count) else { return nil }
    let place = UnsafeRawPointer(found) - base
    return (TextSlice(UnsafeRawBufferPointer(rebasing: bytes[..<place])), dropping(place + 1))
  }

  /// Calls with each run of bytes between spaces.
  func forEachWord<E: Error>(_ body: (TextSlice) throws(E) -> Void) throws(E) {
    var start = 0
    while start < bytes.count {
      while start < bytes.count, bytes[start] == 32 { start += 1 }
      var end = start
      while end < bytes.count, bytes[end] != 32 { end += 1 }
      if end > start { try body(TextSlice(UnsafeRawBufferPointer(rebasing: bytes[start..<end]))) }
      start = end
    }
  }

  /// The whole slice as a decimal number, rounded to nearest as `strtod` rounds it; nil when it is none. "inf" and "nan" are numbers here.
  var double: Double? {
    var value = 0.0
    if mr_parse_double(bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count, &value) { return value }
    return bytes.count <= Self.numberBytesMax ? Double(string) : nil
  }

  /// As a 32-bit float, rounded once from the decimal number (not by way of a double).
  var float: Float? {
    var value = 0.0
    if mr_parse_double(bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count, &value) {
      // Rounding twice goes wrong only where the double stands right between two floats, or where floats have fewer bits.
      if value.bitPattern & 0x1FFF_FFFF != 0x1000_0000, abs(value) >= Double(Float.leastNormalMagnitude) || value == 0 { return Float(value) }
    }
    return bytes.count <= Self.numberBytesMax ? Float(string) : nil
  }

  /// The whole slice as a decimal integer of at most 18 digits; nil when it is none.
  var integer: Int? {
    var place = 0
    var isNegative = false
    if let first = bytes.first, first == 45 || first == 43 {
      isNegative = first == 45
      place = 1
    }
    guard bytes.count > place, bytes.count - place <= 18 else { return nil }
    var value = 0
    while place < bytes.count {
      let digit = Int(bytes[place]) - 48
      guard digit >= 0, digit <= 9 else { return nil }
      value = value * 10 + digit
      place += 1
    }
    return isNegative ? -value : value
  }

  /// A number's text is never longer, even one written with every digit that a double has.
  static let numberBytesMax = 1_100
}
