extension JSONValue {
  /// Deeper values are refused: reading recurses.
  public static let depthMax = 32

  /// As JSON text: keys in order, so that equal values give equal bytes. Numbers that are no finite ones become the texts "nan", "inf", "-inf".
  public func encoded() -> [UInt8] {
    var out: [UInt8] = []
    write(into: &out)
    return out
  }

  private func write(into out: inout [UInt8]) {
    switch self {
    case .null: out.append(contentsOf: "null".utf8)
    case .boolean(let value): out.append(contentsOf: (value ? "true" : "false").utf8)
    case .integer(let value): out.append(contentsOf: String(value).utf8)
    case .number(let value):
      // Swift writes the shortest text that reads back as the same number; a fraction keeps its point or exponent.
      if value.isNaN { Self.write("nan", &out) } else if value.isInfinite { Self.write(value < 0 ? "-inf" : "inf", &out) } else { out.append(contentsOf: value.description.utf8) }
    case .text(let value): Self.write(value, &out)
    case .array(let values):
      out.append(UInt8(ascii: "["))
      for (index, value) in values.enumerated() {
        if index > 0 { out.append(UInt8(ascii: ",")) }
        value.write(into: &out)
      }
      out.append(UInt8(ascii: "]"))
    case .object(let members):
      out.append(UInt8(ascii: "{"))
      for (index, (key, value)) in members.sorted(by: { $0.key < $1.key }).enumerated() {
        if index > 0 { out.append(UInt8(ascii: ",")) }
        Self.write(key, &out)
        out.append(UInt8(ascii: ":"))
        value.write(into: &out)
      }
      out.append(UInt8(ascii: "}"))
    }
  }

  private static func write(_ text: String, _ out: inout [UInt8]) {
    out.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"): out.append(contentsOf: [UInt8(ascii: "\\"), byte])
      case 0x0A: out.append(contentsOf: "\\n".utf8)
      case 0x0D: out.append(contentsOf: "\\r".utf8)
      case 0x09: out.append(contentsOf: "\\t".utf8)
      case ..<0x20:
        let digits = Array("0123456789abcdef".utf8)
        out.append(contentsOf: "\\u00".utf8)
        out.append(contentsOf: [digits[Int(byte >> 4)], digits[Int(byte & 15)]])
      default: out.append(byte)
      }
    }
    out.append(UInt8(ascii: "\""))
  }

  /// Reads JSON text. Strict (RFC 8259): one value, no comments, no equal keys, at most `depthMax` deep, valid UTF-8.
  /// - Throws: with the byte where it goes wrong; `place` names the text.
  public static func decode(_ bytes: UnsafeRawBufferPointer, place: String) throws(BundleError) -> JSONValue {
    var reader = JSONReader(bytes: bytes, place: place)
    let value = try reader.value(depth: 0)
    reader.skipSpace()
    guard reader.isAtEnd else { throw reader.error("there is something after the value") }
    return value
  }
}

private struct JSONReader {
  let bytes: UnsafeRawBufferPointer
  let place: String
  var at = 0

  init(bytes: UnsafeRawBufferPointer, place: String) {
    self.bytes = bytes
    self.place = place
  }

  var isAtEnd: Bool { at >= bytes.count }
  private var next: UInt8? { at < bytes.count ? bytes[at] : nil }

  func error(_ reason: String) -> BundleError { BundleError(place: "\(place), byte \(at)", reason: reason) }

  mutating func skipSpace() {
    while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { at += 1 }
  }

  mutating func value(depth: Int) throws(BundleError) -> JSONValue {
    guard depth <= JSONValue.depthMax else { throw error("nested more than \(JSONValue.depthMax) deep") }
    skipSpace()
    guard let byte = next else { throw error("the text ends where a value is due") }
    switch byte {
    case UInt8(ascii: "{"): return try object(depth: depth)
    case UInt8(ascii: "["): return try array(depth: depth)
    case UInt8(ascii: "\""): return .text(try text())
    case UInt8(ascii: "t"): return try word("true", .boolean(true))
    case UInt8(ascii: "f"): return try word("false", .boolean(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
    default: throw error("no value starts here")
    }
  }

  private mutating func word(_ word: StaticString, _ value: JSONValue) throws(BundleError) -> JSONValue {
    let length = word.utf8CodeUnitCount
    guard bytes.count - at >= length, (0..<length).allSatisfy({ bytes[at + $0] == word.utf8Start[$0] }) else { throw error("expected \(word)") }
    at += length
    return value
  }

  private mutating func object(depth: Int) throws(BundleError) -> JSONValue {
    at += 1
    var members: [String: JSONValue] = [:]
    skipSpace()
    if next == UInt8(ascii: "}") {
      at += 1
      return .object(members)
    }
    while true {
      skipSpace()
      guard next == UInt8(ascii: "\"") else { throw error("expected a key") }
      let key = try text()
      skipSpace()
      guard next == UInt8(ascii: ":") else { throw error("expected \":\" after key \"\(key)\"") }
      at += 1
      let value = try value(depth: depth + 1)
      guard members.updateValue(value, forKey: key) == nil else { throw error("key \"\(key)\" is there twice") }
      skipSpace()
      if next == UInt8(ascii: ",") {
        at += 1
      } else if next == UInt8(ascii: "}") {
        at += 1
        return .object(members)
      } else {
        throw error("expected \",\" or \"}\"")
      }
    }
  }

  private mutating func array(depth: Int) throws(BundleError) -> JSONValue {
    at += 1
    var values: [JSONValue] = []
    skipSpace()
    if next == UInt8(ascii: "]") {
      at += 1
      return .array(values)
    }
    while true {
      values.append(try value(depth: depth + 1))
      skipSpace()
      if next == UInt8(ascii: ",") {
        at += 1
      } else if next == UInt8(ascii: "]") {
        at += 1
        return .array(values)
      } else {
        throw error("expected \",\" or \"]\"")
      }
    }
  }

  private mutating func number() throws(BundleError) -> JSONValue {
    let start = at
    var isWhole = true
    if next == UInt8(ascii: "-") { at += 1 }
    let firstDigit = at
    while let byte = next, isDigit(byte) { at += 1 }
    guard at > firstDigit, at == firstDigit + 1 || bytes[firstDigit] != UInt8(ascii: "0") else { throw error("a number is malformed") }
    if next == UInt8(ascii: ".") {
      isWhole = false
      at += 1
      let fraction = at
      while let byte = next, isDigit(byte) { at += 1 }
      guard at > fraction else { throw error("a number is malformed") }
    }
    if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
      isWhole = false
      at += 1
      if next == UInt8(ascii: "+") || next == UInt8(ascii: "-") { at += 1 }
      let exponent = at
      while let byte = next, isDigit(byte) { at += 1 }
      guard at > exponent else { throw error("a number is malformed") }
    }
    let digits = String(decoding: bytes[start..<at], as: UTF8.self)
    if isWhole, let integer = Int64(digits) { return .integer(integer) }
    guard let double = Double(digits), double.isFinite else { throw error("\(digits) is too large for a number") }
    return .number(double)
  }

  private func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }

  private mutating func text() throws(BundleError) -> String {
    at += 1
    var out: [UInt8] = []
    while true {
      guard let byte = next else { throw error("a text does not end") }
      at += 1
      switch byte {
      case UInt8(ascii: "\""):
        guard let text = String(validating: out, as: UTF8.self) else { throw error("a text is not valid UTF-8") }
        return text
      case UInt8(ascii: "\\"): try escape(&out)
      case ..<0x20: throw error("a control character in a text")
      default: out.append(byte)
      }
    }
  }

  private mutating func escape(_ out: inout [UInt8]) throws(BundleError) {
    guard let byte = next else { throw error("a text does not end") }
    at += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): out.append(byte)
    case UInt8(ascii: "b"): out.append(0x08)
    case UInt8(ascii: "f"): out.append(0x0C)
    case UInt8(ascii: "n"): out.append(0x0A)
    case UInt8(ascii: "r"): out.append(0x0D)
    case UInt8(ascii: "t"): out.append(0x09)
    case UInt8(ascii: "u"):
      var code = try hexadecimal()
      if code >= 0xD800, code < 0xDC00, next == UInt8(ascii: "\\"), at + 1 < bytes.count, bytes[at + 1] == UInt8(ascii: "u") {
        at += 2
        let low = try hexadecimal()
        guard low >= 0xDC00, low < 0xE000 else { throw error("half of a surrogate pair") }
        code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
      }
      guard let scalar = Unicode.Scalar(code) else { throw error("half of a surrogate pair") }
      out.append(contentsOf: String(Character(scalar)).utf8)
    default: throw error("an escape that JSON has not")
    }
  }

  private mutating func hexadecimal() throws(BundleError) -> UInt32 {
    guard bytes.count - at >= 4 else { throw error("an escape is cut off") }
    var code: UInt32 = 0
    for _ in 0..<4 {
      guard let digit = Character(Unicode.Scalar(bytes[at])).hexDigitValue else { throw error("an escape without four hexadecimal digits") }
      code = code << 4 | UInt32(digit)
      at += 1
    }
    return code
  }
}
