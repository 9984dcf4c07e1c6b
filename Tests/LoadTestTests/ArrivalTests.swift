import Kafka
import Synchronization
import Telemetry
import Testing

@testable import LoadTest

@Suite struct ArrivalTests {
  @Test func theSeedDecidesEverything() {
    func gaps(_ seed: UInt64) -> [Double] {
      var arrivals = ArrivalProcess(.poisson, seed: seed)
      return (0..<1_000).map { _ in arrivals.gapNanoseconds(ratePerSecond: 1_000) }
    }
    #expect(gaps(1) == gaps(1))
    #expect(gaps(1) != gaps(2))
  }

  @Test func poissonGapsAreExponential() {
    var arrivals = ArrivalProcess(.poisson, seed: 3)
    let gaps = (0..<200_000).map { _ in arrivals.gapNanoseconds(ratePerSecond: 10_000) }
    let mean = gaps.reduce(0, +) / Double(gaps.count)
    let variance = gaps.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(gaps.count)
    #expect(abs(mean - 100_000) < 1_500)
    // Standard deviation equals the mean.
    #expect(abs(variance.squareRoot() - 100_000) < 2_500)
    #expect(gaps.allSatisfy { $0 >= 0 && $0.isFinite })
  }

  @Test func fixedGapsAreEven() {
    var arrivals = ArrivalProcess(.fixed, seed: 3)
    let gaps = (0..<10).map { _ in arrivals.gapNanoseconds(ratePerSecond: 200) }
    #expect(gaps.allSatisfy { $0 == 5_000_000 })
  }

  @Test func theTimelinePlacesEveryInstant() {
    let profile = LoadProfile(
      warmUpSeconds: 1, steps: [LoadStep(ratePerSecond: 10, seconds: 2), LoadStep(ratePerSecond: 20, seconds: 0.5)])
    let timeline = Timeline(profile, startNanoseconds: 5_000_000_000)
    #expect(timeline.step(at: 5_999_999_999) == nil)
    #expect(timeline.step(at: 6_000_000_000) == 0)
    #expect(timeline.step(at: 7_999_999_999) == 0)
    #expect(timeline.step(at: 8_000_000_000) == 1)
    #expect(timeline.step(at: 8_500_000_000) == nil)
    #expect(timeline.sliceCount == 3)
    #expect(timeline.slice(at: 8_499_999_999) == 2)
    let long = Timeline(
      LoadProfile(warmUpSeconds: 0, steps: [LoadStep(ratePerSecond: 1, seconds: 86_400)]), startNanoseconds: 0)
    #expect(long.sliceCount <= Timeline.slicesMax)
    #expect(long.slice(at: 86_399_999_999_999) == long.sliceCount - 1)
  }

  /// Whatever the receiver does, the driver sends what the seed says, and never early.
  @Test func theDriverIsOpenLoop() throws {
    let profile = LoadProfile(
      warmUpSeconds: 0.05,
      steps: [LoadStep(ratePerSecond: 2_000, seconds: 0.2), LoadStep(ratePerSecond: 8_000, seconds: 0.2)], seed: 11)
    func run(_ stall: Bool) throws -> (OpenLoopDriver.Outcome, [Int64]) {
      let timeline = Timeline(profile, startNanoseconds: MonotonicClock.nanoseconds() + 20_000_000)
      let due = Mutex<[Int64]>([])
      let early = Atomic<Int>(0)
      let driver = OpenLoopDriver(profile, timeline: timeline) { index, intended in
        if MonotonicClock.nanoseconds() < intended { early.add(1, ordering: .relaxed) }
        if stall && index == 300 { while MonotonicClock.nanoseconds() < intended + 100_000_000 {} }
        due.withLock { $0.append(intended - timeline.startNanoseconds) }
        return index % 10 != 0
      }
      try driver.start()
      let outcome = try #require(driver.join())
      #expect(early.load(ordering: .relaxed) == 0)
      return (outcome, due.withLock { $0 })
    }
    let (plain, dueInPlain) = try run(false)
    let (stalled, dueInStalled) = try run(true)
    #expect(plain.offered == stalled.offered)
    #expect(zip(dueInPlain, dueInStalled).allSatisfy { abs($0 - $1) <= 2 })
    #expect(dueInPlain.count == plain.eventCount && plain.eventCount <= profile.eventsBound)
    let refused: Int = plain.refused.reduce(0, +)
    let offered: Int = plain.offered.reduce(0, +)
    #expect(abs(refused - offered / 10) <= 2)
    #expect(stalled.lateness.max >= 50)
    #expect(!plain.wasStopped)
  }

  @Test func theDriverStops() throws {
    let profile = LoadProfile(warmUpSeconds: 0, steps: [LoadStep(ratePerSecond: 1, seconds: 3_600)])
    let driver = OpenLoopDriver(
      profile, timeline: Timeline(profile, startNanoseconds: MonotonicClock.nanoseconds())) { _, _ in true }
    try driver.start()
    driver.requestStop()
    let outcome = try #require(driver.join())
    #expect(outcome.wasStopped)
  }

  @Test func recordersMerge() {
    let profile = LoadProfile(warmUpSeconds: 0, steps: [LoadStep(ratePerSecond: 10, seconds: 2)])
    let timeline = Timeline(profile, startNanoseconds: 0)
    let one = LatencyRecorder(timeline)
    let other = LatencyRecorder(timeline)
    one.record(intendedNanoseconds: 100, nowNanoseconds: 1_000_100)
    other.record(intendedNanoseconds: 200, nowNanoseconds: 3_000_000_000)
    one.merge(other)
    #expect(one.answered == [2])
    // The second answer came after the end: answered, not achieved.
    #expect(one.completed == [1])
    let report = LatencySummary(one.steps[0])
    #expect(report.p50 >= 0.9 && report.max >= 2_999)
  }
}
