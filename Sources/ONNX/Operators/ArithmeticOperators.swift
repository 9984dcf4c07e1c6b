internal import Model

/// Add, Sub, Mul, Div, Pow, Mod, PRelu: https://onnx.ai/onnx/operators/
enum ArithmeticOperators {
  static let all: [ONNXOperator] = [
    binary("Add", .add), binary("Sub", .subtract), binary("Mul", .multiply), binary("Div", .divide), power, modulo, slope,
  ]

  /// Same element on both sides, shapes broadcast.
  private static func binary(_ name: String, _ function: BinaryFunction) -> ONNXOperator {
    ONNXOperator(
      name, infer: { (node) throws(ONNXError) in [try type(node)] },
      compile: { (node) throws(ONNXError) in try kernel(node, function) },
      dimensions: { (node) throws(ONNXError) in ShapeArithmetic.binary(node, function) })
  }

  private static func type(_ node: NodeContext) throws(ONNXError) -> TensorType {
    let a = try node.type(0)
    let b = try node.type(1)
    guard a.element == b.element else { throw node.error("inputs of \(a.element.onnxName) and \(b.element.onnxName)") }
    guard a.element.isNumber else { throw node.error("does not take \(a.element.onnxName)") }
    return TensorType(a.element, try node.broadcast(a.shape, b.shape))
  }

  private static func kernel(_ node: NodeContext, _ function: BinaryFunction) throws(ONNXError) -> Kernel {
    guard let kernel = BinaryFunction.kernel(function, element: try node.element(0)) else { throw node.error("does not take its elements") }
    return kernel
  }

  /// The exponent may be of another type; the base's is that of the result.
  private static let power = ONNXOperator(
    "Pow",
    infer: { (node) throws(ONNXError) in
      let a = try node.type(0)
      let b = try node.type(1)
      guard a.element.isNumber, b.element.isNumber else { throw node.error("does not take \(a.element.onnxName) and \(b.element.onnxName)") }
      return [TensorType(a.element, try node.broadcast(a.shape, b.shape))]
    },
    compile: { (node) throws(ONNXError) in
      let a = try node.type(0)
      let b = try node.type(1)
      if a.element == .float32, let exponent = node.constant(1), exponent.count == 1, try node.outputType(0).shape == a.shape {
        switch exponent.doubles?.first {
        case 1: return ViewKernel()
        case 2: return FloatUnaryKernel(.square, alpha: 0, beta: 0)
        case 0.5: return FloatUnaryKernel(.squareRoot, alpha: 0, beta: 0)
        case -1: return FloatUnaryKernel(.reciprocal, alpha: 0, beta: 0)
        default: break
        }
      }
      return a.element == b.element ? try kernel(node, .power) : AnyPowerKernel()
    })

  private static let modulo = ONNXOperator(
    "Mod", attributes: ["fmod"],
    infer: { (node) throws(ONNXError) in
      let type = try type(node)
      if type.element.isFloating, try !node.flag("fmod") { throw node.error("of floats needs fmod=1") }
      return [type]
    },
    compile: { (node) throws(ONNXError) in try kernel(node, try node.flag("fmod") ? .remainder : .modulo) })

  private static let slope = ONNXOperator(
    "PRelu",
    infer: { (node) throws(ONNXError) in
      let type = try type(node)
      guard type.shape == (try node.shape(0)) else { throw node.error("slope of shape \(try node.shape(1).text) for \(try node.shape(0).text)") }
      return [type]
    },
    compile: { (node) throws(ONNXError) in try kernel(node, .slope) })
}
