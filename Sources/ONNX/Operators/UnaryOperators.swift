internal import Model

/// Elementwise operators of one input: https://onnx.ai/onnx/operators/
enum UnaryOperators {
  static let all: [ONNXOperator] =
    [
      floating("Sqrt", .squareRoot), floating("Exp", .exponential), floating("Log", .logarithm), floating("Sigmoid", .sigmoid),
      floating("Tanh", .tanh), floating("Softplus", .softplus), floating("Softsign", .softsign), floating("Erf", .erf),
      floating("Floor", .floor), floating("Ceil", .ceil), floating("Round", .round), floating("Reciprocal", .reciprocal),
      floating("HardSwish", .hardSwish),
      floating("LeakyRelu", .leakyRelu, alpha: ("alpha", 0.01)), floating("Elu", .elu, alpha: ("alpha", 1)),
      floating("Selu", .selu, alpha: ("alpha", 1.67326319217681884765625), beta: ("gamma", 1.05070102214813232421875)),
      floating("HardSigmoid", .hardSigmoid, alpha: ("alpha", 0.2), beta: ("beta", 0.5)),
      floating("ThresholdedRelu", .thresholdedRelu, alpha: ("alpha", 1)), floating("Celu", .celu, alpha: ("alpha", 1)),
      floating("Swish", .swish, alpha: ("alpha", 1)),
      floating("Sin", .sine), floating("Cos", .cosine), floating("Tan", .tangent), floating("Atan", .arcTangent),
      floating("Sinh", .hyperbolicSine), floating("Cosh", .hyperbolicCosine),
      anyNumber("Relu", .relu), anyNumber("Abs", .magnitude), anyNumber("Neg", .negate), anyNumber("Sign", .sign),
      gelu, clip,
    ]

  private static func floating(
    _ name: String, _ function: UnaryFunction, alpha: (name: String, usual: Float)? = nil, beta: (name: String, usual: Float)? = nil
  ) -> ONNXOperator {
    let names = [alpha?.name, beta?.name].compactMap { $0 }
    // Operator sets before 6 wrote consumed_inputs, which says nothing any more.
    return ONNXOperator(
      name, attributes: Set(names),
      infer: { (node) throws(ONNXError) in
        let input = try node.type(0)
        guard input.element.isFloating || (name == "Erf" && input.element.isNumber) else { throw node.error("does not take \(input.element.onnxName)") }
        return [input]
      },
      compile: { (node) throws(ONNXError) in
        var (a, b): (Float, Float) = (0, 0)
        if let alpha { a = try node.float(alpha.name, alpha.usual) }
        if let beta { b = try node.float(beta.name, beta.usual) }
        return try kernel(node, function, alpha: Double(a), beta: Double(b))
      })
  }

  private static func anyNumber(_ name: String, _ function: UnaryFunction) -> ONNXOperator {
    ONNXOperator(
      name,
      infer: { (node) throws(ONNXError) in
        let input = try node.type(0)
        guard input.element.isNumber else { throw node.error("does not take \(input.element.onnxName)") }
        return [input]
      },
      compile: { (node) throws(ONNXError) in try kernel(node, function) })
  }

  private static let gelu = ONNXOperator(
    "Gelu", attributes: ["approximate"],
    infer: { (node) throws(ONNXError) in
      let input = try node.type(0)
      guard input.element.isFloating else { throw node.error("does not take \(input.element.onnxName)") }
      let form = try node.string("approximate", "none")
      guard form == "none" || form == "tanh" else { throw node.error("approximate \"\(form)\" is not supported") }
      return [input]
    },
    compile: { (node) throws(ONNXError) in try kernel(node, try node.string("approximate", "none") == "tanh" ? .geluTanh : .gelu) })

  static func kernel(_ node: NodeContext, _ function: UnaryFunction, alpha: Double = 0, beta: Double = 0) throws(ONNXError) -> Kernel {
    guard let kernel = function.kernel(try node.element(0), alpha: alpha, beta: beta) else {
      throw node.error("does not take \(try node.element(0).onnxName)")
    }
    return kernel
  }

  /// Bounds are attributes before operator set 11 and optional inputs since.
  private static let clip = ONNXOperator(
    "Clip", attributes: ["min", "max"],
    infer: { (node) throws(ONNXError) in
      let input = try node.type(0)
      guard input.element.isNumber else { throw node.error("does not take \(input.element.onnxName)") }
      for index in 1...2 where node.hasInput(index) {
        let bound = try node.type(index)
        guard bound.element == input.element, bound.shape.elementCount == Dimension(1) else { throw node.error("bound \(index) of type \(bound)") }
      }
      return [input]
    },
    compile: { (node) throws(ONNXError) in
      let element = try node.element(0)
      let isKnown = (1...2).allSatisfy { !node.hasInput($0) || node.constant($0) != nil }
      if isKnown, element == .float32 || element == .float64 {
        let (least, greatest) = (Double(try node.float("min", -.infinity)), Double(try node.float("max", .infinity)))
        let low = node.constant(1)?.doubles?.first ?? least
        let high = node.constant(2)?.doubles?.first ?? greatest
        return try kernel(node, .clip, alpha: low, beta: high)
      }
      switch element {
      case .float32: return ClipKernel<Float>(low: try node.float("min"), high: try node.float("max"))
      case .float64: return ClipKernel<Double>(low: nil, high: nil)
      case .int64: return ClipKernel<Int64>(low: nil, high: nil)
      case .int32: return ClipKernel<Int32>(low: nil, high: nil)
      case .int16: return ClipKernel<Int16>(low: nil, high: nil)
      case .int8: return ClipKernel<Int8>(low: nil, high: nil)
      case .uint64: return ClipKernel<UInt64>(low: nil, high: nil)
      case .uint32: return ClipKernel<UInt32>(low: nil, high: nil)
      case .uint16: return ClipKernel<UInt16>(low: nil, high: nil)
      case .uint8: return ClipKernel<UInt8>(low: nil, high: nil)
      default: throw node.error("does not take \(element.onnxName)")
      }
    })
}
