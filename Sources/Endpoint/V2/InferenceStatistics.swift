// Hot: a handful of relaxed atomic additions for each run of a model, not for each request.
internal import Synchronization
public import Telemetry

/// What is counted about one served model: the figures of the protocol's statistics extension, and the metrics that its users'
/// dashboards know. Any thread.
///
/// Requests that arrive in one read are scored in one run, and the clock is read a few times for each run: a request's share of decoding
/// is the run's divided by its requests, its wait in the queue is taken to be half of the gathering, and its scoring and encoding
/// last as long as its run's.
public final class InferenceStatistics: Sendable {
  /// How often, and how long in all.
  public struct Durations: Sendable, Equatable {
    public var count = 0
    public var nanoseconds = 0
  }

  /// Runs of one size in rows. Sizes above 32 are rounded up to a power of two.
  public struct Batch: Sendable, Equatable {
    public var size: Int
    public var computeInput: Durations
    public var computeInfer: Durations
    public var computeOutput: Durations
  }

  public struct Snapshot: Sendable, Equatable {
    /// Milliseconds since 1970 of the last run; 0: none yet.
    public var lastInferenceMilliseconds: Int64 = 0
    /// Rows scored.
    public var inferenceCount = 0
    /// Runs.
    public var executionCount = 0
    /// Requests.
    public var success = Durations()
    public var fail = Durations()
    public var queue = Durations()
    public var computeInput = Durations()
    public var computeInfer = Durations()
    public var computeOutput = Durations()
    /// Sizes that occurred, ascending.
    public var batches: [Batch] = []
  }

  /// Why a request was not answered with a score; the label of the failure metric.
  public enum Failure: Int, Sendable, CaseIterable {
    case invalid, notReady, tooStale, deadline, cancelled, rejected, other

    public var label: String {
      switch self {
      case .invalid: "INVALID"
      case .notReady: "NOT_READY"
      case .tooStale: "TOO_STALE"
      case .deadline: "DEADLINE"
      case .cancelled: "CANCELED"
      case .rejected: "REJECTED"
      case .other: "OTHER"
      }
    }
  }

  /// One run of a model: times in nanoseconds.
  struct Run {
    var requests = 0
    var rows = 0
    var gatherNanoseconds: Int64 = 0
    var inferNanoseconds: Int64 = 0
    var outputNanoseconds: Int64 = 0
  }

  private final class Total: Sendable {
    let count = Atomic<Int>(0)
    let nanoseconds = Atomic<Int>(0)

    func add(_ count: Int, _ nanoseconds: Int64) {
      self.count.wrappingAdd(count, ordering: .relaxed)
      self.nanoseconds.wrappingAdd(Int(nanoseconds), ordering: .relaxed)
    }

    var value: Durations { Durations(count: count.load(ordering: .relaxed), nanoseconds: nanoseconds.load(ordering: .relaxed)) }
  }

  private final class Size: Sendable {
    let input = Total(), infer = Total(), output = Total()
  }

  private static let exactSizes = 32
  private static let sizeCount = exactSizes + 12

  private let last = Atomic<Int64>(0)
  private let executions = Atomic<Int>(0)
  private let success = Total(), fail = Total(), queue = Total(), input = Total(), infer = Total(), output = Total()
  private let sizes: [Size]
  private let successes: Counter
  private let failures: [Counter]
  private let rows: Counter
  private let runs: Counter
  private let requestDuration: LatencyHistogram
  private let queueDuration: LatencyHistogram
  private let inputDuration: LatencyHistogram
  private let inferDuration: LatencyHistogram
  private let outputDuration: LatencyHistogram

  public init(model: String, version: String, registry: Registry) {
    let labels = [("model", model), ("version", version)]
    sizes = (0..<Self.sizeCount).map { _ in Size() }
    successes = registry.counter("nv_inference_request_success", "Requests answered with scores.", labels: labels)
    failures = Failure.allCases.map {
      registry.counter(
        "nv_inference_request_failure", "Requests answered with an error, by reason.", labels: labels + [("reason", $0.label)])
    }
    rows = registry.counter("nv_inference_count", "Rows scored.", labels: labels)
    runs = registry.counter("nv_inference_exec_count", "Runs: one scores the requests of one read together.", labels: labels)
    func duration(_ name: String, _ help: String) -> LatencyHistogram { registry.microseconds(name, help, labels: labels) }
    requestDuration = duration("nv_inference_request_duration_us", "A request from its bytes to its answer's, in microseconds.")
    queueDuration = duration("nv_inference_queue_duration_us", "A request's wait for the run it is scored in, in microseconds.")
    inputDuration = duration("nv_inference_compute_input_duration_us", "Decoding a request into rows, in microseconds.")
    inferDuration = duration("nv_inference_compute_infer_duration_us", "Scoring the run of a request, in microseconds.")
    outputDuration = duration("nv_inference_compute_output_duration_us", "Writing the answers of a run, in microseconds.")
  }

  /// Everything counted so far.
  public func snapshot() -> Snapshot {
    var snapshot = Snapshot(
      lastInferenceMilliseconds: last.load(ordering: .relaxed), inferenceCount: rows.value,
      executionCount: executions.load(ordering: .relaxed), success: success.value, fail: fail.value, queue: queue.value,
      computeInput: input.value, computeInfer: infer.value, computeOutput: output.value)
    for (index, size) in sizes.enumerated() where size.infer.count.load(ordering: .relaxed) > 0 {
      snapshot.batches.append(
        Batch(size: Self.size(at: index), computeInput: size.input.value, computeInfer: size.infer.value, computeOutput: size.output.value))
    }
    return snapshot
  }

  /// Requests that ended without a score, by reason.
  public func failures(_ reason: Failure) -> Int { failures[reason.rawValue].value }

  // MARK: Counting

  /// A run that was answered. `nowMilliseconds`: wall clock.
  func add(_ run: Run, nowMilliseconds: Int64) {
    guard run.requests > 0 else { return }
    let n = Int64(run.requests)
    let share = run.gatherNanoseconds / n
    let wait = run.gatherNanoseconds / 2
    let whole = wait &+ share &+ run.inferNanoseconds &+ run.outputNanoseconds
    last.store(nowMilliseconds, ordering: .relaxed)
    executions.wrappingAdd(1, ordering: .relaxed)
    success.add(run.requests, whole &* n)
    queue.add(run.requests, wait &* n)
    input.add(run.requests, run.gatherNanoseconds)
    infer.add(run.requests, run.inferNanoseconds &* n)
    output.add(run.requests, run.outputNanoseconds &* n)
    let size = sizes[Self.index(ofSize: run.rows)]
    size.input.add(1, run.gatherNanoseconds)
    size.infer.add(1, run.inferNanoseconds)
    size.output.add(1, run.outputNanoseconds)
    successes.add(run.requests)
    rows.add(run.rows)
    runs.add()
    requestDuration.record(nanoseconds: whole, count: run.requests)
    queueDuration.record(nanoseconds: wait, count: run.requests)
    inputDuration.record(nanoseconds: share, count: run.requests)
    inferDuration.record(nanoseconds: run.inferNanoseconds, count: run.requests)
    outputDuration.record(nanoseconds: run.outputNanoseconds, count: run.requests)
  }

  /// A request that was answered with an error.
  func fail(_ reason: Failure, nanoseconds: Int64) {
    fail.add(1, nanoseconds)
    failures[reason.rawValue].add()
  }

  private static func index(ofSize rows: Int) -> Int {
    if rows <= exactSizes { return max(0, rows - 1) }
    // 33...64, 65...128, …
    let power = Int.bitWidth - (rows - 1).leadingZeroBitCount
    return min(sizeCount - 1, exactSizes + power - 6)
  }

  private static func size(at index: Int) -> Int { index < exactSizes ? index + 1 : 64 << (index - exactSizes) }
}
