internal import Telemetry

/// Lets a repeated event through once in an interval. Owned by one thread.
struct Repetition {
  let intervalNanoseconds: Int64
  private var lastNanoseconds: Int64?

  init(intervalMilliseconds: Int64) { intervalNanoseconds = intervalMilliseconds * 1_000_000 }

  mutating func passes(nowNanoseconds now: Int64 = MonotonicClock.nanoseconds()) -> Bool {
    if let last = lastNanoseconds, now - last < intervalNanoseconds { return false }
    lastNanoseconds = now
    return true
  }
}
