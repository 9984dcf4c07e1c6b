/// Builds V2 ModelInferRequests by hand, wrong ones too: a second writer beside `EventWriter`.
struct V2Request {
  struct Input {
    var name: String
    var datatype: String
    var shape: [Int64]
    var raw: [UInt8]?
    /// The bytes of an InferTensorContents.
    var contents: [UInt8]?
  }

  var id = ""
  /// Bytes of InferParameter messages.
  var parameters: [(String, [UInt8])] = []
  var inputs: [Input]

  var bytes: [UInt8] {
    var out = Self.field(1, utf8("model")) + Self.field(3, utf8(id))
    for (name, value) in parameters { out += Self.field(4, Self.field(1, utf8(name)) + Self.field(2, value)) }
    for input in inputs {
      var tensor = Self.field(1, utf8(input.name)) + Self.field(2, utf8(input.datatype))
      tensor += Self.field(3, input.shape.flatMap { Self.varint(UInt64(bitPattern: $0)) })
      if let contents = input.contents { tensor += Self.field(5, contents) }
      out += Self.field(5, tensor)
    }
    for input in inputs { if let raw = input.raw { out += Self.field(7, raw) } }
    return out
  }

  static func varint(_ value: UInt64) -> [UInt8] {
    var value = value
    var out: [UInt8] = []
    while value >= 0x80 {
      out.append(UInt8(value & 0x7F) | 0x80)
      value >>= 7
    }
    return out + [UInt8(value)]
  }

  static func field(_ number: UInt64, _ bytes: [UInt8]) -> [UInt8] {
    varint(number << 3 | 2) + varint(UInt64(bytes.count)) + bytes
  }

  static func field(_ number: UInt64, varint value: UInt64) -> [UInt8] { varint(number << 3) + varint(value) }

  static func field(_ number: UInt64, double: Double) -> [UInt8] { varint(number << 3 | 1) + little(double.bitPattern) }

  static func little(_ value: some FixedWidthInteger) -> [UInt8] { withUnsafeBytes(of: value.littleEndian) { Array($0) } }

  static func rawTexts(_ texts: [String]) -> [UInt8] { texts.flatMap { little(UInt32($0.utf8.count)) + utf8($0) } }
  static func rawFloats(_ values: [Float]) -> [UInt8] { values.flatMap { little($0.bitPattern) } }
}
