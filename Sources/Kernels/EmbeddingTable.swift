public import CKernels

/// What the values of an embedding row are. Raw values stand in bundles and never change.
public enum RowPrecision: UInt8, Sendable, CaseIterable {
  case float32 = 1
  /// Rounded to bfloat16.
  case bfloat16 = 2
  /// 256 steps from the row's least value to its greatest; scale and offset stand in the row.
  case int8 = 3

  /// As people write it.
  public var name: String {
    switch self {
    case .float32: "float32"
    case .bfloat16: "bfloat16"
    case .int8: "int8"
    }
  }
}

/// Embedding rows of one precision, end to end: `headWidth` numbers in float32, then `width` values in the precision. The layout stands with
/// `mr_embedding_row_bytes`. Filled by one thread; then immutable, and read by any.
public final class EmbeddingTable: @unchecked Sendable {
  public static let widthMax = Int(MR_EMBEDDING_WIDTH_MAX)
  public static let headWidthMax = Int(MR_EMBEDDING_HEAD_MAX)
  /// Rows are numbered in 32 bits.
  public static let rowsMax = Int(UInt32.max)

  public let precision: RowPrecision
  public let rowCount: Int
  public let width: Int
  public let headWidth: Int
  /// From one row to the next.
  public let rowBytes: Int
  /// Of all rows.
  public let byteCount: Int
  /// What kernels take. Valid as long as the table lives.
  public let c: mr_embedding
  /// Nil when the rows are borrowed.
  private let pages: UnsafeMutableRawPointer?
  private let pool: PagePool?
  private let owner: AnyObject?

  /// Bytes from one row to the next; nil for a width or a head beyond the bounds.
  public static func rowBytes(precision: RowPrecision, width: Int, headWidth: Int = 0) -> Int? {
    guard (1...widthMax).contains(width), (0...headWidthMax).contains(headWidth) else { return nil }
    return Int(mr_embedding_row_bytes(Int32(precision.rawValue), UInt32(headWidth), UInt32(width)))
  }

  /// Bytes of `rowCount` rows; nil beyond the bounds.
  public static func byteCount(rowCount: Int, precision: RowPrecision, width: Int, headWidth: Int = 0) -> Int? {
    guard (0...rowsMax).contains(rowCount), let row = rowBytes(precision: precision, width: width, headWidth: headWidth) else { return nil }
    return row * rowCount
  }

  /// Rows of zeros, in huge pages where the system has them. Nil beyond the bounds, and when memory is out.
  /// - Parameter pool: where the memory comes from and goes to, when there is one; then rows hold anything until they are filled.
  public init?(rowCount: Int, precision: RowPrecision, width: Int, headWidth: Int = 0, pool: PagePool? = nil) {
    guard let row = Self.rowBytes(precision: precision, width: width, headWidth: headWidth),
      let bytes = Self.byteCount(rowCount: rowCount, precision: precision, width: width, headWidth: headWidth),
      let pages = pool.map({ $0.take(byteCount: max(1, bytes)) }) ?? mr_pages_allocate(max(1, bytes))
    else { return nil }
    self.pool = pool
    self.precision = precision
    self.rowCount = rowCount
    self.width = width
    self.headWidth = headWidth
    rowBytes = row
    byteCount = bytes
    self.pages = pages
    owner = nil
    c = mr_embedding(
      rows: UnsafeRawPointer(pages), row_count: UInt64(rowCount), element: Int32(precision.rawValue), width: UInt32(width),
      head: UInt32(headWidth), row_bytes: UInt32(row))
  }

  /// Rows where they lie, as in a mapped file; `owner` keeps them there. Nil when `bytes` is not what the rows take.
  public init?(borrowing bytes: UnsafeRawBufferPointer, owner: AnyObject, rowCount: Int, precision: RowPrecision, width: Int, headWidth: Int = 0) {
    guard let row = Self.rowBytes(precision: precision, width: width, headWidth: headWidth),
      Self.byteCount(rowCount: rowCount, precision: precision, width: width, headWidth: headWidth) == bytes.count
    else { return nil }
    self.precision = precision
    self.rowCount = rowCount
    self.width = width
    self.headWidth = headWidth
    rowBytes = row
    byteCount = bytes.count
    pages = nil
    pool = nil
    self.owner = owner
    c = mr_embedding(
      rows: bytes.baseAddress, row_count: UInt64(rowCount), element: Int32(precision.rawValue), width: UInt32(width),
      head: UInt32(headWidth), row_bytes: UInt32(row))
  }

  deinit {
    guard let pages else { return }
    if let pool { pool.give(pages, byteCount: max(1, byteCount)) } else { mr_pages_free(pages, max(1, byteCount)) }
  }

  /// All rows. Valid as long as the table lives.
  public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: c.rows, count: byteCount) }

  // MARK: Filling, while no one else reads

  /// Lets `body` write all rows of a table that owns them, as they lie in memory.
  public func fill<Failure>(_ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Void) throws(Failure) {
    guard let pages else { preconditionFailure("a borrowed table cannot be changed") }
    try body(UnsafeMutableRawBufferPointer(start: pages, count: byteCount))
  }

  /// Sets row `row` of a table that owns its rows: `headWidth` and `width` numbers.
  public func setRow(_ row: Int, head: UnsafePointer<Float>? = nil, values: UnsafePointer<Float>) {
    precondition(row >= 0 && row < rowCount, "row \(row) of \(rowCount)")
    guard let pages else { preconditionFailure("a borrowed table cannot be changed") }
    var c = c
    mr_embedding_encode(&c, head, values, pages + row * rowBytes)
  }

  /// Reads row `row` back: `headWidth` and `width` numbers.
  public func row(_ row: Int, head: UnsafeMutablePointer<Float>? = nil, values: UnsafeMutablePointer<Float>?) {
    precondition(row >= 0 && row < rowCount, "row \(row) of \(rowCount)")
    var c = c
    mr_embedding_decode(&c, UInt64(row), head, values)
  }

  /// The same rows in another precision. Nil when memory is out.
  public func converted(to precision: RowPrecision) -> EmbeddingTable? {
    guard let table = EmbeddingTable(rowCount: rowCount, precision: precision, width: width, headWidth: headWidth) else { return nil }
    return withUnsafeTemporaryAllocation(of: Float.self, capacity: headWidth + width) { numbers in
      guard let head = numbers.baseAddress else { return table }
      for row in 0..<rowCount {
        self.row(row, head: head, values: head + headWidth)
        table.setRow(row, head: head, values: head + headWidth)
      }
      return table
    }
  }

  // MARK: Reading

  /// The row of an id: the same for everybody, forever (`mr_embedding_row_of`).
  public static func row(of id: UInt64, rowCount: Int) -> Int {
    precondition((0...rowsMax).contains(rowCount), "\(rowCount) rows")
    return Int(mr_embedding_row_of(id, UInt32(rowCount)))
  }

  public enum Pooling: Int32, Sendable {
    case sum = 0
    case mean = 1
  }

  /// For each bag b (entries `ends[b - 1]` ..< `ends[b]` of `rows` and `weights`), writes `width` numbers at `output + b * outputStride`: the
  /// sum or the mean of its rows, each times its weight (nil: 1). An empty bag gives zeros.
  /// - Returns: the first entry whose row is not in the table, and then nothing is written; nil: all is well.
  public func bag(
    rows: UnsafePointer<UInt32>, weights: UnsafePointer<Float>? = nil, ends: UnsafePointer<Int32>, bags: Int, pooling: Pooling = .sum,
    into output: UnsafeMutablePointer<Float>, outputStride: Int
  ) -> Int? {
    guard bags > 0 else { return nil }
    let entries = Int(ends[bags - 1])
    let outside = mr_embedding_first_outside(rows, entries, UInt64(rowCount))
    guard outside == entries else { return outside }
    var c = c
    mr_embedding_bag(&c, rows, weights, ends, Int32(bags), pooling.rawValue, output, outputStride)
    return nil
  }
}
