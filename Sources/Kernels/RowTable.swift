public import CKernels

/// The rows of one shard: open addressing over 64-bit ids, two rows to a cache line. It grows a slice at a time, between
/// updates, and readers never lock.
///
/// One thread writes: everything but `rows`, `capacity`, `bytes` and reading through a `TableReader` belongs to it.
public final class RowTable: @unchecked Sendable {
  /// For kernels.
  public let pointer: OpaquePointer

  /// A table with room for `rowsExpected` rows before it grows. Nil when memory is out.
  public init?(rowsExpected: Int = 0) {
    guard let pointer = mr_table_create(UInt64(max(0, rowsExpected))) else { return nil }
    self.pointer = pointer
  }

  deinit { mr_table_destroy(pointer) }

  /// Any thread.
  public var rows: Int { Int(mr_table_rows(pointer)) }
  /// Any thread. Slots of the newest array.
  public var capacity: Int { Int(mr_table_capacity(pointer)) }
  /// Any thread. Bytes mapped.
  public var bytes: Int { Int(mr_table_bytes(pointer)) }

  public func row(_ id: UInt64) -> mr_row? {
    var row = mr_row()
    return mr_table_get(pointer, id, &row) ? row : nil
  }

  /// Sets a whole row. False when memory is out.
  public func put(_ row: mr_row) -> Bool {
    var row = row
    return mr_table_put(pointer, &row)
  }

  /// Applies gradient sums; ids ascend strictly. See `mr_table_apply_ftrl`.
  public func apply(
    _ ftrl: FTRL, ids: UnsafePointer<UInt64>, gradients: UnsafePointer<Float>, squares: UnsafePointer<Float>, count: Int,
    gradientBound: Float, squareBound: Float, touchedHours: UInt32
  ) -> mr_apply_result {
    var c = ftrl.c
    return mr_table_apply_ftrl(pointer, &c, ids, gradients, squares, count, gradientBound, squareBound, touchedHours)
  }

  /// Adds counts; ids ascend strictly.
  public func add(ids: UnsafePointer<UInt64>, counts: UnsafePointer<Int64>, count: Int, touchedHours: UInt32) -> mr_apply_result {
    mr_table_apply_count(pointer, ids, counts, count, touchedHours)
  }

  /// The rolling hash: the sum over rows of a hash of each row, modulo 2^64.
  public var stateHash: UInt64 { mr_table_state_hash(pointer) }
  /// The same from all rows, at the cost of reading them all.
  public func recomputedStateHash() -> UInt64 { mr_table_recompute_state_hash(pointer) }

  /// Keeps each row's weight in bfloat16 beside the rows too, one word a row, which scoring then reads: see `mr_table_serve`. Not a part of
  /// the state. False when memory is out, and nothing changed.
  public func serve() -> Bool { mr_table_serve(pointer) }
  /// Any thread.
  public var isServed: Bool { mr_table_serving(pointer) }

  public var isGrowing: Bool { mr_table_growing(pointer) }
  /// Moves up to `slotsMax` slots when growing, and frees what readers have left.
  public func work(slotsMax: Int) { mr_table_work(pointer, UInt64(max(0, slotsMax))) }

  /// Visits all rows, in an order of no meaning. The table must not change meanwhile.
  public func forEachRow(_ body: (mr_row) -> Void) {
    var cursor: UInt64 = 0
    withUnsafeTemporaryAllocation(of: mr_row.self, capacity: 256) { rows in
      while true {
        let count = mr_table_scan(pointer, &cursor, rows.baseAddress, rows.count)
        if count == 0 { return }
        for i in 0..<count { body(rows[i]) }
      }
    }
  }
}
