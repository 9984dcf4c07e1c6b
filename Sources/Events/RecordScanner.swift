// Hot: no allocation, existential, Foundation or String in the steady state.
import CMessages
import CSimdJSON

/// Finds out a record's form and reads it into a flat list of feature values, or into V2 tensors. Owned by one thread.
final class RecordScanner {
  let limits: EventLimits
  private let cLimits: mr_limits
  private let json: OpaquePointer?
  private let requests: InferRequestReader
  private let fields: UnsafeMutablePointer<mr_field>
  @exclusivity(unchecked) private(set) var form = EventForm.json
  /// The envelope; its `fields` hold the feature values of JSON and protobuf events.
  @exclusivity(unchecked) private(set) var event = mr_event()
  /// Rows and tensors of a V2 request.
  var request: UnsafePointer<mr_infer_request> { requests.request }
  @exclusivity(unchecked) private(set) var noted = NotedProblem()

  init(limits: EventLimits) {
    precondition(limits.valuesMax > 0 && limits.valuesMax <= 1 << 20, "valuesMax \(limits.valuesMax)")
    precondition(limits.payloadBytesMax > 0 && limits.payloadBytesMax <= 1 << 30, "payloadBytesMax \(limits.payloadBytesMax)")
    self.limits = limits
    cLimits = mr_limits(
      values_max: UInt32(limits.valuesMax), text_bytes_max: UInt32(clamping: limits.textBytesMax),
      id_bytes_max: UInt32(clamping: limits.idBytesMax))
    json = mr_json_parser_create(limits.payloadBytesMax, max(4, limits.jsonDepthMax))
    requests = InferRequestReader(limits: limits, inputsMax: limits.valuesMax)
    fields = .allocate(capacity: limits.valuesMax)
    fields.initialize(repeating: mr_field(), count: limits.valuesMax)
    event.fields = fields
  }

  deinit {
    fields.deallocate()
    mr_json_parser_destroy(json)
  }

  enum Content { case event, label }

  /// Reads the record; false leaves the reason in `noted`.
  func scan(_ payload: UnsafeRawBufferPointer, contentType: UnsafeRawBufferPointer?, as content: Content) -> Bool {
    event.id_length = 0
    event.key_length = 0
    guard payload.count > 0 else { return note(.init(.emptyPayload, "the record has no value")) }
    guard payload.count <= limits.payloadBytesMax else {
      return note(.init(.payloadTooLarge, "the record's value is larger than the bound"))
    }
    let (named, known) = EventForm.named(contentType)
    guard known else {
      return note(.init(.unknownContentType, field: "content-type", "the content-type is none that can be read"))
    }
    let start = framing(payload)
    let body = UnsafeRawBufferPointer(rebasing: payload[start...])
    form = named ?? sniff(body, as: content)
    guard body.count > 0 else { return note(.init(.emptyPayload, "the record has a schema id and nothing after it")) }
    return read(body, as: content)
  }

  private func read(_ body: UnsafeRawBufferPointer, as content: Content) -> Bool {
    var problem = mr_problem()
    var limits = cLimits
    let bytes = body.baseAddress?.assumingMemoryBound(to: UInt8.self)
    let status: mr_status
    switch form {
    case .json:
      guard let json else { return note(.init(.noMemory, "no memory for a JSON parser")) }
      let text = body.baseAddress?.assumingMemoryBound(to: CChar.self)
      status =
        content == .event
        ? mr_json_event_read(json, text, body.count, &limits, &event, &problem)
        : mr_json_label_read(json, text, body.count, &limits, &event, &problem)
    case .protobuf:
      status =
        content == .event
        ? mr_event_read(bytes, body.count, &limits, &event, &problem)
        : mr_label_read(bytes, body.count, &limits, &event, &problem)
    case .v2:
      guard content == .event else {
        return note(.init(.unknownContentType, field: "content-type", "labels are JSON or protobuf"))
      }
      guard requests.read(body) else { return note(NotedProblem(requests.cProblem, form: form)) }
      event = requests.request.pointee.event
      event.fields = fields
      return checkEnvelope()
    }
    guard status == MR_STATUS_OK else { return note(NotedProblem(problem, form: form)) }
    return checkEnvelope()
  }

  private func checkEnvelope() -> Bool {
    guard event.id_length > 0 else { return note(.init(.missingID, field: "id", "an event or label must have an id")) }
    if form != .json, !mr_is_utf8(UnsafeRawPointer(event.id)?.assumingMemoryBound(to: UInt8.self), Int(event.id_length)) {
      return note(.init(.invalidUTF8, field: "id", "the id is not valid UTF-8"))
    }
    if event.has_label, !event.label.isFinite {
      return note(.init(.notFinite, field: "label", "the label is not a finite number"))
    }
    if event.has_weight, !(event.weight.isFinite && event.weight >= 0) {
      return note(.init(.notFinite, field: "weight", "the weight must be a finite number, 0 or more"))
    }
    return true
  }

  /// Bytes of schema-registry framing before the message: its first byte, zero, begins neither JSON nor protobuf.
  private func framing(_ payload: UnsafeRawBufferPointer) -> Int {
    guard payload[0] == 0, payload.count > 5 else { return 0 }
    if payload[5] == UInt8(ascii: "{") { return 5 }
    return mr_confluent_prefix(payload.baseAddress?.assumingMemoryBound(to: UInt8.self), payload.count)
  }

  private func sniff(_ body: UnsafeRawBufferPointer, as content: Content) -> EventForm {
    var i = 0
    while i < body.count, body[i] == 0x20 || body[i] == 0x0A || body[i] == 0x0D || body[i] == 0x09 { i += 1 }
    let bytes = body.baseAddress?.assumingMemoryBound(to: UInt8.self)
    if i < body.count, body[i] == UInt8(ascii: "{") {
      // White space and a brace also begin a message: a newline is the tag of an id, and the brace its length, 123.
      if i == 0 || !mr_is_message(bytes, body.count) { return .json }
    }
    if content == .label { return .protobuf }
    let shape = mr_shape_of_request(bytes, body.count)
    return shape == MR_SHAPE_INFER_REQUEST ? .v2 : .protobuf
  }

  private func note(_ problem: NotedProblem) -> Bool {
    noted = problem
    return false
  }
}

extension mr_event {
  /// Borrowed; empty when there is none.
  @inline(__always) var idBytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: id, count: Int(id_length)) }
  /// Borrowed; the id when there is no key.
  @inline(__always) var keyBytes: UnsafeRawBufferPointer {
    key_length > 0 ? UnsafeRawBufferPointer(start: key, count: Int(key_length)) : idBytes
  }
  @inline(__always) var timeMilliseconds: Int64 { has_event_time ? event_time_ms : .min }
}
