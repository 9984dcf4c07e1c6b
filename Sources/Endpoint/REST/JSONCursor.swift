internal import CMessages
internal import RPC

/// Reads JSON where it stands, once, from front to back: no tree of values, so that a body costs what it means and not what it looks
/// like. Whoever reads says what is expected next; whatever else is there is an INVALID_ARGUMENT that says where.
///
/// Grammar: RFC 8259, to the letter (no NaN, no comments, no trailing commas). The bytes are borrowed and must outlive the cursor.
struct JSONCursor {
  /// How deep values may nest.
  static let depthMax = 64

  let bytes: UnsafeRawBufferPointer
  private(set) var position = 0
  private var depth = 0

  /// - Throws: when the bytes are not UTF-8.
  init(_ bytes: UnsafeRawBufferPointer) throws(RPCStatus) {
    self.bytes = bytes
    guard mr_is_utf8(bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count) else {
      throw RPCStatus(.invalidArgument, "JSON: not UTF-8")
    }
  }

  /// A cursor at a place that another one has passed.
  func at(_ position: Int) -> JSONCursor {
    var cursor = self
    cursor.position = position
    return cursor
  }

  enum Kind { case object, array, string, number, flag, null }

  /// What the next value is.
  mutating func kind() throws(RPCStatus) -> Kind {
    skipSpace()
    guard let byte = peek() else { throw broken("it ends where a value is expected") }
    switch byte {
    case UInt8(ascii: "{"): return .object
    case UInt8(ascii: "["): return .array
    case UInt8(ascii: "\""): return .string
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number
    case UInt8(ascii: "t"), UInt8(ascii: "f"): return .flag
    case UInt8(ascii: "n"): return .null
    default: throw broken("a value is expected")
    }
  }

  // MARK: Objects and lists

  /// Reads an object; `member` must read or skip the value. A key that comes twice is refused.
  mutating func object(_ what: String, _ member: (inout JSONCursor, String) throws(RPCStatus) -> Void) throws(RPCStatus) {
    guard try kind() == .object else { throw broken("\(what): an object is expected") }
    try enter()
    var seen: Set<String> = []
    if isEmpty(UInt8(ascii: "}")) { return }
    while true {
      guard try kind() == .string else { throw broken("the name of a member is expected") }
      let key = try string()
      guard seen.insert(key).inserted else { throw broken("\"\(clipped(key))\" is given twice,") }
      skipSpace()
      try expect(UInt8(ascii: ":"), "':'")
      try member(&self, key)
      if try isLast(UInt8(ascii: "}"), "',' or '}'") { return }
    }
  }

  /// Reads a list; `element` must read or skip the value.
  mutating func array(_ what: String, _ element: (inout JSONCursor, Int) throws(RPCStatus) -> Void) throws(RPCStatus) {
    guard try kind() == .array else { throw broken("\(what): a list is expected") }
    try enter()
    if isEmpty(UInt8(ascii: "]")) { return }
    var index = 0
    while true {
      try element(&self, index)
      index += 1
      if try isLast(UInt8(ascii: "]"), "',' or ']'") { return }
    }
  }

  /// Reads past a value of any kind and returns where it began.
  @discardableResult
  mutating func skip() throws(RPCStatus) -> Int {
    let kind = try kind()
    let start = position
    switch kind {
    case .object: try object("") { cursor, _ throws(RPCStatus) in _ = try cursor.skip() }
    case .array: try array("") { cursor, _ throws(RPCStatus) in _ = try cursor.skip() }
    case .string: try text { _ in }
    case .number: _ = try number()
    case .flag: _ = try flag("")
    case .null: try null()
    }
    return start
  }

  /// Nothing but space may follow.
  mutating func end() throws(RPCStatus) {
    skipSpace()
    guard position == bytes.count else { throw broken("the end is expected") }
  }

  // MARK: Scalars

  mutating func string() throws(RPCStatus) -> String {
    var result: [UInt8] = []
    try text { result.append(contentsOf: $0) }
    return String(decoding: result, as: UTF8.self)
  }

  /// Reads a string, handing its UTF-8 over piece by piece.
  mutating func text(_ piece: (UnsafeRawBufferPointer) -> Void) throws(RPCStatus) {
    skipSpace()
    try expect(UInt8(ascii: "\""), "a string")
    var start = position
    while let byte = peek() {
      switch byte {
      case UInt8(ascii: "\""):
        piece(UnsafeRawBufferPointer(rebasing: bytes[start..<position]))
        position += 1
        return
      case UInt8(ascii: "\\"):
        piece(UnsafeRawBufferPointer(rebasing: bytes[start..<position]))
        position += 1
        let scalar = try escape()
        Array(String(scalar).utf8).withUnsafeBytes(piece)
        start = position
      case 0..<0x20: throw broken("a control character stands in a string")
      default: position += 1
      }
    }
    throw broken("a string does not end")
  }

  /// The text of a number, as the grammar has it.
  mutating func number() throws(RPCStatus) -> JSONNumber {
    skipSpace()
    let start = position
    var isInteger = true
    if peek() == UInt8(ascii: "-") { position += 1 }
    if peek() == UInt8(ascii: "0") { position += 1 } else { try digits() }
    if peek() == UInt8(ascii: ".") {
      isInteger = false
      position += 1
      try digits()
    }
    if peek() == UInt8(ascii: "e") || peek() == UInt8(ascii: "E") {
      isInteger = false
      position += 1
      if peek() == UInt8(ascii: "+") || peek() == UInt8(ascii: "-") { position += 1 }
      try digits()
    }
    return JSONNumber(text: UnsafeRawBufferPointer(rebasing: bytes[start..<position]), isInteger: isInteger)
  }

  mutating func flag(_ what: String) throws(RPCStatus) -> Bool {
    guard try kind() == .flag else { throw broken("\(what): true or false is expected") }
    if take("true") { return true }
    if take("false") { return false }
    throw broken("a value is expected")
  }

  mutating func null() throws(RPCStatus) {
    skipSpace()
    guard take("null") else { throw broken("a value is expected") }
  }

  /// An error at this place: "JSON: `what` at byte …".
  func broken(_ what: String) -> RPCStatus { RPCStatus(.invalidArgument, "JSON: \(what) at byte \(position)") }

  // MARK: Parts

  private func peek() -> UInt8? { position < bytes.count ? bytes[position] : nil }

  private mutating func skipSpace() {
    while let byte = peek(), byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
  }

  private mutating func expect(_ byte: UInt8, _ name: String) throws(RPCStatus) {
    guard peek() == byte else { throw broken("\(name) is expected") }
    position += 1
  }

  private mutating func enter() throws(RPCStatus) {
    guard depth < Self.depthMax else { throw broken("nested deeper than \(Self.depthMax)") }
    depth += 1
    position += 1
  }

  private mutating func isEmpty(_ close: UInt8) -> Bool {
    skipSpace()
    guard peek() == close else { return false }
    depth -= 1
    position += 1
    return true
  }

  private mutating func isLast(_ close: UInt8, _ expected: String) throws(RPCStatus) -> Bool {
    skipSpace()
    switch peek() {
    case UInt8(ascii: ","):
      position += 1
      return false
    case close:
      depth -= 1
      position += 1
      return true
    default: throw broken("\(expected) is expected")
    }
  }

  private mutating func digits() throws(RPCStatus) {
    let start = position
    while let byte = peek(), byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { position += 1 }
    guard position > start else { throw broken("a digit is expected") }
  }

  private mutating func take(_ word: StaticString) -> Bool {
    let count = word.utf8CodeUnitCount
    guard bytes.count - position >= count else { return false }
    for i in 0..<count where bytes[position + i] != word.utf8Start[i] { return false }
    position += count
    return true
  }

  /// The scalar of an escape, past its backslash.
  private mutating func escape() throws(RPCStatus) -> Unicode.Scalar {
    guard let byte = peek() else { throw broken("a string does not end") }
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
    case UInt8(ascii: "b"): return "\u{8}"
    case UInt8(ascii: "f"): return "\u{C}"
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "u"):
      let unit = try hexadecimal()
      if let scalar = Unicode.Scalar(unit) { return scalar }
      // Beyond 16 bits: two units.
      if UTF16.isLeadSurrogate(unit), take("\\u") {
        let trail = try hexadecimal()
        if UTF16.isTrailSurrogate(trail),
          let scalar = Unicode.Scalar(0x10000 + ((UInt32(unit) - 0xD800) << 10) + (UInt32(trail) - 0xDC00))
        { return scalar }
      }
      throw broken("half of a surrogate pair stands")
    default: throw broken("an unknown escape stands")
    }
  }

  private mutating func hexadecimal() throws(RPCStatus) -> UInt16 {
    var value: UInt16 = 0
    for _ in 0..<4 {
      guard let byte = peek(), let digit = Character(Unicode.Scalar(byte)).hexDigitValue else { throw broken("a digit of \\u is expected") }
      value = value << 4 | UInt16(digit)
      position += 1
    }
    return value
  }
}

/// The digits of a number in JSON. Conversions are exact or nil: never rounded to an integer, never infinite.
struct JSONNumber {
  let text: UnsafeRawBufferPointer
  /// Without fraction and exponent.
  let isInteger: Bool

  /// The number as an integer: 3, and 3.0 and 3e2 too, as some programs have no integers.
  func integer<Value: FixedWidthInteger>(as type: Value.Type) -> Value? {
    guard isInteger else { return double.flatMap { Value(exactly: $0) } }
    let isNegative = text.first == UInt8(ascii: "-")
    var value: Value = 0
    for byte in text.dropFirst(isNegative ? 1 : 0) {
      let digit = Value(truncatingIfNeeded: byte &- UInt8(ascii: "0"))
      let (scaled, isTooLarge) = value.multipliedReportingOverflow(by: 10)
      let (next, isBeyond) = isNegative ? scaled.subtractingReportingOverflow(digit) : scaled.addingReportingOverflow(digit)
      if isTooLarge || isBeyond { return nil }
      value = next
    }
    return value
  }

  /// More digits than any double has; a text beyond says nothing more.
  private static let textBytesMax = 1024

  /// Nil when the number is beyond what a double holds.
  var double: Double? {
    guard text.count <= Self.textBytesMax, let value = Double(String(decoding: text, as: UTF8.self)), value.isFinite else { return nil }
    return value
  }

  /// Nil when the number is beyond what a float holds.
  var float: Float? {
    guard let double else { return nil }
    let value = Float(double)
    return value.isFinite ? value : nil
  }
}
