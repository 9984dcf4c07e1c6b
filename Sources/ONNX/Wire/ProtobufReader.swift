/// Reads protobuf's wire format (protobuf.dev/programming-guides/encoding) from borrowed bytes. Every length is checked against what is
/// left; groups and unknown wire types are refused.
struct ProtobufReader {
  private let base: UnsafeRawPointer?
  private var offset: Int
  private let end: Int
  /// For messages: what is being read.
  let place: String

  init(_ bytes: UnsafeRawBufferPointer, place: String) {
    base = bytes.baseAddress
    offset = 0
    end = bytes.count
    self.place = place
  }

  /// Bytes read so far.
  var position: Int { offset }

  struct Field {
    let number: Int
    let wire: UInt8
  }

  func error(_ reason: String) -> ONNXError { ONNXError(place: place, reason: "\(reason) at byte \(offset) of \(end)") }

  mutating func varint() throws(ONNXError) -> UInt64 {
    var result: UInt64 = 0
    var shift: UInt64 = 0
    while shift < 64 {
      guard offset < end, let base else { throw error("cut inside a number") }
      let byte = base.load(fromByteOffset: offset, as: UInt8.self)
      offset += 1
      result |= UInt64(byte & 0x7F) << shift
      if byte & 0x80 == 0 { return result }
      shift += 7
    }
    throw error("a number of more than ten bytes")
  }

  /// The next field's key; nil at the end.
  mutating func next() throws(ONNXError) -> Field? {
    if offset >= end { return nil }
    let key = try varint()
    guard key >> 3 > 0, key >> 3 < 1 << 29 else { throw error("field number \(key >> 3)") }
    return Field(number: Int(key >> 3), wire: UInt8(key & 7))
  }

  mutating func int(_ field: Field) throws(ONNXError) -> Int {
    guard field.wire == 0 else { throw error("field \(field.number) is not a number") }
    return Int(truncatingIfNeeded: try varint())
  }

  mutating func bytes(_ field: Field) throws(ONNXError) -> UnsafeRawBufferPointer {
    guard field.wire == 2 else { throw error("field \(field.number) is not a string or message") }
    let count = try varint()
    guard count <= UInt64(end - offset) else { throw error("field \(field.number) of \(count) bytes, of which \(end - offset) are there") }
    defer { offset += Int(count) }
    guard let base else { return UnsafeRawBufferPointer(start: nil, count: 0) }
    return UnsafeRawBufferPointer(start: base + offset, count: Int(count))
  }

  mutating func string(_ field: Field) throws(ONNXError) -> String { String(decoding: try bytes(field), as: UTF8.self) }

  mutating func float(_ field: Field) throws(ONNXError) -> Float {
    guard field.wire == 5 else { throw error("field \(field.number) is not a float") }
    return Float(bitPattern: try fixed(UInt32.self))
  }

  private mutating func fixed<T: FixedWidthInteger & BitwiseCopyable>(_: T.Type) throws(ONNXError) -> T {
    guard end - offset >= MemoryLayout<T>.size, let base else { throw error("cut inside a number") }
    defer { offset += MemoryLayout<T>.size }
    return base.loadUnaligned(fromByteOffset: offset, as: T.self)
  }

  /// Appends a repeated integer field, packed or one by one.
  mutating func ints(_ field: Field, into result: inout [Int]) throws(ONNXError) {
    if field.wire == 2 {
      var packed = ProtobufReader(try bytes(field), place: place)
      while packed.offset < packed.end { result.append(Int(truncatingIfNeeded: try packed.varint())) }
    } else {
      result.append(try int(field))
    }
  }

  mutating func floats(_ field: Field, into result: inout [Float]) throws(ONNXError) {
    if field.wire == 2 {
      var packed = ProtobufReader(try bytes(field), place: place)
      guard packed.end % 4 == 0 else { throw error("packed floats of \(packed.end) bytes") }
      while packed.offset < packed.end { result.append(Float(bitPattern: try packed.fixed(UInt32.self))) }
    } else {
      result.append(try float(field))
    }
  }

  mutating func doubles(_ field: Field, into result: inout [Double]) throws(ONNXError) {
    if field.wire == 2 {
      var packed = ProtobufReader(try bytes(field), place: place)
      guard packed.end % 8 == 0 else { throw error("packed doubles of \(packed.end) bytes") }
      while packed.offset < packed.end { result.append(Double(bitPattern: try packed.fixed(UInt64.self))) }
    } else {
      guard field.wire == 1 else { throw error("field \(field.number) is not a double") }
      result.append(Double(bitPattern: try fixed(UInt64.self)))
    }
  }

  mutating func skip(_ field: Field) throws(ONNXError) {
    switch field.wire {
    case 0: _ = try varint()
    case 1: _ = try fixed(UInt64.self)
    case 2: _ = try bytes(field)
    case 5: _ = try fixed(UInt32.self)
    default: throw error("field \(field.number) of wire type \(field.wire)")
    }
  }
}
