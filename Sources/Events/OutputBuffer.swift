// Hot: grows by doubling while records get larger, and never shrinks.
import CMessages
import CSimdJSON

/// Bytes being written: a record, or several one after another. Owned by one thread and reused.
public final class OutputBuffer {
  @exclusivity(unchecked) public private(set) var pointer: UnsafeMutableRawPointer
  @exclusivity(unchecked) public private(set) var count = 0
  @exclusivity(unchecked) private var capacity: Int

  public init(capacity: Int = 4096) {
    self.capacity = max(64, capacity)
    pointer = .allocate(byteCount: self.capacity, alignment: 16)
  }

  deinit { pointer.deallocate() }

  /// What has been written. Valid until the next append.
  public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: pointer, count: count) }

  /// Forgets the bytes, keeps the memory.
  public func removeAll() { count = 0 }

  /// Forgets what was written after the first `count` bytes.
  public func truncate(to count: Int) {
    precondition(count >= 0 && count <= self.count, "\(count) of \(self.count)")
    self.count = count
  }

  /// Room for `extra` more bytes at the returned place; to be followed by `advance`.
  @inline(__always)
  public func reserve(_ extra: Int) -> UnsafeMutableRawPointer {
    if capacity - count < extra { grow(extra) }
    return pointer + count
  }

  @inline(__always)
  public func advance(_ written: Int) { count += written }

  @inline(__always)
  public func append(byte: UInt8) {
    reserve(1).storeBytes(of: byte, as: UInt8.self)
    count += 1
  }

  @inline(__always)
  public func append(_ bytes: UnsafeRawBufferPointer) {
    guard let base = bytes.baseAddress, bytes.count > 0 else { return }
    reserve(bytes.count).copyMemory(from: base, byteCount: bytes.count)
    count += bytes.count
  }

  @inline(__always)
  public func append(_ text: StaticString) {
    reserve(text.utf8CodeUnitCount).copyMemory(from: text.utf8Start, byteCount: text.utf8CodeUnitCount)
    count += text.utf8CodeUnitCount
  }

  public func append(_ text: String) {
    var text = text
    text.withUTF8 { append(UnsafeRawBufferPointer($0)) }
  }

  public func append(_ bytes: [UInt8]) { bytes.withUnsafeBytes { append($0) } }

  private func grow(_ extra: Int) {
    let wanted = max(capacity * 2, count + extra)
    let grown = UnsafeMutableRawPointer.allocate(byteCount: wanted, alignment: 16)
    grown.copyMemory(from: pointer, byteCount: count)
    pointer.deallocate()
    pointer = grown
    capacity = wanted
  }
}

// MARK: - JSON

extension OutputBuffer {
  /// The number's decimal digits.
  public func appendDecimal(_ value: Int64) {
    let room = reserve(32)
    count += mr_format_integer(value, room.assumingMemoryBound(to: CChar.self))
  }

  /// The shortest text that reads back as the same number; `null` for what is not finite.
  public func appendDecimal(_ value: Float) {
    let written = mr_format_float(value, reserve(32).assumingMemoryBound(to: CChar.self))
    if written == 0 { append("null") } else { count += written }
  }

  /// The shortest text that reads back as the same number; `null` for what is not finite.
  public func appendDecimal(_ value: Double) {
    let written = mr_format_double(value, reserve(32).assumingMemoryBound(to: CChar.self))
    if written == 0 { append("null") } else { count += written }
  }

  /// A JSON string with its quotes. Quotes, backslashes and control characters are escaped; bytes that are not UTF-8 become replacement
  /// characters (which allocates).
  public func appendJSON(_ text: UnsafeRawBufferPointer) {
    let opening = count
    append(byte: UInt8(ascii: "\""))
    var start = 0
    var isChecked = false
    for i in 0..<text.count {
      let byte = text[i]
      if byte >= 0x80 {
        if !isChecked, !mr_is_utf8(text.baseAddress?.assumingMemoryBound(to: UInt8.self), text.count) {
          truncate(to: opening)
          return appendJSON(text.text)
        }
        isChecked = true
        continue
      }
      if byte >= 0x20 && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\") { continue }
      append(UnsafeRawBufferPointer(rebasing: text[start..<i]))
      start = i + 1
      switch byte {
      case UInt8(ascii: "\""): append("\\\"")
      case UInt8(ascii: "\\"): append("\\\\")
      case 0x0A: append("\\n")
      case 0x0D: append("\\r")
      case 0x09: append("\\t")
      default:
        append("\\u00")
        append(byte: Self.hexDigit(byte >> 4))
        append(byte: Self.hexDigit(byte & 15))
      }
    }
    append(UnsafeRawBufferPointer(rebasing: text[start...]))
    append(byte: UInt8(ascii: "\""))
  }

  public func appendJSON(_ text: String) {
    var text = text
    text.withUTF8 { appendJSON(UnsafeRawBufferPointer($0)) }
  }

  private static func hexDigit(_ value: UInt8) -> UInt8 {
    value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
  }
}

// MARK: - Protobuf

extension OutputBuffer {
  @inline(__always)
  public func appendVarint(_ value: UInt64) {
    let room = reserve(10).assumingMemoryBound(to: UInt8.self)
    var value = value
    var i = 0
    while value >= 0x80 {
      room[i] = UInt8(truncatingIfNeeded: value) | 0x80
      value >>= 7
      i += 1
    }
    room[i] = UInt8(truncatingIfNeeded: value)
    count += i + 1
  }

  @inline(__always)
  public func appendField(_ number: UInt32, varint value: UInt64) {
    appendVarint(UInt64(number) << 3)
    appendVarint(value)
  }

  @inline(__always)
  public func appendField(_ number: UInt32, int64 value: Int64) { appendField(number, varint: UInt64(bitPattern: value)) }

  @inline(__always)
  public func appendField(_ number: UInt32, sint64 value: Int64) {
    appendField(number, varint: UInt64(bitPattern: (value << 1) ^ (value >> 63)))
  }

  @inline(__always)
  public func appendField(_ number: UInt32, double value: Double) {
    appendVarint(UInt64(number) << 3 | 1)
    reserve(8).storeBytes(of: value.bitPattern.littleEndian, as: UInt64.self)
    count += 8
  }

  @inline(__always)
  public func appendField(_ number: UInt32, fixed32 value: UInt32) {
    appendVarint(UInt64(number) << 3 | 5)
    reserve(4).storeBytes(of: value.littleEndian, as: UInt32.self)
    count += 4
  }

  @inline(__always)
  public func appendField(_ number: UInt32, fixed64 value: UInt64) {
    appendVarint(UInt64(number) << 3 | 1)
    reserve(8).storeBytes(of: value.littleEndian, as: UInt64.self)
    count += 8
  }

  @inline(__always)
  public func appendField(_ number: UInt32, bytes: UnsafeRawBufferPointer) {
    appendVarint(UInt64(number) << 3 | 2)
    appendVarint(UInt64(bytes.count))
    append(bytes)
  }

  @inline(__always)
  public func appendField(_ number: UInt32, text: StaticString) {
    appendVarint(UInt64(number) << 3 | 2)
    appendVarint(UInt64(text.utf8CodeUnitCount))
    append(text)
  }

  public func appendField(_ number: UInt32, text: String) {
    var text = text
    text.withUTF8 { appendField(number, bytes: UnsafeRawBufferPointer($0)) }
  }

  /// A message inside: its length is written afterwards, into a place of fixed width (a varint may be padded). To be closed by `endMessage`.
  @inline(__always)
  public func beginMessage(_ number: UInt32) -> Int {
    appendVarint(UInt64(number) << 3 | 2)
    _ = reserve(lengthBytes)
    count += lengthBytes
    return count
  }

  @inline(__always)
  public func endMessage(_ start: Int) {
    let length = count - start
    // Most messages are short: one byte says their length, and they move up.
    let room = (pointer + start).assumingMemoryBound(to: UInt8.self)
    if length < 0x80 {
      room[-lengthBytes] = UInt8(length)
      (pointer + start - lengthBytes + 1).copyMemory(from: pointer + start, byteCount: length)
      count -= lengthBytes - 1
    } else {
      room[-4] = UInt8(truncatingIfNeeded: length) | 0x80
      room[-3] = UInt8(truncatingIfNeeded: length >> 7) | 0x80
      room[-2] = UInt8(truncatingIfNeeded: length >> 14) | 0x80
      room[-1] = UInt8(truncatingIfNeeded: length >> 21) & 0x7F
    }
  }
}

/// Room for lengths below 256 MiB, which no record reaches.
private let lengthBytes = 4
