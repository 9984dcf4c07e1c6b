// Hot: no allocation, String, existential or Foundation.

/// Where an input stands in each dense row, and how single values become its elements.
public struct DensePlace: Sendable, Equatable {
  /// Bytes from the row's begin.
  public var offset: Int
  /// Elements in one row.
  public var count: Int
  public var element: TensorElement
  public var refusesNonFinite: Bool
  /// The tensor that it is, or is a column of.
  public var feature: Int

  /// Writes a number as an element at `at`, or says why it cannot be one. Fractions are rounded to the element's precision; what becomes
  /// infinite is refused.
  public func store(number: Double, at: UnsafeMutableRawPointer) -> FeatureAssembler.Problem {
    DenseRow.store(number, element, at, refusesNonFinite: refusesNonFinite)
  }

  /// A whole number; one that the element does not hold exactly is refused.
  public func store(integer: Int64, at: UnsafeMutableRawPointer) -> FeatureAssembler.Problem {
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
    guard element == .uint64 else { return .notExact }
    at.storeBytes(of: unsigned, as: UInt64.self)
    return .none
  }

  public func store(text: UnsafeRawBufferPointer, at: UnsafeMutableRawPointer) -> FeatureAssembler.Problem {
    guard element == .text else { return .wrongType }
    at.storeBytes(of: RowID.text(text), as: UInt64.self)
    return .none
  }
}
