import Testing

@testable import Importers

/// The readers of JSON and UBJSON: values, and what hostile documents get.
@Suite struct DocumentCursorTests {
  private static func with<Value>(json text: String, _ body: (inout JSONCursor) throws(ImportError) -> Value) throws(ImportError) -> Value {
    let result = Array(text.utf8).withUnsafeBytes { bytes in
      Result { () throws(ImportError) in
        var cursor = JSONCursor(bytes)
        return try body(&cursor)
      }
    }
    return try result.get()
  }

  private static func with<Value>(ubjson bytes: [UInt8], _ body: (inout UBJSONCursor) throws(ImportError) -> Value) throws(ImportError) -> Value {
    let result = bytes.withUnsafeBytes { bytes in
      Result { () throws(ImportError) in
        var cursor = UBJSONCursor(bytes)
        return try body(&cursor)
      }
    }
    return try result.get()
  }

  /// Bytes from texts and numbers: "[$l#", 4 bytes…
  private static func bytes(_ parts: Any...) -> [UInt8] {
    parts.flatMap { part -> [UInt8] in
      switch part {
      case let text as String: Array(text.utf8)
      case let list as [Int]: list.map { UInt8($0) }
      case let value as Int8: [UInt8(bitPattern: value)]
      case let value as Int64: withUnsafeBytes(of: value.bigEndian) { Array($0) }
      case let value as Int32: withUnsafeBytes(of: value.bigEndian) { Array($0) }
      case let value as Int16: withUnsafeBytes(of: value.bigEndian) { Array($0) }
      case let value as Float: withUnsafeBytes(of: value.bitPattern.bigEndian) { Array($0) }
      case let value as Double: withUnsafeBytes(of: value.bitPattern.bigEndian) { Array($0) }
      default: []
      }
    }
  }

  @Test func floatsAreRoundedOnce() throws {
    // Right between two floats, and a little beside it: by way of a double the little is lost.
    let texts = [
      "1.00000005960464477539062500001", "1.000000059604644775390625", "0.999999970197677612304687500001", "7.0064923216240854e-46", "1e-45",
      "1.1754943508222875e-38", "3.4028235677973366e38", "16777217", "-0", "0.1", "2.3945616E-1", "9007199254740993",
    ]
    let read = try Self.with(json: "[\(texts.joined(separator: ", "))]") { (cursor) throws(ImportError) in
      var list: [Float] = []
      try cursor.floats(into: &list)
      try cursor.finish()
      return list
    }
    for (text, value) in zip(texts, read) { #expect(value.bitPattern == Float(text)?.bitPattern, "\(text)") }
    #expect(read.count == texts.count)
  }

  @Test func randomFloatsKeepTheirBits() throws {
    let seed = UInt64.random(in: 1..<1 << 32)
    var random = SplitMix(state: seed)
    let values = (0..<2_000).map { _ in Float(bitPattern: UInt32(truncatingIfNeeded: random.next())) }.filter(\.isFinite)
    let read = try Self.with(json: "[\(values.map { "\($0)" }.joined(separator: ","))]") { (cursor) throws(ImportError) in
      var list: [Float] = []
      try cursor.floats(into: &list)
      return list
    }
    #expect(read.map(\.bitPattern) == values.map(\.bitPattern), "seed \(seed)")
  }

  @Test func textsAreUnescaped() throws {
    let text = #""a\n\t\"\\\/\u00e9\ud83d\ude00\ud800x""#
    #expect(try Self.with(json: text) { (cursor) throws(ImportError) in try cursor.text() } == "a\n\t\"\\/\u{E9}\u{1F600}\u{FFFD}x")
  }

  @Test func skippingStopsAtTheValuesEnd() throws {
    let document = #"{"a": [1, {"b": "]}\""}, [[]]], "c": "x", "d": -1.5e3, "e": null, "f": 7}"#
    let found = try Self.with(json: document) { (cursor) throws(ImportError) in
      var found = 0
      try cursor.object { (cursor, key) throws(ImportError) in
        if key == "f" { found = try cursor.integer() } else { try cursor.skip() }
      }
      try cursor.finish()
      return found
    }
    #expect(found == 7)
  }

  @Test func deepNestingIsRefusedWhereItIsSkipped() {
    let deep = String(repeating: "[", count: 100_000)
    #expect(throws: ImportError.self) { try Self.with(json: deep) { (cursor) throws(ImportError) in try cursor.skip() } }
    #expect(throws: ImportError.self) { try Self.with(ubjson: Array(deep.utf8)) { (cursor) throws(ImportError) in try cursor.skip() } }
  }

  @Test(arguments: ["[1,]", "[1 2]", "[,1]", "[1", "[", "", "[tru]", "[\"a\"]", "{}", "[1e]", "[--1]", "[0x10]", "[1_0]", "[nan]"])
  func whatIsNoListOfFloatsIsRefused(_ text: String) {
    #expect(throws: ImportError.self) {
      try Self.with(json: text) { (cursor) throws(ImportError) in
        var list: [Float] = []
        try cursor.floats(into: &list)
        try cursor.finish()
      }
    }
  }

  @Test func everyFormOfNumberInUBJSON() throws {
    let forms: [([UInt8], Float)] = [
      (Self.bytes("i", Int8(-5)), -5), (Self.bytes("U", [250]), 250), (Self.bytes("I", Int16(-300)), -300), (Self.bytes("l", Int32(70_000)), 70_000),
      (Self.bytes("L", Int64(1 << 40)), Float(1 << 40)), (Self.bytes("d", Float(0.1)), 0.1), (Self.bytes("D", 0.25), 0.25),
      (Self.bytes("HU", [3], "1.5"), 1.5), (Self.bytes("NNi", Int8(3)), 3),
    ]
    for (bytes, value) in forms {
      #expect(try Self.with(ubjson: bytes) { (cursor) throws(ImportError) in try cursor.float() } == value)
    }
  }

  @Test func typedAndCountedArrays() throws {
    let forms: [[UInt8]] = [
      Self.bytes("[$l#L", Int64(3), Int32(1), Int32(-2), Int32(3)), Self.bytes("[$i#U", [3], Int8(1), Int8(-2), Int8(3)),
      Self.bytes("[#i", Int8(3), "i", Int8(1), "l", Int32(-2), "U", [3]), Self.bytes("[i", Int8(1), "I", Int16(-2), "L", Int64(3), "]"),
      Self.bytes("[NTi", Int8(-2), "i", Int8(3), "]"),
    ]
    for bytes in forms {
      let read = try Self.with(ubjson: bytes) { (cursor) throws(ImportError) in
        var list: [Int32] = []
        try cursor.integers(into: &list)
        try cursor.finish()
        return list
      }
      #expect(read == [1, -2, 3])
    }
    let floats = try Self.with(ubjson: Self.bytes("[$d#i", Int8(2), Float(0.5), Float(-1))) { (cursor) throws(ImportError) in
      var list: [Float] = []
      try cursor.floats(into: &list)
      return list
    }
    #expect(floats == [0.5, -1])
  }

  @Test func objectsOfAllForms() throws {
    let forms: [[UInt8]] = [
      Self.bytes("{U", [1], "ai", Int8(1), "L", Int64(1), "b[$U#i", Int8(2), [8, 9], "}"),
      Self.bytes("{#i", Int8(2), "i", Int8(1), "ai", Int8(1), "i", Int8(1), "b[i", Int8(2), "]"),
      Self.bytes("{$i#i", Int8(2), "i", Int8(1), "a", Int8(1), "i", Int8(1), "b", Int8(2)),
    ]
    for bytes in forms {
      let keys = try Self.with(ubjson: bytes) { (cursor) throws(ImportError) in
        var keys: [String] = []
        try cursor.object { (cursor, key) throws(ImportError) in
          keys.append(key)
          try cursor.skip()
        }
        try cursor.finish()
        return keys
      }
      #expect(keys == ["a", "b"])
    }
  }

  @Test func countsThatTheFileCannotHoldAreRefused() {
    let hostile: [[UInt8]] = [
      Self.bytes("[$d#L", Int64.max), Self.bytes("[$d#L", Int64(-1)), Self.bytes("[#L", Int64(1 << 40)), Self.bytes("[$T#L", Int64(1 << 40)),
      Self.bytes("[$[#L", Int64(1 << 40)), Self.bytes("[$Z#l", Int32.max), Self.bytes("[$d"), Self.bytes("[$d#"), Self.bytes("[$d#d", Float(1)),
      Self.bytes("[$l#i", Int8(2), Int32(1)), Self.bytes("["), Self.bytes("[?"),
    ]
    for bytes in hostile {
      #expect(throws: ImportError.self) {
        try Self.with(ubjson: bytes) { (cursor) throws(ImportError) in
          var list: [Float] = []
          try cursor.floats(into: &list)
        }
      }
      #expect(throws: ImportError.self) { try Self.with(ubjson: bytes) { (cursor) throws(ImportError) in try cursor.skip() } }
    }
    let text = Self.bytes("SL", Int64.max, "abc")
    #expect(throws: ImportError.self) { try Self.with(ubjson: text) { (cursor) throws(ImportError) in try cursor.text() } }
  }
}

/// A small generator whose state is its seed.
struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
