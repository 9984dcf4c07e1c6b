internal import Events
internal import RPC

/// Elements of tensors between their two forms: JSON values and raw bytes (little-endian; an element of BYTES is its length in four
/// bytes, then itself).
enum TensorElements {
  /// Appends the raw bytes of a list of any nesting, row by row. Returns how many elements it has.
  /// - Parameters:
  ///   - what: names the tensor in errors.
  ///   - elementsMax: more are refused.
  static func read(
    _ cursor: inout JSONCursor, datatype: String, what: String, elementsMax: Int, into raw: inout [UInt8]
  ) throws(RPCStatus) -> Int {
    guard let append = appender(of: datatype) else {
      throw RPCStatus(
        .invalidArgument,
        datatype == "FP16" || datatype == "BF16"
          ? "\(what): \(datatype) travels as binary data only" : "\(what): the datatype \"\(clipped(datatype))\" is none that the protocol has")
    }
    var count = 0
    try list(&cursor, what: what) { cursor throws(RPCStatus) in
      count += 1
      guard count <= elementsMax else { throw RPCStatus(.invalidArgument, "\(what): the request has more values than the bound") }
      guard try append(&cursor, &raw) else {
        throw RPCStatus(.invalidArgument, "\(what): element \(count - 1) of data is no \(datatype) (the JSON's byte \(cursor.position))")
      }
    }
    return count
  }

  private static func list(
    _ cursor: inout JSONCursor, what: String, _ element: (inout JSONCursor) throws(RPCStatus) -> Void
  ) throws(RPCStatus) {
    try cursor.array("\(what): data") { cursor, _ throws(RPCStatus) in
      if try cursor.kind() == .array { try list(&cursor, what: what, element) } else { try element(&cursor) }
    }
  }

  /// Reads one element; false when it is not of the type, or out of its range.
  private typealias Appender = (inout JSONCursor, inout [UInt8]) throws(RPCStatus) -> Bool

  private static func appender(of datatype: String) -> Appender? {
    switch datatype {
    case "BYTES": text
    case "BOOL": flag
    case "FP32": single
    case "FP64": double
    case "INT8": integer(Int8.self)
    case "INT16": integer(Int16.self)
    case "INT32": integer(Int32.self)
    case "INT64": integer(Int64.self)
    case "UINT8": integer(UInt8.self)
    case "UINT16": integer(UInt16.self)
    case "UINT32": integer(UInt32.self)
    case "UINT64": integer(UInt64.self)
    default: nil
    }
  }

  private static func single(_ cursor: inout JSONCursor, _ raw: inout [UInt8]) throws(RPCStatus) -> Bool {
    guard try cursor.kind() == .number, let value = try cursor.number().float else { return false }
    append(value.bitPattern, to: &raw)
    return true
  }

  private static func double(_ cursor: inout JSONCursor, _ raw: inout [UInt8]) throws(RPCStatus) -> Bool {
    guard try cursor.kind() == .number, let value = try cursor.number().double else { return false }
    append(value.bitPattern, to: &raw)
    return true
  }

  private static func integer<Value: FixedWidthInteger>(_ type: Value.Type) -> Appender {
    { cursor, raw throws(RPCStatus) in
      guard try cursor.kind() == .number, let value = try cursor.number().integer(as: type) else { return false }
      append(value, to: &raw)
      return true
    }
  }

  private static func flag(_ cursor: inout JSONCursor, _ raw: inout [UInt8]) throws(RPCStatus) -> Bool {
    switch try cursor.kind() {
    case .flag: raw.append(try cursor.flag("") ? 1 : 0)
    case .number:
      guard let value = try cursor.number().integer(as: UInt8.self), value <= 1 else { return false }
      raw.append(value)
    default: return false
    }
    return true
  }

  private static func text(_ cursor: inout JSONCursor, _ raw: inout [UInt8]) throws(RPCStatus) -> Bool {
    guard try cursor.kind() == .string else { return false }
    let start = raw.count
    append(UInt32(0), to: &raw)
    try cursor.text { raw.append(contentsOf: $0) }
    // A body is far below 4 GiB.
    let length = UInt32(truncatingIfNeeded: raw.count - start - 4)
    for byte in 0..<4 { raw[start + byte] = UInt8(truncatingIfNeeded: length >> (8 * UInt32(byte))) }
    return true
  }

  private static func append<Value: FixedWidthInteger>(_ value: Value, to raw: inout [UInt8]) {
    withUnsafeBytes(of: value.littleEndian) { raw.append(contentsOf: $0) }
  }

  // MARK: From raw bytes to JSON

  /// Writes the elements of `raw` as a flat list. False when the bytes are not what the datatype says, or it has no form in JSON.
  static func write(_ raw: UnsafeRawBufferPointer, datatype: String, to output: OutputBuffer) -> Bool {
    output.append("[")
    let isWritten =
      switch datatype {
      case "FP32": numbers(raw, UInt32.self, to: output) { output.appendDecimal(Float(bitPattern: $0)) }
      case "FP64": numbers(raw, UInt64.self, to: output) { output.appendDecimal(Double(bitPattern: $0)) }
      case "BOOL": numbers(raw, UInt8.self, to: output) { output.append($0 == 0 ? "false" : "true") }
      case "INT8": numbers(raw, Int8.self, to: output) { output.appendDecimal(Int64($0)) }
      case "INT16": numbers(raw, Int16.self, to: output) { output.appendDecimal(Int64($0)) }
      case "INT32": numbers(raw, Int32.self, to: output) { output.appendDecimal(Int64($0)) }
      case "INT64": numbers(raw, Int64.self, to: output) { output.appendDecimal($0) }
      case "UINT8": numbers(raw, UInt8.self, to: output) { output.appendDecimal(Int64($0)) }
      case "UINT16": numbers(raw, UInt16.self, to: output) { output.appendDecimal(Int64($0)) }
      case "UINT32": numbers(raw, UInt32.self, to: output) { output.appendDecimal(Int64($0)) }
      case "UINT64": numbers(raw, UInt64.self, to: output) { output.append(String($0)) }
      case "BYTES": texts(raw, to: output)
      default: false
      }
    output.append("]")
    return isWritten
  }

  private static func numbers<Value: FixedWidthInteger>(
    _ raw: UnsafeRawBufferPointer, _ type: Value.Type, to output: OutputBuffer, _ write: (Value) -> Void
  ) -> Bool {
    let size = MemoryLayout<Value>.size
    guard raw.count % size == 0 else { return false }
    for offset in stride(from: 0, to: raw.count, by: size) {
      if offset > 0 { output.append(",") }
      write(Value(littleEndian: raw.loadUnaligned(fromByteOffset: offset, as: type)))
    }
    return true
  }

  private static func texts(_ raw: UnsafeRawBufferPointer, to output: OutputBuffer) -> Bool {
    var offset = 0
    while offset < raw.count {
      guard raw.count - offset >= 4 else { return false }
      let length = Int(UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
      if offset > 0 { output.append(",") }
      offset += 4
      guard length <= raw.count - offset else { return false }
      output.appendJSON(UnsafeRawBufferPointer(rebasing: raw[offset..<offset + length]))
      offset += length
    }
    return true
  }
}
