extension TreeEnsemble {
  /// `problems()` stops at so many.
  public static let problemsMax = 16
  /// More of either is no forest of ours: counts and indices are 32 bits wide.
  public static let nodesMax = Int(Int32.max)

  /// What is wrong with its structure, each with its place: none, and it can be scored. Counts agree, every index is in range, trees stand
  /// one after the other, every node and leaf is reached from at most one place and a tree's root from none: every walk ends in a leaf.
  public func problems() -> [String] {
    var problems: [String] = []
    func check(_ holds: Bool, _ text: @autoclosure () -> String) {
      if !holds, problems.count < Self.problemsMax { problems.append(text()) }
    }
    check(featureCount >= 0 && featureCount <= Self.nodesMax, "forest: \(featureCount) features")
    check(outputCount >= 1 && outputCount <= Self.nodesMax, "forest: \(outputCount) outputs")
    check(nodes.count <= Self.nodesMax, "forest: \(nodes.count) nodes")
    check(categoryBits.count <= Self.nodesMax, "forest: \(categoryBits.count) words of categories")
    check(leafWidth == 1 || leafWidth == outputCount, "forest: leaves of \(leafWidth) values for \(outputCount) outputs")
    check(baseScores.count == outputCount, "forest: \(baseScores.count) base scores for \(outputCount) outputs")
    check(featureNames.isEmpty || featureNames.count == featureCount, "forest: \(featureNames.count) names for \(featureCount) features")
    check(divisor != 0 && !divisor.isNaN, "forest: a divisor of \(divisor)")
    guard problems.isEmpty else { return problems }
    check(leafValues.count % leafWidth == 0, "forest: \(leafValues.count) leaf values in leaves of \(leafWidth)")
    let leafCount = leafValues.count / leafWidth
    var nodesBefore = 0
    var leavesBefore = 0
    for (index, tree) in trees.enumerated() {
      let place = "tree \(index)"
      let nodeEnd = Int(tree.nodeStart) + Int(tree.nodeCount)
      let holdsNodes = tree.nodeStart >= 0 && tree.nodeCount >= 0 && nodeEnd <= nodes.count
      check(holdsNodes, "\(place): \(tree.nodeCount) nodes from \(tree.nodeStart) on, in a forest of \(nodes.count)")
      check(
        tree.leafStart >= 0 && tree.leafCount >= 1 && Int(tree.leafStart) + Int(tree.leafCount) <= leafCount,
        "\(place): \(tree.leafCount) leaves from \(tree.leafStart) on, in a forest of \(leafCount)")
      check(
        tree.nodeStart >= nodesBefore && tree.leafStart >= leavesBefore, "\(place): its nodes or leaves are those of the trees before, too")
      nodesBefore = nodeEnd
      leavesBefore = Int(tree.leafStart) + Int(tree.leafCount)
      check(tree.output >= 0 && tree.output < outputCount, "\(place): output \(tree.output) of \(outputCount)")
      check(leafWidth == 1 || tree.output == 0, "\(place): output \(tree.output), and leaves of \(leafWidth) values")
      guard holdsNodes, problems.count < Self.problemsMax else { continue }
      var isChild = Array(repeating: false, count: Int(tree.nodeCount))
      var isReached = Array(repeating: false, count: max(0, Int(tree.leafCount)))
      for (number, node) in nodes[Int(tree.nodeStart)..<nodeEnd].enumerated() {
        let place = "\(place), node \(number)"
        check(node.feature >= 0 && node.feature < featureCount, "\(place): feature \(node.feature) of \(featureCount)")
        if node.comparison == .member {
          check(
            node.categoryStart >= 0 && node.categoryWords >= 0 && Int(node.categoryStart) + Int(node.categoryWords) <= categoryBits.count,
            "\(place): \(node.categoryWords) words of categories from \(node.categoryStart) on, of \(categoryBits.count)")
        }
        for child in [node.left, node.right] {
          guard child >= 0 else {
            check(~child < tree.leafCount, "\(place): leaf \(~child) of \(tree.leafCount)")
            guard ~child < tree.leafCount else { continue }
            check(!isReached[Int(~child)], "\(place): leaf \(~child) is another node's too")
            isReached[Int(~child)] = true
            continue
          }
          check(child < tree.nodeCount, "\(place): child \(child) of \(tree.nodeCount) nodes")
          check(child != 0, "\(place): the root is its child")
          guard child > 0, child < tree.nodeCount else { continue }
          check(!isChild[Int(child)], "\(place): child \(child) is another node's too")
          isChild[Int(child)] = true
        }
      }
    }
    return problems
  }
}
