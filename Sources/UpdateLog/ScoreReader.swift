// Hot: no allocation, lock, existential, String or await.
internal import CKernels
internal import Kernels
public import Model

/// Scores batches from a `ReplicaSet` while its owner goes on applying. Owned by one thread.
public final class ScoreReader: @unchecked Sendable {
  public let set: ReplicaSet
  private let reader: TableReader
  private let tables: UnsafeMutablePointer<OpaquePointer?>
  private let published: UnsafeMutablePointer<OpaquePointer?>
  private let count: Int
  private let loss: Int32
  /// Batches that were not scored because the shards' epochs were never equal.
  @exclusivity(unchecked) public private(set) var epochMismatches = 0

  init(_ set: ReplicaSet) {
    guard let reader = TableReader() else { preconditionFailure("no memory for a reader") }
    self.set = set
    self.reader = reader
    count = set.shards.count
    tables = .allocate(capacity: count)
    published = .allocate(capacity: count)
    for (index, replica) in set.shards.enumerated() {
      (tables + index).initialize(to: replica.table.pointer)
      (published + index).initialize(to: replica.published)
    }
    loss = Int32(set.specification.loss?.rawValue ?? 0)
  }

  deinit {
    tables.deallocate()
    published.deallocate()
  }

  /// What one pass over a batch saw.
  public struct Reading: Sendable, Equatable {
    /// The greatest label event time (milliseconds) in any record applied when the last row had been read: an upper bound. `Int64.min`: none.
    public var labelsThroughMilliseconds: Int64
    /// The epoch of all shards.
    public var epoch: UInt32
  }

  /// Scores each row of `batch`: `scores` has room for `batch.rowCount`, `position` for one offset of each shard. A position is the next offset that
  /// shard would apply, read before the first row: the scores contain everything before it.
  /// Returns the greatest label event time (milliseconds) applied by then, read after the last row; `Int64.min`: none.
  /// Nil when the shards stood in different epochs at each of a few tries: nothing was scored, try again later.
  public func score(_ batch: RowBatch, into scores: UnsafeMutablePointer<Float>, position: UnsafeMutablePointer<Int64>) -> Int64? {
    guard let reading = sums(batch, into: scores, position: position) else { return nil }
    mr_finish(loss, scores, Int32(batch.rowCount))
    return reading.labelsThroughMilliseconds
  }

  /// The same without the link: sums of weights times values, shards added in shard order.
  public func sums(_ batch: RowBatch, into sums: UnsafeMutablePointer<Float>, position: UnsafeMutablePointer<Int64>) -> Reading? {
    var through = Int64.min
    var epoch: UInt64 = 0
    let read = mr_score(
      reader.pointer, tables, published, UInt32(count), batch.ids, batch.values, batch.rowEnds, Int32(batch.rowCount), sums, position, &through, &epoch)
    guard read else {
      epochMismatches &+= 1
      return nil
    }
    return Reading(labelsThroughMilliseconds: through, epoch: UInt32(truncatingIfNeeded: epoch))
  }

  /// One shard's own contribution: adds to `sums[row]` the sum over the entries that the shard owns. Adding all shards in shard order to
  /// zeros gives the bits of `sums(_:into:position:)`.
  public func partial(shard: Int, _ batch: RowBatch, sums: UnsafeMutablePointer<Float>) {
    precondition(shard >= 0 && shard < count, "shard \(shard) of \(count)")
    reader.enter()
    mr_partial(tables[shard], UInt32(shard), UInt32(count), batch.ids, batch.values, batch.rowEnds, Int32(batch.rowCount), sums)
    reader.leave()
  }
}
