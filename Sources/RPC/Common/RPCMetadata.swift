/// Metadata of a call: names in lower case, values as bytes, in the order in which they were added; a name may occur more than once.
/// Names that end in `-bin` carry any bytes (base64 on the wire), the others printable ASCII. Cold path. Source: gRPC over HTTP2,
/// "Custom-Metadata".
public struct RPCMetadata: Sendable, Equatable {
  public struct Entry: Sendable, Equatable {
    public let name: String
    /// Decoded when the name ends in `-bin`.
    public let value: [UInt8]
  }

  public private(set) var entries: [Entry] = []

  public init() {}

  public var isEmpty: Bool { entries.isEmpty }
  public var count: Int { entries.count }

  /// Adds a text. Returns false, and adds nothing, when the name cannot be sent (empty, other than `0-9 a-z _ - .` after making it
  /// lower case, `grpc-…`, ending in `-bin`) or the value is not printable ASCII.
  @discardableResult
  public mutating func add(_ name: String, _ value: String) -> Bool {
    let name = name.lowercased()
    guard Self.isAllowed(name), !name.hasSuffix("-bin"), value.utf8.allSatisfy({ $0 >= 0x20 && $0 <= 0x7e }) else { return false }
    entries.append(Entry(name: name, value: Array(value.utf8)))
    return true
  }

  /// Adds bytes. Returns false, and adds nothing, when the name cannot be sent or does not end in `-bin`.
  @discardableResult
  public mutating func add(_ name: String, binary value: [UInt8]) -> Bool {
    let name = name.lowercased()
    guard Self.isAllowed(name), name.hasSuffix("-bin") else { return false }
    entries.append(Entry(name: name, value: value))
    return true
  }

  /// The first value of a name, as text; nil when there is none.
  public subscript(_ name: String) -> String? {
    entries.first { $0.name == name }.map { String(decoding: $0.value, as: UTF8.self) }
  }

  /// The first value of a name, as bytes; nil when there is none.
  public func binary(_ name: String) -> [UInt8]? { entries.first { $0.name == name }?.value }

  /// All values of a name, as texts.
  public func values(_ name: String) -> [String] {
    entries.filter { $0.name == name }.map { String(decoding: $0.value, as: UTF8.self) }
  }

  // MARK: The wire

  /// Adds a header as it came. A `-bin` value may be several, separated by commas; what is no base64 is left out.
  public mutating func addFromWire(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
    let text = String(decoding: name, as: UTF8.self)
    guard text.hasSuffix("-bin") else {
      entries.append(Entry(name: text, value: Array(value)))
      return
    }
    for part in value.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
      if let decoded = Base64.decode(UnsafeRawBufferPointer(rebasing: part)) { entries.append(Entry(name: text, value: decoded)) }
    }
  }

  /// The bytes of an entry's value as they go on the wire.
  public static func wireValue(_ entry: Entry) -> [UInt8] {
    entry.name.hasSuffix("-bin") ? entry.value.withUnsafeBytes { Base64.encode($0) } : entry.value
  }

  private static func isAllowed(_ name: String) -> Bool {
    !name.isEmpty && !name.hasPrefix("grpc-")
      && name.utf8.allSatisfy {
        switch $0 {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"): true
        case UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."): true
        default: false
        }
      }
  }
}
