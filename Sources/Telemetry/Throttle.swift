import Synchronization

/// Lets one event through in each period and counts those between: for messages about something that
/// happens for every record. Any thread; lock-free; allocates nothing.
///
/// ```swift
/// if let suppressed = throttle.pass() { logger.warning("cannot reach …", metadata: ["suppressed": "\(suppressed)"]) }
/// ```
public final class Throttle: Sendable {
  private let periodNanoseconds: Int64
  private let nextNanoseconds = Atomic<Int64>(.min)
  private let suppressed = Atomic<Int>(0)

  public init(periodMilliseconds: Int) {
    precondition(periodMilliseconds > 0, "a period of \(periodMilliseconds) ms")
    periodNanoseconds = Int64(periodMilliseconds) * 1_000_000
  }

  /// How many calls were turned away since the last one that passed; nil when this one is turned away.
  public func pass(nowNanoseconds: Int64 = MonotonicClock.nanoseconds()) -> Int? {
    let next = nextNanoseconds.load(ordering: .relaxed)
    if nowNanoseconds >= next {
      let passed = nextNanoseconds.compareExchange(
        expected: next, desired: nowNanoseconds &+ periodNanoseconds, ordering: .relaxed
      ).exchanged
      if passed { return suppressed.exchange(0, ordering: .relaxed) }
    }
    suppressed.wrappingAdd(1, ordering: .relaxed)
    return nil
  }
}
