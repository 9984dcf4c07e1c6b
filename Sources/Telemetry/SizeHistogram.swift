/// A distribution of sizes (rows in a batch, bytes in a record), exported with power-of-two buckets.
///
/// Hot: recording is wait-free and allocates nothing, from any thread. 20 KB of memory each.
public final class SizeHistogram: Sendable {
  let cells = HistogramCells()

  /// A histogram that belongs to no registry. Use `Registry.sizes` for one that is exported.
  public init() {}

  /// Records one size. Negative sizes count as zero.
  public func record(_ size: Int) {
    cells.record(Int64(size), count: 1)
  }

  /// Records the same size `count` times, at the cost of once.
  public func record(_ size: Int, count: Int) {
    cells.record(Int64(size), count: count)
  }

  /// The quantile over everything recorded; `q` is clamped to 0...1. Exact below 64.
  public func quantile(_ q: Double) -> Double { snapshot().quantile(q) }

  /// How many sizes were recorded. Walks all buckets: for reports, not for hot paths.
  public var count: Int { cells.count() }

  /// The contents now; `later.since(earlier)` gives a window.
  public func snapshot() -> HistogramSnapshot { cells.snapshot(valuesPerUnit: 1) }
}
