internal import CKernels

/// A forest packed for scoring. Immutable: any thread scores with it, each with a scratch of its own.
public final class PackedForest: @unchecked Sendable {
  /// How rows are scored. Raw values of mr_trees.h. Tests ask for each; `best` is what models take.
  public struct Ways: OptionSet, Sendable {
    public let rawValue: Int32
    public init(rawValue: Int32) { self.rawValue = rawValue }
    public static let plain = Ways(rawValue: Int32(MR_FOREST_PLAIN))
    public static let sliced = Ways(rawValue: Int32(MR_FOREST_SLICED))
    public static let doubling = Ways(rawValue: Int32(MR_FOREST_DOUBLING))
    public static let walk = Ways(rawValue: Int32(MR_FOREST_WALK))
    public static let best: Ways = []
  }

  public let featureCount: Int
  public let outputCount: Int
  public let treeCount: Int
  public let link: TreeEnsemble.Link
  let summation: TreeEnsemble.Summation
  let handle: OpaquePointer
  private let base: UnsafeMutablePointer<Double>
  private let answer: UnsafeMutablePointer<mr_forest_answer>

  /// - Throws: the first thing that is wrong with its structure.
  public convenience init(_ ensemble: TreeEnsemble, ways: Ways = .best) throws(TreeError) {
    if let problem = ensemble.problems().first { throw TreeError(place: "forest", reason: problem) }
    try self.init(ForestStorage(ensemble), settings: ForestSettings(ensemble), ways: ways)
  }

  init(_ storage: ForestStorage, settings: ForestSettings, ways: Ways = .best) throws(TreeError) {
    var source = storage.source(settings)
    var problem = mr_forest_problem()
    guard let handle = mr_forest_create(&source, ways.rawValue, &problem) else {
      var place = "forest"
      if problem.node >= 0 { place = "node \(problem.node)" }
      if problem.tree >= 0 { place = problem.node >= 0 ? "tree \(problem.tree), node \(problem.node)" : "tree \(problem.tree)" }
      throw TreeError(place: place, reason: problem.reason.map { String(cString: $0) } ?? "refused")
    }
    self.handle = handle
    featureCount = settings.featureCount
    outputCount = settings.outputCount
    treeCount = storage.trees.count
    link = settings.link
    summation = settings.summation
    base = .allocate(capacity: max(1, settings.outputCount))
    base.initialize(from: settings.baseScores, count: settings.outputCount)
    answer = .allocate(capacity: 1)
    answer.initialize(
      to: mr_forest_answer(link: Int32(settings.link.rawValue), scale: settings.linkScale, divisor: settings.divisor, base: UnsafePointer(base)))
  }

  deinit {
    mr_forest_destroy(handle)
    base.deallocate()
    answer.deallocate()
  }

  /// The ways that it is packed for.
  public var ways: Ways { Ways(rawValue: mr_forest_ways(handle)) }
  /// Memory that it holds.
  public var byteCount: Int { mr_forest_bytes(handle) }
  /// Numbers that it answers for each row.
  public var answerCount: Int { link == .argmax ? 1 : outputCount }
  public var accumulatorWidth: Int { Int(mr_forest_accumulator_width(handle)) }

  /// What one thread needs to score with one forest: buffers that grow and stay.
  public final class Scratch {
    fileprivate let forest: PackedForest
    fileprivate let handle: OpaquePointer
    @exclusivity(unchecked) fileprivate var sums: UnsafeMutableRawPointer
    @exclusivity(unchecked) fileprivate var rowCapacity: Int
    fileprivate let values: UnsafeMutablePointer<Double>

    /// - Throws: when memory is out.
    public init(_ forest: PackedForest, rowsMax: Int) throws(TreeError) {
      guard let handle = mr_forest_scratch_create(forest.handle) else { throw TreeError(place: "scratch", reason: "memory is out") }
      self.forest = forest
      self.handle = handle
      rowCapacity = max(1, rowsMax)
      sums = .allocate(byteCount: rowCapacity * forest.outputCount * 8, alignment: 64)
      values = .allocate(capacity: max(1, forest.outputCount))
    }

    deinit {
      mr_forest_scratch_destroy(handle)
      sums.deallocate()
      values.deallocate()
    }

    public func reserve(rows: Int) {
      guard rows > rowCapacity else { return }
      rowCapacity = max(rows, rowCapacity * 2)
      sums.deallocate()
      sums = .allocate(byteCount: rowCapacity * forest.outputCount * 8, alignment: 64)
    }
  }

  /// What rows and answers are made of.
  public enum Element: Int32, Sendable {
    case float = 1
    case double = 2
  }

  /// Answers for `count` rows: of `featureCount` floats or doubles each, `stride` bytes apart, of any alignment. `answers`: room for
  /// [count, answerCount].
  public func score(
    _ rows: UnsafeRawPointer, stride: Int, of element: Element, count: Int, into answers: UnsafeMutableRawPointer, of answerElement: Element,
    scratch: Scratch
  ) {
    assert(scratch.forest === self)
    scratch.reserve(rows: count)
    mr_forest_begin(handle, answer, Int64(count), scratch.sums)
    mr_forest_add(handle, scratch.handle, rows, stride, element.rawValue, Int64(count), 0, Int64(treeCount), scratch.sums)
    mr_forest_finish(handle, answer, scratch.sums, Int64(count), scratch.values, answerElement.rawValue, answers)
  }

  /// Adds what `trees` contribute to accumulators ([count, accumulatorWidth]); the first trees bring the base, where it comes first.
  func partial(
    _ rows: UnsafeRawPointer, stride: Int, of element: Element, count: Int, trees: Range<Int>, isFirst: Bool,
    into accumulators: UnsafeMutablePointer<Float>, scratch: Scratch
  ) {
    scratch.reserve(rows: count)
    mr_forest_begin(handle, isFirst ? answer : nil, Int64(count), scratch.sums)
    mr_forest_add(
      handle, scratch.handle, rows, stride, element.rawValue, Int64(count), Int64(trees.lowerBound), Int64(trees.upperBound), scratch.sums)
    mr_forest_accumulate(handle, scratch.sums, Int64(count), accumulators)
  }

  func finish(_ accumulators: UnsafePointer<Float>, count: Int, into answers: UnsafeMutableRawPointer, of answerElement: Element, scratch: Scratch) {
    scratch.reserve(rows: count)
    mr_forest_gather(handle, accumulators, Int64(count), scratch.sums)
    mr_forest_finish(handle, answer, scratch.sums, Int64(count), scratch.values, answerElement.rawValue, answers)
  }
}
