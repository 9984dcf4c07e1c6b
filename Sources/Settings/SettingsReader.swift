/// Reads typed values from nodes and keeps every problem that it meets.
///
/// A getter that fails records what is wrong and returns nil (or the default), so that reading goes on and all problems are told
/// at once by `finish()`.
public struct SettingsReader {
  public static let problemsMax = 100
  public private(set) var problems: [SettingsProblem] = []

  public init() {}

  /// Parses `yaml`, lets `body` read it, and throws all problems if there are any. `body` returning nil without a problem
  /// is a programming error.
  public static func read<Value>(
    yaml: String, file: String, _ body: (SettingsNode, inout SettingsReader) -> Value?
  ) throws(SettingsErrors) -> Value {
    try read(SettingsDocument.parse(yaml: yaml, file: file), body)
  }

  /// As `read(yaml:file:_:)`, from a node.
  public static func read<Value>(
    _ node: SettingsNode, _ body: (SettingsNode, inout SettingsReader) -> Value?
  ) throws(SettingsErrors) -> Value {
    var reader = SettingsReader()
    let value = body(node, &reader)
    try reader.finish()
    guard let value else { preconditionFailure("\(node.file): reading gave no value and no problem") }
    return value
  }

  /// Throws what has been collected, in the order of the file.
  public func finish() throws(SettingsErrors) {
    guard !problems.isEmpty else { return }
    throw SettingsErrors(problems.enumerated().sorted {
      ($0.element.file, $0.element.line, $0.element.column, $0.offset) < ($1.element.file, $1.element.line, $1.element.column, $1.offset)
    }.map(\.element))
  }

  /// Records a problem with `node`.
  public mutating func problem(_ node: SettingsNode, _ message: String) {
    record(SettingsProblem(file: node.file, line: node.line, column: node.column, path: node.path, message: message))
  }

  /// Records a problem with `key` of `map`: at the value, or at the map when the key is not there.
  public mutating func problem(_ map: SettingsNode, _ key: String, _ message: String) {
    let entry = map.entries.first { $0.key == key }
    record(SettingsProblem(
      file: map.file, line: entry?.value.line ?? map.line, column: entry?.value.column ?? map.column,
      path: map.path(of: key), message: message))
  }

  private mutating func record(_ problem: SettingsProblem) {
    if problems.count < Self.problemsMax { problems.append(problem) }
  }

  // MARK: Maps and lists

  /// Checks that `node` is a map whose keys are all in `known`; an unknown key is a problem with the nearest known one as a suggestion.
  @discardableResult
  public mutating func keys(_ node: SettingsNode, _ known: [String]) -> Bool {
    guard node.isMap else {
      problem(node, "expected a map with \(listed(known)), found \(node.kind)")
      return false
    }
    var good = true
    for entry in node.entries where !known.contains(entry.key) {
      good = false
      let hint = nearest(to: entry.key, in: known).map { "; did you mean \"\($0)\"?" } ?? ". Known: \(listed(known))"
      record(SettingsProblem(
        file: node.file, line: entry.line, column: entry.column, path: node.path(of: entry.key),
        message: "unknown key\(hint)"))
    }
    return good
  }

  /// The value of `key`, which must be a map; nil when absent or wrong (then recorded).
  public mutating func map(_ node: SettingsNode, _ key: String) -> SettingsNode? {
    guard let child = node.child(key) else { return nil }
    guard child.isMap else {
      problem(child, "expected a map, found \(child.kind)")
      return nil
    }
    return child
  }

  /// The value of `key` if it is a map, and an empty map in its place otherwise, so that defaults apply.
  public mutating func section(_ node: SettingsNode, _ key: String) -> SettingsNode {
    map(node, key)
      ?? SettingsNode(file: node.file, line: node.line, column: node.column, path: node.path(of: key), content: .map([]))
  }

  /// The items of the list at `key`; none when absent; a problem when it is not a list or longer than `max`.
  public mutating func list(_ node: SettingsNode, _ key: String, max: Int = .max) -> [SettingsNode] {
    guard let child = node.child(key) else { return [] }
    guard child.isList else {
      problem(child, "expected a list, found \(child.kind)")
      return []
    }
    guard child.items.count <= max else {
      problem(child, "has \(child.items.count) items, at most \(max) are allowed")
      return []
    }
    return child.items
  }

  /// A list of texts at `key`; none when absent.
  public mutating func strings(_ node: SettingsNode, _ key: String, max: Int = .max) -> [String] {
    var values: [String] = []
    for item in list(node, key, max: max) {
      if let value = string(item) { values.append(value) }
    }
    return values
  }

  /// A map of texts to texts at `key` (any keys), in the order of the file; none when absent.
  public mutating func stringMap(_ node: SettingsNode, _ key: String) -> [(key: String, value: String)] {
    guard let child = map(node, key) else { return [] }
    var pairs: [(key: String, value: String)] = []
    for entry in child.entries {
      if let value = string(entry.value) { pairs.append((entry.key, value)) }
    }
    return pairs
  }

  /// Records that `key` is missing unless it has a value.
  public mutating func require(_ node: SettingsNode, _ key: String, _ expected: String) -> SettingsNode? {
    if let child = node.child(key) { return child }
    problem(node, key, node.has(key) ? "has no value: expected \(expected)" : "is missing: expected \(expected)")
    return nil
  }

  // MARK: Scalars of a node

  /// Any scalar, as its text.
  public mutating func string(_ node: SettingsNode) -> String? {
    if case .scalar(let text, _) = node.content { return text }
    problem(node, "expected a text, found \(node.kind)")
    return nil
  }

  /// A whole number in `range`; `1_000` is 1000.
  public mutating func int(_ node: SettingsNode, in range: ClosedRange<Int> = .min ... .max) -> Int? {
    guard let value = plain(node).flatMap(SettingsScalar.int) else {
      problem(node, "expected a whole number\(bounds(range)), found \(node.kind)")
      return nil
    }
    guard range.contains(value) else {
      problem(node, "is \(value), expected a whole number\(bounds(range))")
      return nil
    }
    return value
  }

  /// A finite number in `range`.
  public mutating func double(
    _ node: SettingsNode, in range: ClosedRange<Double> = -Double.greatestFiniteMagnitude...Double.greatestFiniteMagnitude
  ) -> Double? {
    guard let value = plain(node).flatMap(SettingsScalar.double) else {
      problem(node, "expected a number\(bounds(range)), found \(node.kind)")
      return nil
    }
    guard range.contains(value) else {
      problem(node, "is \(value), expected a number\(bounds(range))")
      return nil
    }
    return value
  }

  /// `true` or `false`.
  public mutating func bool(_ node: SettingsNode) -> Bool? {
    switch plain(node) {
    case "true", "True", "yes", "on": return true
    case "false", "False", "no", "off": return false
    default:
      problem(node, "expected true or false, found \(node.kind)")
      return nil
    }
  }

  /// A duration with its unit (`250us`, `10ms`, `5s`, `2m`, `1h`, `30d`), in milliseconds; 0 needs no unit.
  public mutating func milliseconds(_ node: SettingsNode, in range: ClosedRange<Int> = 0 ... .max) -> Int? {
    guard let value = microseconds(node) else { return nil }
    guard value % 1000 == 0 else {
      problem(node, "is finer than a millisecond: give whole milliseconds")
      return nil
    }
    guard range.contains(value / 1000) else {
      problem(node, "expected a duration \(durationBounds(range, unit: "ms")), found \(node.kind)")
      return nil
    }
    return value / 1000
  }

  /// As `milliseconds`, in microseconds.
  public mutating func microseconds(_ node: SettingsNode, in range: ClosedRange<Int> = 0 ... .max) -> Int? {
    guard let value = plain(node).flatMap(SettingsScalar.microseconds) else {
      problem(node, "expected a duration as 10ms, 5s, 2m, 1h or 30d, found \(node.kind)")
      return nil
    }
    guard range.contains(value) else {
      problem(node, "expected a duration \(durationBounds(range, unit: "us")), found \(node.kind)")
      return nil
    }
    return value
  }

  /// A size with its unit (`512KiB`, `64MiB`, `10MB`, `4096`), in bytes.
  public mutating func bytes(_ node: SettingsNode, in range: ClosedRange<Int> = 0 ... .max) -> Int? {
    guard let value = plain(node).flatMap(SettingsScalar.bytes) else {
      problem(node, "expected a size as 4096, 512KiB, 64MiB or 2GiB, found \(node.kind)")
      return nil
    }
    guard range.contains(value) else {
      problem(node, "is \(value) bytes, expected a size\(bounds(range))")
      return nil
    }
    return value
  }

  /// One of `choices`; another text is a problem with the nearest choice as a suggestion.
  public mutating func choice<Value>(_ node: SettingsNode, _ choices: [(String, Value)]) -> Value? {
    guard case .scalar(let text, _) = node.content else {
      problem(node, "expected \(alternatives(choices.map(\.0))), found \(node.kind)")
      return nil
    }
    if let match = choices.first(where: { $0.0 == text }) { return match.1 }
    let hint = nearest(to: text, in: choices.map(\.0)).map { "; did you mean \"\($0)\"?" } ?? ""
    problem(node, "expected \(alternatives(choices.map(\.0))), found \(node.kind)\(hint)")
    return nil
  }

  /// One of the cases of `Value`, by raw value.
  public mutating func choice<Value: RawRepresentable & CaseIterable>(
    _ node: SettingsNode, of type: Value.Type = Value.self
  ) -> Value? where Value.RawValue == String {
    choice(node, Value.allCases.map { ($0.rawValue, $0) })
  }

  // MARK: Scalars of a key, with a default

  public mutating func string(_ node: SettingsNode, _ key: String, default value: String) -> String {
    node.child(key).map { string($0) ?? value } ?? value
  }

  public mutating func int(
    _ node: SettingsNode, _ key: String, in range: ClosedRange<Int> = .min ... .max, default value: Int
  ) -> Int { node.child(key).map { int($0, in: range) ?? value } ?? value }

  public mutating func double(
    _ node: SettingsNode, _ key: String,
    in range: ClosedRange<Double> = -Double.greatestFiniteMagnitude...Double.greatestFiniteMagnitude, default value: Double
  ) -> Double { node.child(key).map { double($0, in: range) ?? value } ?? value }

  public mutating func bool(_ node: SettingsNode, _ key: String, default value: Bool) -> Bool {
    node.child(key).map { bool($0) ?? value } ?? value
  }

  public mutating func milliseconds(
    _ node: SettingsNode, _ key: String, in range: ClosedRange<Int> = 0 ... .max, default value: Int
  ) -> Int { node.child(key).map { milliseconds($0, in: range) ?? value } ?? value }

  public mutating func microseconds(
    _ node: SettingsNode, _ key: String, in range: ClosedRange<Int> = 0 ... .max, default value: Int
  ) -> Int { node.child(key).map { microseconds($0, in: range) ?? value } ?? value }

  public mutating func bytes(
    _ node: SettingsNode, _ key: String, in range: ClosedRange<Int> = 0 ... .max, default value: Int
  ) -> Int { node.child(key).map { bytes($0, in: range) ?? value } ?? value }

  public mutating func choice<Value>(
    _ node: SettingsNode, _ key: String, _ choices: [(String, Value)], default value: Value
  ) -> Value { node.child(key).map { choice($0, choices) ?? value } ?? value }

  public mutating func choice<Value: RawRepresentable & CaseIterable>(
    _ node: SettingsNode, _ key: String, default value: Value
  ) -> Value where Value.RawValue == String { node.child(key).map { choice($0) ?? value } ?? value }

  // MARK: Words

  /// Numbers, durations and sizes are written without quotes or with them alike; what decides is the reader's type.
  private func plain(_ node: SettingsNode) -> String? {
    if case .scalar(let text, _) = node.content { return text }
    return nil
  }

  private func bounds(_ range: ClosedRange<Int>) -> String {
    switch (range.lowerBound == .min, range.upperBound == .max) {
    case (true, true): ""
    case (false, true): " of at least \(range.lowerBound)"
    case (true, false): " of at most \(range.upperBound)"
    case (false, false): " from \(range.lowerBound) to \(range.upperBound)"
    }
  }

  private func bounds(_ range: ClosedRange<Double>) -> String {
    let most = Double.greatestFiniteMagnitude
    return switch (range.lowerBound == -most, range.upperBound == most) {
    case (true, true): ""
    case (false, true) where range.lowerBound == Double.leastNonzeroMagnitude: " above 0"
    case (false, true): " of at least \(range.lowerBound)"
    case (true, false): " of at most \(range.upperBound)"
    case (false, false): " from \(range.lowerBound) to \(range.upperBound)"
    }
  }

  private func durationBounds(_ range: ClosedRange<Int>, unit: String) -> String {
    range.upperBound == .max
      ? "of at least \(range.lowerBound)\(unit)" : "from \(range.lowerBound)\(unit) to \(range.upperBound)\(unit)"
  }
}
