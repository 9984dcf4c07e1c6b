// Hot: no allocation, String, existential or Foundation.

/// Where an input stands in each dense row, and how single values become its elements.
///
/// Borrowed from its assembler, and used while that lives.
public struct DensePlace {
  /// Bytes from the row's begin.
  public var offset: Int
  /// Elements in one row.
  public var count: Int
  public var element: TensorElement
  public var refusesNonFinite: Bool
  /// The tensor that it is, or is a column of.
  public var feature: Int
  /// Of each element, when some have names of categories.
  let lookups: UnsafePointer<CategoryLookup?>?
  /// It is a column, given by its own name: a number may be the name of a category there, while in whole tensors it is the code.
  let isColumn: Bool

  /// Whether numbers are names of categories here, and must be looked up one by one.
  public var looksUpNumbers: Bool { isColumn && lookups?.pointee?.hasNumbers == true }

  /// Writes a number as an element at `at`, or says why it cannot be one. Fractions are rounded to the element's precision; what becomes
  /// infinite is refused.
  public func store(number: Double, at: UnsafeMutableRawPointer) -> FeatureAssembler.Problem {
    if looksUpNumbers, let lookup = lookups?.pointee { return store(code: lookup.code(number: number), at) }
    return DenseRow.store(number, element, at, refusesNonFinite: refusesNonFinite)
  }

  /// A whole number; one that the element does not hold exactly is refused.
  public func store(integer: Int64, at: UnsafeMutableRawPointer) -> FeatureAssembler.Problem {
    if looksUpNumbers, let lookup = lookups?.pointee { return store(code: lookup.code(integer: integer), at) }
    switch element {
    case .int64: at.storeBytes(of: integer, as: Int64.self)
    case .uint64:
      guard integer >= 0 else { return .notExact }
      at.storeBytes(of: UInt64(integer), as: UInt64.self)
    case .float32:
      guard integer.magnitude < 1 << 24 else { return .notExact }
      at.storeBytes(of: Float(integer), as: Float.self)
    case .float64:
      guard integer.magnitude < 1 << 53 else { return .notExact }
      at.storeBytes(of: Double(integer), as: Double.self)
    default:
      // Narrower than a double is exact.
      guard integer.magnitude < 1 << 53 else { return .notExact }
      return DenseRow.store(Double(integer), element, at, refusesNonFinite: false)
    }
    return .none
  }

  /// As above, for numbers that need all 64 bits.
  public func store(unsigned: UInt64, at: UnsafeMutableRawPointer) -> FeatureAssembler.Problem {
    if let small = Int64(exactly: unsigned) { return store(integer: small, at: at) }
    if looksUpNumbers { return store(number: Double(unsigned), at: at) }
    guard element == .uint64 else { return .notExact }
    at.storeBytes(of: unsigned, as: UInt64.self)
    return .none
  }

  /// True and false: 1 and 0, but no texts, and no codes of categories that have texts as names.
  public func store(boolean: Bool, at: UnsafeMutableRawPointer) -> FeatureAssembler.Problem {
    if element == .text { return .wrongType }
    if isColumn, let lookup = lookups?.pointee, !lookup.hasNumbers { return .wrongType }
    return store(integer: boolean ? 1 : 0, at: at)
  }

  /// A text of a tensor of texts, or the name of a category: `index` is the element's, of `count`.
  public func store(text: UnsafeRawBufferPointer, index: Int, at: UnsafeMutableRawPointer) -> FeatureAssembler.Problem {
    if element == .text {
      at.storeBytes(of: RowID.text(text), as: UInt64.self)
      return .none
    }
    guard let lookups, index >= 0, index < count, let lookup = lookups[index] else { return .wrongType }
    return store(code: lookup.code(text: text), at)
  }

  /// The code of a category, or NaN for one that training never saw (-1).
  private func store(code: Int32, _ at: UnsafeMutableRawPointer) -> FeatureAssembler.Problem {
    DenseRow.store(code < 0 ? .nan : Double(code), element, at, refusesNonFinite: false)
  }
}
