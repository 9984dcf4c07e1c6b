internal import Model

/// MatMul and Gemm: https://onnx.ai/onnx/operators/
enum MatrixOperators {
  static let all: [ONNXOperator] = [matMul, gemm]

  private static let matMul = ONNXOperator(
    "MatMul",
    infer: { (node) throws(ONNXError) in
      let a = try node.type(0)
      let b = try node.type(1)
      guard a.element == b.element, a.element.isNumber else { throw node.error("multiplies \(a.element.onnxName) and \(b.element.onnxName)") }
      return [TensorType(a.element, try product(node, a.shape, b.shape))]
    },
    compile: { (node) throws(ONNXError) in
      if let layer = DenseLayer(node) { return DenseKernel([layer], precision: node.graph.precision) }
      guard let kernel = MatMulMaker().kernel(try node.element(0)) else { throw node.error("does not multiply \(try node.element(0).onnxName)") }
      return kernel
    })

  /// numpy.matmul's rules: the last two dimensions are matrices, one dimension alone is a row on the left and a column on the right.
  static func product(_ node: NodeContext, _ a: Shape, _ b: Shape) throws(ONNXError) -> Shape {
    guard let inner = a.last, !b.isEmpty else { throw node.error("multiplies \(a.text) and \(b.text)") }
    let rows = a.count > 1 ? [a[a.count - 2]] : []
    let columns = b.count > 1 ? [b[b.count - 1]] : []
    guard inner == (b.count > 1 ? b[b.count - 2] : b[0]),
      let batch = Array(a.dropLast(2)).broadcast(with: Array(b.dropLast(2)))
    else { throw node.error("multiplies \(a.text) and \(b.text)") }
    return batch + rows + columns
  }

  private struct MatMulMaker: NumberKernelMaker {
    func make<T: TensorNumber>(_: T.Type) -> Kernel { MatMulKernel<T>() }
  }

  /// y = alpha A' B' + beta C.
  private static let gemm = ONNXOperator(
    "Gemm", attributes: ["alpha", "beta", "transA", "transB"],
    infer: { (node) throws(ONNXError) in
      let a = try node.type(0)
      let b = try node.type(1)
      guard a.element == b.element, a.element.isNumber else { throw node.error("multiplies \(a.element.onnxName) and \(b.element.onnxName)") }
      guard a.rank == 2, b.rank == 2 else { throw node.error("multiplies \(a.shape.text) and \(b.shape.text)") }
      let (transA, transB) = (try node.flag("transA"), try node.flag("transB"))
      guard a.shape[transA ? 0 : 1] == b.shape[transB ? 1 : 0] else { throw node.error("multiplies \(a.shape.text) and \(b.shape.text)") }
      let shape = [a.shape[transA ? 1 : 0], b.shape[transB ? 0 : 1]]
      if node.hasInput(2) {
        let c = try node.type(2)
        guard c.element == a.element, let sum = shape.broadcast(with: c.shape), sum == shape else { throw node.error("adds \(c) to \(shape.text)") }
      }
      return [TensorType(a.element, shape)]
    },
    compile: { (node) throws(ONNXError) in
      if let layer = DenseLayer(node) { return DenseKernel([layer], precision: node.graph.precision) }
      let maker = GemmMaker(
        transA: try node.flag("transA"), transB: try node.flag("transB"), alpha: try node.float("alpha", 1), beta: try node.float("beta", 1))
      guard let kernel = maker.kernel(try node.element(0)) else { throw node.error("does not multiply \(try node.element(0).onnxName)") }
      return kernel
    })

  private struct GemmMaker: NumberKernelMaker {
    let transA: Bool
    let transB: Bool
    let alpha: Float
    let beta: Float
    func make<T: TensorNumber>(_: T.Type) -> Kernel { GemmKernel<T>(transA: transA, transB: transB, alpha: alpha, beta: beta) }
  }
}
