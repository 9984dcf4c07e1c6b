/// One input of a model that takes tensors: in a request, a tensor of shape [rows] + `shape`; in a `RowBatch`, the bytes from `offset` of
/// each dense row.
public struct InputTensor: Sendable, Equatable {
  public var name: String
  public var element: TensorElement
  /// Without the rows; empty: one number for each row.
  public var shape: [Int]
  /// Where it begins in a dense row, in bytes; a multiple of the element's size.
  public var offset: Int
  /// Names of the columns, when the input is a row of named features: `count` of them, or none.
  public var columns: [String]
  /// What a column that an event does not give becomes; nil: an event must give it.
  public var absent: Double?
  /// Columns of which events can give names instead of codes, ascending: for floating-point inputs whose `absent` is NaN, which names
  /// that training never saw become.
  public var categories: [ColumnCategories]

  public init(
    name: String, element: TensorElement = .float32, shape: [Int], offset: Int = 0, columns: [String] = [], absent: Double? = nil,
    categories: [ColumnCategories] = []
  ) {
    self.name = name
    self.element = element
    self.shape = shape
    self.offset = offset
    self.columns = columns
    self.absent = absent
    self.categories = categories
  }

  /// Elements in one row.
  public var count: Int { shape.reduce(1, *) }
}
