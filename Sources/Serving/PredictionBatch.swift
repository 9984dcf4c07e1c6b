// Hot: no allocation, existential, String, await or Foundation per event in the steady state.
public import Events
public import Model
import UpdateLog

/// The events of one poll, from bytes to predictions: decoded into rows, scored once by each arm, and
/// encoded one by one. Knows nothing of Kafka; owned by one thread and reused.
public final class PredictionBatch {
  /// One record of the features topic, as taken.
  public struct Item {
    public var partition: Int32
    public var offset: Int64
    public var form: EventForm
    /// Rows of this item in the batch; zero rows for a record that could not be decoded.
    var firstRow: Int32
    var rowCount: Int32
    var idStart: Int32
    var idLength: Int32
    /// Index into `problems`, or -1 when the record was decoded.
    var problem: Int32
  }

  public let arms: [Arm]
  /// What the predictions of each arm carry: the names of `arms`, or the one of a model from a bundle.
  public let armNames: [String]
  public private(set) var items: [Item] = []
  /// Problems of this batch's bad records, in the order they came.
  public private(set) var problems: [EventProblem] = []
  /// Features that the specification does not name, seen since the batch was emptied.
  public private(set) var unknownFeatures = 0

  private let decoder: EventDecoder?
  private let rows: RowBatch
  /// Of a model from bundles: the version that this batch is answered by.
  private let bundles: BundleSource?
  private var loaded: LoadedStream?
  private let ids = OutputBuffer()
  private let output = OutputBuffer()
  private let encoders: [PredictionEncoder]
  private let readers: [ScoreReader]
  private let shards: Int
  /// Scores of each arm, arm-major: `scores[arm * capacity + row]`.
  private var scores: UnsafeMutablePointer<Float>
  private var scoreCapacity: Int
  /// Position of each arm and shard, read before the first row.
  private let positions: UnsafeMutablePointer<Int64>
  private var labelsThrough: [Int64]
  private let limits: EventLimits
  private var seenGeneration = -1

  public init(specification: ModelSpecification, arms: [Arm], limits: EventLimits = EventLimits()) {
    precondition(!arms.isEmpty, "a model answers through at least one arm")
    self.arms = arms
    armNames = arms.map(\.name)
    bundles = nil
    rows = RowBatch()
    decoder = EventDecoder(specification: specification, limits: limits)
    encoders = arms.map {
      PredictionEncoder(model: specification.name, version: specification.version, arm: $0.name)
    }
    readers = arms.map { $0.set.scoreReader() }
    shards = specification.shards
    scoreCapacity = 1024
    scores = .allocate(capacity: scoreCapacity * arms.count)
    positions = .allocate(capacity: shards * arms.count)
    positions.initialize(repeating: 0, count: shards * arms.count)
    labelsThrough = Array(repeating: Int64.min, count: arms.count)
    self.limits = limits
  }

  /// For a model from bundles. Each batch is answered by the version that was current when it was emptied.
  public init(bundles: BundleSource, limits: EventLimits = EventLimits()) {
    self.bundles = bundles
    arms = []
    armNames = [BundleSource.armName]
    decoder = nil
    rows = RowBatch(rowCapacity: 1, entryCapacity: 1)
    encoders = []
    readers = []
    shards = 0
    scoreCapacity = 1
    scores = .allocate(capacity: 1)
    positions = .allocate(capacity: 1)
    labelsThrough = []
    loaded = bundles.current().map { LoadedStream($0, limits: limits) }
    self.limits = limits
  }

  deinit {
    scores.deallocate()
    positions.deallocate()
  }

  public var rowCount: Int { loaded?.rows.rowCount ?? rows.rowCount }

  /// False while a model from bundles has no version.
  public var isAnswerable: Bool { bundles == nil || loaded != nil }

  public func removeAll() {
    refresh()
    loaded?.rows.removeAll()
    items.removeAll(keepingCapacity: true)
    if !problems.isEmpty { problems.removeAll(keepingCapacity: true) }
    rows.removeAll()
    ids.removeAll()
    unknownFeatures = 0
  }

  /// Of an empty batch: takes the version that is current now.
  public func refresh() {
    guard let bundles else { return }
    let generation = bundles.generation()
    guard generation != seenGeneration || loaded == nil else { return }
    seenGeneration = generation
    let current = bundles.current()
    if let current, loaded?.version === current { return }
    loaded = current.map { LoadedStream($0, limits: limits) }
  }

  /// Takes one record. A record that cannot be decoded becomes an item with a problem: it is answered
  /// by an error stub and belongs on the dead-letter topic.
  /// - Returns: whether the record was decoded.
  @discardableResult
  public func add(
    partition: Int32, offset: Int64, value: UnsafeRawBufferPointer, contentType: UnsafeRawBufferPointer?
  ) -> Bool {
    let rows = loaded?.rows ?? self.rows
    guard let decoder = loaded?.decoder ?? self.decoder else { preconditionFailure("a batch without a version of its model") }
    let firstRow = Int32(truncatingIfNeeded: rows.rowCount)
    let event = decoder.decode(value, contentType: contentType, into: rows)
    var item = Item(
      partition: partition, offset: offset, form: event.form, firstRow: firstRow, rowCount: 0,
      idStart: 0, idLength: 0, problem: -1)
    if event.ok {
      item.rowCount = Int32(truncatingIfNeeded: event.rowCount)
      item.idStart = Int32(truncatingIfNeeded: ids.count)
      item.idLength = Int32(truncatingIfNeeded: event.id.count)
      ids.append(event.id)
      unknownFeatures &+= event.unknownFeatures
    } else {
      item.problem = Int32(truncatingIfNeeded: problems.count)
      problems.append(decoder.problem())
    }
    items.append(item)
    return event.ok
  }

  /// Scores all rows by every arm.
  /// - Returns: false when an arm's shards stand in different epochs just now (a reset is going through
  ///   them): nothing of this batch may be used, try again in a moment.
  public func score() -> Bool {
    if let loaded {
      loaded.score()
      return true
    }
    if rows.rowCount > scoreCapacity {
      scores.deallocate()
      scoreCapacity = max(rows.rowCount, scoreCapacity * 2)
      scores = .allocate(capacity: scoreCapacity * arms.count)
    }
    guard rows.rowCount > 0 else { return true }
    for arm in arms.indices {
      guard
        let through = readers[arm].score(
          rows, into: scores + arm * scoreCapacity, position: positions + arm * shards)
      else { return false }
      labelsThrough[arm] = through
    }
    return true
  }

  /// The problem of an item, or nil when it was decoded.
  public func problem(of item: Item) -> EventProblem? {
    item.problem < 0 ? nil : problems[Int(item.problem)]
  }

  /// The scores of an item by one arm, one for each of its rows. Valid until the batch is emptied.
  public func scores(of item: Item, arm: Int) -> UnsafeBufferPointer<Float> {
    UnsafeBufferPointer(
      start: scores + arm * scoreCapacity + Int(item.firstRow), count: Int(item.rowCount))
  }

  /// The prediction, or error stub, of an item by one arm, in the form that its event came in.
  /// Valid until the next call.
  public func encode(_ item: Item, arm: Int) -> UnsafeRawBufferPointer {
    output.removeAll()
    if let loaded, item.problem < 0 {
      let id = UnsafeRawBufferPointer(rebasing: ids.bytes[Int(item.idStart)..<Int(item.idStart) + Int(item.idLength)])
      loaded.encode(
        form: item.form, id: id, from: item.offset, to: item.offset &+ 1, first: Int(item.firstRow), rows: Int(item.rowCount), into: output)
      return output.bytes
    }
    let encoder = loaded?.encoder ?? encoders[arm]
    if item.problem >= 0 {
      encoder.error(
        form: item.form, from: item.offset, to: item.offset &+ 1, problems[Int(item.problem)], into: output)
    } else {
      let id = UnsafeRawBufferPointer(
        rebasing: ids.bytes[Int(item.idStart)..<Int(item.idStart) + Int(item.idLength)])
      encoder.score(
        form: item.form, id: id, from: item.offset, to: item.offset &+ 1,
        scores: scores(of: item, arm: arm),
        position: UnsafeBufferPointer(start: positions + arm * shards, count: shards),
        labelsThrough: labelsThrough[arm], into: output)
    }
    return output.bytes
  }

  /// A record that covers source offsets without events. Valid until the next call.
  public func encodeGap(from: Int64, to: Int64, arm: Int) -> UnsafeRawBufferPointer {
    output.removeAll()
    (loaded?.encoder ?? encoders[arm]).gap(form: .json, from: from, to: to, reason: "missing", into: output)
    return output.bytes
  }
}
