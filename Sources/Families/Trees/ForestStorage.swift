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
    bundle = nil
  }

  init(bundle: Bundle) throws(BundleError) {
    nodes = try bundle.array("trees.nodes", of: mr_tree_node.self)
    trees = try bundle.array("trees.trees", of: mr_tree.self)
    categoryBits = try bundle.array("trees.categories", of: UInt32.self)
    leafValues = try bundle.array("trees.leaves", of: Double.self)
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

  func write(into writer: BundleWriter, leafWidth: Int) {
    writer.add("trees.nodes", element: .uint8, shape: [nodes.count, MemoryLayout<mr_tree_node>.stride], bytes: UnsafeRawBufferPointer(nodes), owner: self)
    writer.add("trees.trees", element: .int32, shape: [trees.count, 5], bytes: UnsafeRawBufferPointer(trees), owner: self)
    writer.add("trees.categories", element: .uint32, shape: [categoryBits.count], bytes: UnsafeRawBufferPointer(categoryBits), owner: self)
    writer.add(
      "trees.leaves", element: .float64, shape: [leafValues.count / max(1, leafWidth), leafWidth], bytes: UnsafeRawBufferPointer(leafValues),
      owner: self)
  }
}
