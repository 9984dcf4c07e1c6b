/// Turns the rows of a table with a header (comma-separated, RFC 4180) into events or labels: a column is a feature, but for those that are
/// the id, key, event time, label or weight.
///
/// An empty field is absent. A feature that looks like a whole number is one (`5`, but not `007`), one that looks like a decimal number is a
/// number, and everything else is a text; `texts` names columns that are always texts.
public final class CSVTable {
  /// The columns that are no features, by name.
  public struct Columns: Sendable, Equatable {
    public var id: String
    public var key: String?
    public var eventTime: String?
    public var label: String?
    public var weight: String?
    /// Features that are texts even where they look like numbers.
    public var texts: Set<String> = []

    public init(id: String, key: String? = nil, eventTime: String? = nil, label: String? = nil, weight: String? = nil, texts: Set<String> = []) {
      self.id = id
      self.key = key
      self.eventTime = eventTime
      self.label = label
      self.weight = weight
      self.texts = texts
    }
  }

  private enum Role { case id, key, eventTime, label, weight, text, feature }

  private let names: [String]
  private let roles: [Role]
  private let events: EventWriter
  private let labels: LabelWriter
  /// The last record, borrowed until the next call, and the key that decides its partition.
  public private(set) var record = UnsafeRawBufferPointer(start: nil, count: 0)
  public private(set) var key = ""

  /// - Parameter header: the first line.
  /// - Throws: when a named column is not in it.
  public init(header: String, columns: Columns, form: EventForm) throws(EventProblem) {
    guard let names = Self.fields(header), !names.isEmpty else {
      throw EventProblem(reason: .other, message: "the header's quotes do not match")
    }
    var roles: [Role] = []
    for (index, name) in names.enumerated() {
      if names[..<index].contains(name) { throw EventProblem(reason: .duplicateField, field: name, message: "two columns have this name") }
      switch name {
      case columns.id: roles.append(.id)
      case columns.key: roles.append(.key)
      case columns.eventTime: roles.append(.eventTime)
      case columns.label: roles.append(.label)
      case columns.weight: roles.append(.weight)
      default: roles.append(columns.texts.contains(name) ? .text : .feature)
      }
    }
    for name in [columns.id, columns.key, columns.eventTime, columns.label, columns.weight].compactMap({ $0 }) + columns.texts.sorted()
    where !names.contains(name) {
      throw EventProblem(reason: .other, field: name, message: "there is no such column; the header has \(names.joined(separator: ", "))")
    }
    self.names = names
    self.roles = roles
    events = EventWriter(form: form)
    labels = LabelWriter(form: form)
  }

  /// True when the line's quotes are not closed: the row goes on in the next line.
  public static func isOpen(_ line: String) -> Bool { line.utf8.reduce(0) { $0 + ($1 == UInt8(ascii: "\"") ? 1 : 0) } % 2 == 1 }

  /// The row as an event; with a label column, as an example.
  public func event(_ row: String) throws(EventProblem) {
    let fields = try read(row)
    let id = try required(.id, fields)
    let time = try time(fields)
    key = value(.key, fields) ?? id
    events.begin(id: id, key: value(.key, fields), eventTimeMilliseconds: time)
    for (index, field) in fields.enumerated() where !field.isEmpty {
      if roles[index] == .text { events.text(names[index], field) }
      if roles[index] == .feature { write(names[index], field) }
    }
    if let label = try number(.label, fields) { events.outcome(label: label, weight: try number(.weight, fields)) }
    record = events.finish()
  }

  /// The row as a label.
  public func label(_ row: String) throws(EventProblem) {
    let fields = try read(row)
    let id = try required(.id, fields)
    key = value(.key, fields) ?? id
    guard let label = try number(.label, fields) else {
      throw EventProblem(reason: .missingLabel, field: names[roles.firstIndex(of: .label) ?? 0], message: "a label must have a value")
    }
    record = labels.write(
      id: id, key: value(.key, fields), eventTimeMilliseconds: try time(fields), label: label, weight: try number(.weight, fields))
  }

  // MARK: Parts

  private func read(_ row: String) throws(EventProblem) -> [String] {
    guard let fields = Self.fields(row) else { throw EventProblem(reason: .other, message: "the row's quotes do not match") }
    guard fields.count == names.count else {
      throw EventProblem(reason: .other, message: "the row has \(fields.count) fields, the header \(names.count)")
    }
    return fields
  }

  private func value(_ role: Role, _ fields: [String]) -> String? {
    guard let index = roles.firstIndex(of: role), !fields[index].isEmpty else { return nil }
    return fields[index]
  }

  private func required(_ role: Role, _ fields: [String]) throws(EventProblem) -> String {
    guard let value = value(role, fields) else {
      throw EventProblem(reason: .missingID, field: names[roles.firstIndex(of: role) ?? 0], message: "the row has no id")
    }
    return value
  }

  private func number(_ role: Role, _ fields: [String]) throws(EventProblem) -> Double? {
    guard let text = value(role, fields) else { return nil }
    guard let number = Double(text), number.isFinite else {
      throw EventProblem(reason: .wrongType, field: names[roles.firstIndex(of: role) ?? 0], message: "\"\(text)\" is not a finite number")
    }
    return number
  }

  private func time(_ fields: [String]) throws(EventProblem) -> Int64? {
    guard var text = value(.eventTime, fields) else { return nil }
    guard let time = text.withUTF8({ EventTime.parse(UnsafeRawBufferPointer($0)) }) else {
      throw EventProblem(
        reason: .invalidTime, field: names[roles.firstIndex(of: .eventTime) ?? 0],
        message: "\"\(text)\" is neither milliseconds since 1970 nor a time as RFC 3339 writes it (2013-06-01T12:00:00Z)")
    }
    return time
  }

  private func write(_ name: String, _ field: String) {
    if let integer = Int64(field), String(integer) == field {
      events.integer(name, integer)
    } else if field.utf8.allSatisfy({ $0 < 0x3A && $0 >= 0x2B || $0 == 0x65 || $0 == 0x45 }), field.utf8.contains(where: { $0 == 0x2E || $0 | 0x20 == 0x65 }),
      let number = Double(field), number.isFinite
    {
      events.number(name, number)
    } else {
      events.text(name, field)
    }
  }

  /// The fields of a row; nil when its quotes do not match.
  public static func fields(_ row: String) -> [String]? {
    var fields: [String] = []
    var field: [UInt8] = []
    var bytes = Array(row.utf8)
    while let last = bytes.last, last == 0x0A || last == 0x0D { bytes.removeLast() }
    var i = 0
    while true {
      if i < bytes.count, bytes[i] == UInt8(ascii: "\""), field.isEmpty {
        i += 1
        while true {
          guard i < bytes.count else { return nil }
          if bytes[i] == UInt8(ascii: "\"") {
            guard i + 1 < bytes.count, bytes[i + 1] == UInt8(ascii: "\"") else { break }
            i += 1
          }
          field.append(bytes[i])
          i += 1
        }
        i += 1
        guard i == bytes.count || bytes[i] == UInt8(ascii: ",") else { return nil }
      }
      while i < bytes.count, bytes[i] != UInt8(ascii: ",") {
        field.append(bytes[i])
        i += 1
      }
      fields.append(String(decoding: field, as: UTF8.self))
      field.removeAll(keepingCapacity: true)
      guard i < bytes.count else { return fields }
      i += 1
    }
  }
}
