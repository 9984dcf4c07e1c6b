import CMessages

/// Reads a record without knowing a model and writes it in another form: for producing from text, and for showing what is in a topic.
/// Owned by one thread.
public final class EventTranscoder {
  private let scanner: RecordScanner
  private let events: EventWriter
  private let labels: LabelWriter
  private var noted = NotedProblem()

  /// The last record, in the form wanted; borrowed until the next call.
  public private(set) var record = UnsafeRawBufferPointer(start: nil, count: 0)
  /// What decides its partition: its key, or its id.
  public private(set) var key = UnsafeRawBufferPointer(start: nil, count: 0)

  public init(form: EventForm, limits: EventLimits = .init()) {
    scanner = RecordScanner(limits: limits)
    events = EventWriter(form: form)
    labels = LabelWriter(form: form)
  }

  /// Reads an event (or an example, an event with a label); false leaves the reason in `problem()`.
  public func event(_ payload: UnsafeRawBufferPointer, contentType: UnsafeRawBufferPointer? = nil) -> Bool {
    guard scanner.scan(payload, contentType: contentType, as: .event) else { return note(scanner.noted) }
    let event = scanner.event
    key = event.keyBytes
    if scanner.form == .json, events.form == .json {
      guard checkNesting() else { return false }
      record = payload
      return true
    }
    events.begin(
      id: event.idBytes, key: event.key_length > 0 ? event.keyBytes : nil,
      eventTimeMilliseconds: event.has_event_time ? event.event_time_ms : nil)
    guard scanner.form == .v2 ? copyTensors() : copyFields() else { return false }
    if event.has_label { events.outcome(label: event.label, weight: event.has_weight ? event.weight : nil) }
    record = events.finish()
    return true
  }

  /// Reads a label; false leaves the reason in `problem()`.
  public func label(_ payload: UnsafeRawBufferPointer, contentType: UnsafeRawBufferPointer? = nil) -> Bool {
    guard scanner.scan(payload, contentType: contentType, as: .label) else { return note(scanner.noted) }
    let label = scanner.event
    guard label.has_label else { return note(.init(.missingLabel, field: "label", "a label must have a value")) }
    key = label.keyBytes
    record = labels.write(
      id: label.idBytes, key: label.key_length > 0 ? label.keyBytes : nil,
      eventTimeMilliseconds: label.has_event_time ? label.event_time_ms : nil, label: label.label,
      weight: label.has_weight ? label.weight : nil)
    return true
  }

  /// Why the last call failed.
  public func problem() -> EventProblem { noted.problem }

  // MARK: Parts

  private var fields: UnsafeBufferPointer<mr_field> {
    UnsafeBufferPointer(start: scanner.event.fields, count: Int(scanner.event.field_count))
  }

  private func checkNesting() -> Bool {
    for field in fields where field.kind == UInt8(MR_KIND_NESTED.rawValue) { return refuseNesting(field) }
    return true
  }

  private func refuseNesting(_ field: mr_field) -> Bool {
    note(.init(.wrongType, field: name(of: field), "a feature's value is a text, a number, a boolean or a list of these"))
  }

  private func name(of field: mr_field) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: field.name, count: Int(field.name_length))
  }

  private func copyFields() -> Bool {
    var first = 0
    while first < fields.count {
      var end = first + 1
      while end < fields.count, fields[end].is_continued { end += 1 }
      for field in fields[first..<end] where field.kind == UInt8(MR_KIND_NESTED.rawValue) { return refuseNesting(field) }
      if end - first == 1 { copy(fields[first]) } else { copyList(fields[first..<end]) }
      first = end
    }
    return true
  }

  private func copy(_ field: mr_field) {
    let name = name(of: field)
    switch mr_kind(UInt32(field.kind)) {
    case MR_KIND_TEXT: events.text(name, UnsafeRawBufferPointer(start: field.text, count: Int(field.text_length)))
    case MR_KIND_INTEGER: events.integer(name, field.integer)
    case MR_KIND_NUMBER: events.number(name, field.number)
    case MR_KIND_FLAG: events.flag(name, field.integer != 0)
    case MR_KIND_UNSIGNED: events.number(name, Double(UInt64(bitPattern: field.integer)))
    default: break
    }
  }

  /// Numbers are those of a vector, or of a category when all are whole; other values are values of a category, which are the same
  /// as their texts.
  private func copyList(_ list: Slice<UnsafeBufferPointer<mr_field>>) {
    guard let first = list.first else { return }
    let integers = list.compactMap { mr_kind(UInt32($0.kind)) == MR_KIND_INTEGER ? $0.integer : nil }
    if integers.count == list.count { return events.integers(name(of: first).text, integers) }
    let numbers = list.compactMap(number(of:))
    if numbers.count == list.count { return events.numbers(name(of: first).text, numbers) }
    let texts = list.compactMap(text(of:))
    events.texts(name(of: first).text, texts)
  }

  private func number(of field: mr_field) -> Double? {
    switch mr_kind(UInt32(field.kind)) {
    case MR_KIND_INTEGER: Double(field.integer)
    case MR_KIND_NUMBER: field.number
    case MR_KIND_UNSIGNED: Double(UInt64(bitPattern: field.integer))
    default: nil
    }
  }

  private func text(of field: mr_field) -> String? {
    switch mr_kind(UInt32(field.kind)) {
    case MR_KIND_TEXT: UnsafeRawBufferPointer(start: field.text, count: Int(field.text_length)).text
    case MR_KIND_INTEGER: String(field.integer)
    case MR_KIND_NUMBER: String(field.number)
    case MR_KIND_FLAG: field.integer != 0 ? "true" : "false"
    case MR_KIND_UNSIGNED: String(UInt64(bitPattern: field.integer))
    default: nil
    }
  }

  private func copyTensors() -> Bool {
    guard scanner.request.pointee.rows == 1 else {
      return note(.init(.invalidShape, field: "inputs", "the request has several rows, which the other forms have no place for"))
    }
    for t in 0..<Int(scanner.request.pointee.tensor_count) {
      guard var tensor = scanner.request.pointee.tensors?[t] else { continue }
      var values: [mr_field] = []
      for _ in 0..<Int(tensor.columns) {
        var field = mr_field()
        mr_tensor_next(&tensor, &field)
        field.name = tensor.name
        field.name_length = tensor.name_length
        values.append(field)
      }
      if values.count == 1 { copy(values[0]) } else { values.withUnsafeBufferPointer { copyList($0[...]) } }
    }
    return true
  }

  private func note(_ problem: NotedProblem) -> Bool {
    noted = problem
    return false
  }
}
