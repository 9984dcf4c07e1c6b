// Hot: one of these per request, on the stack. No allocation but for the strings it returns.

/// Reads Kafka's primitive types from borrowed bytes. Every read is checked against the end of the bytes, every count
/// against what could still fit, so hostile input can neither trap nor make the caller allocate.
///
/// `flexible` switches strings, arrays, byte fields and tag sections to their compact forms (KIP-482), so that one
/// reading function serves all versions of a request.
struct WireReader {
  private let base: UnsafeRawPointer
  private let end: Int
  private(set) var position: Int = 0
  var flexible = false

  init(_ bytes: UnsafeRawBufferPointer) {
    // An empty buffer may have no base address; any non-null pointer does, as nothing will be read through it.
    self.base = bytes.baseAddress ?? UnsafeRawPointer(bitPattern: 1)!
    self.end = bytes.count
  }

  var remaining: Int { end - position }

  func error(_ reason: WireError.Reason, _ field: StaticString) -> WireError {
    WireError(reason: reason, field: field, position: position)
  }

  @inline(__always)
  private mutating func integer<T: FixedWidthInteger>(_: T.Type, _ field: StaticString) throws(WireError) -> T {
    let size = MemoryLayout<T>.size
    guard size <= end - position else { throw error(.truncated, field) }
    let value = T(bigEndian: base.loadUnaligned(fromByteOffset: position, as: T.self))
    position += size
    return value
  }

  mutating func int8(_ field: StaticString) throws(WireError) -> Int8 { try integer(Int8.self, field) }
  mutating func int16(_ field: StaticString) throws(WireError) -> Int16 { try integer(Int16.self, field) }
  mutating func int32(_ field: StaticString) throws(WireError) -> Int32 { try integer(Int32.self, field) }
  mutating func int64(_ field: StaticString) throws(WireError) -> Int64 { try integer(Int64.self, field) }
  mutating func bool(_ field: StaticString) throws(WireError) -> Bool { try integer(Int8.self, field) != 0 }

  mutating func uuid(_ field: StaticString) throws(WireError) -> TopicID {
    TopicID(high: try integer(UInt64.self, field), low: try integer(UInt64.self, field))
  }

  /// Unsigned LEB128 of at most 32 bits.
  mutating func unsignedVarint(_ field: StaticString) throws(WireError) -> UInt32 {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while true {
      let byte = try integer(UInt8.self, field)
      value |= UInt64(byte & 0x7F) << shift
      if byte & 0x80 == 0 { break }
      shift += 7
      if shift > 28 { throw error(.tooLong, field) }
    }
    guard let result = UInt32(exactly: value) else { throw error(.tooLong, field) }
    return result
  }

  /// Borrows the next `count` bytes.
  private mutating func slice(_ count: Int, _ field: StaticString) throws(WireError) -> UnsafeRawBufferPointer {
    guard count <= end - position else { throw error(.truncated, field) }
    let slice = UnsafeRawBufferPointer(start: base + position, count: count)
    position += count
    return slice
  }

  /// The length of a string (`wide` false) or of bytes and arrays (`wide` true); nil is null.
  private mutating func length(wide: Bool, _ field: StaticString) throws(WireError) -> Int? {
    if flexible {
      let encoded = try unsignedVarint(field)
      return encoded == 0 ? nil : Int(encoded) - 1
    }
    let count = wide ? Int(try int32(field)) : Int(try int16(field))
    if count == -1 { return nil }
    if count < 0 { throw error(.negativeLength, field) }
    return count
  }

  mutating func nullableString(_ field: StaticString) throws(WireError) -> String? {
    guard let count = try length(wide: false, field) else { return nil }
    // The classic form holds at most 32,767 bytes; hold the compact form to the same bound.
    guard count <= Int(Int16.max) else { throw error(.tooLong, field) }
    let bytes = try slice(count, field)
    guard let string = String(validating: bytes, as: UTF8.self) else { throw error(.invalidUTF8, field) }
    return string
  }

  mutating func string(_ field: StaticString) throws(WireError) -> String {
    guard let value = try nullableString(field) else { throw error(.unexpectedNull, field) }
    return value
  }

  /// Borrowed bytes; nil is null.
  mutating func nullableBytes(_ field: StaticString) throws(WireError) -> UnsafeRawBufferPointer? {
    guard let count = try length(wide: true, field) else { return nil }
    return try slice(count, field)
  }

  mutating func bytes(_ field: StaticString) throws(WireError) -> UnsafeRawBufferPointer {
    guard let value = try nullableBytes(field) else { throw error(.unexpectedNull, field) }
    return value
  }

  /// The count of an array whose elements take at least `elementBytesMin` (> 0) bytes each; nil is null. A count that could
  /// not fit into the remaining bytes is refused, so callers may reserve capacity for it.
  mutating func nullableArrayCount(_ field: StaticString, elementBytesMin: Int) throws(WireError) -> Int? {
    guard let count = try length(wide: true, field) else { return nil }
    guard count <= remaining / elementBytesMin else { throw error(.truncated, field) }
    return count
  }

  mutating func arrayCount(_ field: StaticString, elementBytesMin: Int) throws(WireError) -> Int {
    guard let count = try nullableArrayCount(field, elementBytesMin: elementBytesMin) else {
      throw error(.unexpectedNull, field)
    }
    return count
  }

  /// Skips a tag section; nothing in a form that is not flexible.
  mutating func tags() throws(WireError) {
    guard flexible else { return }
    let count = try unsignedVarint("tags")
    guard Int(count) <= remaining / 2 else { throw error(.truncated, "tags") }
    for _ in 0..<count {
      _ = try unsignedVarint("tag")
      let size = try unsignedVarint("tag size")
      _ = try slice(Int(size), "tag value")
    }
  }
}
