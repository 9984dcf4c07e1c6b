/// One dimension of a value: a number, or a multiple of the number of rows of the batch.
public struct Dimension: Sendable, Equatable, CustomStringConvertible {
  /// The number, or how many for each row. Negative in arithmetic only, never in a shape.
  public let multiple: Int
  public let isRows: Bool

  public init(_ fixed: Int) {
    multiple = fixed
    isRows = false
  }

  private init(multiple: Int, isRows: Bool) {
    self.multiple = multiple
    self.isRows = isRows
  }

  /// `multiple` for each row of the batch.
  public static func rows(_ multiple: Int = 1) -> Dimension { Dimension(multiple: multiple, isRows: multiple != 0) }

  /// The number, unless it depends on the batch.
  public var fixed: Int? { isRows ? nil : multiple }
  public var isOne: Bool { !isRows && multiple == 1 }

  /// Its number in a batch of `rows`. Both were bounded when the plan was made.
  @inline(__always) public func size(rows: Int) -> Int { isRows ? multiple &* rows : multiple }

  /// Nil when the product is not one of ours: rows squared, or out of bounds.
  public func times(_ other: Dimension) -> Dimension? {
    if isRows && other.isRows { return nil }
    let (product, overflow) = multiple.multipliedReportingOverflow(by: other.multiple)
    if overflow || product > ONNXLimits.elementsMax { return nil }
    return Dimension(multiple: product, isRows: (isRows || other.isRows) && product != 0)
  }

  /// Nil when it does not divide, or the quotient is not one of ours.
  public func divided(by other: Dimension) -> Dimension? {
    guard other.multiple != 0, multiple % other.multiple == 0, isRows || !other.isRows else { return nil }
    return Dimension(multiple: multiple / other.multiple, isRows: isRows && !other.isRows)
  }

  /// Nil when one depends on the batch and the other does not (and is not 0).
  public func plus(_ other: Dimension) -> Dimension? {
    if multiple == 0 { return other }
    if other.multiple == 0 { return self }
    guard isRows == other.isRows else { return nil }
    let (sum, overflow) = multiple.addingReportingOverflow(other.multiple)
    return overflow || sum > ONNXLimits.elementsMax ? nil : Dimension(multiple: sum, isRows: isRows)
  }

  public var description: String { isRows ? (multiple == 1 ? "rows" : "\(multiple)*rows") : "\(multiple)" }
}

/// Bounds of what a graph may ask for.
public enum ONNXLimits {
  /// Elements of one tensor, for one row where it depends on rows.
  public static let elementsMax = 1 << 33
  public static let rankMax = 8
  public static let nodesMax = 1 << 20
  /// Bytes that folding may make: so many, and so many times those of the file's own constants.
  public static let foldedBytesMax = 1 << 26
  public static let foldedTimesMax = 8
  /// Bytes of intermediate values for one row.
  public static let rowBytesMax = 1 << 30
}

/// The dimensions of a value, outermost first.
public typealias Shape = [Dimension]

extension Array where Element == Dimension {
  public init(fixed sizes: [Int]) { self = sizes.map { Dimension($0) } }

  /// The sizes, unless one depends on the batch.
  public var fixedSizes: [Int]? {
    var sizes: [Int] = []
    for dimension in self {
      guard let size = dimension.fixed else { return nil }
      sizes.append(size)
    }
    return sizes
  }

  /// The number of elements; nil when it is out of bounds or depends on the square of the rows.
  public var elementCount: Dimension? {
    var product = Dimension(1)
    for dimension in self {
      guard let next = product.times(dimension) else { return nil }
      product = next
    }
    return product
  }

  public var text: String { "[" + map(\.description).joined(separator: ", ") + "]" }

  /// What numpy's broadcasting of two shapes gives; nil when they do not fit.
  public func broadcast(with other: [Dimension]) -> [Dimension]? {
    let rank = Swift.max(count, other.count)
    var result: [Dimension] = []
    result.reserveCapacity(rank)
    for axis in 0..<rank {
      let a = axis < rank - count ? Dimension(1) : self[axis - (rank - count)]
      let b = axis < rank - other.count ? Dimension(1) : other[axis - (rank - other.count)]
      if a == b || b.isOne { result.append(a) } else if a.isOne { result.append(b) } else { return nil }
    }
    return result
  }
}
