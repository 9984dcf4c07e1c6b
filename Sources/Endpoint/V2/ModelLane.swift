// Hot: no allocation, existential, String, await or Foundation per run in the steady state.
internal import Events
internal import Model
internal import RPC
internal import Serving
internal import Telemetry
internal import UpdateLog

/// One arm of one model on one event loop: the rows that its requests of this run have, their scores, and the parts of answers that are the
/// same for all of them.
final class ModelLane {
  /// Runs that find the shards in different epochs are tried again this often.
  private static let triesMax = 4

  let model: ServedModel
  let arm: Arm
  let rows = RowBatch()
  /// Requests of this run.
  @exclusivity(unchecked) var requestCount = 0
  /// Whether the arm answers; asked once for each run.
  @exclusivity(unchecked) private(set) var isReady = false
  @exclusivity(unchecked) private(set) var isScored = false
  /// One for each row, after `score`.
  @exclusivity(unchecked) private(set) var scores: UnsafeMutablePointer<Float>
  /// The next offset of each shard's update log, read before the first row.
  let positions: UnsafeMutablePointer<Int64>
  let shards: Int
  /// How long ago the arm heard last of its log; -1: it never did.
  @exclusivity(unchecked) private(set) var stalenessMilliseconds: Int64 = -1
  @exclusivity(unchecked) var statistics = InferenceStatistics.Run()

  /// Fields 1 and 2 of the response.
  let names = OutputBuffer(capacity: 64)
  /// The parameter `arm`.
  let armParameter = OutputBuffer(capacity: 64)
  /// Parameters of this run's answers: position, staleness, labels through.
  let parameters = OutputBuffer(capacity: 256)
  private let digits = OutputBuffer(capacity: 256)
  private let reader: ScoreReader
  @exclusivity(unchecked) private var scoreCapacity = 256

  init(model: ServedModel, arm: Arm) {
    self.model = model
    self.arm = arm
    reader = arm.set.scoreReader()
    shards = arm.set.shards.count
    scores = .allocate(capacity: scoreCapacity)
    positions = .allocate(capacity: shards)
    positions.initialize(repeating: 0, count: shards)
    names.appendField(1, text: model.name)
    names.appendField(2, text: model.version)
    let starts = Self.beginParameter("arm", armParameter)
    armParameter.appendField(3, text: arm.name)
    Self.endParameter(starts, armParameter)
  }

  deinit {
    scores.deallocate()
    positions.deallocate()
  }

  /// The first request of a run asks.
  func begin() {
    isReady = arm.isReady()
    isScored = false
    statistics = InferenceStatistics.Run()
  }

  /// Scores the rows and prepares what is the same in all answers. `now`: monotonic, nanoseconds.
  func score(now: Int64) {
    guard rows.rowCount > 0 else { return }
    if rows.rowCount > scoreCapacity {
      scores.deallocate()
      scoreCapacity = max(rows.rowCount, scoreCapacity * 2)
      scores = .allocate(capacity: scoreCapacity)
    }
    var through: Int64?
    for _ in 0..<Self.triesMax {
      through = reader.score(rows, into: scores, position: positions)
      if through != nil { break }
    }
    guard let through else { return }
    isScored = true
    let news = arm.set.newsNanoseconds
    stalenessMilliseconds = news == 0 ? -1 : max(0, now - news) / 1_000_000
    writeParameters(labelsThrough: through)
  }

  func removeAll() {
    rows.removeAll()
    requestCount = 0
  }

  /// "12,7": the position in words of the protocol.
  var positionText: String { (0..<shards).map { String(positions[$0]) }.joined(separator: ",") }

  private func writeParameters(labelsThrough: Int64) {
    digits.removeAll()
    for shard in 0..<shards {
      if shard > 0 { digits.append(byte: UInt8(ascii: ",")) }
      digits.appendDecimal(positions[shard])
    }
    parameters.removeAll()
    let starts = Self.beginParameter("position", parameters)
    parameters.appendField(3, bytes: digits.bytes)
    Self.endParameter(starts, parameters)
    if stalenessMilliseconds >= 0 { appendParameter("staleness_ms", stalenessMilliseconds) }
    if labelsThrough != .min { appendParameter("labels_through", labelsThrough) }
  }

  private func appendParameter(_ name: StaticString, _ value: Int64) {
    let starts = Self.beginParameter(name, parameters)
    parameters.appendField(2, int64: value)
    Self.endParameter(starts, parameters)
  }

  private static func beginParameter(_ name: StaticString, _ output: OutputBuffer) -> (entry: Int, value: Int) {
    let entry = output.beginMessage(4)
    output.appendField(1, text: name)
    return (entry, output.beginMessage(2))
  }

  private static func endParameter(_ starts: (entry: Int, value: Int), _ output: OutputBuffer) {
    output.endMessage(starts.value)
    output.endMessage(starts.entry)
  }
}
