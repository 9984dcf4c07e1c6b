#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Time for durations, timeouts and latencies: `CLOCK_MONOTONIC`, which never goes back and is the
/// same for all processes of one machine, so a reading may be compared across processes.
public enum MonotonicClock {
  /// Nanoseconds since an arbitrary point that is fixed while the machine runs.
  public static func nanoseconds() -> Int64 {
    clockNanoseconds(CLOCK_MONOTONIC)
  }
}

/// Time for display and for event times. No timeout, lease or retry may depend on it.
public enum WallClock {
  /// Milliseconds since 1970-01-01T00:00:00Z.
  public static func milliseconds() -> Int64 {
    nanoseconds() / 1_000_000
  }

  /// Nanoseconds since 1970-01-01T00:00:00Z.
  public static func nanoseconds() -> Int64 {
    clockNanoseconds(CLOCK_REALTIME)
  }
}

private func clockNanoseconds(_ identifier: clockid_t) -> Int64 {
  var time = timespec()
  // Fails only for an unknown clock; both of ours exist wherever this builds.
  clock_gettime(identifier, &time)
  return Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
}
