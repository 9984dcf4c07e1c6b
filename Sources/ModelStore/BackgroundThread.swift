internal import Dispatch
internal import Glibc

/// How the store's thread gives way to those that answer requests.
///
/// Loading a large model is seconds of work. At a normal priority, however low its weight, the scheduler lets it finish its slice of some
/// milliseconds before a request's thread that woke up runs. Under SCHED_IDLE whoever wakes up runs at once, and the loading takes what
/// others leave. Where they leave next to nothing it would never end: so that holds for a while only.
struct BackgroundThread: Sendable {
  /// After so long at the lowest priority, work goes on at a low one: a new version comes even to a machine that is never idle.
  static let yieldingMillisecondsMax = 10_000
  private static let niceness: Int32 = 10
  /// sched(7); the C library's module leaves it out.
  static let idlePolicy: Int32 = 5

  private let thread: pthread_t
  private let yieldingMilliseconds: Int

  /// The calling thread, from now on of low weight.
  init(yieldingMilliseconds: Int = yieldingMillisecondsMax) {
    thread = pthread_self()
    self.yieldingMilliseconds = yieldingMilliseconds
    // 0: the thread that calls, of it alone.
    _ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, Self.niceness)
  }

  /// Runs `body`, on this thread, in what time others leave.
  func yielding<Value>(_ body: () throws -> Value) rethrows -> Value {
    setPolicy(Self.idlePolicy)
    // The thread outlives the timer: it is cancelled, and waited for, before this returns.
    let timer = DispatchSource.makeTimerSource(queue: Self.queue)
    timer.schedule(deadline: .now() + .milliseconds(yieldingMilliseconds))
    timer.setEventHandler { setPolicy(SCHED_OTHER) }
    timer.resume()
    defer {
      timer.cancel()
      Self.queue.sync {}
      setPolicy(SCHED_OTHER)
    }
    return try body()
  }

  private static let queue = DispatchQueue(label: "models.background")

  /// What the system refuses changes nothing: it is about speed alone.
  private func setPolicy(_ policy: Int32) {
    var parameters = sched_param()
    _ = pthread_setschedparam(thread, policy, &parameters)
  }
}
