/// A JSON value as manifests hold it: what a family keeps beside its tensors. Whole numbers stay whole.
public enum JSONValue: Sendable, Equatable {
  case null
  case boolean(Bool)
  case integer(Int64)
  case number(Double)
  case text(String)
  case array([JSONValue])
  case object([String: JSONValue])
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral, ExpressibleByBooleanLiteral,
  ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
  public init(stringLiteral value: String) { self = .text(value) }
  public init(integerLiteral value: Int64) { self = .integer(value) }
  public init(floatLiteral value: Double) { self = .number(value) }
  public init(booleanLiteral value: Bool) { self = .boolean(value) }
  public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
  /// The last of equal keys wins.
  public init(dictionaryLiteral elements: (String, JSONValue)...) { self = .object(Dictionary(elements, uniquingKeysWith: { $1 })) }

  public init(_ value: Int) { self = .integer(Int64(value)) }
  /// JSON has no NaN and no infinities: they become texts, which `double` reads back.
  public init(_ value: Double) { self = value.isFinite ? .number(value) : .text(value.isNaN ? "nan" : value < 0 ? "-inf" : "inf") }
  public init(_ value: Bool) { self = .boolean(value) }
  public init(_ value: String) { self = .text(value) }
  public init(_ values: [Int]) { self = .array(values.map { .integer(Int64($0)) }) }
  public init(_ values: [Double]) { self = .array(values.map { JSONValue($0) }) }
  public init(_ values: [String]) { self = .array(values.map(JSONValue.text)) }
}

extension JSONValue {
  /// Nil when it is of another kind. The texts "nan", "inf" and "-inf" are numbers too.
  public var double: Double? {
    switch self {
    case .integer(let value): Double(value)
    case .number(let value): value
    case .text("nan"): .nan
    case .text("inf"): .infinity
    case .text("-inf"): -.infinity
    default: nil
    }
  }

  public var int: Int? { if case .integer(let value) = self { Int(exactly: value) } else { nil } }
  public var bool: Bool? { if case .boolean(let value) = self { value } else { nil } }
  public var string: String? { if case .text(let value) = self { value } else { nil } }
  public var array: [JSONValue]? { if case .array(let value) = self { value } else { nil } }
  public var object: [String: JSONValue]? { if case .object(let value) = self { value } else { nil } }

  /// The member of an object; nil when there is none, or when this is no object. Setting makes this an object.
  public subscript(key: String) -> JSONValue? {
    get { object?[key] }
    set {
      var members = object ?? [:]
      members[key] = newValue
      self = .object(members)
    }
  }

  // MARK: Members that must be there: `place` is where this object stands, for the error.

  public func member(_ key: String, at place: String) throws(BundleError) -> JSONValue {
    guard let object else { throw BundleError(place: place, reason: "expected an object, found \(kind)") }
    guard let value = object[key] else { throw BundleError(place: "\(place).\(key)", reason: "missing") }
    return value
  }

  /// A whole number within `range`.
  public func int(_ key: String, in range: ClosedRange<Int>, at place: String) throws(BundleError) -> Int {
    let value = try member(key, at: place)
    guard let int = value.int else { throw BundleError(place: "\(place).\(key)", reason: "expected a whole number, found \(value.kind)") }
    guard range.contains(int) else { throw BundleError(place: "\(place).\(key)", reason: "\(int) is outside of \(range.lowerBound) to \(range.upperBound)") }
    return int
  }

  public func double(_ key: String, at place: String) throws(BundleError) -> Double {
    let value = try member(key, at: place)
    guard let double = value.double else { throw BundleError(place: "\(place).\(key)", reason: "expected a number, found \(value.kind)") }
    return double
  }

  public func bool(_ key: String, at place: String) throws(BundleError) -> Bool {
    let value = try member(key, at: place)
    guard let bool = value.bool else { throw BundleError(place: "\(place).\(key)", reason: "expected true or false, found \(value.kind)") }
    return bool
  }

  public func string(_ key: String, at place: String) throws(BundleError) -> String {
    let value = try member(key, at: place)
    guard let string = value.string else { throw BundleError(place: "\(place).\(key)", reason: "expected a text, found \(value.kind)") }
    return string
  }

  public func array(_ key: String, at place: String) throws(BundleError) -> [JSONValue] {
    let value = try member(key, at: place)
    guard let array = value.array else { throw BundleError(place: "\(place).\(key)", reason: "expected a list, found \(value.kind)") }
    return array
  }

  /// Whole numbers, each within `range`.
  public func ints(_ key: String, in range: ClosedRange<Int>, at place: String) throws(BundleError) -> [Int] {
    var ints: [Int] = []
    for (index, value) in try array(key, at: place).enumerated() {
      guard let int = value.int, range.contains(int) else {
        throw BundleError(
          place: "\(place).\(key)[\(index)]", reason: "expected a whole number from \(range.lowerBound) to \(range.upperBound), found \(value.brief)")
      }
      ints.append(int)
    }
    return ints
  }

  public func strings(_ key: String, at place: String) throws(BundleError) -> [String] {
    var strings: [String] = []
    for (index, value) in try array(key, at: place).enumerated() {
      guard let string = value.string else { throw BundleError(place: "\(place).\(key)[\(index)]", reason: "expected a text, found \(value.kind)") }
      strings.append(string)
    }
    return strings
  }

  public func doubles(_ key: String, at place: String) throws(BundleError) -> [Double] {
    var doubles: [Double] = []
    for (index, value) in try array(key, at: place).enumerated() {
      guard let double = value.double else { throw BundleError(place: "\(place).\(key)[\(index)]", reason: "expected a number, found \(value.kind)") }
      doubles.append(double)
    }
    return doubles
  }

  /// What it is, in words.
  public var kind: String {
    switch self {
    case .null: "null"
    case .boolean: "a boolean"
    case .integer: "a whole number"
    case .number: "a fraction"
    case .text: "a text"
    case .array: "a list"
    case .object: "an object"
    }
  }

  private var brief: String {
    switch self {
    case .integer(let value): "\(value)"
    case .number(let value): "\(value)"
    default: kind
    }
  }
}
