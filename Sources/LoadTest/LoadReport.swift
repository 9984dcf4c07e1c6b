internal import Histogram

/// The result of a run. Its JSON holds the figures; the text and the page show them.
public struct LoadReport: Sendable, Equatable, Codable {
  /// One rate and what came of it.
  public struct Step: Sendable, Equatable, Codable {
    /// What the profile asked for.
    public var targetPerSecond: Double
    /// What was due in the step.
    public var offeredPerSecond: Double
    /// Answers that came within the step's time.
    public var achievedPerSecond: Double
    public var seconds: Double
    public var events: Int
    /// Events due in the step that were refused, failed or not answered.
    public var errors: Int
    public var latency: LatencySummary
    /// The percentile curve: percentile (0 to 100) and milliseconds.
    public var curve: [CurvePoint]

    enum CodingKeys: String, CodingKey {
      case targetPerSecond = "target_per_second"
      case offeredPerSecond = "offered_per_second"
      case achievedPerSecond = "achieved_per_second"
      case seconds, events, errors
      case latency = "latency_ms"
      case curve
    }
  }

  public struct CurvePoint: Sendable, Equatable, Codable {
    public var percentile: Double
    public var milliseconds: Double
  }

  /// One slice of the run over time, at its beginning (seconds since the warm-up ended).
  public struct Slice: Sendable, Equatable, Codable {
    public var second: Double
    public var offeredPerSecond: Double
    public var achievedPerSecond: Double
    public var latency: LatencySummary

    enum CodingKeys: String, CodingKey {
      case second
      case offeredPerSecond = "offered_per_second"
      case achievedPerSecond = "achieved_per_second"
      case latency = "latency_ms"
    }
  }

  public struct Detail: Sendable, Equatable, Codable {
    public var name: String
    public var value: String

    public init(name: String, value: String) {
      self.name = name
      self.value = value
    }
  }

  /// What was tested, for a heading.
  public var title: String
  /// What a latency runs from and to.
  public var measured: String
  public var details: [Detail]
  /// Over all steps together.
  public var offeredPerSecond: Double
  public var achievedPerSecond: Double
  public var events: Int
  public var errors: Int
  /// Reasons of errors with their counts, for the reader; a reason can lie outside the steps.
  public var errorReasons: [String: Int]
  public var latency: LatencySummary
  /// How late the generator itself was (ms).
  public var generatorLateness: LatencySummary
  public var steps: [Step]
  public var slices: [Slice]
  /// Which side was the limit; nil when it was not watched.
  public var limit: LoadLimit?
  /// Each event was asked for when an earlier one had been answered: figures of throughput, whose latencies hide stalls.
  public var isClosedLoop = false

  enum CodingKeys: String, CodingKey {
    case title, measured, details, events, errors, steps, slices, limit
    case isClosedLoop = "closed_loop"
    case offeredPerSecond = "offered_per_second"
    case achievedPerSecond = "achieved_per_second"
    case errorReasons = "error_reasons"
    case latency = "latency_ms"
    case generatorLateness = "generator_lateness_ms"
  }

  public init(
    title: String, measured: String, details: [(String, String)], profile: LoadProfile,
    outcome: OpenLoopDriver.Outcome, recorder: LatencyRecorder, errorReasons: [String: Int] = [:]
  ) {
    self.title = title
    self.measured = measured
    self.details = details.map { Detail(name: $0.0, value: $0.1) }
    self.errorReasons = errorReasons
    generatorLateness = outcome.lateness
    var all = Histogram<UInt64>(
      lowestDiscernibleValue: 64, highestTrackableValue: LatencyRecorder.nanosecondsMax, numberOfSignificantValueDigits: .three)
    steps = profile.steps.indices.map { index in
      let step = profile.steps[index]
      let histogram = recorder.steps[index]
      all.add(histogram)
      return Step(
        targetPerSecond: step.ratePerSecond, offeredPerSecond: Double(outcome.offered[index]) / step.seconds,
        achievedPerSecond: Double(recorder.completed[index]) / step.seconds, seconds: step.seconds,
        events: outcome.offered[index], errors: max(0, outcome.offered[index] - recorder.answered[index]),
        latency: LatencySummary(histogram), curve: Self.curve(histogram))
    }
    latency = LatencySummary(all)
    events = steps.reduce(0) { $0 + $1.events }
    errors = steps.reduce(0) { $0 + $1.errors }
    let seconds = profile.steps.reduce(0) { $0 + $1.seconds }
    offeredPerSecond = Double(events) / seconds
    achievedPerSecond = Double(recorder.completed.reduce(0, +)) / seconds
    let timeline = recorder.timeline
    slices = recorder.slices.indices.map { index in
      let from = Int64(index) * timeline.sliceNanoseconds
      let length = min(timeline.sliceNanoseconds, timeline.endNanoseconds - timeline.measuredFromNanoseconds - from)
      let sliceSeconds = Double(length) / 1e9
      return Slice(
        second: Double(from) / 1e9, offeredPerSecond: Double(outcome.offeredBySlice[index]) / sliceSeconds,
        achievedPerSecond: Double(recorder.slices[index].completed) / sliceSeconds,
        latency: LatencySummary(recorder.slices[index].latencies))
    }
  }

  /// Denser towards the tail, down to one event.
  private static func curve(_ histogram: Histogram<UInt64>) -> [CurvePoint] {
    guard histogram.totalCount > 0 else { return [] }
    var points: [CurvePoint] = []
    var remaining = 1.0
    let smallest = 1 / Double(histogram.totalCount)
    while remaining >= smallest {
      let percentile = 100 * (1 - remaining)
      points.append(
        CurvePoint(percentile: percentile, milliseconds: Double(histogram.valueAtPercentile(percentile)) / 1e6))
      remaining *= 0.7943282347242815  // ten points for each further nine
    }
    return points
  }
}
