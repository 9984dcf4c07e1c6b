import Dispatch
import Testing

@testable import Telemetry

@Suite struct ThrottleTests {
  @Test func oneOfEachPeriodPassesAndTellsHowManyDidNot() {
    let throttle = Throttle(periodMilliseconds: 1000)
    #expect(throttle.pass(nowNanoseconds: 0) == 0)
    #expect(throttle.pass(nowNanoseconds: 1) == nil)
    #expect(throttle.pass(nowNanoseconds: 999_999_999) == nil)
    #expect(throttle.pass(nowNanoseconds: 1_000_000_000) == 2)
    #expect(throttle.pass(nowNanoseconds: 5_000_000_000) == 0)
  }

  @Test func noCallIsLostAmongThreads() {
    let throttle = Throttle(periodMilliseconds: 1)
    let counted = Counter()
    DispatchQueue.concurrentPerform(iterations: 4) { thread in
      for call in 0..<10_000 {
        if let suppressed = throttle.pass(nowNanoseconds: Int64(call) * 1000) { counted.add(1 + suppressed) }
      }
    }
    // The last one collects what is still waiting.
    let rest = throttle.pass(nowNanoseconds: 1_000_000_000) ?? -1
    #expect(counted.value + rest == 40_000)
  }
}
