public import Events

/// A feature's value in a request. Literals will do: `["carrier": "AA", "temp": 39.2]`.
public enum FeatureValue: Sendable, Equatable, ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
  ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral
{
  /// A text: a value of a category. For a numeric input it is read as a number.
  case text(String)
  case integer(Int64)
  case number(Double)
  case flag(Bool)
  /// Several values of one category, or the numbers of a vector.
  case list([FeatureValue])

  public init(stringLiteral value: String) { self = .text(value) }
  public init(integerLiteral value: Int64) { self = .integer(value) }
  public init(floatLiteral value: Double) { self = .number(value) }
  public init(booleanLiteral value: Bool) { self = .flag(value) }
  public init(arrayLiteral elements: FeatureValue...) { self = .list(elements) }

  public init(_ value: EventFields.Value) {
    switch value {
    case .text(let text): self = .text(text)
    case .integer(let integer): self = .integer(integer)
    case .number(let number): self = .number(number)
    case .flag(let flag): self = .flag(flag)
    case .list(let list): self = .list(list.map(FeatureValue.init))
    }
  }

  /// Its elements: a list's, or itself.
  var elements: [FeatureValue] {
    if case .list(let values) = self { return values.flatMap(\.elements) }
    return [self]
  }

  /// As a value of a category; numbers and truth values are their texts, as everywhere in events.
  var asText: String {
    switch self {
    case .text(let text): text
    case .integer(let integer): String(integer)
    case .number(let number): number == number.rounded() && abs(number) < 1e15 ? String(Int64(number)) : String(number)
    case .flag(let flag): flag ? "true" : "false"
    case .list: ""
    }
  }

  var asNumber: Double? {
    switch self {
    case .text(let text): Double(text)
    case .integer(let integer): Double(integer)
    case .number(let number): number
    case .flag(let flag): flag ? 1 : 0
    case .list: nil
    }
  }

  var asInteger: Int64? {
    switch self {
    case .text(let text): Int64(text)
    case .integer(let integer): integer
    case .number(let number): Int64(exactly: number)
    case .flag(let flag): flag ? 1 : 0
    case .list: nil
    }
  }

  var asFlag: Bool? {
    switch self {
    case .flag(let flag): flag
    case .text("true"), .integer(1): true
    case .text("false"), .integer(0): false
    default: nil
    }
  }
}
