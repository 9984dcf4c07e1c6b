// Hot: `offer`, once for each run of a model. No allocation in the steady state.
public import Model
internal import Synchronization

/// A few rows that a model scored lately, so that its next version can score them before it is served. Any thread.
public final class RecentRows: @unchecked Sendable {
  /// Rows kept.
  public static let rowsMax = 64
  /// Rows with more entries are not kept.
  private static let entriesMax = 4096

  private let lock = Mutex(())
  private let rows: RowBatch
  private let denseRowBytes: Int
  /// Runs since a row was taken, after the first `rowsMax`.
  @exclusivity(unchecked) private var passed = 0

  /// Once the ring is full, one run in so many gives a row.
  private static let sampledEvery = 64

  init(specification: ModelSpecification) {
    rows = RowBatch(for: specification, rowCapacity: Self.rowsMax, entryCapacity: 256)
    denseRowBytes = specification.denseRowBytes
  }

  /// Takes a row of `batch`, if nobody else is at it. When the rows are many they begin anew: the latest are the ones that count.
  public func offer(_ batch: RowBatch) {
    guard batch.rowCount > 0, batch.denseRowBytes == denseRowBytes else { return }
    lock.withLockIfAvailable { _ in
      passed &+= 1
      if rows.rowCount == Self.rowsMax {
        guard passed % Self.sampledEvery == 0 else { return }
        rows.removeAll()
      }
      let row = passed % batch.rowCount
      guard Int(batch.rowEnds[row]) - batch.start(ofRow: row) <= Self.entriesMax else { return }
      rows.append(row: row, of: batch)
    }
  }

  /// Copies what there is to `batch`, which must be for rows of the same form.
  func copy(to batch: RowBatch) {
    guard batch.denseRowBytes == denseRowBytes else { return }
    lock.withLock { _ in
      for row in 0..<rows.rowCount { batch.append(row: row, of: rows) }
    }
  }
}
