/// Universal Binary JSON (ubjson.org, draft 12): big-endian, with counted and typed containers.
///
/// Typed arrays are of fixed-size numbers; arrays typed as containers, texts or single bytes without a value are refused (they could state
/// any length in a few bytes, and nobody writes them).
struct UBJSONCursor: DocumentCursor {
  private let bytes: UnsafeRawBufferPointer
  private(set) var offset = 0
  private(set) var path = DocumentPath()
  /// The type of the value that comes next, when the container gave it for all its values.
  private var given: UInt8?

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  mutating func kind() throws(ImportError) -> DocumentKind {
    switch try peekMarker() {
    case Marker.object: return .object
    case Marker.array: return .array
    case Marker.text, Marker.character, Marker.highPrecision: return .text
    case Marker.yes, Marker.no: return .boolean
    case Marker.null: return .null
    case let marker:
      guard Self.numberBytes(marker) != nil else { throw unknown(marker) }
      return .number
    }
  }

  mutating func object(_ member: (inout Self, String) throws(ImportError) -> Void) throws(ImportError) {
    try open(Marker.object, "an object")
    let head = try containerHead()
    var index = 0
    while try hasMore(head, index, Marker.objectEnd) {
      let key = try lengthAndText()
      path.steps.append(.key(key))
      given = head.type
      try member(&self, key)
      given = nil
      path.steps.removeLast()
      index += 1
    }
  }

  mutating func array(_ element: (inout Self, Int) throws(ImportError) -> Void) throws(ImportError) {
    try open(Marker.array, "an array")
    let head = try containerHead()
    var index = 0
    while try hasMore(head, index, Marker.arrayEnd) {
      path.steps.append(.index(index))
      given = head.type
      try element(&self, index)
      given = nil
      path.steps.removeLast()
      index += 1
    }
  }

  mutating func text() throws(ImportError) -> String {
    let marker = try takeMarker()
    switch marker {
    case Marker.text, Marker.highPrecision: return try lengthAndText()
    case Marker.character: return String(decoding: CollectionOfOne(try byte()), as: UTF8.self)
    default: throw problem("a text was expected, not \(Self.name(marker))")
    }
  }

  mutating func integer() throws(ImportError) -> Int {
    let marker = try takeMarker()
    switch marker {
    case Marker.yes: return 1
    case Marker.no: return 0
    default: return try integer(marker)
    }
  }

  mutating func float() throws(ImportError) -> Float {
    let marker = try takeMarker()
    if marker == Marker.highPrecision {
      let text = try lengthAndText()
      guard let value = Float(text) else { throw problem("a number was expected, not \"\(text.prefix(40))\"") }
      return value
    }
    return try float(marker)
  }

  mutating func floats(into list: inout [Float]) throws(ImportError) {
    list.removeAll(keepingCapacity: true)
    try open(Marker.array, "an array of numbers")
    let head = try containerHead()
    if head.type == Marker.float32, let count = head.count {
      // `containerHead` has seen that all bytes are there.
      list.reserveCapacity(count)
      let start = offset
      for index in 0..<count {
        list.append(Float(bitPattern: UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: start + 4 * index, as: UInt32.self))))
      }
      offset = start + 4 * count
      return
    }
    while try hasMore(head, list.count, Marker.arrayEnd) {
      let marker: UInt8
      if let type = head.type { marker = type } else { marker = try takeMarker() }
      list.append(try float(marker))
    }
  }

  mutating func integers(into list: inout [Int32]) throws(ImportError) {
    list.removeAll(keepingCapacity: true)
    try open(Marker.array, "an array of integers")
    let head = try containerHead()
    if head.type == Marker.int32, let count = head.count {
      list.reserveCapacity(count)
      let start = offset
      for index in 0..<count {
        list.append(Int32(bigEndian: bytes.loadUnaligned(fromByteOffset: start + 4 * index, as: Int32.self)))
      }
      offset = start + 4 * count
      return
    }
    while try hasMore(head, list.count, Marker.arrayEnd) {
      given = head.type
      guard let value = Int32(exactly: try integer()) else { throw problem("element \(list.count): it does not fit 32 bits") }
      list.append(value)
    }
  }

  mutating func skip() throws(ImportError) {
    /// The containers that are open: what they count, what they have had, whether they are objects.
    var open: [(head: Head, index: Int, isObject: Bool)] = []
    repeat {
      if let last = open.last {
        guard try hasMore(last.head, last.index, last.isObject ? Marker.objectEnd : Marker.arrayEnd) else {
          open.removeLast()
          continue
        }
        open[open.count - 1].index += 1
        if last.isObject { try skip(bytes: try length()) }
        given = last.head.type
      }
      let marker = try takeMarker()
      switch marker {
      case Marker.object, Marker.array:
        guard open.count < documentDepthMax else { throw problem("nested deeper than \(documentDepthMax)") }
        let head = try containerHead()
        if marker == Marker.array, let type = head.type, let count = head.count, let size = Self.numberBytes(type) {
          try skip(bytes: count * size)
        } else {
          open.append((head, 0, marker == Marker.object))
        }
      case Marker.text, Marker.highPrecision: try skip(bytes: try length())
      case Marker.character: try skip(bytes: 1)
      case Marker.null, Marker.yes, Marker.no: break
      default:
        guard let size = Self.numberBytes(marker) else { throw unknown(marker) }
        try skip(bytes: size)
      }
    } while !open.isEmpty
  }

  mutating func finish() throws(ImportError) {
    guard offset == bytes.count else { throw problem("something follows the document's end") }
  }

  // MARK: Below values

  private enum Marker {
    static let null = UInt8(ascii: "Z"), noOperation = UInt8(ascii: "N"), yes = UInt8(ascii: "T"), no = UInt8(ascii: "F")
    static let int8 = UInt8(ascii: "i"), uint8 = UInt8(ascii: "U"), int16 = UInt8(ascii: "I"), int32 = UInt8(ascii: "l")
    static let int64 = UInt8(ascii: "L"), float32 = UInt8(ascii: "d"), float64 = UInt8(ascii: "D")
    static let highPrecision = UInt8(ascii: "H"), character = UInt8(ascii: "C"), text = UInt8(ascii: "S")
    static let array = UInt8(ascii: "["), arrayEnd = UInt8(ascii: "]"), object = UInt8(ascii: "{"), objectEnd = UInt8(ascii: "}")
    static let type = UInt8(ascii: "$"), count = UInt8(ascii: "#")
  }

  /// What a container says of itself. With a count it has no end marker.
  private struct Head {
    var type: UInt8?
    var count: Int?
  }

  private static func numberBytes(_ marker: UInt8) -> Int? {
    switch marker {
    case Marker.int8, Marker.uint8: 1
    case Marker.int16: 2
    case Marker.int32, Marker.float32: 4
    case Marker.int64, Marker.float64: 8
    default: nil
    }
  }

  private static func name(_ marker: UInt8) -> String {
    marker > 0x20 && marker < 0x7F ? "type \"\(Character(UnicodeScalar(marker)))\"" : "byte \(marker)"
  }

  private func unknown(_ marker: UInt8) -> ImportError { problem("\(Self.name(marker)) is none of UBJSON's") }

  private mutating func byte() throws(ImportError) -> UInt8 {
    guard offset < bytes.count else { throw problem("the file ends here") }
    offset += 1
    return bytes[offset - 1]
  }

  private mutating func peekMarker() throws(ImportError) -> UInt8 {
    if let given { return given }
    while offset < bytes.count, bytes[offset] == Marker.noOperation { offset += 1 }
    guard offset < bytes.count else { throw problem("the file ends here") }
    return bytes[offset]
  }

  private mutating func takeMarker() throws(ImportError) -> UInt8 {
    let marker = try peekMarker()
    if given == nil { offset += 1 }
    given = nil
    return marker
  }

  private mutating func open(_ wanted: UInt8, _ what: String) throws(ImportError) {
    let marker = try takeMarker()
    guard marker == wanted else { throw problem("\(what) was expected, not \(Self.name(marker))") }
  }

  /// Reads the type and the count that may follow an opening bracket. A count is never larger than what the rest of the file can hold.
  private mutating func containerHead() throws(ImportError) -> Head {
    var head = Head()
    if try peekMarker() == Marker.type {
      offset += 1
      let type = try byte()
      guard Self.numberBytes(type) != nil else { throw problem("containers of \(Self.name(type)) are not read") }
      head.type = type
      guard try peekMarker() == Marker.count else { throw problem("a type without a count") }
    }
    if try peekMarker() == Marker.count {
      offset += 1
      let count = try length(what: "count")
      let size = head.type.flatMap { Self.numberBytes($0) } ?? 1
      guard count <= (bytes.count - offset) / size else { throw problem("a count of \(count), and \(bytes.count - offset) bytes left") }
      head.count = count
    }
    return head
  }

  private mutating func hasMore(_ head: Head, _ index: Int, _ end: UInt8) throws(ImportError) -> Bool {
    if let count = head.count { return index < count }
    guard try peekMarker() == end else { return true }
    offset += 1
    return false
  }

  private mutating func length(what: String = "length") throws(ImportError) -> Int {
    let marker = try takeMarker()
    let value = try integer(marker)
    guard value >= 0 else { throw problem("a \(what) of \(value)") }
    return value
  }

  private mutating func lengthAndText() throws(ImportError) -> String {
    let count = try length()
    guard count <= bytes.count - offset else { throw problem("a text of \(count) bytes, and \(bytes.count - offset) left") }
    defer { offset += count }
    return String(decoding: UnsafeRawBufferPointer(rebasing: bytes[offset..<(offset + count)]), as: UTF8.self)
  }

  private mutating func skip(bytes count: Int) throws(ImportError) {
    guard count <= bytes.count - offset else { throw problem("\(count) bytes were expected, and \(bytes.count - offset) are left") }
    offset += count
  }

  private mutating func raw<T: FixedWidthInteger & BitwiseCopyable>(_: T.Type) throws(ImportError) -> T {
    let size = MemoryLayout<T>.size
    guard size <= bytes.count - offset else { throw problem("the file ends in a number") }
    defer { offset += size }
    return T(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: T.self))
  }

  private mutating func integer(_ marker: UInt8) throws(ImportError) -> Int {
    switch marker {
    case Marker.int8: return Int(try raw(Int8.self))
    case Marker.uint8: return Int(try raw(UInt8.self))
    case Marker.int16: return Int(try raw(Int16.self))
    case Marker.int32: return Int(try raw(Int32.self))
    case Marker.int64: return Int(try raw(Int64.self))
    default: throw problem("an integer was expected, not \(Self.name(marker))")
    }
  }

  private mutating func float(_ marker: UInt8) throws(ImportError) -> Float {
    switch marker {
    case Marker.float32: return Float(bitPattern: try raw(UInt32.self))
    case Marker.float64: return Float(Double(bitPattern: try raw(UInt64.self)))
    default: return Float(try integer(marker))
    }
  }
}
