/// The contents of a histogram at one moment, or between two moments (`since`).
///
/// Values are in the unit of the histogram: seconds for `LatencyHistogram`, plain numbers for
/// `SizeHistogram`.
public struct HistogramSnapshot: Sendable {
  let counts: [Int]
  let rawSum: Int
  /// Raw values in one unit: 1e9 for nanoseconds shown as seconds, 1 for sizes.
  let valuesPerUnit: Double
  /// How many values were recorded.
  public let count: Int

  init(counts: [Int], rawSum: Int, valuesPerUnit: Double) {
    self.counts = counts
    self.rawSum = rawSum
    self.valuesPerUnit = valuesPerUnit
    count = counts.reduce(0, &+)
  }

  /// The sum of the recorded values.
  public var sum: Double { Double(rawSum) / valuesPerUnit }

  /// The mean of the recorded values; 0 when there are none.
  public var mean: Double { count == 0 ? 0 : sum / Double(count) }

  /// The value below or at which the fraction `q` (clamped to 0...1) of the recorded values lies,
  /// within `LogLinearBuckets.relativeErrorMax`; 0 when nothing was recorded.
  public func quantile(_ q: Double) -> Double {
    guard count > 0 else { return 0 }
    let rank = max(1, Int((min(max(q, 0), 1) * Double(count)).rounded(.up)))
    var seen = 0
    for (index, bucket) in counts.enumerated() where bucket > 0 {
      seen &+= bucket
      if seen >= rank { return LogLinearBuckets.middle(of: index) / valuesPerUnit }
    }
    return 0
  }

  /// The middle of the highest bucket in use: the greatest value within the same error; 0 when empty.
  public var maximum: Double { quantile(1) }

  /// What was recorded after `earlier` was taken from the same histogram.
  public func since(_ earlier: HistogramSnapshot) -> HistogramSnapshot {
    precondition(valuesPerUnit == earlier.valuesPerUnit, "snapshots of different kinds of histograms")
    var difference = counts
    for index in difference.indices { difference[index] &-= earlier.counts[index] }
    return HistogramSnapshot(counts: difference, rawSum: rawSum &- earlier.rawSum, valuesPerUnit: valuesPerUnit)
  }

  /// How many values are at or below `edge` (a raw value), counting the bucket that holds `edge` whole:
  /// no value at or below the edge is missed, and one at most 1/64 above it may be counted with it.
  func cumulativeCount(upTo edge: Int64) -> Int {
    var total = 0
    for index in 0...LogLinearBuckets.index(of: edge) { total &+= counts[index] }
    return total
  }
}

/// Successive windows of one histogram: each `advance` hands out what was recorded since the last one.
/// Owned by one reader; several windows may watch one histogram.
public struct HistogramWindow: Sendable {
  private let take: @Sendable () -> HistogramSnapshot
  private var last: HistogramSnapshot

  public init(_ histogram: LatencyHistogram) {
    take = { histogram.snapshot() }
    last = take()
  }

  public init(_ histogram: SizeHistogram) {
    take = { histogram.snapshot() }
    last = take()
  }

  /// What was recorded since the last call, or since the window was made.
  public mutating func advance() -> HistogramSnapshot {
    let now = take()
    defer { last = now }
    return now.since(last)
  }
}
