import Families

/// `gradient_booster`: the trees, and what is said about them behind them.
struct XGBoostBooster<Cursor: DocumentCursor> {
  private(set) var name = ""
  private(set) var categories: [NamedColumn] = []
  /// Of gblinear: weights of each feature in turn, one for each output, and the biases last.
  private(set) var linearWeights: [Float]?

  private var forest = XGBoostForest<Cursor>()
  private var hasTrees = false
  private var treeOutputs: [Int32] = []
  private var iterationStarts: [Int32] = []
  private var treeWeights: [Float] = []
  private var parallelTrees = 1

  mutating func read(_ cursor: inout Cursor) throws(ImportError) {
    var booster = self
    try cursor.object { (cursor, key) throws(ImportError) in
      switch key {
      case "name": booster.name = try cursor.text()
      case "model": try booster.readModel(&cursor)
      case "gbtree":
        // Of dart: its trees stand one level deeper, under a name of their own.
        try cursor.object { (cursor, key) throws(ImportError) in
          if key == "model" { try booster.readModel(&cursor) } else { try cursor.skip() }
        }
      case "weight_drop": try cursor.floats(into: &booster.treeWeights)
      default: try cursor.skip()
      }
    }
    self = booster
  }

  private mutating func readModel(_ cursor: inout Cursor) throws(ImportError) {
    var booster = self
    self = XGBoostBooster()
    try cursor.object { (cursor, key) throws(ImportError) in
      switch key {
      case "trees":
        try cursor.claim(&booster.hasTrees, "trees")
        try cursor.array { (cursor, _) throws(ImportError) in try booster.forest.readTree(&cursor) }
      case "tree_info": try cursor.integers(into: &booster.treeOutputs)
      case "iteration_indptr": try cursor.integers(into: &booster.iterationStarts)
      case "weight_drop": try cursor.floats(into: &booster.treeWeights)
      case "weights":
        var weights: [Float] = []
        try cursor.floats(into: &weights)
        booster.linearWeights = weights
      case "gbtree_model_param":
        try cursor.object { (cursor, key) throws(ImportError) in
          guard key == "num_parallel_tree" else {
            try cursor.skip()
            return
          }
          let text = try cursor.text()
          guard let count = Int(text), count >= 0, count < Int(Int32.max) else { throw cursor.problem("\"\(text)\" is no count of trees") }
          booster.parallelTrees = max(1, count)
        }
      case "cats": booster.categories = try XGBoostCategories.read(&cursor)
      default: try cursor.skip()
      }
    }
    self = booster
  }

  /// The ensemble of the first `iterations` iterations (all when nil), without base scores and link. The trees are moved out.
  mutating func takeEnsemble(featureCount: Int, outputCount: Int, iterations: Int?) throws(ImportError) -> TreeEnsemble {
    let place = "learner.gradient_booster.model"
    var ensemble = TreeEnsemble(featureCount: featureCount, outputCount: outputCount, summation: .float)
    let forest = self.forest
    self.forest = XGBoostForest()
    guard forest.featureMax < featureCount else {
      throw ImportError(place: "\(place).trees", reason: "a split of feature \(forest.featureMax), and there are \(featureCount)")
    }
    let leafWidth = forest.leafWidth ?? 1
    guard leafWidth == 1 || leafWidth == outputCount else {
      throw ImportError(place: "\(place).trees", reason: "leaves of \(leafWidth) values, and \(outputCount) outputs")
    }
    guard treeOutputs.count == forest.trees.count else {
      throw ImportError(place: "\(place).tree_info", reason: "\(treeOutputs.count) entries for \(forest.trees.count) trees")
    }
    for (tree, output) in treeOutputs.enumerated() where output < 0 || Int(output) >= outputCount {
      throw ImportError(place: "\(place).tree_info[\(tree)]", reason: "output \(output) of \(outputCount)")
    }
    ensemble.nodes = forest.nodes
    ensemble.categoryBits = forest.categoryBits
    ensemble.leafWidth = leafWidth
    ensemble.trees = forest.trees
    for tree in ensemble.trees.indices { ensemble.trees[tree].output = leafWidth > 1 ? 0 : treeOutputs[tree] }
    ensemble.leafValues = try leafValues(forest, leafWidth, place)
    if let iterations { try cut(&ensemble, to: iterations, place) }
    return ensemble
  }

  /// DART multiplies each tree's answer by its weight, in float.
  private func leafValues(_ forest: XGBoostForest<Cursor>, _ width: Int, _ place: String) throws(ImportError) -> [Double] {
    guard !treeWeights.isEmpty else { return forest.leafValues.map(Double.init) }
    guard treeWeights.count == forest.trees.count || (name != "dart" && treeWeights.count < forest.trees.count) else {
      throw ImportError(place: "learner.gradient_booster.weight_drop", reason: "\(treeWeights.count) weights for \(forest.trees.count) trees")
    }
    var values: [Double] = []
    values.reserveCapacity(forest.leafValues.count)
    for (index, tree) in forest.trees.enumerated() {
      let weight = index < treeWeights.count ? treeWeights[index] : 1
      let start = Int(tree.leafStart) * width
      for value in forest.leafValues[start..<(start + Int(tree.leafCount) * width)] {
        let weighted = value * weight
        guard weighted.isFinite else {
          throw ImportError(place: "learner.gradient_booster.weight_drop[\(index)]", reason: "\(weight) times a leaf is no score")
        }
        values.append(Double(weighted))
      }
    }
    return values
  }

  private func cut(_ ensemble: inout TreeEnsemble, to iterations: Int, _ place: String) throws(ImportError) {
    let count = ensemble.trees.count
    let kept: Int
    if iterationStarts.isEmpty {
      // Before 2.0: every iteration has as many trees.
      let groups = Int(treeOutputs.max() ?? 0) + 1
      let each = groups.multipliedReportingOverflow(by: parallelTrees)
      let all = each.partialValue.multipliedReportingOverflow(by: iterations)
      kept = each.overflow || all.overflow ? count : all.partialValue
    } else {
      guard iterations < iterationStarts.count else {
        throw ImportError(place: "learner.attributes.best_iteration", reason: "\(iterations - 1) of \(iterationStarts.count - 1) iterations")
      }
      kept = Int(iterationStarts[iterations])
    }
    guard kept >= 0, kept <= count else {
      throw ImportError(place: "\(place).iteration_indptr", reason: "the best iteration ends at tree \(kept) of \(count)")
    }
    guard kept < count else { return }
    let first = ensemble.trees[kept]
    ensemble.trees.removeSubrange(kept...)
    ensemble.nodes.removeSubrange(Int(first.nodeStart)...)
    ensemble.leafValues.removeSubrange((Int(first.leafStart) * ensemble.leafWidth)...)
  }
}
