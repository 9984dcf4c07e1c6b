/// The rows of one batch, owned by one thread and reused: buffers grow by doubling and stay.
///
/// The sparse part, as columns: entry e is `ids[e]`, `values[e]` (and `fields[e]`); row r is the entries from `rowEnds[r - 1]` (0 for the
/// first) to `rowEnds[r]`. The dense part, for models that take tensors: `denseRowBytes` bytes for each row at `dense`.
public final class RowBatch {
  // Exclusivity is the owner thread's: checks at each entry would cost more than the entry.
  @exclusivity(unchecked) public private(set) var rowCount = 0
  @exclusivity(unchecked) public private(set) var entryCount = 0
  /// Row ids, `entryCount` of them. Valid until the next append.
  @exclusivity(unchecked) public private(set) var ids: UnsafeMutablePointer<UInt64>
  /// Values, `entryCount` of them. Valid until the next append.
  @exclusivity(unchecked) public private(set) var values: UnsafeMutablePointer<Float>
  /// The end entry of each row, `rowCount` of them. Valid until the next `endRow`.
  @exclusivity(unchecked) public private(set) var rowEnds: UnsafeMutablePointer<Int32>
  /// What of the specification each entry came from, `entryCount` of them, when asked for: the index of its feature; behind the features
  /// the crosses in their order; `biasField` for the bias. Valid until the next append.
  @exclusivity(unchecked) public private(set) var fields: UnsafeMutablePointer<UInt16>?
  /// Bytes of each dense row; 0: there is no dense part.
  public let denseRowBytes: Int
  /// The dense rows, row-major and 64-byte aligned: input i of row r lies at `dense + r * denseRowBytes + inputs[i].offset`. Nil when there
  /// is no dense part. Valid until the next `endRow`, `reserveDenseRow` or `appendDenseRows`.
  @exclusivity(unchecked) public private(set) var dense: UnsafeMutableRawPointer?
  @exclusivity(unchecked) private var entryCapacity: Int
  @exclusivity(unchecked) private var rowCapacity: Int

  /// The field of the bias, which is of no feature.
  public static let biasField = UInt16.max

  public convenience init(rowCapacity: Int = 256, entryCapacity: Int = 8192) {
    self.init(rowCapacity: rowCapacity, entryCapacity: entryCapacity, denseRowBytes: 0, hasFields: false)
  }

  /// A batch with dense rows of `denseRowBytes` bytes, and, when `hasFields`, the field of each sparse entry.
  public init(rowCapacity: Int, entryCapacity: Int, denseRowBytes: Int, hasFields: Bool) {
    precondition(denseRowBytes >= 0, "dense rows of \(denseRowBytes) bytes")
    self.rowCapacity = max(1, rowCapacity)
    self.entryCapacity = max(1, entryCapacity)
    self.denseRowBytes = denseRowBytes
    ids = .allocate(capacity: self.entryCapacity)
    values = .allocate(capacity: self.entryCapacity)
    rowEnds = .allocate(capacity: self.rowCapacity)
    if hasFields { fields = .allocate(capacity: self.entryCapacity) }
    if denseRowBytes > 0 { dense = Self.denseRows(self.rowCapacity, bytes: denseRowBytes) }
  }

  /// A batch for rows of the model: with a dense part when it takes one, and with fields when its parameters come from a file.
  public convenience init(for specification: ModelSpecification, rowCapacity: Int = 256, entryCapacity: Int = 8192) {
    self.init(
      rowCapacity: rowCapacity, entryCapacity: entryCapacity, denseRowBytes: specification.denseRowBytes,
      hasFields: specification.family == .loaded)
  }

  deinit {
    ids.deallocate()
    values.deallocate()
    rowEnds.deallocate()
    fields?.deallocate()
    dense?.deallocate()
  }

  /// Forgets all rows, keeps the buffers.
  public func removeAll() {
    rowCount = 0
    entryCount = 0
  }

  /// Adds an entry to the row that is being built.
  @inline(__always)
  public func append(id: UInt64, value: Float) {
    if entryCount == entryCapacity { growEntries(to: entryCount + 1) }
    ids[entryCount] = id
    values[entryCount] = value
    if let fields { fields[entryCount] = Self.biasField }
    entryCount += 1
  }

  /// Adds an entry of the feature (or cross) `field`.
  @inline(__always)
  public func append(id: UInt64, value: Float, field: UInt16) {
    append(id: id, value: value)
    if let fields { fields[entryCount - 1] = field }
  }

  /// The dense row that is being built, to be written by the caller, who then calls `endRow`. What it holds before is not defined.
  public func reserveDenseRow() -> UnsafeMutableRawPointer {
    if rowCount == rowCapacity { growRows(to: rowCount + 1) }
    guard let dense else { preconditionFailure("a batch without a dense part") }
    return dense + rowCount * denseRowBytes
  }

  /// Adds `count` whole rows without sparse entries. Their dense part is `template` in each; nil: the caller writes all of it.
  public func appendDenseRows(_ count: Int, template: UnsafeRawPointer?) {
    if rowCapacity - rowCount < count { growRows(to: rowCount + count) }
    guard let dense else { preconditionFailure("a batch without a dense part") }
    for row in rowCount..<rowCount + count { rowEnds[row] = Int32(truncatingIfNeeded: entryCount) }
    if let template {
      for row in rowCount..<rowCount + count { (dense + row * denseRowBytes).copyMemory(from: template, byteCount: denseRowBytes) }
    }
    rowCount += count
  }

  /// Makes room for `count` more entries, so that they can be written by `appendUnchecked`, which leaves their fields to the caller.
  @inline(__always)
  func reserve(_ count: Int) {
    if entryCapacity - entryCount < count { growEntries(to: entryCount + count) }
  }

  @inline(__always)
  func appendUnchecked(id: UInt64, value: Float) {
    assert(entryCount < entryCapacity)
    ids[entryCount] = id
    values[entryCount] = value
    entryCount += 1
  }

  @inline(__always)
  func appendUnchecked(ids: UnsafePointer<UInt64>, values: UnsafePointer<Float>, count: Int) {
    assert(entryCount + count <= entryCapacity)
    (self.ids + entryCount).update(from: ids, count: count)
    (self.values + entryCount).update(from: values, count: count)
    entryCount += count
  }

  /// Ends the row that is being built (possibly an empty one).
  public func endRow() {
    if rowCount == rowCapacity { growRows(to: rowCount + 1) }
    rowEnds[rowCount] = Int32(entryCount)
    rowCount += 1
  }

  /// Appends a copy of a row of `other`, whose dense rows must be of the same size.
  public func append(row: Int, of other: RowBatch) {
    precondition(row >= 0 && row < other.rowCount && other.denseRowBytes == denseRowBytes, "row \(row) of \(other.rowCount)")
    let start = other.start(ofRow: row)
    let count = Int(other.rowEnds[row]) - start
    reserve(count)
    if let fields {
      if let from = other.fields { (fields + entryCount).update(from: from + start, count: count) }
      else { (fields + entryCount).update(repeating: Self.biasField, count: count) }
    }
    (ids + entryCount).update(from: other.ids + start, count: count)
    (values + entryCount).update(from: other.values + start, count: count)
    entryCount += count
    if denseRowBytes > 0, let from = other.dense {
      reserveDenseRow().copyMemory(from: from + row * denseRowBytes, byteCount: denseRowBytes)
    }
    endRow()
  }

  /// The first entry of row `row`.
  public func start(ofRow row: Int) -> Int { row == 0 ? 0 : Int(rowEnds[row - 1]) }

  /// Drops the row that is being built and all rows from `row` on.
  public func rollback(toRow row: Int) {
    precondition(row >= 0 && row <= rowCount, "row \(row) of \(rowCount)")
    rowCount = row
    entryCount = start(ofRow: row)
  }

  private func growEntries(to needed: Int) {
    precondition(needed <= Int(Int32.max), "a batch of \(needed) entries")
    let capacity = min(max(needed, entryCapacity * 2), Int(Int32.max))
    ids = Self.grown(ids, count: entryCount, capacity: capacity)
    values = Self.grown(values, count: entryCount, capacity: capacity)
    if let fields { self.fields = Self.grown(fields, count: entryCount, capacity: capacity) }
    entryCapacity = capacity
  }

  private func growRows(to needed: Int) {
    let capacity = max(needed, rowCapacity * 2)
    rowEnds = Self.grown(rowEnds, count: rowCount, capacity: capacity)
    if let old = dense {
      let new = Self.denseRows(capacity, bytes: denseRowBytes)
      // Whoever reserved a row before may have begun to write it.
      new.copyMemory(from: old, byteCount: min(rowCount + 1, rowCapacity) * denseRowBytes)
      old.deallocate()
      dense = new
    }
    rowCapacity = capacity
  }

  private static func denseRows(_ rows: Int, bytes: Int) -> UnsafeMutableRawPointer {
    // Kernels read whole vectors: the last row may be read, never written, past its end.
    .allocate(byteCount: rows * bytes + 64, alignment: 64)
  }

  private static func grown<Element: BitwiseCopyable>(
    _ old: UnsafeMutablePointer<Element>, count: Int, capacity: Int
  ) -> UnsafeMutablePointer<Element> {
    let new = UnsafeMutablePointer<Element>.allocate(capacity: capacity)
    new.initialize(from: old, count: count)
    old.deallocate()
    return new
  }
}
