internal import Families

extension ForestDescription {
  /// Values of all leaves of a packed forest.
  static let packedValuesMax = 1 << 26

  /// As the forest that is packed for scoring; nil for what it has no form for: the least or most of the trees, and sets of members.
  /// Sums are of kind double, without a base.
  func ensemble(features: Int) -> TreeEnsemble? {
    guard aggregate == .sum || aggregate == .average, !nodes.contains(where: { $0.mode == .member }) else { return nil }
    let widths = roots.map { singleOutput(of: $0) }
    let isNarrow = outputCount == 1 || widths.allSatisfy { $0 != nil }
    // Leaves that speak of few of many outputs would be mostly zeros.
    guard isNarrow || leaves.count <= Self.packedValuesMax / outputCount else { return nil }
    var result = TreeEnsemble(
      featureCount: features, outputCount: outputCount, leafWidth: isNarrow ? 1 : outputCount, summation: .double,
      divisor: aggregate == .average ? Double(max(1, roots.count)) : 1)
    for (tree, root) in roots.enumerated() { append(root, output: isNarrow ? widths[tree] ?? 0 : 0, to: &result) }
    return result
  }

  /// The output that all leaves below speak of; nil: several. 0 when they speak of none.
  private func singleOutput(of root: Int) -> Int? {
    var found: Int?
    var stack = [root]
    while let child = stack.popLast() {
      if child >= 0 {
        stack.append(nodes[child].whenTrue)
        stack.append(nodes[child].whenFalse)
        continue
      }
      for weight in weights[leaves[~child]] {
        if let found, found != weight.output { return nil }
        found = weight.output
      }
    }
    return found ?? 0
  }

  /// One tree, nodes from the root downwards.
  private func append(_ root: Int, output: Int, to result: inout TreeEnsemble) {
    var tree = TreeEnsemble.Tree(
      nodeStart: Int32(clamping: result.nodes.count), nodeCount: 0, leafStart: Int32(clamping: result.leafValues.count / result.leafWidth), leafCount: 0,
      output: Int32(clamping: output))
    /// A child's number in this tree, made when it is first met: nodes stand in the order in which they are met.
    var order: [Int] = []
    func number(_ child: Int) -> Int32 {
      if child >= 0 {
        order.append(child)
        return Int32(clamping: order.count - 1)
      }
      var values = [Double](repeating: 0, count: result.leafWidth)
      for weight in weights[leaves[~child]] { values[result.leafWidth == 1 ? 0 : weight.output] += weight.value }
      result.leafValues += values
      tree.leafCount += 1
      return ~(tree.leafCount - 1)
    }
    _ = number(root)
    var at = 0
    while at < order.count {
      let node = nodes[order[at]]
      let comparison: TreeEnsemble.Comparison =
        switch node.mode {
        case .lessOrEqual: .lessOrEqual
        case .less: .less
        case .greaterOrEqual: .greaterOrEqual
        case .greater: .greater
        case .equal, .member: .equal
        case .notEqual: .notEqual
        }
      let left = number(node.whenTrue)
      let right = number(node.whenFalse)
      result.nodes.append(
        TreeEnsemble.Node(
          feature: Int32(clamping: node.feature), comparison: comparison, missing: node.missingTracksTrue ? .notANumber : .compared, defaultLeft: true,
          threshold: node.threshold, left: left, right: right))
      at += 1
    }
    tree.nodeCount = Int32(clamping: order.count)
    result.trees.append(tree)
  }
}
