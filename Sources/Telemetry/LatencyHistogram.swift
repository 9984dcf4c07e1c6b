/// A distribution of durations, from a nanosecond to 4.9 hours, within 0.8 %.
///
/// Hot: recording is wait-free and allocates nothing, from any thread. 20 KB of memory each.
public final class LatencyHistogram: Sendable {
  let cells = HistogramCells()

  /// A histogram that belongs to no registry. Use `Registry.histogram` for one that is exported.
  public init() {}

  /// Records one duration. Negative durations count as zero, those beyond the range as its end.
  public func record(nanoseconds: Int64) {
    cells.record(nanoseconds, count: 1)
  }

  /// Records the same duration `count` times, at the cost of once: one latency for a whole batch.
  public func record(nanoseconds: Int64, count: Int) {
    cells.record(nanoseconds, count: count)
  }

  /// The quantile over everything recorded, in seconds; `q` is clamped to 0...1.
  public func quantile(_ q: Double) -> Double { snapshot().quantile(q) }

  /// How many durations were recorded. Walks all buckets: for reports, not for hot paths.
  public var count: Int { cells.count() }

  /// The contents now; `later.since(earlier)` gives a window. Values are in seconds.
  public func snapshot() -> HistogramSnapshot { cells.snapshot(valuesPerUnit: 1e9) }
}
