internal import CKernels

/// A copy of one row of a shard.
public struct ReplicaRow: Sendable, Equatable {
  public var id: UInt64
  /// FTRL-Proximal state, and the weight that it gives.
  public var z: Float
  public var n: Float
  public var w: Float
  /// Label event time of the last change, hours since 1970; 0: none.
  public var touchedHours: UInt32
  /// The sum of the count family.
  public var count: Int64

  /// The row of an id that no record has touched: zeros, for every family there is.
  public init(id: UInt64) {
    self.init(mr_row(id: id, z: 0, n: 0, w: 0, touched: 0, count: 0))
  }

  init(_ row: mr_row) {
    id = row.id
    z = row.z
    n = row.n
    w = row.w
    touchedHours = row.touched
    count = row.count
  }
}
