internal import Histogram

/// Percentiles of latencies, in milliseconds; zeros when nothing was recorded.
public struct LatencySummary: Sendable, Equatable, Codable {
  public var p50: Double
  public var p90: Double
  public var p99: Double
  public var p999: Double
  public var max: Double

  public static let none = LatencySummary(p50: 0, p90: 0, p99: 0, p999: 0, max: 0)

  public init(p50: Double, p90: Double, p99: Double, p999: Double, max: Double) {
    self.p50 = p50
    self.p90 = p90
    self.p99 = p99
    self.p999 = p999
    self.max = max
  }

  init(_ histogram: Histogram<UInt64>) {
    guard histogram.totalCount > 0 else {
      self = .none
      return
    }
    func milliseconds(_ percentile: Double) -> Double { Double(histogram.valueAtPercentile(percentile)) / 1e6 }
    self.init(
      p50: milliseconds(50), p90: milliseconds(90), p99: milliseconds(99), p999: milliseconds(99.9),
      max: Double(histogram.maxRecorded) / 1e6)
  }
}
