// Hot: no allocation, existential, String, await or Foundation per run in the steady state.
internal import Events
internal import Families
internal import Model
internal import ModelStore
internal import RPC
internal import Serving
internal import Telemetry
internal import UpdateLog

/// One arm of one model on one event loop: the rows that its requests of this run have, their scores, and the parts of answers that are the
/// same for all of them. A model from a bundle has one lane, which scores by a scorer of its own instead of an arm's replicas.
final class ModelLane {
  /// Runs that find the shards in different epochs are tried again this often.
  private static let triesMax = 4

  let model: ServedModel
  /// Nil for a model from a bundle.
  let arm: Arm?
  let rows: RowBatch
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
  private let reader: ScoreReader?
  @exclusivity(unchecked) private var scoreCapacity = 256
  /// Of a model from a bundle.
  let loaded: LoadedVersion?
  let outputs: ModelOutputs?
  private let scorer: Scorer?
  /// What a row has cost lately; 0 for models whose rows cost next to nothing.
  @exclusivity(unchecked) private(set) var nanosecondsPerRow: Int64 = 0

  init(model: ServedModel, arm: Arm) {
    self.model = model
    self.arm = arm
    loaded = nil
    outputs = nil
    scorer = nil
    rows = RowBatch()
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

  init(model: ServedModel, loaded: LoadedVersion) {
    self.model = model
    self.loaded = loaded
    arm = nil
    reader = nil
    shards = 0
    rows = RowBatch(for: loaded.specification)
    let scorer = loaded.takeScorer()
    self.scorer = scorer
    outputs = ModelOutputs(loaded.model.outputs)
    scores = .allocate(capacity: 1)
    positions = .allocate(capacity: 1)
    names.appendField(1, text: model.name)
    names.appendField(2, text: model.version)
  }

  deinit {
    if let loaded, let scorer { loaded.giveBack(scorer) }
    scores.deallocate()
    positions.deallocate()
  }

  /// The first request of a run asks.
  func begin() {
    isReady = arm?.isReady() ?? true
    isScored = false
    statistics = InferenceStatistics.Run()
  }

  /// Scores the rows and prepares what is the same in all answers. `now`: monotonic, nanoseconds.
  func score(now: Int64) {
    guard rows.rowCount > 0 else { return }
    guard let arm, let reader else { return scoreLoaded() }
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

  private func scoreLoaded() {
    guard let scorer, let loaded else { return }
    let began = MonotonicClock.nanoseconds()
    scorer.reserve(rows: rows.rowCount)
    scorer.score(rows)
    isScored = true
    let cost = (MonotonicClock.nanoseconds() &- began) / Int64(rows.rowCount)
    nanosecondsPerRow = nanosecondsPerRow == 0 ? cost : (nanosecondsPerRow &* 7 &+ cost) / 8
    loaded.recent.offer(rows)
  }

  /// Appends the outputs asked for, of a model from a bundle.
  @inline(__always)
  func append(_ outputs: ModelOutputs, mask: UInt64, first: Int, rows: Int, to output: OutputBuffer) {
    guard let scorer else { return }
    outputs.appendTensors(scorer.outputs, mask: mask, first: first, rows: rows, to: output)
  }

  func removeAll() {
    rows.removeAll()
    requestCount = 0
  }

  /// Of the arm, for messages.
  var armName: String { arm?.name ?? "" }

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
