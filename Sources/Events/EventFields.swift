import CMessages

/// One event as it was written, without a model: what a client makes a request from. Cold path.
public struct EventFields: Sendable, Equatable {
  public enum Value: Sendable, Equatable {
    case text(String)
    case integer(Int64)
    case number(Double)
    case flag(Bool)
    case list([Value])
  }

  public var id: String
  /// Nil: the id is the key.
  public var key: String?
  public var eventTimeMilliseconds: Int64?
  /// In their order; absent values (`null`) are left out.
  public var features: [(name: String, value: Value)]

  public static func == (a: EventFields, b: EventFields) -> Bool {
    a.id == b.id && a.key == b.key && a.eventTimeMilliseconds == b.eventTimeMilliseconds
      && a.features.elementsEqual(b.features) { $0.name == $1.name && $0.value == $1.value }
  }
}

/// Reads JSON events (the form that producers send) into `EventFields`. Owned by one thread.
public final class EventFieldsReader {
  private let scanner: RecordScanner

  public init(limits: EventLimits = .init()) { scanner = RecordScanner(limits: limits) }

  /// Throws what is wrong with the event, with its field.
  public func read(json: String) throws(EventProblem) -> EventFields {
    var json = json
    var problem: EventProblem?
    let fields = json.withUTF8 { bytes -> EventFields? in
      let type: StaticString = "application/json"
      let named = UnsafeRawBufferPointer(start: type.utf8Start, count: type.utf8CodeUnitCount)
      guard scanner.scan(UnsafeRawBufferPointer(bytes), contentType: named, as: .event) else {
        problem = scanner.noted.problem
        return nil
      }
      do throws(EventProblem) { return try copy(scanner.event) } catch {
        problem = error
        return nil
      }
    }
    guard let fields else { throw problem ?? EventProblem(reason: .other, message: "the event cannot be read") }
    return fields
  }

  private func copy(_ event: mr_event) throws(EventProblem) -> EventFields {
    var fields = EventFields(
      id: event.idBytes.text, key: event.key_length > 0 ? event.keyBytes.text : nil,
      eventTimeMilliseconds: event.has_event_time ? event.event_time_ms : nil, features: [])
    for field in UnsafeBufferPointer(start: event.fields, count: Int(event.field_count)) {
      let name = UnsafeRawBufferPointer(start: field.name, count: Int(field.name_length)).text
      guard let value = try value(of: field, name) else { continue }
      if field.is_continued, let last = fields.features.last {
        let list: [EventFields.Value] = if case .list(let values) = last.value { values } else { [last.value] }
        fields.features[fields.features.count - 1].value = .list(list + [value])
      } else {
        fields.features.append((name, value))
      }
    }
    return fields
  }

  private func value(of field: mr_field, _ name: String) throws(EventProblem) -> EventFields.Value? {
    switch mr_kind(UInt32(field.kind)) {
    case MR_KIND_TEXT: return .text(UnsafeRawBufferPointer(start: field.text, count: Int(field.text_length)).text)
    case MR_KIND_INTEGER: return .integer(field.integer)
    case MR_KIND_NUMBER: return .number(field.number)
    case MR_KIND_FLAG: return .flag(field.integer != 0)
    case MR_KIND_UNSIGNED: return .number(Double(UInt64(bitPattern: field.integer)))
    case MR_KIND_NESTED:
      throw EventProblem(
        reason: .wrongType, field: name, message: "a feature's value is a text, a number, a boolean or a list of these")
    default: return nil
    }
  }
}
