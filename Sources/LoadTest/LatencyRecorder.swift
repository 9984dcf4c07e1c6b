// Hot: `record`. No allocation per event.
internal import Histogram

/// Latencies of one receiver thread, by step and over time; recorders of several threads are
/// merged afterwards. A latency runs from the time that the event was due.
public final class LatencyRecorder: @unchecked Sendable {
  /// Anything slower counts as this.
  static let nanosecondsMax: UInt64 = 3_600_000_000_000

  struct Slice {
    var completed = 0
    var latencies = Histogram<UInt64>(
      lowestDiscernibleValue: 1_024, highestTrackableValue: LatencyRecorder.nanosecondsMax,
      numberOfSignificantValueDigits: .two)
  }

  let timeline: Timeline
  @exclusivity(unchecked) private(set) var steps: [Histogram<UInt64>]
  /// Answers to events that were due in the step, whenever they came.
  @exclusivity(unchecked) private(set) var answered: [Int]
  /// Answers that came within the step's time: what was achieved.
  @exclusivity(unchecked) private(set) var completed: [Int]
  @exclusivity(unchecked) private(set) var slices: [Slice]

  public init(_ timeline: Timeline) {
    self.timeline = timeline
    steps = (0..<timeline.stepCount).map { _ in
      Histogram<UInt64>(
        lowestDiscernibleValue: 64, highestTrackableValue: Self.nanosecondsMax, numberOfSignificantValueDigits: .three)
    }
    answered = Array(repeating: 0, count: timeline.stepCount)
    completed = Array(repeating: 0, count: timeline.stepCount)
    slices = (0..<timeline.sliceCount).map { _ in Slice() }
  }

  /// An event that was due at `intended` has its answer at `now`.
  public func record(intendedNanoseconds intended: Int64, nowNanoseconds now: Int64) {
    if let step = timeline.step(at: now) { completed[step] += 1 }
    if let slice = timeline.slice(at: now) { slices[slice].completed += 1 }
    guard let step = timeline.step(at: intended) else { return }
    let latency = min(UInt64(max(0, now - intended)), Self.nanosecondsMax - 1)
    answered[step] += 1
    steps[step].record(latency)
    if let slice = timeline.slice(at: intended) { slices[slice].latencies.record(latency) }
  }

  /// Adds what another thread recorded on the same timeline.
  public func merge(_ other: LatencyRecorder) {
    precondition(other.timeline.stepCount == timeline.stepCount && other.timeline.sliceCount == timeline.sliceCount)
    for step in steps.indices {
      steps[step].add(other.steps[step])
      answered[step] += other.answered[step]
      completed[step] += other.completed[step]
    }
    for slice in slices.indices {
      slices[slice].completed += other.slices[slice].completed
      slices[slice].latencies.add(other.slices[slice].latencies)
    }
  }
}
