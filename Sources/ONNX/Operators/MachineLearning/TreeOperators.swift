// Hot: `run` of each batch.
internal import Model

extension MachineLearningOperators {
  private static let nodeAttributes: Set<String> = [
    "aggregate_function", "base_values", "base_values_as_tensor", "nodes_falsenodeids", "nodes_featureids", "nodes_hitrates", "nodes_hitrates_as_tensor",
    "nodes_missing_value_tracks_true", "nodes_modes", "nodes_nodeids", "nodes_treeids", "nodes_truenodeids", "nodes_values", "nodes_values_as_tensor",
    "post_transform",
  ]

  /// TreeEnsembleRegressor: 1, 3 (doubles).
  static let treeEnsembleRegressor = ONNXOperator(
    "TreeEnsembleRegressor", domain: domain, versions: 1...4,
    attributes: nodeAttributes.union(["n_targets", "target_ids", "target_nodeids", "target_treeids", "target_weights", "target_weights_as_tensor"])
  ) { node throws(ONNXError) in
    try node.requireNumbers()
    return [TensorType(.float32, [try RowShape(node).rows, Dimension(try targets(node))])]
  } compile: { node throws(ONNXError) in
    let columns = try RowShape(node).columns
    let forest = try ForestDescription(node, prefix: "target", outputs: try targets(node))
    try forest.check(node, features: columns)
    return ForestRegressorKernel(try ForestRunner(forest, features: columns, node), try baseValues(node, forest.outputCount), try PostTransform(node))
  }

  /// TreeEnsemble: 5.
  static let treeEnsemble = ONNXOperator(
    "TreeEnsemble", domain: domain, versions: 5...5,
    attributes: [
      "aggregate_function", "leaf_targetids", "leaf_weights", "membership_values", "n_targets", "nodes_falseleafs", "nodes_falsenodeids",
      "nodes_featureids", "nodes_hitrates", "nodes_missing_value_tracks_true", "nodes_modes", "nodes_splits", "nodes_trueleafs", "nodes_truenodeids",
      "post_transform", "tree_roots",
    ]
  ) { node throws(ONNXError) in
    try node.require(0, [.float32, .float64, .float16])
    return [TensorType(try node.element(0), [try RowShape(node).rows, Dimension(try targets(node))])]
  } compile: { node throws(ONNXError) in
    let columns = try RowShape(node).columns
    let forest = try ForestDescription(ensemble: node, outputs: try targets(node))
    try forest.check(node, features: columns)
    let posts: [PostTransform] = [.none, .softmax, .logistic, .softmaxZero, .probit]
    let post = try node.int("post_transform", 0)
    guard posts.indices.contains(post) else { throw node.error("post_transform \(post)") }
    return ForestRegressorKernel(try ForestRunner(forest, features: columns, node), [], posts[post])
  }

  /// TreeEnsembleClassifier: 1, 3 (doubles).
  static let treeEnsembleClassifier = ONNXOperator(
    "TreeEnsembleClassifier", domain: domain, versions: 1...4,
    attributes: nodeAttributes.subtracting(["aggregate_function"]).union([
      "class_ids", "class_nodeids", "class_treeids", "class_weights", "class_weights_as_tensor", "classlabels_int64s", "classlabels_strings",
    ])
  ) { node throws(ONNXError) in
    try node.requireNumbers()
    let rows = try RowShape(node).rows
    let labels = try ClassLabels(node, integers: "classlabels_int64s")
    return [TensorType(labels.element, [rows]), TensorType(.float32, [rows, Dimension(labels.count)])]
  } compile: { node throws(ONNXError) in
    let columns = try RowShape(node).columns
    let labels = try ClassLabels(node, integers: "classlabels_int64s")
    let forest = try ForestDescription(node, prefix: "class", outputs: labels.count)
    try forest.check(node, features: columns)
    return ForestClassifierKernel(
      try ForestRunner(forest, features: columns, node), labels, try baseValues(node, labels.count), try PostTransform(node),
      classes: Set(forest.weights.map(\.output)), areWeightsPositive: forest.weights.allSatisfy { $0.value >= 0 })
  }

  private static func targets(_ node: NodeContext) throws(ONNXError) -> Int {
    let count = try node.int("n_targets", 1)
    guard count > 0, count <= 1 << 20 else { throw node.error("n_targets \(count)") }
    return count
  }

  /// One for each output, or none. A classifier of two classes may have one.
  private static func baseValues(_ node: NodeContext, _ outputs: Int) throws(ONNXError) -> [Double] {
    let values = try ForestDescription.numbers(node, "base_values")
    guard values.isEmpty || values.count == outputs || (values.count == 1 && outputs == 2) else { throw node.error("\(values.count) base_values for \(outputs) outputs") }
    return values
  }
}

/// A forest over the rows of input 0; sums come first in the scratch memory.
class ForestKernel: Kernel, @unchecked Sendable {
  let runner: ForestRunner

  init(_ runner: ForestRunner) { self.runner = runner }

  final override var stateBytes: Int { 8 }

  final override func prepare(_ call: Call) { runner.prepare(call.state, rows: call.input(0).rowCount) }

  final override func scratchBytes(_ call: Call) -> Int {
    let input = call.input(0)
    let converted = input.element == .int64 || input.element == .int32 ? input.count * 4 : 0
    return input.rowCount * runner.outputCount * 8 + converted + 64
  }

  @inline(__always) final func sums(_ call: Call) -> UnsafeMutablePointer<Double> {
    let input = call.input(0)
    let rows = input.rowCount
    let sums = call.scratch.assumingMemoryBound(to: Double.self)
    var values = UnsafeRawPointer(input.data)
    if input.element == .int64 || input.element == .int32 {
      let floats = UnsafeMutableRawPointer(sums + rows &* runner.outputCount).assumingMemoryBound(to: Float.self)
      if input.element == .int64 {
        let from = input.pointer(Int64.self)
        for index in 0..<input.count { floats[index] = Float(from[index]) }
      } else {
        let from = input.pointer(Int32.self)
        for index in 0..<input.count { floats[index] = Float(from[index]) }
      }
      values = UnsafeRawPointer(floats)
    }
    runner.sums(values, isDouble: input.element == .float64, rows: rows, columns: input.rowColumns, state: call.state, into: sums)
    return sums
  }
}

private final class ForestRegressorKernel: ForestKernel, @unchecked Sendable {
  let base: [Double]
  let post: PostTransform

  init(_ runner: ForestRunner, _ base: [Double], _ post: PostTransform) {
    self.base = base
    self.post = post
    super.init(runner)
  }

  override func run(_ call: Call) {
    let output = call.output()
    let sums = sums(call)
    let width = runner.outputCount
    if !base.isEmpty {
      for index in 0..<output.count { sums[index] += base[index % width] }
    }
    if output.element == .float64 && post == .none {
      output.data.copyMemory(from: sums, byteCount: output.byteCount)
      return
    }
    // Doubles become floats where they lie: each is read before it is overwritten.
    let scores = output.element == .float64 ? UnsafeMutableRawPointer(sums).assumingMemoryBound(to: Float.self) : output.floats
    for index in 0..<output.count { scores[index] = Float(sums[index]) }
    if post != .none { for row in 0..<(output.count / width) { post.apply(scores + row &* width, width) } }
    if output.element == .float64 { for index in 0..<output.count { output.pointer(Double.self)[index] = Double(scores[index]) } }
  }
}

/// Two classes of which leaves speak of one alone: their sum is the second class's score, or the first one's is made of it.
private final class ForestClassifierKernel: ForestKernel, @unchecked Sendable {
  let labels: ModelNumbers<UInt64>
  let base: [Double]
  let post: PostTransform
  /// The one class that leaves speak of, of two.
  let onlyClass: Int?
  let areWeightsPositive: Bool

  init(_ runner: ForestRunner, _ labels: ClassLabels, _ base: [Double], _ post: PostTransform, classes: Set<Int>, areWeightsPositive: Bool) {
    self.labels = ModelNumbers(labels.bits)
    self.base = base
    self.post = post
    onlyClass = labels.count == 2 && classes.count == 1 ? classes.first : nil
    self.areWeightsPositive = areWeightsPositive
    super.init(runner)
  }

  override func run(_ call: Call) {
    let rows = call.input(0).rowCount
    let classes = runner.outputCount
    let all = sums(call)
    for row in 0..<rows {
      let sums = all + row &* classes
      let scores = call.output(1).floats + row &* classes
      let label = onlyClass.map { binary(sums, scores, $0) } ?? several(sums, scores, classes)
      call.output(0).pointer(UInt64.self)[row] = labels[label]
    }
  }

  private func several(_ sums: UnsafeMutablePointer<Double>, _ scores: UnsafeMutablePointer<Float>, _ classes: Int) -> Int {
    var best = 0
    for place in 0..<classes {
      scores[place] = Float(sums[place] + (base.count == classes ? base[place] : place == 0 ? base.first ?? 0 : 0))
      if scores[place] > scores[best] { best = place }
    }
    post.apply(scores, classes)
    return best
  }

  private func binary(_ sums: UnsafeMutablePointer<Double>, _ scores: UnsafeMutablePointer<Float>, _ only: Int) -> Int {
    let score = Float(sums[only] + (base.count == 2 ? base[1] : base.first ?? 0))
    let isSecond = score > (areWeightsPositive ? 0.5 : 0)
    switch post {
    case .probit:
      scores[1] = PostTransform.probit(score)
      scores[0] = 1 - scores[1]
    case .logistic:
      scores[1] = PostTransform.logistic(score)
      scores[0] = PostTransform.logistic(-score)
    default:
      // A softmax of one score is no softmax: onnxruntime leaves both as they are.
      scores[1] = score
      scores[0] = areWeightsPositive ? 1 - score : -score
    }
    return isSecond ? 1 : 0
  }
}
