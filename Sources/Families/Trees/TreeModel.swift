public import Bundles
public import Model

/// A forest that is served. One input: a row of `featureCount` floats, or of doubles, which are then compared as doubles. Shard s owns a
/// contiguous range of trees.
///
/// Accumulators: a float for each output when trees are summed in float; else two, the double cut so that adds of first parts are exact
/// (`mr_forest_accumulate`). Sums over several shards of a forest summed in float are those of the shards, added in their order.
public final class TreeModel: LoadedModel, @unchecked Sendable {
  /// Of the sections and parameters in bundles.
  public static let familyVersion = 1
  public static let shardsMax = 1024

  public let forest: PackedForest
  let storage: ForestStorage
  let settings: ForestSettings

  /// - Parameter inputs: one tensor `input` of `featureCount` floats, named by the ensemble's features, when nil is given.
  /// - Parameter outputs: one tensor `output` of floats when nil is given.
  /// - Throws: what is wrong with the forest's structure, or with these tensors.
  public convenience init(
    ensemble: TreeEnsemble, inputs: [InputTensor]? = nil, outputs: [OutputTensor]? = nil, shards: Int = 1, ways: PackedForest.Ways = .best
  ) throws(TreeError) {
    if let problem = ensemble.problems().first { throw TreeError(place: "forest", reason: problem) }
    let inputs = inputs ?? [InputTensor(name: "input", shape: [ensemble.featureCount], columns: ensemble.featureNames, absent: .nan)]
    try self.init(
      storage: ForestStorage(ensemble), settings: ForestSettings(ensemble), inputs: inputs, outputs: outputs, shards: shards, ways: ways)
  }

  /// Every index in the file is checked before it is used.
  public convenience init(bundle: Bundle, ways: PackedForest.Ways = .best) throws(BundleError) {
    let manifest = bundle.manifest
    try manifest.require(family: "trees", versionMax: Self.familyVersion)
    let settings = try ForestSettings(manifest.parameters)
    let storage = try ForestStorage(bundle: bundle)
    let shards = manifest.parameters["shards"] == nil ? 1 : try manifest.parameters.int("shards", in: 1...Self.shardsMax, at: "manifest.parameters")
    do {
      try self.init(storage: storage, settings: settings, inputs: manifest.inputs, outputs: manifest.outputs, shards: shards, ways: ways)
    } catch {
      throw BundleError(place: error.place, reason: error.reason)
    }
  }

  private init(
    storage: ForestStorage, settings: ForestSettings, inputs: [InputTensor], outputs: [OutputTensor]?, shards: Int, ways: PackedForest.Ways
  ) throws(TreeError) {
    guard shards >= 1, shards <= Self.shardsMax else { throw TreeError(place: "forest", reason: "\(shards) shards") }
    guard inputs.count == 1, let input = inputs.first, input.count == settings.featureCount, input.offset >= 0 else {
      throw TreeError(place: "inputs", reason: "one tensor of \(settings.featureCount) values is due")
    }
    guard Self.element(input.element) != nil else {
      throw TreeError(place: "input \"\(input.name)\"", reason: "\(input.element.datatype) where FP32 or FP64 is due")
    }
    let answerCount = settings.link == .argmax ? 1 : settings.outputCount
    let outputs = outputs ?? [OutputTensor(name: "output", shape: [answerCount])]
    guard outputs.count == 1, let output = outputs.first, output.count == answerCount else {
      throw TreeError(place: "outputs", reason: "one tensor of \(answerCount) values is due")
    }
    guard Self.element(output.element) != nil else {
      throw TreeError(place: "output \"\(output.name)\"", reason: "\(output.element.datatype) where FP32 or FP64 is due")
    }
    forest = try PackedForest(storage, settings: settings, ways: ways)
    self.storage = storage
    self.settings = settings
    super.init(inputs: inputs, outputs: outputs, accumulatorWidth: forest.accumulatorWidth, shards: shards)
  }

  static func element(_ element: TensorElement) -> PackedForest.Element? {
    switch element {
    case .float32: .float
    case .float64: .double
    default: nil
    }
  }

  public override var family: String { "trees" }
  public override var parameterBytes: Int { forest.byteCount }
  public override func makeScorer(rowsMax: Int) -> Scorer { TreeScorer(self, rowsMax: rowsMax) }

  /// The trees that `shard` owns.
  public func trees(ofShard shard: Int) -> Range<Int> {
    precondition(shard >= 0 && shard < shards, "shard \(shard) of \(shards)")
    return forest.treeCount * shard / shards..<forest.treeCount * (shard + 1) / shards
  }

  /// Sets what the manifest says of the family, and adds the sections.
  public func write(into writer: BundleWriter) {
    writer.manifest.family = family
    writer.manifest.familyVersion = Self.familyVersion
    writer.manifest.inputs = inputs
    writer.manifest.outputs = outputs
    writer.manifest.parameters = settings.json
    if shards > 1 { writer.manifest.parameters["shards"] = JSONValue(shards) }
    storage.write(into: writer, settings: settings)
  }
}
