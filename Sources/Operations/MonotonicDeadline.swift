internal import Telemetry

/// A point in monotonic time that several waits share.
public struct MonotonicDeadline: Sendable {
  private let endNanoseconds: Int64

  public init(milliseconds: Int) {
    endNanoseconds = MonotonicClock.nanoseconds() + Int64(milliseconds) * 1_000_000
  }

  /// Waits for `operation`, but not beyond the deadline: false when it was still running then. The
  /// operation is cancelled but not awaited, because it may never return.
  public func wait(_ operation: @escaping @Sendable () async -> Void) async -> Bool {
    let remaining = max(0, endNanoseconds - MonotonicClock.nanoseconds())
    let (outcomes, send) = AsyncStream<Bool>.makeStream()
    let work = Task {
      await operation()
      send.yield(true)
    }
    let timer = Task {
      try? await Task.sleep(nanoseconds: UInt64(remaining))
      send.yield(false)
    }
    var finished = false
    for await outcome in outcomes {
      finished = outcome
      break
    }
    timer.cancel()
    if !finished { work.cancel() }
    return finished
  }
}
