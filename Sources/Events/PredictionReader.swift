// Hot: the load test and the demo read every prediction. No allocation, existential or String in the steady state.
import CMessages
import CSimdJSON
import Model

/// Reads records of the predictions topic in any form. Owned by one thread.
public final class PredictionReader {
  /// Rows and shards of one record.
  public static let rowsMax = 4096
  public static let shardsMax = 4096

  /// The last record read.
  @exclusivity(unchecked) public private(set) var prediction = PredictionView()
  private let json: OpaquePointer?
  private let scores: UnsafeMutablePointer<Float>
  private let position: UnsafeMutablePointer<Int64>
  private let outputs = PredictionOutputs()
  /// Of each output of a V2 answer: what its elements are, and where they lie.
  private let tensors: UnsafeMutablePointer<(element: TensorElement?, raw: UnsafeRawBufferPointer)>
  @exclusivity(unchecked) private var noted = NotedProblem()

  public init(payloadBytesMax: Int = 1 << 20) {
    json = mr_json_parser_create(payloadBytesMax, 16)
    scores = .allocate(capacity: Self.rowsMax)
    scores.initialize(repeating: 0, count: Self.rowsMax)
    position = .allocate(capacity: Self.shardsMax)
    position.initialize(repeating: 0, count: Self.shardsMax)
    tensors = .allocate(capacity: PredictionOutputs.outputsMax)
  }

  deinit {
    mr_json_parser_destroy(json)
    scores.deallocate()
    position.deallocate()
    tensors.deallocate()
  }

  /// Reads the record into `prediction`; false leaves the reason in `problem()`.
  public func read(_ record: UnsafeRawBufferPointer, contentType: UnsafeRawBufferPointer? = nil) -> Bool {
    prediction = PredictionView()
    outputs.removeAll()
    guard record.count > 0 else { return note(.init(.emptyPayload, "the record has no value")) }
    let (named, known) = EventForm.named(contentType)
    guard known else { return note(.init(.unknownContentType, field: "content-type", "the content-type is none that can be read")) }
    let form = named ?? sniff(record)
    let ok =
      switch form {
      case .json: readJSON(record)
      case .protobuf: readProtobuf(record)
      case .v2: readV2(record)
      }
    prediction.form = form
    guard ok else { return false }
    guard prediction.from >= 0, prediction.to > prediction.from else {
      return note(.init(.numberOutOfRange, field: "to", "a prediction must answer source offsets from ..< to, at least one"))
    }
    return true
  }

  /// Reads the answer to a V2 request (a ModelInferResponse, which answers no source offsets) into `prediction`; false leaves the
  /// reason in `problem()`. Its scores are the first output, which must be FP32.
  public func readAnswer(_ response: UnsafeRawBufferPointer) -> Bool {
    prediction = PredictionView()
    outputs.removeAll()
    prediction.form = .v2
    return readV2(response)
  }

  /// Why the last `read` failed. Allocates. Call it while the record is still there.
  public func problem() -> EventProblem { noted.problem }

  // MARK: Forms

  private func sniff(_ record: UnsafeRawBufferPointer) -> EventForm {
    if record[0] == UInt8(ascii: "{") || record[0] == 0x20 { return .json }
    let shape = mr_shape_of_response(record.baseAddress?.assumingMemoryBound(to: UInt8.self), record.count)
    return shape == MR_SHAPE_INFER_RESPONSE ? .v2 : .protobuf
  }

  private func readJSON(_ record: UnsafeRawBufferPointer) -> Bool {
    guard let json else { return note(.init(.noMemory, "no memory for a JSON parser")) }
    var read = mr_json_prediction()
    read.scores = scores
    read.scores_max = UInt32(Self.rowsMax)
    read.position = position
    read.position_max = UInt32(Self.shardsMax)
    read.outputs = outputs.found
    read.outputs_max = UInt32(PredictionOutputs.outputsMax)
    read.values = outputs.values
    read.texts = outputs.texts
    read.elements_max = UInt32(PredictionOutputs.elementsMax)
    var problem = mr_problem()
    let text = record.baseAddress?.assumingMemoryBound(to: CChar.self)
    let status = mr_json_prediction_read(json, text, record.count, &read, &problem)
    guard status == MR_STATUS_OK else { return note(NotedProblem(problem, form: .json)) }
    prediction.kind = read.has_error ? .error : read.has_gap ? .gap : .scores
    prediction.id = .init(start: read.id, count: Int(read.id_length))
    prediction.model = .init(start: read.model, count: Int(read.model_length))
    prediction.version = read.version
    prediction.arm = .init(start: read.arm, count: Int(read.arm_length))
    prediction.from = read.from
    prediction.to = read.to
    prediction.scores = .init(start: scores, count: Int(read.score_count))
    prediction.rows = max(1, Int(read.score_count))
    outputs.take(read)
    prediction.outputs = outputs.all
    prediction.position = .init(start: position, count: Int(read.position_count))
    prediction.labelsThroughMilliseconds = read.has_labels_through ? read.labels_through : .min
    prediction.errorReason = .init(start: read.error_reason, count: Int(read.error_reason_length))
    prediction.errorField = .init(start: read.error_field, count: Int(read.error_field_length))
    prediction.errorMessage = .init(start: read.error_message, count: Int(read.error_message_length))
    prediction.gapReason = .init(start: read.gap, count: Int(read.gap_length))
    return true
  }

  private func readProtobuf(_ record: UnsafeRawBufferPointer) -> Bool {
    var reader = WireReader(record)
    var positionCount = 0
    while reader.next() {
      switch (reader.number, reader.field.wire_type) {
      case (1, 2): prediction.id = reader.slice
      case (2, 2): prediction.model = reader.slice
      case (3, 0): prediction.version = reader.int64
      case (4, 2): prediction.arm = reader.slice
      case (5, 0): prediction.from = reader.int64
      case (6, 0): prediction.to = reader.int64
      case (7, 2):
        guard copyScores(reader.slice) else { return false }
      case (8, 2):
        guard let count = unpackVarints(reader.slice) else {
          return note(.init(.invalidProtobuf, field: "position", "broken, or more shards than the bound"))
        }
        positionCount = count
      case (9, 0): prediction.labelsThroughMilliseconds = reader.int64
      case (10, 2):
        prediction.kind = .error
        var error = WireReader(reader.slice)
        while error.next() {
          switch (error.number, error.field.wire_type) {
          case (1, 2): prediction.errorReason = error.slice
          case (2, 2): prediction.errorField = error.slice
          case (3, 2): prediction.errorMessage = error.slice
          default: break
          }
        }
        guard error.status == MR_STATUS_OK else { return note(.init(.invalidProtobuf, field: "error", "broken")) }
      case (11, 2):
        prediction.kind = .gap
        prediction.gapReason = reader.slice
      case (12, 2):
        guard readOutput(reader.slice) else { return false }
      case (1...12, _):
        return note(.init(.invalidProtobuf, "a field of the prediction has another wire type than its declaration"))
      default: break
      }
    }
    guard reader.status == MR_STATUS_OK else { return broken(reader.status, .invalidProtobuf) }
    prediction.position = .init(start: position, count: positionCount)
    prediction.rows = max(1, prediction.scores.count)
    prediction.outputs = outputs.all
    return true
  }

  /// A `PredictionOutput`. Its name may come behind its elements.
  private func readOutput(_ message: UnsafeRawBufferPointer) -> Bool {
    var name = UnsafeRawBufferPointer(start: nil, count: 0)
    var names = WireReader(message)
    while names.next() { if names.number == 1, names.isSlice { name = names.slice } }
    guard names.status == MR_STATUS_OK else { return note(.init(.invalidProtobuf, field: "outputs", "broken")) }
    guard outputs.begin(name) else { return note(.init(.tooManyValues, field: "outputs", "more outputs than the bound")) }
    var fields = WireReader(message)
    var isRead = true
    while isRead, fields.next() {
      switch (fields.number, fields.field.wire_type) {
      case (2, 2): isRead = outputs.add(.float64, raw: fields.slice)
      case (2, 1): isRead = outputs.add(fields.double)
      case (3, 2): isRead = outputs.add(fields.slice)
      default: break
      }
    }
    outputs.end()
    return isRead || note(.init(.tooManyValues, field: "outputs", "not whole numbers of 8 bytes, or more elements than the bound"))
  }

  private func readV2(_ record: UnsafeRawBufferPointer) -> Bool {
    var reader = WireReader(record)
    var rawIndex = 0
    var outputIndex = 0
    var isFirstFloat = true
    while reader.next() {
      switch (reader.number, reader.field.wire_type) {
      case (1, 2): prediction.model = reader.slice
      case (2, 2):
        var version: Int64 = 0
        guard reader.slice.count == 0 || parseInteger(reader.slice, &version) else {
          return note(.init(.wrongType, field: "model_version", "the version is not a number"))
        }
        prediction.version = version
      case (3, 2): prediction.id = reader.slice
      case (4, 2):
        guard readParameter(reader.slice) else { return false }
      case (5, 2):
        // Its bytes are raw.
        guard outputIndex < PredictionOutputs.outputsMax else { return tooManyOutputs() }
        guard readTensor(reader.slice, outputIndex) else { return false }
        if outputIndex == 0 { isFirstFloat = tensors[0].element == .float32 }
        outputIndex += 1
      case (6, 2):
        guard rawIndex < PredictionOutputs.outputsMax else { return tooManyOutputs() }
        tensors[rawIndex].raw = reader.slice
        if rawIndex == 0, isFirstFloat {
          guard copyScores(reader.slice) else { return false }
        }
        rawIndex += 1
      case (1...6, _): return note(.init(.invalidV2, "a field of the response has another wire type than its declaration"))
      default: break
      }
    }
    guard reader.status == MR_STATUS_OK else { return broken(reader.status, .invalidV2) }
    return readOutputs(min(outputIndex, rawIndex))
  }

  private func tooManyOutputs() -> Bool { note(.init(.tooManyValues, field: "outputs", "more outputs than the bound")) }

  /// The elements of tensors that are named and have raw contents, unless the score says it all.
  private func readOutputs(_ count: Int) -> Bool {
    if count == 0 || (count == 1 && prediction.columns == 1 && tensors[0].element != .text) { return true }
    for index in 0..<count {
      guard let element = tensors[index].element else { continue }
      outputs.choose(index)
      guard outputs.add(element, raw: tensors[index].raw) else {
        return note(.init(.invalidV2, field: "outputs", "contents that are cut off, or more elements than the bound"))
      }
      outputs.end()
    }
    prediction.outputs = outputs.all
    return true
  }

  /// Name, kind and, of the first output, the shape of a tensor: [rows, columns].
  private func readTensor(_ tensor: UnsafeRawBufferPointer, _ index: Int) -> Bool {
    var fields = WireReader(tensor)
    var name = UnsafeRawBufferPointer(start: nil, count: 0)
    var element: TensorElement? = .float32
    var shape = TensorShape()
    while fields.next() {
      switch (fields.number, fields.field.wire_type) {
      case (1, 2): name = fields.slice
      case (2, 2): element = TensorElement(datatype: fields.slice)
      case (3, 0): shape.add(fields.int64)
      case (3, 2):
        var size: UInt64 = 0
        var shift: UInt64 = 0
        for byte in fields.slice {
          if shift < 64 { size |= UInt64(byte & 0x7F) << shift }
          shift += 7
          guard byte < 0x80 else { continue }
          shape.add(Int64(bitPattern: size))
          size = 0
          shift = 0
        }
      default: break
      }
    }
    if index == 0 {
      prediction.columns = shape.columns
      prediction.rows = Int(clamping: max(1, shape.rows))
    }
    tensors[index].element = element
    return outputs.begin(name)
  }

  private func readParameter(_ entry: UnsafeRawBufferPointer) -> Bool {
    var name = UnsafeRawBufferPointer(start: nil, count: 0)
    var text = UnsafeRawBufferPointer(start: nil, count: 0)
    var integer: Int64 = 0
    var fields = WireReader(entry)
    while fields.next() {
      if fields.number == 1, fields.isSlice { name = fields.slice }
      if fields.number == 2, fields.isSlice {
        var value = WireReader(fields.slice)
        while value.next() {
          if (value.number == 2 || value.number == 5), value.isVarint { integer = value.int64 }
          if value.number == 3, value.isSlice { text = value.slice }
        }
        guard value.status == MR_STATUS_OK else { return note(.init(.invalidV2, field: "parameters", "broken")) }
      }
    }
    guard fields.status == MR_STATUS_OK else { return note(.init(.invalidV2, field: "parameters", "broken")) }
    if name.equals("from") {
      prediction.from = integer
    } else if name.equals("to") {
      prediction.to = integer
    } else if name.equals("arm") {
      prediction.arm = text
    } else if name.equals("staleness_ms") {
      prediction.stalenessMilliseconds = integer
    } else if name.equals("labels_through") {
      prediction.labelsThroughMilliseconds = integer
    } else if name.equals("position") {
      return readPositionText(text)
    } else if name.equals("gap") {
      prediction.kind = .gap
      prediction.gapReason = text
    } else if name.equals("error_reason") {
      prediction.kind = .error
      prediction.errorReason = text
    } else if name.equals("error_field") {
      prediction.errorField = text
    } else if name.equals("error_message") {
      prediction.errorMessage = text
    }
    return true
  }

  // MARK: Parts

  private func readPositionText(_ text: UnsafeRawBufferPointer) -> Bool {
    var count = 0
    var start = 0
    while start < text.count {
      var end = start
      while end < text.count, text[end] != UInt8(ascii: ",") { end += 1 }
      guard count < Self.shardsMax, parseInteger(UnsafeRawBufferPointer(rebasing: text[start..<end]), &position[count]) else {
        return note(.init(.wrongType, field: "position", "not a list of offsets, or more shards than the bound"))
      }
      count += 1
      start = end + 1
    }
    prediction.position = .init(start: position, count: count)
    return true
  }

  private func copyScores(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard bytes.count % 4 == 0, bytes.count / 4 <= Self.rowsMax else {
      return note(.init(.tooManyValues, field: "score", "not whole floats, or more rows than the bound"))
    }
    if let base = bytes.baseAddress { UnsafeMutableRawPointer(scores).copyMemory(from: base, byteCount: bytes.count) }
    prediction.scores = .init(start: scores, count: bytes.count / 4)
    return true
  }

  private func unpackVarints(_ bytes: UnsafeRawBufferPointer) -> Int? {
    var count = 0
    var i = 0
    while i < bytes.count {
      var value: UInt64 = 0
      var shift: UInt64 = 0
      while true {
        guard i < bytes.count, shift < 64 else { return nil }
        let byte = bytes[i]
        i += 1
        value |= UInt64(byte & 0x7F) << shift
        if byte < 0x80 { break }
        shift += 7
      }
      guard count < Self.shardsMax else { return nil }
      position[count] = Int64(bitPattern: value)
      count += 1
    }
    return count
  }

  private func parseInteger(_ text: UnsafeRawBufferPointer, _ value: inout Int64) -> Bool {
    mr_parse_integer(text.baseAddress?.assumingMemoryBound(to: CChar.self), text.count, &value)
  }

  private func broken(_ status: mr_status, _ reason: EventProblem.Reason) -> Bool {
    note(.init(status == MR_STATUS_TRUNCATED ? .truncated : reason, "the record ends early or is not protobuf"))
  }

  private func note(_ problem: NotedProblem) -> Bool {
    noted = problem
    return false
  }
}

/// [rows, columns …]
private struct TensorShape {
  private var dimensions = 0
  private(set) var rows: Int64 = 1
  private(set) var columns: Int64 = 1

  mutating func add(_ size: Int64) {
    if dimensions > 0 { columns = columns.multipliedReportingOverflow(by: size).partialValue } else { rows = size }
    dimensions += 1
  }
}
