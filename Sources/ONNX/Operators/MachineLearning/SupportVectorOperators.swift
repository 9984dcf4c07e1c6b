// Hot: `run` of each batch.
internal import Model

extension MachineLearningOperators {
  /// The sum of coefficient times kernel function over the support vectors, + rho; with `one_class` its sign, 1 or -1. Without vectors
  /// the coefficients are a linear model's.
  static let svmRegressor = ONNXOperator(
    "SVMRegressor", domain: domain, versions: versions,
    attributes: ["coefficients", "kernel_params", "kernel_type", "n_supports", "one_class", "post_transform", "rho", "support_vectors"]
  ) { node throws(ONNXError) in
    try node.requireNumbers()
    let shape = try RowShape(node)
    _ = try SVMRegressorKernel(node, columns: shape.columns)
    return [TensorType(.float32, [shape.rows, Dimension(1)])]
  } compile: { node throws(ONNXError) in
    try SVMRegressorKernel(node, columns: try RowShape(node).columns)
  }

  /// A label and scores: probabilities of the classes with `prob_a` and `prob_b`, otherwise what the machine of each pair of classes says;
  /// of two classes the score's negative and the score. Without vectors a score for each class, of a linear model.
  static let svmClassifier = ONNXOperator(
    "SVMClassifier", domain: domain, versions: versions,
    attributes: [
      "classlabels_ints", "classlabels_strings", "coefficients", "kernel_params", "kernel_type", "post_transform", "prob_a", "prob_b", "rho",
      "support_vectors", "vectors_per_class",
    ]
  ) { node throws(ONNXError) in
    try node.requireNumbers()
    let shape = try RowShape(node)
    let labels = try ClassLabels(node, integers: "classlabels_ints")
    let kernel = try SVMClassifierKernel(node, columns: shape.columns, labels)
    return [TensorType(labels.element, [shape.rows]), TensorType(.float32, [shape.rows, Dimension(kernel.scoreCount)])]
  } compile: { node throws(ONNXError) in
    try SVMClassifierKernel(node, columns: try RowShape(node).columns, try ClassLabels(node, integers: "classlabels_ints"))
  }
}

private final class SVMRegressorKernel: Kernel, @unchecked Sendable {
  private let vectors: SupportVectors
  /// nil: the one vector is the linear model's weights.
  private let coefficients: ModelNumbers<Float>?
  private let rho: Float
  private let isOneClass: Bool
  private let post: PostTransform

  init(_ node: NodeContext, columns: Int) throws(ONNXError) {
    let count = try node.int("n_supports", 0)
    guard count >= 0, let rho = try node.floats("rho")?.first else { throw node.error(count < 0 ? "\(count) vectors" : "no rho") }
    if count > 0 {
      vectors = try SupportVectors(node, "support_vectors", count: count, columns: columns)
      let given = try node.floats("coefficients") ?? []
      guard given.count == count else { throw node.error("\(given.count) coefficients for \(count) vectors") }
      coefficients = ModelNumbers(given)
    } else {
      vectors = try SupportVectors(node, "coefficients", count: 1, columns: columns, isPlain: true)
      coefficients = nil
    }
    self.rho = rho
    isOneClass = try node.int("one_class", 0) != 0
    post = try PostTransform(node)
  }

  override func scratchBytes(_ call: Call) -> Int { vectors.scratchFloats * MemoryLayout<Float>.stride }

  override func run(_ call: Call) {
    let input = call.input(0)
    let values = call.scratch.assumingMemoryBound(to: Float.self)
    let own = values + vectors.rowsMax * vectors.stride
    let to = call.output().floats
    var first = 0
    while first < input.rowCount {
      let rows = min(vectors.rowsMax, input.rowCount - first)
      vectors.values(input.floatRows(first, rows, scratch: own), rows: rows, into: values, scratch: call.matrices)
      for row in 0..<rows { finish(values + row &* vectors.stride, to + (first &+ row)) }
      first &+= rows
    }
  }

  private func finish(_ kernels: UnsafePointer<Float>, _ to: UnsafeMutablePointer<Float>) {
    var sum = kernels[0]
    if let coefficients {
      sum = 0
      for vector in 0..<vectors.count { sum += kernels[vector] * coefficients[vector] }
    }
    sum += rho
    if isOneClass {
      to[0] = sum > 0 ? 1 : -1
    } else {
      to[0] = sum
      post.apply(to, 1)
    }
  }
}

private final class SVMClassifierKernel: Kernel, @unchecked Sendable {
  /// Pairs of classes, and what couples them, grow with the square.
  private static let classesMax = 1024

  /// Columns of the scores.
  let scoreCount: Int
  private let classes: Int
  private let vectors: SupportVectors
  /// Of each class the place of its first vector, and the end.
  private let starts: ModelNumbers<Int>
  /// [classes - 1, vectors]: a vector of class c has its coefficient against class d in row d, d - 1 when c is before d. nil: a linear model.
  private let coefficients: ModelNumbers<Float>?
  /// Of each pair of classes; of a linear model the first one counts for all.
  private let rho: ModelNumbers<Float>
  private let probabilities: PairwiseProbabilities?
  /// Of a linear model: whether all weights are positive, and whether probabilities were asked for, which decide how its label is found.
  private let isPositive: Bool
  private let hasSigmoids: Bool
  private let post: PostTransform
  private let labels: ModelNumbers<UInt64>

  init(_ node: NodeContext, columns: Int, _ labels: ClassLabels) throws(ONNXError) {
    let classes = labels.count
    guard (2...Self.classesMax).contains(classes) else { throw node.error("\(classes) classes; 2 to \(Self.classesMax) are served") }
    let pairs = classes * (classes - 1) / 2
    var starts = [0]
    for count in try node.ints("vectors_per_class") ?? [] {
      let (end, overflow) = starts[starts.count - 1].addingReportingOverflow(count)
      guard count >= 0, !overflow else { throw node.error("a class of \(count) vectors") }
      starts.append(end)
    }
    let count = starts[starts.count - 1]
    let given = try node.floats("coefficients") ?? []
    let rho = try node.floats("rho") ?? []
    let a = try node.floats("prob_a") ?? []
    let b = try node.floats("prob_b") ?? []
    guard a.count == b.count else { throw node.error("\(a.count) numbers in prob_a, \(b.count) in prob_b") }
    if count > 0 {
      guard starts.count == classes + 1 else { throw node.error("vectors of \(starts.count - 1) classes and \(classes) labels") }
      vectors = try SupportVectors(node, "support_vectors", count: count, columns: columns)
      let (expected, overflow) = count.multipliedReportingOverflow(by: classes - 1)
      guard !overflow, given.count == expected else { throw node.error("\(given.count) coefficients for \(count) vectors of \(classes) classes") }
      guard rho.count == pairs else { throw node.error("\(rho.count) numbers in rho for \(pairs) pairs of classes") }
      guard a.isEmpty || a.count == pairs else { throw node.error("\(a.count) numbers in prob_a for \(pairs) pairs of classes") }
      coefficients = ModelNumbers(given)
      probabilities = a.isEmpty ? nil : PairwiseProbabilities(classes: classes, a: ModelNumbers(a), b: ModelNumbers(b))
      scoreCount = a.isEmpty ? max(2, pairs) : classes
    } else {
      vectors = try SupportVectors(node, "coefficients", count: classes, columns: columns, isPlain: true)
      guard !rho.isEmpty else { throw node.error("no rho") }
      coefficients = nil
      probabilities = nil
      scoreCount = classes
    }
    post = try PostTransform(node)
    // What onnxruntime makes of it has one column that nobody wrote.
    if case .probit = post, count > 0, a.isEmpty, classes == 2 { throw node.error("PROBIT of two classes without probabilities") }
    isPositive = given.allSatisfy { $0 >= 0 }
    hasSigmoids = !a.isEmpty
    self.classes = classes
    self.starts = ModelNumbers(starts)
    self.rho = ModelNumbers(rho)
    self.labels = ModelNumbers(labels.bits)
  }

  private var pairCount: Int { classes * (classes - 1) / 2 }

  override func scratchBytes(_ call: Call) -> Int {
    (vectors.scratchFloats + pairCount + scoreCount + classes + (probabilities?.scratchFloats ?? 0)) * MemoryLayout<Float>.stride
  }

  override func run(_ call: Call) {
    let input = call.input(0)
    let values = call.scratch.assumingMemoryBound(to: Float.self)
    let own = values + vectors.rowsMax * vectors.stride
    var first = 0
    while first < input.rowCount {
      let rows = min(vectors.rowsMax, input.rowCount - first)
      vectors.values(input.floatRows(first, rows, scratch: own), rows: rows, into: values, scratch: call.matrices)
      for row in 0..<rows { finish(call, first &+ row, values + row &* vectors.stride) }
      first &+= rows
    }
  }

  /// Label and scores of one row.
  private func finish(_ call: Call, _ row: Int, _ kernels: UnsafePointer<Float>) {
    let pairs = call.scratch.assumingMemoryBound(to: Float.self) + vectors.scratchFloats
    let ownScores = pairs + pairCount
    let votes = ownScores + scoreCount
    let scores = call.hasOutput(1) ? call.output(1).floats + row &* scoreCount : ownScores
    let label: Int
    if coefficients == nil {
      for index in 0..<classes { scores[index] = kernels[index] + rho[0] }
      label = linearLabel(scores)
      post.apply(scores, classes)
    } else {
      label = vote(kernels, votes, pairs)
      if let probabilities {
        probabilities.couple(pairs, scratch: votes + classes, into: scores)
        post.apply(scores, classes)
      } else if classes == 2 {
        binary(pairs[0], scores)
      } else {
        scores.update(from: pairs, count: pairCount)
        post.apply(scores, pairCount)
      }
    }
    if call.hasOutput(0) { call.output(0).pointer(UInt64.self)[row] = labels[label] }
  }

  /// Two classes without probabilities, as onnxruntime answers: SOFTMAX leaves the second score as it is, the first is what is missing to 1.
  private func binary(_ score: Float, _ scores: UnsafeMutablePointer<Float>) {
    switch post {
    case .none: scores[0] = -score
    case .logistic: scores[0] = PostTransform.logistic(-score)
    default: scores[0] = 1 - score
    }
    if case .logistic = post { scores[1] = PostTransform.logistic(score) } else { scores[1] = score }
  }

  /// What the machine of each pair says, and the class that most of them are for, the first of several.
  private func vote(_ kernels: UnsafePointer<Float>, _ votes: UnsafeMutablePointer<Float>, _ pairs: UnsafeMutablePointer<Float>) -> Int {
    guard let coefficients else { return 0 }
    votes.update(repeating: 0, count: classes)
    var pair = 0
    for first in 0..<classes {
      for second in first &+ 1..<max(first &+ 1, classes) {
        var sum = 0.0
        let ofFirst = coefficients.pointer + (second &- 1) &* vectors.count
        for vector in starts[first]..<starts[first &+ 1] { sum += Double(ofFirst[vector] * kernels[vector]) }
        let ofSecond = coefficients.pointer + first &* vectors.count
        for vector in starts[second]..<starts[second &+ 1] { sum += Double(ofSecond[vector] * kernels[vector]) }
        sum += Double(rho[pair])
        pairs[pair] = Float(sum)
        votes[sum > 0 ? first : second] += 1
        pair &+= 1
      }
    }
    return most(votes)
  }

  /// The greatest score's; of two classes the second one's as soon as any score is above 0, or at least 0.5 when all weights are positive.
  private func linearLabel(_ scores: UnsafePointer<Float>) -> Int {
    let best = most(scores)
    guard classes == 2, !hasSigmoids else { return best }
    return isPositive ? (scores[best] >= 0.5 ? 1 : best) : (scores[best] > 0 ? 1 : best)
  }

  private func most(_ values: UnsafePointer<Float>) -> Int {
    var best = 0
    for place in 1..<classes where values[place] > values[best] { best = place }
    return best
  }
}
