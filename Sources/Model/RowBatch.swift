/// Sparse rows of one batch, as columns: entry e is `ids[e]`, `values[e]`; row r is the entries from `rowEnds[r - 1]` (0 for the first) to
/// `rowEnds[r]`. Owned by one thread and reused: buffers grow by doubling and stay.
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
  @exclusivity(unchecked) private var entryCapacity: Int
  @exclusivity(unchecked) private var rowCapacity: Int

  public init(rowCapacity: Int = 256, entryCapacity: Int = 8192) {
    self.rowCapacity = max(1, rowCapacity)
    self.entryCapacity = max(1, entryCapacity)
    ids = .allocate(capacity: self.entryCapacity)
    values = .allocate(capacity: self.entryCapacity)
    rowEnds = .allocate(capacity: self.rowCapacity)
  }

  deinit {
    ids.deallocate()
    values.deallocate()
    rowEnds.deallocate()
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
    entryCount += 1
  }

  /// Makes room for `count` more entries, so that they can be written by `appendUnchecked`.
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
    if rowCount == rowCapacity { growRows() }
    rowEnds[rowCount] = Int32(entryCount)
    rowCount += 1
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
    entryCapacity = capacity
  }

  private func growRows() {
    let capacity = rowCapacity * 2
    rowEnds = Self.grown(rowEnds, count: rowCount, capacity: capacity)
    rowCapacity = capacity
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
