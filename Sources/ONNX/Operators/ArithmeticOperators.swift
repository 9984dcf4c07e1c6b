internal import Model

/// Add, Sub, Mul, Div, Pow, Mod, PRelu: https://onnx.ai/onnx/operators/
enum ArithmeticOperators {
  static let all: [ONNXOperator] = [
    binary("Add", .add), binary("Sub", .subtract), binary("Mul", .multiply), binary("Div", .divide),
  ]

  /// Same element on both sides, shapes broadcast.
  static func binary(_ name: String, _ function: BinaryFunction) -> ONNXOperator {
    ONNXOperator(
      name,
      infer: { (node) throws(ONNXError) in
        let a = try node.type(0)
        let b = try node.type(1)
        guard a.element == b.element else { throw node.error("adds \(a.element.onnxName) and \(b.element.onnxName)") }
        guard a.element.isNumber else { throw node.error("does not take \(a.element.onnxName)") }
        return [TensorType(a.element, try node.broadcast(a.shape, b.shape))]
      },
      compile: { (node) throws(ONNXError) in
        guard let kernel = BinaryFunction.kernel(function, element: try node.element(0)) else { throw node.error("does not take its elements") }
        return kernel
      },
      dimensions: { (node) throws(ONNXError) in ShapeArithmetic.binary(node, function) })
  }
}
