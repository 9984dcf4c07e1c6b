internal import Bundles
internal import CKernels
internal import Model

/// The nodes, trees, categories and leaves of a forest as bundles hold them (`mr_tree_node`, `mr_tree`): copied from an ensemble, or borrowed
/// from a bundle. What is written to a bundle, and what is packed for scoring. Immutable.
final class ForestStorage {
  let nodes: UnsafeBufferPointer<mr_tree_node>
  let trees: UnsafeBufferPointer<mr_tree>
  let categoryBits: UnsafeBufferPointer<UInt32>
  let leafValues: UnsafeBufferPointer<Double>
  /// The place of each node's threshold among those of its feature; nil: not known yet.
  let ranks: UnsafeBufferPointer<UInt32>?
  /// Whose sections these are; nil: this object's own memory.
  private let bundle: Bundle?

  init(_ ensemble: TreeEnsemble) {
    nodes = Self.copy(ensemble.nodes) {
      mr_tree_node(
        feature: $0.feature, comparison: $0.comparison.rawValue, missing: $0.missing.rawValue, default_left: $0.defaultLeft ? 1 : 0, reserved: 0,
        threshold: $0.threshold, category_start: $0.categoryStart, category_words: $0.categoryWords, left: $0.left, right: $0.right)
    }
    trees = Self.copy(ensemble.trees) {
      mr_tree(node_start: $0.nodeStart, node_count: $0.nodeCount, leaf_start: $0.leafStart, leaf_count: $0.leafCount, output: $0.output)
    }
    categoryBits = Self.copy(ensemble.categoryBits) { $0 }
    leafValues = Self.copy(ensemble.leafValues) { $0 }
    ranks = nil
    bundle = nil
  }

  init(bundle: Bundle) throws(BundleError) {
    nodes = try bundle.array("trees.nodes", of: mr_tree_node.self)
    trees = try bundle.array("trees.trees", of: mr_tree.self)
    categoryBits = try bundle.array("trees.categories", of: UInt32.self)
    leafValues = try bundle.array("trees.leaves", of: Double.self)
    ranks = bundle.contains("trees.ranks") ? try bundle.array("trees.ranks", of: UInt32.self, count: nodes.count) : nil
    self.bundle = bundle
  }

  deinit {
    guard bundle == nil else { return }
    nodes.deallocate()
    trees.deallocate()
    categoryBits.deallocate()
    leafValues.deallocate()
  }

  private static func copy<From, To>(_ values: [From], _ convert: (From) -> To) -> UnsafeBufferPointer<To> {
    let copy = UnsafeMutableBufferPointer<To>.allocate(capacity: values.count)
    for (index, value) in values.enumerated() { copy.initializeElement(at: index, to: convert(value)) }
    return UnsafeBufferPointer(copy)
  }

  /// The forest as kernels take it. What it points to lives as long as this object.
  func source(_ settings: ForestSettings) -> mr_forest_source {
    mr_forest_source(
      feature_count: Int32(settings.featureCount), output_count: Int32(settings.outputCount), leaf_width: Int32(settings.leafWidth),
      summation: Int32(settings.summation.rawValue), nodes: nodes.baseAddress, trees: trees.baseAddress, category_bits: categoryBits.baseAddress,
      leaf_values: leafValues.baseAddress, node_count: Int64(nodes.count), tree_count: Int64(trees.count),
      category_word_count: Int64(categoryBits.count), leaf_value_count: Int64(leafValues.count), ranks: ranks?.baseAddress)
  }

  func write(into writer: BundleWriter, settings: ForestSettings) {
    writer.add(
      "trees.nodes", element: .uint8, shape: [nodes.count, MemoryLayout<mr_tree_node>.stride], bytes: UnsafeRawBufferPointer(nodes), owner: self)
    writer.add("trees.trees", element: .int32, shape: [trees.count, 5], bytes: UnsafeRawBufferPointer(trees), owner: self)
    writer.add("trees.categories", element: .uint32, shape: [categoryBits.count], bytes: UnsafeRawBufferPointer(categoryBits), owner: self)
    writer.add(
      "trees.leaves", element: .float64, shape: [leafValues.count / settings.leafWidth, settings.leafWidth],
      bytes: UnsafeRawBufferPointer(leafValues), owner: self)
    if let ranks {
      writer.add("trees.ranks", element: .uint32, shape: [ranks.count], bytes: UnsafeRawBufferPointer(ranks), owner: self)
      return
    }
    // Sorted once here, so that loading sorts nothing. A forest that was packed has no problem left but memory: then loading sorts.
    var source = source(settings)
    var problem = mr_forest_problem()
    var ranks = Array(repeating: UInt32(0), count: nodes.count)
    guard ranks.withUnsafeMutableBufferPointer({ mr_forest_rank(&source, $0.baseAddress, &problem) }) else { return }
    writer.add("trees.ranks", element: .uint32, ranks)
  }
}
