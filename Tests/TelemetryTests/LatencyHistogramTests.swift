import Dispatch
import Testing

@testable import Telemetry

@Suite struct LatencyHistogramTests {
  @Test func bucketsTileTheValuesWithoutGapOrOverlap() {
    #expect(LogLinearBuckets.lowerBound(of: 0) == 0)
    for index in 0..<(LogLinearBuckets.count - 1) {
      let next = LogLinearBuckets.lowerBound(of: index) + LogLinearBuckets.width(of: index)
      #expect(next == LogLinearBuckets.lowerBound(of: index + 1), "bucket \(index)")
      #expect(LogLinearBuckets.index(of: LogLinearBuckets.lowerBound(of: index)) == index)
      #expect(LogLinearBuckets.index(of: next - 1) == index)
    }
    let last = LogLinearBuckets.count - 1
    #expect(LogLinearBuckets.lowerBound(of: last) + LogLinearBuckets.width(of: last) == LogLinearBuckets.valueMax + 1)
  }

  @Test(arguments: [Int64.min, -1, 0, 1, 63, 64, 65, (1 << 44) - 1, 1 << 44, .max])
  func anyValueHasABucket(value: Int64) {
    let histogram = LatencyHistogram()
    histogram.record(nanoseconds: value)
    #expect(histogram.count == 1)
    let clamped = Double(min(max(value, 0), LogLinearBuckets.valueMax)) * 1e-9
    #expect(abs(histogram.quantile(1) - clamped) <= clamped * LogLinearBuckets.relativeErrorMax)
  }

  /// Quantiles against a sorted copy of everything recorded, over several shapes of distribution.
  @Test(arguments: 0..<8)
  func quantilesAreWithinTheirErrorOfASortedOracle(shape: Int) {
    let seed = UInt64.random(in: 0 ... .max)
    print("quantilesAreWithinTheirErrorOfASortedOracle: shape \(shape) seed \(seed)")
    var random = SplitMix(state: seed)
    let histogram = LatencyHistogram()
    var values: [Int64] = []
    for _ in 0..<(1 + random.next() % 5000) {
      // From all-tiny to heavy-tailed: the top bits are thinned out by a random shift.
      let value = Int64(truncatingIfNeeded: random.next() >> (21 + random.next() % UInt64(6 + shape * 5)))
      histogram.record(nanoseconds: value)
      values.append(value)
    }
    values.sort()
    let snapshot = histogram.snapshot()
    #expect(snapshot.count == values.count)
    #expect(abs(snapshot.sum - Double(values.reduce(0, +)) * 1e-9) <= 1e-6 * snapshot.sum)
    for q in [0, 0.001, 0.1, 0.25, 0.5, 0.9, 0.99, 0.999, 1] {
      let rank = max(1, Int((q * Double(values.count)).rounded(.up)))
      let truth = Double(values[rank - 1]) * 1e-9
      let error = abs(snapshot.quantile(q) - truth)
      #expect(error <= truth * LogLinearBuckets.relativeErrorMax + 1e-15, "seed \(seed) q \(q) truth \(truth)")
    }
  }

  @Test func recordsOfManyThreadsAreAllCounted() {
    let histogram = LatencyHistogram()
    let sizes = SizeHistogram()
    let counter = Counter()
    let gauge = Gauge()
    let threads = 4
    let rounds = 20_000
    DispatchQueue.concurrentPerform(iterations: threads) { thread in
      for round in 0..<rounds {
        histogram.record(nanoseconds: Int64(round), count: 2)
        sizes.record(thread)
        counter.add(3)
        gauge.add(0.5)
      }
    }
    #expect(histogram.count == threads * rounds * 2)
    #expect(sizes.count == threads * rounds)
    #expect(sizes.snapshot().sum == Double((0..<threads).reduce(0, +) * rounds))
    #expect(counter.value == threads * rounds * 3)
    #expect(gauge.value == Double(threads * rounds) * 0.5)
  }

  @Test func aWindowHoldsOnlyWhatCameInIt() {
    let histogram = LatencyHistogram()
    histogram.record(nanoseconds: 1_000_000_000, count: 1000)
    var window = HistogramWindow(histogram)
    histogram.record(nanoseconds: 50, count: 10)
    let first = window.advance()
    #expect(first.count == 10)
    #expect(first.quantile(0.99) == 50e-9)
    #expect(abs(first.sum - 500e-9) < 1e-15)
    let second = window.advance()
    #expect(second.count == 0)
    #expect(second.quantile(0.5) == 0)
    #expect(second.mean == 0)
    #expect(histogram.count == 1010)
  }

  @Test func countsOfZeroOrLessRecordNothing() {
    let histogram = LatencyHistogram()
    histogram.record(nanoseconds: 5, count: 0)
    histogram.record(nanoseconds: 5, count: -3)
    #expect(histogram.count == 0)
  }

  @Test func theMonotonicClockDoesNotGoBack() {
    var last = MonotonicClock.nanoseconds()
    for _ in 0..<1000 {
      let now = MonotonicClock.nanoseconds()
      #expect(now >= last)
      last = now
    }
    // After 2020 and before 2100: the epoch and the unit are right.
    #expect((1_577_836_800_000..<4_102_444_800_000).contains(WallClock.milliseconds()))
  }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, seedable, good enough to vary test inputs.
struct SplitMix {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
