/// The name of one category, as the column had it in training.
public enum CategoryName: Sendable, Equatable {
  case text(String)
  case integer(Int64)
  /// Finite.
  case number(Double)
  case boolean(Bool)
}

/// The names of one column's categories: the name at place `c` has the code `c`, which is what the model's splits know. Immutable, shared by
/// all threads.
///
/// A value in a request has the code of the name that it equals: texts byte for byte, numbers by what they are worth, so that 3, 3.0 and
/// a tensor of any datatype that holds 3 are one. Names that are numbers can be given as texts too ("3", "true"), unless a text is such a name.
public final class CategoryNames: @unchecked Sendable, Equatable {
  /// Names of one model, over all of its columns. Codes below this are whole in single precision.
  public static let countMax = 1 << 20
  public static let nameBytesMax = 1024
  /// Bytes of all texts of one model.
  public static let bytesMax = 32 << 20

  public let names: [CategoryName]
  /// What finds them; valid as long as this lives.
  let lookup: CategoryLookup
  private let table: UnsafeMutablePointer<CategoryLookup.Entry>
  private let bytes: UnsafeMutablePointer<UInt8>

  /// Why names are none.
  public struct Problem: Error, Equatable {
    /// Of the name that is wrong; nil: it is about all.
    public let index: Int?
    public let reason: String
  }

  /// - Throws: when there are none or too many, one is too long or no number, or two are equal.
  public init(_ names: [CategoryName]) throws(Problem) {
    guard !names.isEmpty, names.count <= Self.countMax else {
      throw Problem(index: nil, reason: names.isEmpty ? "no names" : "\(names.count) names, at most \(Self.countMax) are allowed")
    }
    var builder = CategoryLookupBuilder(names.count)
    for (code, name) in names.enumerated() {
      if case .text(let text) = name, text.utf8.count > Self.nameBytesMax {
        throw Problem(index: code, reason: "a name of \(text.utf8.count) bytes, at most \(Self.nameBytesMax) are allowed")
      }
      if case .number(let number) = name, !number.isFinite { throw Problem(index: code, reason: "\(number) is no finite number") }
      if let other = builder.insert(name, code: code) { throw Problem(index: code, reason: "it is the same as name \(other)") }
    }
    for (code, name) in names.enumerated() { builder.insertOtherForms(of: name, code: code) }
    self.names = names
    table = .allocate(capacity: builder.table.count)
    table.initialize(from: builder.table, count: builder.table.count)
    bytes = .allocate(capacity: max(1, builder.bytes.count))
    bytes.initialize(from: builder.bytes, count: builder.bytes.count)
    lookup = CategoryLookup(
      table: UnsafePointer(table), mask: builder.table.count - 1, bytes: UnsafePointer(bytes),
      hasNumbers: names.contains { if case .text = $0 { false } else { true } })
  }

  deinit {
    table.deallocate()
    bytes.deallocate()
  }

  /// Whether some name is a number or a boolean. Of such a column, a number that comes under the column's name is such a name and no code.
  public var hasNumbers: Bool { lookup.hasNumbers }

  /// Bytes of all texts.
  public var byteCount: Int { names.reduce(0) { sum, name in if case .text(let text) = name { sum + text.utf8.count } else { sum } } }

  /// The code of a text; nil: training never saw it. For whoever has no hot path.
  public func code(_ text: String) -> Int? {
    var copy = text
    let code = copy.withUTF8 { lookup.code(text: UnsafeRawBufferPointer($0)) }
    return code < 0 ? nil : Int(code)
  }

  public static func == (a: CategoryNames, b: CategoryNames) -> Bool { a === b || a.names == b.names }
}

/// The names of the categories of one column.
public struct ColumnCategories: Sendable, Equatable {
  /// The place of the column's element in the input.
  public var column: Int
  public var names: CategoryNames

  public init(column: Int, names: CategoryNames) {
    self.column = column
    self.names = names
  }
}

extension CategoryName: CustomStringConvertible {
  /// As JSON shows it, for people.
  public var description: String {
    switch self {
    case .text(let text): "\"\(text)\""
    case .integer(let integer): "\(integer)"
    case .number(let number): "\(number)"
    case .boolean(let boolean): "\(boolean)"
    }
  }
}
