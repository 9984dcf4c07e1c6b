internal import Model

/// Softmax, LogSoftmax, BatchNormalization, LayerNormalization: https://onnx.ai/onnx/operators/
enum NormalizationOperators {
  static let all: [ONNXOperator] = [softmax("Softmax", isLogarithm: false), softmax("LogSoftmax", isLogarithm: true), batch, layer]

  /// Before operator set 13 the dimensions from `axis` on (1) are one; since, one dimension alone (the last).
  private static func softmax(_ name: String, isLogarithm: Bool) -> ONNXOperator {
    ONNXOperator(
      name, attributes: ["axis"],
      infer: { (node) throws(ONNXError) in
        let input = try node.type(0)
        guard input.element.isFloating else { throw node.error("does not take \(input.element.onnxName)") }
        let axis = try softmaxAxis(node, input)
        if input.rank > 0, input.shape[axis].isRows { throw node.error("mixes the rows of a batch (axis \(axis) of \(input.shape.text))") }
        return [input]
      },
      compile: { (node) throws(ONNXError) in
        let input = try node.type(0)
        let axis = try softmaxAxis(node, input)
        let joins = node.version < 13
        return input.element == .float64
          ? SoftmaxKernel<Double>(axis: axis, joins: joins, isLogarithm: isLogarithm)
          : SoftmaxKernel<Float>(axis: axis, joins: joins, isLogarithm: isLogarithm)
      })
  }

  private static func softmaxAxis(_ node: NodeContext, _ input: TensorType) throws(ONNXError) -> Int {
    let given = try node.int("axis", node.version < 13 ? 1 : -1)
    if node.version < 13, given == input.rank { return max(0, input.rank - 1) }
    return try node.axis(given, rank: max(1, input.rank))
  }

  private static let batch = ONNXOperator(
    "BatchNormalization", versions: 7...ONNXOperator.versionMax, attributes: ["epsilon", "momentum", "spatial", "training_mode"],
    infer: { (node) throws(ONNXError) in
      let input = try node.type(0)
      guard input.element == .float32 || input.element == .float64 || input.element.isHalf else { throw node.error("does not take \(input.element.onnxName)") }
      guard try !node.flag("training_mode") else { throw node.error("is in training mode") }
      guard try node.flag("spatial", true) else { throw node.error("spatial=0 is not supported") }
      guard input.rank >= 1 else { throw node.error("of a single number") }
      let channels = input.rank > 1 ? input.shape[1] : Dimension(1)
      for index in 1...4 {
        let given = try node.type(index)
        guard given.shape == [channels], given.element.isFloating else { throw node.error("input \(index) of type \(given) for \(input)") }
      }
      return [input] + (1..<max(1, node.outputCount)).map { _ in TensorType(input.element, [channels]) }
    },
    compile: { (node) throws(ONNXError) in
      for index in 1..<max(1, node.outputCount) where node.hasOutput(index) { throw node.error("output \(index) is for training") }
      let epsilon = try node.float("epsilon", 1e-5)
      if try node.element(0) == .float32, let affine = BatchAffine(node) { return ChannelAffineKernel(scale: affine.scale, shift: affine.shift) }
      for index in 1...4 { guard try node.element(index) == node.element(0) else { throw node.error("input \(index) is \(try node.element(index).onnxName)") } }
      return try node.element(0) == .float64 ? BatchNormalizationKernel<Double>(epsilon: epsilon) : BatchNormalizationKernel<Float>(epsilon: epsilon)
    })

  /// BatchNormalization with known parameters: y = x * scale + shift for each channel. Computed in double precision.
  struct BatchAffine {
    var scale: [Float] = []
    var shift: [Float] = []

    init?(_ node: NodeContext) {
      guard let gamma = node.constant(1)?.doubles, let beta = node.constant(2)?.doubles, let mean = node.constant(3)?.doubles,
        let variance = node.constant(4)?.doubles, let epsilon = try? node.float("epsilon", 1e-5)
      else { return nil }
      for channel in gamma.indices {
        let factor = gamma[channel] / (variance[channel] + Double(epsilon)).squareRoot()
        scale.append(Float(factor))
        shift.append(Float(beta[channel] - mean[channel] * factor))
      }
    }
  }

  private static let layer = ONNXOperator(
    "LayerNormalization", attributes: ["axis", "epsilon", "stash_type"], optionalOutputs: [1, 2],
    infer: { (node) throws(ONNXError) in
      let input = try node.type(0)
      guard input.element == .float32 || input.element == .float64 || input.element.isHalf else { throw node.error("does not take \(input.element.onnxName)") }
      let axis = try node.axis(try node.int("axis", -1), rank: max(1, input.rank))
      for index in 1...2 where node.hasInput(index) {
        let given = try node.type(index)
        guard given.element == input.element, Array(input.shape[axis...]).broadcast(with: given.shape) == Array(input.shape[axis...]) else {
          throw node.error("input \(index) of type \(given) for \(input)")
        }
      }
      for dimension in input.shape[axis...] where dimension.isRows { throw node.error("mixes the rows of a batch (axis \(axis) of \(input.shape.text))") }
      let reduced = Array(input.shape[..<axis]) + input.shape[axis...].map { _ in Dimension(1) }
      let stash: TensorElement = input.element == .float64 ? .float64 : .float32
      return [input, TensorType(stash, reduced), TensorType(stash, reduced)]
    },
    compile: { (node) throws(ONNXError) in
      let input = try node.type(0)
      let axis = try node.axis(try node.int("axis", -1), rank: max(1, input.rank))
      let normalized = Array(input.shape[axis...])
      let epsilon = try node.float("epsilon", 1e-5)
      let isWhole = (1...2).allSatisfy { !node.hasInput($0) || (try? node.shape($0))?.elementCount == normalized.elementCount }
      if input.element == .float32, node.hasInput(1), isWhole { return FloatLayerNormalizationKernel(axis: axis, epsilon: epsilon) }
      return input.element == .float64
        ? LayerNormalizationKernel<Double>(axis: axis, epsilon: epsilon) : LayerNormalizationKernel<Float>(axis: axis, epsilon: epsilon)
    })
}
