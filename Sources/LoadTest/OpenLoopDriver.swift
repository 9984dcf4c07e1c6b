// Hot: the loop of `run`. No allocation per event.
internal import Glibc
internal import Histogram
public import Kafka
internal import Synchronization
internal import Telemetry

/// Sends each event at the time that the arrival process gave it, from a thread of its own. A
/// system that falls behind is not waited for: what comes late is sent at once, and its latency
/// still counts from the time it was due.
public final class OpenLoopDriver: @unchecked Sendable {
  /// Sends one event; false when it could not be taken (an error of the run).
  public typealias Send = @Sendable (_ index: Int, _ intendedNanoseconds: Int64) -> Bool

  /// What was asked, by step (the warm-up is not in it).
  public struct Outcome: Sendable {
    /// Events due in each step.
    public var offered: [Int]
    /// Of those, how many could not be sent.
    public var refused: [Int]
    /// Events due in each slice of the timeline.
    public var offeredBySlice: [Int]
    /// How late the driver itself was: near the latencies, the generator and not the system under
    /// test was the bottleneck.
    public var lateness: LatencySummary
    /// Indices went from 0 to below this, the warm-up included.
    public var eventCount: Int
    public var wasStopped: Bool
  }

  public let profile: LoadProfile
  public let timeline: Timeline
  private let send: Send
  private let thread = Mutex<OwnerThread?>(nil)
  private let outcome = Mutex<Outcome?>(nil)
  private let sentCount = Atomic<Int>(0)

  public init(_ profile: LoadProfile, timeline: Timeline, send: @escaping Send) {
    self.profile = profile
    self.timeline = timeline
    self.send = send
  }

  /// Begins; the first event is due at the timeline's start.
  public func start() throws(OwnerThreadError) {
    let started = OwnerThread(name: "load-driver") { [self] thread in run(thread) }
    try started.start()
    thread.withLock { $0 = started }
  }

  /// Ends the sending early.
  public func requestStop() { thread.withLock { $0 }?.requestStop() }

  /// Events sent so far, the warm-up included.
  public var sent: Int { sentCount.load(ordering: .relaxed) }

  /// Waits for the last event to be sent. nil when it never started.
  public func join() -> Outcome? {
    let started = thread.withLock { thread in
      defer { thread = nil }
      return thread
    }
    started?.join()
    return outcome.withLock { $0 }
  }

  private func run(_ thread: OwnerThread) {
    OwnerThread.sharpenTimers()
    var arrivals = ArrivalProcess(profile.arrivals, seed: profile.seed)
    var result = Outcome(
      offered: Array(repeating: 0, count: timeline.stepCount), refused: Array(repeating: 0, count: timeline.stepCount),
      offeredBySlice: Array(repeating: 0, count: timeline.sliceCount), lateness: .none, eventCount: 0, wasStopped: false)
    var lateness = Histogram<UInt64>(
      lowestDiscernibleValue: 64, highestTrackableValue: LatencyRecorder.nanosecondsMax, numberOfSignificantValueDigits: .three)
    var due = Double(timeline.startNanoseconds)
    var index = 0
    var now = MonotonicClock.nanoseconds()
    while true {
      due += arrivals.gapNanoseconds(ratePerSecond: rate(at: Int64(due)))
      let intended = Int64(due)
      guard intended < timeline.endNanoseconds && index < LoadProfile.eventsMax else { break }
      if now < intended {
        now = wait(until: intended, thread)
        if thread.isStopRequested { break }
      }
      let taken = send(index, intended)
      if let step = timeline.step(at: intended) {
        result.offered[step] += 1
        if !taken { result.refused[step] += 1 }
        if let slice = timeline.slice(at: intended) { result.offeredBySlice[slice] += 1 }
        lateness.record(min(UInt64(max(0, now - intended)), LatencyRecorder.nanosecondsMax - 1))
      }
      index += 1
      if index & 15 == 0 {
        sentCount.store(index, ordering: .relaxed)
        if thread.isStopRequested { break }
        now = MonotonicClock.nanoseconds()
      }
    }
    sentCount.store(index, ordering: .relaxed)
    result.eventCount = index
    result.wasStopped = thread.isStopRequested
    result.lateness = LatencySummary(lateness)
    outcome.withLock { $0 = result }
  }

  private func rate(at nanoseconds: Int64) -> Double {
    profile.steps[timeline.step(at: nanoseconds) ?? 0].ratePerSecond
  }

  /// Sleeps, never spins: the machine's other cores belong to the system under test. A stop
  /// request is seen within a tenth of a second.
  private func wait(until due: Int64, _ thread: OwnerThread) -> Int64 {
    var now = MonotonicClock.nanoseconds()
    while now < due && !thread.isStopRequested {
      let gap = min(due - now, 100_000_000)
      var time = timespec(tv_sec: 0, tv_nsec: Int(gap))
      nanosleep(&time, nil)
      now = MonotonicClock.nanoseconds()
    }
    return now
  }
}
