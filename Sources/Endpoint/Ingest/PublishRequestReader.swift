// Hot: two walks over the request's top level, nothing copied.
import CMessages

/// A `PublishEventsRequest` or `PublishLabelsRequest` read from its bytes (protos/millrace/ingest.proto; both have the same fields).
/// Slices are borrowed from the message.
struct PublishRequestReader {
  /// Why a request cannot be used at all: it ends its stream, since whoever wrote it does not speak the protocol.
  enum Problem: Equatable {
    case malformed(StaticString, field: StaticString)
    case bothForms
    case contentTypeTooLong
    case tooManyRecords

    static func == (one: Problem, other: Problem) -> Bool { "\(one)" == "\(other)" }
  }

  private(set) var sequence: UInt64 = 0
  private(set) var contentType = UnsafeRawBufferPointer(start: nil, count: 0)
  private(set) var recordCount = 0
  /// The records came as bytes (field 4), not as messages (field 3).
  private(set) var areRaw = false
  private(set) var problem: Problem?
  private let bytes: UnsafeRawBufferPointer
  private var position = 0

  static let contentTypeBytesMax = 256

  /// Reads everything but the records, and checks the whole top level. `problem` is set when it cannot be used.
  init(_ bytes: UnsafeRawBufferPointer, recordsMax: Int) {
    self.bytes = bytes
    var at = 0
    var messages = 0
    var raw = 0
    var field = mr_wire_field()
    while problem == nil {
      let status = mr_wire_next(base, bytes.count, &at, &field)
      guard status == MR_STATUS_OK else {
        problem = .malformed("not a protobuf message, or a truncated one", field: "request")
        break
      }
      if field.number == 0 { break }
      switch field.number {
      case 1:
        guard field.wire_type == 0 else {
          wrongType("sequence")
          return
        }
        sequence = field.value
      case 2:
        guard field.wire_type == 2 else {
          wrongType("content_type")
          return
        }
        contentType = UnsafeRawBufferPointer(start: field.bytes, count: field.length)
      case 3:
        guard field.wire_type == 2 else {
          wrongType("events or labels")
          return
        }
        messages += 1
      case 4:
        guard field.wire_type == 2 else {
          wrongType("records")
          return
        }
        raw += 1
      default: break
      }
    }
    guard problem == nil else { return }
    if contentType.count > Self.contentTypeBytesMax { problem = .contentTypeTooLong }
    if messages > 0 && raw > 0 { problem = .bothForms }
    if messages + raw > recordsMax { problem = .tooManyRecords }
    recordCount = messages + raw
    areRaw = raw > 0
  }

  private mutating func wrongType(_ field: StaticString) {
    problem = .malformed("the field has another wire type than its declaration", field: field)
  }

  private var base: UnsafePointer<UInt8>? { bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) }

  /// The next record; nil after the last. `from` lets a request that was interrupted go on: the value of `position` there.
  mutating func next() -> UnsafeRawBufferPointer? {
    let wanted: UInt32 = areRaw ? 4 : 3
    var field = mr_wire_field()
    while mr_wire_next(base, bytes.count, &position, &field) == MR_STATUS_OK, field.number != 0 {
      if field.number == wanted { return UnsafeRawBufferPointer(start: field.bytes, count: field.length) }
    }
    return nil
  }

  /// Where `next` goes on, in bytes from the beginning.
  var place: Int { position }
  mutating func goOn(at place: Int) { position = place }
}
