// Hot: no allocation, existential, Foundation or String in the steady state.
import CMessages

/// Reads records of the examples topic: batches of the joiner, and single events with a label that producers write directly. Owned by
/// one thread.
///
///     guard reader.read(record, contentType: header) else { … reader.problem() … }
///     var example = ExampleView()
///     while reader.next(&example) { … }
///
/// A record is checked as a whole before its first example is given, so that a batch is used whole or not at all.
public final class ExampleReader {
  /// What the record covers.
  @exclusivity(unchecked) public private(set) var header = ExampleBatchHeader()
  /// The first byte of a joiner's batch: its format, field 15. No event in any form begins with it.
  private static let batchFirstByte: UInt8 = 15 << 3

  private let direct: RecordScanner
  private let batchBytesMax: Int
  @exclusivity(unchecked) private var body = WireReader(UnsafeRawBufferPointer(start: nil, count: 0))
  @exclusivity(unchecked) private var directExample: ExampleView?
  @exclusivity(unchecked) private var noted = NotedProblem()

  /// `limits` bound examples given directly; batches may have `batchBytesMax` bytes.
  public init(limits: EventLimits = .init(), batchBytesMax: Int = 16 << 20) {
    direct = RecordScanner(limits: limits)
    self.batchBytesMax = batchBytesMax
  }

  /// Reads and checks the record; false leaves the reason in `problem()` and nothing to iterate.
  public func read(_ record: UnsafeRawBufferPointer, contentType: UnsafeRawBufferPointer? = nil) -> Bool {
    header = ExampleBatchHeader()
    directExample = nil
    body = WireReader(UnsafeRawBufferPointer(start: nil, count: 0))
    guard record.count > 0 else { return note(.init(.emptyPayload, "the record has no value")) }
    return record[0] == Self.batchFirstByte ? readBatch(record) : readDirect(record, contentType)
  }

  /// The next example; false after the last.
  public func next(_ example: inout ExampleView) -> Bool {
    if let given = directExample {
      example = given
      directExample = nil
      return true
    }
    while body.next() {
      if body.number == 12 { return Self.readExample(body.slice, &example) == nil }
    }
    return false
  }

  /// Why the last `read` failed. Allocates. Call it while the record is still there.
  public func problem() -> EventProblem { noted.problem }

  // MARK: Parts

  private func readDirect(_ record: UnsafeRawBufferPointer, _ contentType: UnsafeRawBufferPointer?) -> Bool {
    guard direct.scan(record, contentType: contentType, as: .event) else { return note(direct.noted) }
    let event = direct.event
    guard event.has_label else {
      return note(.init(.missingLabel, field: "label", "an example that is given directly must have a label"))
    }
    var example = ExampleView()
    example.id = event.idBytes
    example.eventTimeMilliseconds = event.timeMilliseconds
    example.labelTimeMilliseconds = event.timeMilliseconds
    example.label = event.label
    example.weight = event.has_weight ? event.weight : 1
    example.form = direct.form
    example.event = record
    directExample = example
    header.count = 1
    return true
  }

  private func readBatch(_ record: UnsafeRawBufferPointer) -> Bool {
    guard record.count <= batchBytesMax else { return note(.init(.payloadTooLarge, "the batch is larger than the bound")) }
    var reader = WireReader(record)
    var counted: UInt32 = 0
    var hasCount = false
    header.format = 0
    while reader.next() {
      let value = reader.sint64
      switch (reader.number, reader.field.wire_type) {
      case (15, 0):
        header.format = UInt32(truncatingIfNeeded: reader.field.value)
        guard reader.field.value == UInt64(exampleBatchFormat) else {
          return note(.init(.unsupportedFormat, field: "format", "the batch is of a format that this version does not know"))
        }
      case (1, 0): header.featuresFrom = value
      case (2, 0): header.featuresTo = value
      case (3, 0): header.labelsFrom = value
      case (4, 0): header.labelsTo = value
      case (5, 0): header.rebuildFeatures = value
      case (6, 0): header.rebuildLabels = value
      case (7, 0): header.rebuildExamples = value
      case (8, 0): header.watermarkMilliseconds = value
      case (9, 5): header.featuresCRC = UInt32(truncatingIfNeeded: reader.field.value)
      case (10, 5): header.labelsCRC = UInt32(truncatingIfNeeded: reader.field.value)
      case (13, 1): header.batch = reader.field.value
      case (14, 1): header.follows = reader.field.value
      case (11, 0):
        header.count = UInt32(clamping: reader.field.value)
        hasCount = true
      case (12, 2):
        var example = ExampleView()
        if let problem = Self.readExample(reader.slice, &example) { return note(problem) }
        counted += 1
      case (1...15, _): return note(.init(.invalidProtobuf, "a field of the batch has another wire type than its declaration"))
      default: break
      }
    }
    guard reader.status == MR_STATUS_OK else {
      return note(
        .init(reader.status == MR_STATUS_TRUNCATED ? .truncated : .invalidProtobuf, "the batch ends early or is not protobuf"))
    }
    guard hasCount, counted == header.count else {
      return note(.init(.countMismatch, field: "count", "the batch holds another number of examples than it says"))
    }
    guard rangesAreValid else {
      return note(.init(.numberOutOfRange, field: "features_from", "a range ends before it begins, or only one of its ends is -1"))
    }
    body = WireReader(record)
    return true
  }

  private var rangesAreValid: Bool {
    func isRange(_ from: Int64, _ to: Int64) -> Bool { (from == -1 && to == -1) || (from >= 0 && to >= from) }
    return isRange(header.featuresFrom, header.featuresTo) && isRange(header.labelsFrom, header.labelsTo)
  }

  /// Reads one Example message; the problem when it is broken.
  @inline(__always)
  private static func readExample(_ bytes: UnsafeRawBufferPointer, _ example: inout ExampleView) -> NotedProblem? {
    example = ExampleView()
    // Proto3 leaves out what is zero.
    example.weight = 0
    example.featureOffset = 0
    example.labelOffset = 0
    var reader = WireReader(bytes)
    while reader.next() {
      switch (reader.number, reader.field.wire_type) {
      case (1, 2): example.id = reader.slice
      case (2, 0): example.eventTimeMilliseconds = reader.sint64
      case (3, 0): example.labelTimeMilliseconds = reader.sint64
      case (4, 1): example.label = reader.double
      case (5, 1): example.weight = reader.double
      case (6, 0): example.featureOffset = reader.sint64
      case (7, 0): example.labelOffset = reader.sint64
      case (8, 0): example.expired = reader.field.value != 0
      case (9, 0):
        guard let form = EventForm(rawValue: UInt8(clamping: reader.field.value)) else {
          return .init(.unsupportedFormat, field: "form", "an example's event is in a form that this version does not know")
        }
        example.form = form
      case (10, 2): example.event = reader.slice
      case (1...10, _): return .init(.invalidProtobuf, field: "examples", "a field of an example has another wire type than its declaration")
      default: break
      }
    }
    guard reader.status == MR_STATUS_OK else {
      return .init(
        reader.status == MR_STATUS_TRUNCATED ? .truncated : .invalidProtobuf, field: "examples",
        "an example ends early or is not protobuf")
    }
    guard example.id.count > 0 else { return .init(.missingID, field: "id", "an example has no id") }
    guard example.event.count > 0 else { return .init(.emptyPayload, field: "event", "an example has no event") }
    guard example.label.isFinite else { return .init(.notFinite, field: "label", "an example's label is not a finite number") }
    guard example.weight.isFinite, example.weight >= 0 else {
      return .init(.notFinite, field: "weight", "an example's weight must be a finite number, 0 or more")
    }
    return nil
  }

  private func note(_ problem: NotedProblem) -> Bool {
    noted = problem
    return false
  }
}
