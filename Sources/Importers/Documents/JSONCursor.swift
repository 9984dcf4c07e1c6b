import Glibc
import Model

/// JSON (RFC 8259), with the bare words NaN, Infinity and -Infinity that XGBoost writes. Text is taken as UTF-8.
struct JSONCursor: DocumentCursor {
  private let bytes: UnsafeRawBufferPointer
  private(set) var offset = 0
  private(set) var path = DocumentPath()

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  mutating func kind() throws(ImportError) -> DocumentKind {
    switch try next() {
    case 0x7B: return .object
    case 0x5B: return .array
    case 0x22: return .text
    case 0x74, 0x66: return .boolean
    case 0x6E: return .null
    case 0x2D, 0x2B, 0x30...0x39, 0x4E, 0x49: return .number
    case let other: throw problem("unexpected \(Self.name(other))")
    }
  }

  mutating func object(_ member: (inout Self, String) throws(ImportError) -> Void) throws(ImportError) {
    try open(0x7B, "an object")
    if try next() == 0x7D {
      offset += 1
      return
    }
    while true {
      guard try next() == 0x22 else { throw problem("a name in quotes was expected") }
      let key = try text()
      guard try next() == 0x3A else { throw problem("\":\" was expected") }
      offset += 1
      path.steps.append(.key(key))
      try member(&self, key)
      path.steps.removeLast()
      if try isClosed(by: 0x7D) { return }
    }
  }

  mutating func array(_ element: (inout Self, Int) throws(ImportError) -> Void) throws(ImportError) {
    try open(0x5B, "an array")
    if try next() == 0x5D {
      offset += 1
      return
    }
    var index = 0
    while true {
      path.steps.append(.index(index))
      try element(&self, index)
      path.steps.removeLast()
      index += 1
      if try isClosed(by: 0x5D) { return }
    }
  }

  mutating func text() throws(ImportError) -> String {
    try open(0x22, "a text")
    let start = offset
    let end = try endOfText()
    let slice = UnsafeRawBufferPointer(rebasing: bytes[start..<end])
    offset = end + 1
    if let base = slice.baseAddress, memchr(base, 0x5C, slice.count) != nil { return try unescaped(slice) }
    return String(decoding: slice, as: UTF8.self)
  }

  mutating func integer() throws(ImportError) -> Int {
    switch try next() {
    case 0x74:
      try word("true")
      return 1
    case 0x66:
      try word("false")
      return 0
    default:
      let slice = try number()
      guard let value = slice.integer else { throw problem("an integer was expected, not \"\(slice.excerpt)\"") }
      return value
    }
  }

  mutating func float() throws(ImportError) -> Float {
    let slice = try number()
    guard let value = Self.float(slice) else { throw problem("a number was expected, not \"\(slice.excerpt)\"") }
    return value
  }

  mutating func floats(into list: inout [Float]) throws(ImportError) {
    list.removeAll(keepingCapacity: true)
    try open(0x5B, "an array of numbers")
    if try next() == 0x5D {
      offset += 1
      return
    }
    while true {
      let slice = try number()
      guard let value = Self.float(slice) else { throw problem("element \(list.count): a number was expected, not \"\(slice.excerpt)\"") }
      list.append(value)
      if try isClosed(by: 0x5D) { return }
    }
  }

  mutating func integers(into list: inout [Int32]) throws(ImportError) {
    list.removeAll(keepingCapacity: true)
    try open(0x5B, "an array of integers")
    if try next() == 0x5D {
      offset += 1
      return
    }
    while true {
      guard let value = Int32(exactly: try integer()) else { throw problem("element \(list.count): it does not fit 32 bits") }
      list.append(value)
      if try isClosed(by: 0x5D) { return }
    }
  }

  /// The name of a category: a text, a number or a boolean.
  mutating func categoryName() throws(ImportError) -> CategoryName {
    switch try kind() {
    case .text: return .text(try text())
    case .boolean: return .boolean(try integer() == 1)
    case .number:
      let slice = try number()
      if let integer = slice.integer.map(Int64.init) ?? Int64(slice.string) { return .integer(integer) }
      guard let number = slice.double else { throw problem("a number was expected, not \"\(slice.excerpt)\"") }
      return .number(number)
    case .object, .array, .null: throw problem("a text, a number or a boolean was expected")
    }
  }

  /// Brackets are counted and texts are followed; what stands between them is not looked at.
  mutating func skip() throws(ImportError) {
    var depth = 0
    repeat {
      switch try next() {
      case 0x7B, 0x5B:
        depth += 1
        guard depth <= documentDepthMax else { throw problem("nested deeper than \(documentDepthMax)") }
        offset += 1
      case 0x7D, 0x5D:
        guard depth > 0 else { throw problem("a value was expected") }
        depth -= 1
        offset += 1
      case 0x22:
        offset += 1
        offset = try endOfText() + 1
      case 0x2C, 0x3A:
        guard depth > 0 else { throw problem("a value was expected") }
        offset += 1
      default:
        // A number or a word: up to what ends it.
        let start = offset
        while offset < bytes.count, !Self.endsValue(bytes[offset]) { offset += 1 }
        guard offset > start else { throw problem("a value was expected") }
      }
    } while depth > 0
  }

  mutating func finish() throws(ImportError) {
    skipBlanks()
    guard offset == bytes.count else { throw problem("something follows the document's end") }
  }

  // MARK: Below values

  private static func endsValue(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x20, 0x09, 0x0A, 0x0D, 0x2C, 0x3A, 0x5B, 0x5D, 0x7B, 0x7D, 0x22: true
    default: false
    }
  }

  private static func name(_ byte: UInt8) -> String {
    byte > 0x20 && byte < 0x7F ? "\"\(Character(UnicodeScalar(byte)))\"" : "byte \(byte)"
  }

  @inline(__always)
  private mutating func skipBlanks() {
    while offset < bytes.count, bytes[offset] <= 0x20, bytes[offset] == 0x20 || (bytes[offset] >= 9 && bytes[offset] <= 13) { offset += 1 }
  }

  /// The next byte that is not blank, not consumed.
  @inline(__always)
  private mutating func next() throws(ImportError) -> UInt8 {
    skipBlanks()
    guard offset < bytes.count else { throw problem("the file ends here") }
    return bytes[offset]
  }

  private mutating func open(_ byte: UInt8, _ what: String) throws(ImportError) {
    let found = try next()
    guard found == byte else { throw problem("\(what) was expected, not \(Self.name(found))") }
    offset += 1
  }

  /// After a value: true when `close` follows, false when a comma does.
  @inline(__always)
  private mutating func isClosed(by close: UInt8) throws(ImportError) -> Bool {
    let found = try next()
    guard found == close || found == 0x2C else { throw problem("\",\" or \(Self.name(close)) was expected, not \(Self.name(found))") }
    offset += 1
    return found == close
  }

  @inline(__always)
  private mutating func number() throws(ImportError) -> TextSlice {
    _ = try next()
    let start = offset
    while offset < bytes.count, !Self.endsValue(bytes[offset]) { offset += 1 }
    return TextSlice(UnsafeRawBufferPointer(rebasing: bytes[start..<offset]))
  }

  private static func float(_ slice: TextSlice) -> Float? {
    guard let first = slice.bytes.first else { return nil }
    switch first {
    case 0x2D, 0x30...0x39, 0x2B:
      if slice == "-Infinity" { return -Float.infinity }
      if slice == "+Infinity" { return Float.infinity }
      return slice.bytes.dropFirst().allSatisfy({ $0 < 0x41 || $0 == 0x45 || $0 == 0x65 }) ? slice.float : nil
    case 0x4E: return slice == "NaN" ? Float.nan : nil
    case 0x49: return slice == "Infinity" ? Float.infinity : nil
    default: return nil
    }
  }

  private mutating func word(_ text: StaticString) throws(ImportError) {
    guard try number() == text else { throw problem("\(text) was expected") }
  }

  /// The place of the quote that ends the text that the cursor stands in.
  private func endOfText() throws(ImportError) -> Int {
    var place = offset
    while place < bytes.count {
      let byte = bytes[place]
      if byte == 0x22 { return place }
      place += byte == 0x5C ? 2 : 1
    }
    throw problem("the file ends in a text")
  }

  private func unescaped(_ slice: UnsafeRawBufferPointer) throws(ImportError) -> String {
    var units: [UInt8] = []
    units.reserveCapacity(slice.count)
    var place = 0
    while place < slice.count {
      let byte = slice[place]
      place += 1
      guard byte == 0x5C else {
        units.append(byte)
        continue
      }
      guard place < slice.count else { throw problem("the text ends in an escape") }
      let escape = slice[place]
      place += 1
      switch escape {
      case 0x6E: units.append(0x0A)
      case 0x74: units.append(0x09)
      case 0x72: units.append(0x0D)
      case 0x62: units.append(0x08)
      case 0x66: units.append(0x0C)
      case 0x22, 0x5C, 0x2F: units.append(escape)
      case 0x75:
        guard var code = Self.hex(slice, place) else { throw problem("four hexadecimal digits were expected after \\u") }
        place += 4
        if code & 0xFC00 == 0xD800, place + 2 <= slice.count, slice[place] == 0x5C, slice[place + 1] == 0x75,
          let low = Self.hex(slice, place + 2), low & 0xFC00 == 0xDC00
        {
          code = 0x10000 + (code & 0x3FF) << 10 + low & 0x3FF
          place += 6
        }
        units.append(contentsOf: String(Unicode.Scalar(code) ?? "\u{FFFD}").utf8)
      default: throw problem("\"\\\(Self.name(escape))\" is no escape")
      }
    }
    return String(decoding: units, as: UTF8.self)
  }

  private static func hex(_ slice: UnsafeRawBufferPointer, _ place: Int) -> UInt32? {
    guard place + 4 <= slice.count else { return nil }
    var value: UInt32 = 0
    for byte in slice[place..<(place + 4)] {
      switch byte {
      case 0x30...0x39: value = value << 4 | UInt32(byte - 0x30)
      case 0x41...0x46: value = value << 4 | UInt32(byte - 0x37)
      case 0x61...0x66: value = value << 4 | UInt32(byte - 0x57)
      default: return nil
      }
    }
    return value
  }
}
