// Hot: `run` of each batch.
internal import Model

extension MachineLearningOperators {
  /// x Wᵀ + b for each target.
  static let linearRegressor = ONNXOperator(
    "LinearRegressor", domain: domain, versions: versions, attributes: ["coefficients", "intercepts", "post_transform", "targets"]
  ) { node throws(ONNXError) in
    try node.requireNumbers()
    let shape = try RowShape(node)
    let targets = try node.int("targets", 1)
    _ = try LinearScores(node, columns: shape.columns, outputs: targets)
    return [TensorType(.float32, [shape.rows, Dimension(targets)])]
  } compile: { node throws(ONNXError) in
    let scores = try LinearScores(node, columns: try RowShape(node).columns, outputs: try node.int("targets", 1))
    return LinearRegressorKernel(scores, try PostTransform(node))
  }

  /// A label and a score for each class. One row of coefficients and two labels: the second class's scores, and its negative for the first.
  static let linearClassifier = ONNXOperator(
    "LinearClassifier", domain: domain, versions: versions,
    attributes: ["classlabels_ints", "classlabels_strings", "coefficients", "intercepts", "multi_class", "post_transform"]
  ) { node throws(ONNXError) in
    try node.requireNumbers()
    let shape = try RowShape(node)
    let labels = try ClassLabels(node, integers: "classlabels_ints")
    let outputs = try classifierOutputs(node, shape.columns)
    _ = try LinearScores(node, columns: shape.columns, outputs: outputs)
    guard outputs == labels.count || (outputs == 1 && labels.count == 2) else { throw node.error("\(labels.count) labels for \(outputs) rows of coefficients") }
    return [TensorType(labels.element, [shape.rows]), TensorType(.float32, [shape.rows, Dimension(labels.count)])]
  } compile: { node throws(ONNXError) in
    let columns = try RowShape(node).columns
    let scores = try LinearScores(node, columns: columns, outputs: try classifierOutputs(node, columns))
    return LinearClassifierKernel(scores, try PostTransform(node), try ClassLabels(node, integers: "classlabels_ints"))
  }

  private static func classifierOutputs(_ node: NodeContext, _ columns: Int) throws(ONNXError) -> Int {
    let count = try node.floats("coefficients")?.count ?? 0
    guard columns > 0, count > 0, count % columns == 0 else { throw node.error("\(count) coefficients for \(columns) columns") }
    return count / columns
  }
}

/// Labels of classes: whole numbers, or hashes of texts.
struct ClassLabels {
  let element: TensorElement
  let bits: [UInt64]
  var count: Int { bits.count }

  init(_ node: NodeContext, integers: String) throws(ONNXError) {
    if let texts = try node.strings("classlabels_strings"), !texts.isEmpty {
      element = .text
      bits = texts.map { node.texts.add($0) }
    } else {
      element = .int64
      bits = (try node.ints(integers) ?? []).map { UInt64(bitPattern: Int64($0)) }
    }
    guard !bits.isEmpty, bits.count <= 1 << 20 else { throw node.error("\(bits.count) class labels") }
  }
}

/// Weights and intercepts of linear scores. Rows of doubles are computed in double precision.
final class LinearScores: @unchecked Sendable {
  let columns: Int
  let outputs: Int
  private let weights: ModelNumbers<Float>
  private let intercepts: ModelNumbers<Float>

  init(_ node: NodeContext, columns: Int, outputs: Int) throws(ONNXError) {
    let coefficients = try node.floats("coefficients") ?? []
    let given = try node.floats("intercepts") ?? []
    let (expected, overflow) = columns.multipliedReportingOverflow(by: outputs)
    guard outputs > 0, !overflow, coefficients.count == expected else { throw node.error("\(coefficients.count) coefficients for \(outputs) outputs of \(columns) columns") }
    guard given.isEmpty || given.count == outputs else { throw node.error("\(given.count) intercepts for \(outputs) outputs") }
    self.columns = columns
    self.outputs = outputs
    weights = ModelNumbers(coefficients)
    intercepts = ModelNumbers(given.isEmpty ? Array(repeating: 0, count: outputs) : given)
  }

  /// Scores of one row of `input`.
  func score(_ input: Tensor, row: Int, into scores: UnsafeMutablePointer<Float>) {
    switch input.element {
    case .float64: score(input.pointer(Double.self) + row &* columns, scores)
    case .int64: score(input.pointer(Int64.self) + row &* columns, scores)
    case .int32: score(input.pointer(Int32.self) + row &* columns, scores)
    default: score(input.floats + row &* columns, scores)
    }
  }

  private func score(_ x: UnsafePointer<Float>, _ scores: UnsafeMutablePointer<Float>) {
    for output in 0..<outputs {
      let w = UnsafePointer(weights.pointer) + output &* columns
      var s0: Float = 0, s1: Float = 0, s2: Float = 0, s3: Float = 0
      var index = 0
      while index &+ 4 <= columns {
        s0 += x[index] * w[index]
        s1 += x[index &+ 1] * w[index &+ 1]
        s2 += x[index &+ 2] * w[index &+ 2]
        s3 += x[index &+ 3] * w[index &+ 3]
        index &+= 4
      }
      while index < columns {
        s0 += x[index] * w[index]
        index &+= 1
      }
      scores[output] = (s0 + s1) + (s2 + s3) + intercepts[output]
    }
  }

  private func score<X: RowNumber>(_ x: UnsafeMutablePointer<X>, _ scores: UnsafeMutablePointer<Float>) {
    for output in 0..<outputs {
      var sum = 0.0
      for index in 0..<columns { sum += x[index].wide * Double(weights[output &* columns &+ index]) }
      scores[output] = Float(sum + Double(intercepts[output]))
    }
  }
}

private final class LinearRegressorKernel: Kernel, @unchecked Sendable {
  let scores: LinearScores
  let post: PostTransform

  init(_ scores: LinearScores, _ post: PostTransform) {
    self.scores = scores
    self.post = post
  }

  override func run(_ call: Call) {
    let input = call.input(0)
    var to = call.output().floats
    for row in 0..<input.rowCount {
      scores.score(input, row: row, into: to)
      post.apply(to, scores.outputs)
      to += scores.outputs
    }
  }
}

private final class LinearClassifierKernel: Kernel, @unchecked Sendable {
  let scores: LinearScores
  let post: PostTransform
  let labels: ModelNumbers<UInt64>

  init(_ scores: LinearScores, _ post: PostTransform, _ labels: ClassLabels) {
    self.scores = scores
    self.post = post
    self.labels = ModelNumbers(labels.bits)
  }

  override func run(_ call: Call) {
    let input = call.input(0)
    let classes = labels.count
    for row in 0..<input.rowCount {
      let to = call.output(1).floats + row &* classes
      scores.score(input, row: row, into: to)
      if scores.outputs == 1 && classes == 2 {
        to[1] = to[0]
        to[0] = -to[1]
      }
      var best = 0
      for place in 1..<max(1, classes) where to[place] > to[best] { best = place }
      call.output(0).pointer(UInt64.self)[row] = labels[best]
      post.apply(to, classes)
    }
  }
}
