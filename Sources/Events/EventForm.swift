import CMessages

/// The wire form of an event, label or prediction.
public enum EventForm: UInt8, Sendable, CaseIterable {
  case json = 0
  case protobuf = 1
  /// V2 `ModelInferRequest`, answered by `ModelInferResponse`.
  case v2 = 2

  /// What producers of events and labels write into the `content-type` header.
  public var contentType: StaticString {
    switch self {
    case .json: "application/json"
    case .protobuf: "application/x-protobuf"
    case .v2: "application/vnd.kserve.v2+protobuf"
    }
  }

  /// The form that a `content-type` header names; parameters after `;` and case do not matter. Nil for one that says nothing about the
  /// bytes (absent, empty, `application/octet-stream`): then they are looked at. `known` is false for a type that we cannot read.
  static func named(_ contentType: UnsafeRawBufferPointer?) -> (form: EventForm?, known: Bool) {
    guard let contentType, let name = mediaType(contentType) else { return (nil, true) }
    if name.equals("application/json") || name.equals("text/json") { return (.json, true) }
    if name.equals("application/x-protobuf") || name.equals("application/protobuf")
      || name.equals("application/vnd.google.protobuf") || name.equals("application/vnd.millrace.event+protobuf")
      || name.equals("application/vnd.millrace.label+protobuf") || name.equals("application/vnd.millrace.prediction+protobuf")
    {
      return (.protobuf, true)
    }
    if name.equals("application/vnd.kserve.v2+protobuf") { return (.v2, true) }
    if name.equals("application/octet-stream") { return (nil, true) }
    return (nil, false)
  }

  /// The name before any `;`, without spaces around it; nil when nothing is left.
  private static func mediaType(_ header: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
    var start = 0
    var end = 0
    while end < header.count, header[end] != UInt8(ascii: ";") { end += 1 }
    while start < end, header[start] == UInt8(ascii: " ") { start += 1 }
    while end > start, header[end - 1] == UInt8(ascii: " ") { end -= 1 }
    return start == end ? nil : UnsafeRawBufferPointer(rebasing: header[start..<end])
  }
}

/// The content type of a joiner's record in the examples topic.
public let exampleBatchContentType: StaticString = "application/vnd.millrace.examples+protobuf"

extension UnsafeRawBufferPointer {
  /// Equal bytes, ASCII letters in any case.
  func equals(_ text: StaticString) -> Bool {
    guard count == text.utf8CodeUnitCount else { return false }
    for i in 0..<count {
      var byte = self[i]
      if byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") { byte |= 0x20 }
      if byte != text.utf8Start[i] { return false }
    }
    return true
  }

  /// For people and for cold paths; bytes that are not UTF-8 become replacement characters.
  var text: String { String(decoding: self, as: UTF8.self) }
}
