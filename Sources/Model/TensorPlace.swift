/// Where an input's elements stand in a dense row, and what stands there when an event does not give them.
public struct TensorPlace: Sendable, Equatable {
  /// What an element that is not given becomes.
  public enum Absence: Sendable, Equatable {
    /// Every event must give it.
    case refused
    /// Not a number: what families with missing values (trees) take it for.
    case nan
    case value(Double)
  }

  public var element: TensorElement
  /// Of one row; empty: one element.
  public var shape: [Int]
  /// Bytes from the row's begin to the first element, a multiple of the element's size.
  public var offset: Int
  /// Names under which single elements may be given, each as a feature of its own: one for each element, or none.
  public var columns: [String]
  public var absent: Absence
  /// Whether NaN and infinities are refused. Elements that are no floating-point numbers can be neither.
  public var refusesNonFinite: Bool
  /// Elements that may be given by the names of categories, ascending. Only where NaN stands for what is absent, as it does for names
  /// that training never saw.
  public var categories: [ColumnCategories]

  public init(
    element: TensorElement = .float32, shape: [Int] = [], offset: Int, columns: [String] = [], absent: Absence = .refused,
    refusesNonFinite: Bool = false, categories: [ColumnCategories] = []
  ) {
    self.element = element
    self.shape = shape
    self.offset = offset
    self.columns = columns
    self.absent = absent
    self.refusesNonFinite = refusesNonFinite
    self.categories = categories
  }

  /// Elements of one row; clamped, as sizes may come from files: `ModelSpecification.problems` bounds it.
  public var count: Int {
    var product = 1
    for size in shape {
      guard size > 0 else { return 0 }
      let (next, overflow) = product.multipliedReportingOverflow(by: size)
      product = overflow ? .max : next
    }
    return product
  }

  /// The byte behind the last element.
  public var end: Int {
    let (bytes, overflow) = count.multipliedReportingOverflow(by: element.bytes)
    return overflow ? .max : max(0, offset).addingClamped(bytes)
  }

  /// "[28]", as messages and metadata show it.
  public var shapeText: String { "[\(shape.map(String.init).joined(separator: ", "))]" }
}

extension TensorElement {
  /// Whether inputs may have such elements: half floats and brain floats are for weights.
  public var isInputElement: Bool { self != .float16 && self != .bfloat16 }

  public var isFloating: Bool { self == .float32 || self == .float64 }
}
