// Hot where it says Kernel.
internal import Model

/// Cast: https://onnx.ai/onnx/operators/onnx__Cast.html
enum CastOperator {
  static let all: [ONNXOperator] = [operation, like]

  static let operation = ONNXOperator(
    "Cast", attributes: ["to", "saturate", "round_mode"], halves: .itself,
    infer: { (node) throws(ONNXError) in
      guard node.has("to") else { throw node.error("has no attribute to") }
      return [try type(node, try node.element("to", .float32))]
    },
    compile: { (node) throws(ONNXError) in kernel(from: try node.element(0), to: try node.outputType(0).element) },
    dimensions: { (node) throws(ONNXError) in node.constant(0) == nil ? node.dimensions(0) : nil })

  static let like = ONNXOperator(
    "CastLike", attributes: ["saturate", "round_mode"], halves: .itself,
    infer: { (node) throws(ONNXError) in [try type(node, try node.element(1))] },
    compile: { (node) throws(ONNXError) in kernel(from: try node.element(0), to: try node.outputType(0).element) })

  private static func type(_ node: NodeContext, _ element: TensorElement) throws(ONNXError) -> TensorType {
    let input = try node.type(0)
    guard (element == .text) == (input.element == .text) else {
      throw node.error("casts \(input.element.onnxName) to \(element.onnxName), which is not supported")
    }
    return TensorType(element, input.shape)
  }

  /// A node for graphs that are being rewritten.
  static func node(from input: Int, to output: Int, _ element: TensorElement, name: String) -> Node {
    Node(
      name: name, operation: operation, version: ONNXOperator.versionMax, inputs: [input], outputs: [output],
      attributes: ["to": .int(element.onnxCode)], kernel: nil)
  }

  static func kernel(from: TensorElement, to: TensorElement) -> Kernel {
    switch (from, to) {
    case _ where from == to: ViewKernel()
    case (.float32, .float64): CastKernel<Float, Double> { Double($0) }
    case (.float64, .float32): CastKernel<Double, Float> { Float($0) }
    case (.int64, .float32): CastKernel<Int64, Float> { Float($0) }
    case (.int32, .float32): CastKernel<Int32, Float> { Float($0) }
    case (.boolean, .float32), (.uint8, .float32): CastKernel<UInt8, Float> { Float($0) }
    case (.float32, .int64): CastKernel<Float, Int64> { Conversion.integer(Double($0)) }
    case (.int64, .int32): CastKernel<Int64, Int32> { Int32(truncatingIfNeeded: $0) }
    case (.int32, .int64): CastKernel<Int32, Int64> { Int64($0) }
    case (.float16, .float32): CastKernel<UInt16, Float> { HalfFloat.float(fromHalf: $0) }
    case (.float32, .float16): CastKernel<Float, UInt16> { HalfFloat.half($0) }
    case (.bfloat16, .float32): CastKernel<UInt16, Float> { HalfFloat.float(fromBfloat: $0) }
    case (.float32, .bfloat16): CastKernel<Float, UInt16> { HalfFloat.bfloat($0) }
    default: AnyCastKernel(from: from, to: to)
    }
  }
}

final class CastKernel<From: BitwiseCopyable, To: BitwiseCopyable>: Kernel, @unchecked Sendable {
  private let convert: @Sendable (From) -> To
  init(_ convert: @escaping @Sendable (From) -> To) { self.convert = convert }

  override func run(_ call: Call) {
    let x = call.input(0).pointer(From.self)
    let y = call.output().pointer(To.self)
    for index in 0..<call.output().count { y[index] = convert(x[index]) }
  }
}

/// Rare pairs: by way of 64 bits.
final class AnyCastKernel: Kernel, @unchecked Sendable {
  private let from: TensorElement
  private let to: TensorElement

  init(from: TensorElement, to: TensorElement) {
    self.from = from
    self.to = to
  }

  override func run(_ call: Call) {
    let (x, y, count) = (call.input(0).data, call.output().data, call.output().count)
    if from.isFloating || to.isFloating {
      for index in 0..<count { Conversion.store(Conversion.double(x, index, from), y, index, to) }
    } else {
      for index in 0..<count { Conversion.store(Conversion.integer(x, index, from), y, index, to) }
    }
  }
}

/// Single elements of any number type.
enum Conversion {
  /// Towards zero; what does not fit is the nearest that does, NaN is 0.
  @inline(__always) static func integer(_ value: Double) -> Int64 {
    if value >= 9.2233720368547758e18 { return .max }
    if value <= -9.2233720368547758e18 { return .min }
    return value.isNaN ? 0 : Int64(value)
  }

  static func double(_ p: UnsafeRawPointer, _ index: Int, _ element: TensorElement) -> Double {
    switch element {
    case .float32: Double(p.assumingMemoryBound(to: Float.self)[index])
    case .float64: p.assumingMemoryBound(to: Double.self)[index]
    case .float16: Double(HalfFloat.float(fromHalf: p.assumingMemoryBound(to: UInt16.self)[index]))
    case .bfloat16: Double(HalfFloat.float(fromBfloat: p.assumingMemoryBound(to: UInt16.self)[index]))
    case .uint64: Double(p.assumingMemoryBound(to: UInt64.self)[index])
    default: Double(integer(p, index, element))
    }
  }

  static func integer(_ p: UnsafeRawPointer, _ index: Int, _ element: TensorElement) -> Int64 {
    switch element {
    case .int64, .uint64, .text: p.assumingMemoryBound(to: Int64.self)[index]
    case .int32: Int64(p.assumingMemoryBound(to: Int32.self)[index])
    case .int16: Int64(p.assumingMemoryBound(to: Int16.self)[index])
    case .int8: Int64(p.assumingMemoryBound(to: Int8.self)[index])
    case .uint32: Int64(p.assumingMemoryBound(to: UInt32.self)[index])
    case .uint16: Int64(p.assumingMemoryBound(to: UInt16.self)[index])
    case .uint8: Int64(p.assumingMemoryBound(to: UInt8.self)[index])
    case .boolean: p.assumingMemoryBound(to: UInt8.self)[index] == 0 ? 0 : 1
    default: integer(double(p, index, element))
    }
  }

  static func store(_ value: Double, _ p: UnsafeMutableRawPointer, _ index: Int, _ element: TensorElement) {
    switch element {
    case .float32: p.assumingMemoryBound(to: Float.self)[index] = Float(value)
    case .float64: p.assumingMemoryBound(to: Double.self)[index] = value
    // By way of single precision, as other runtimes do.
    case .float16: p.assumingMemoryBound(to: UInt16.self)[index] = HalfFloat.half(Float(value))
    case .bfloat16: p.assumingMemoryBound(to: UInt16.self)[index] = HalfFloat.bfloat(Float(value))
    case .boolean: p.assumingMemoryBound(to: UInt8.self)[index] = value == 0 ? 0 : 1
    case .uint64: p.assumingMemoryBound(to: UInt64.self)[index] = value >= 9.2233720368547758e18 ? UInt64(min(value, 1.8446744073709549e19)) : UInt64(bitPattern: integer(value))
    default: store(integer(value), p, index, element)
    }
  }

  static func store(_ value: Int64, _ p: UnsafeMutableRawPointer, _ index: Int, _ element: TensorElement) {
    switch element {
    case .int64, .uint64, .text: p.assumingMemoryBound(to: Int64.self)[index] = value
    case .int32, .uint32: p.assumingMemoryBound(to: Int32.self)[index] = Int32(truncatingIfNeeded: value)
    case .int16, .uint16: p.assumingMemoryBound(to: Int16.self)[index] = Int16(truncatingIfNeeded: value)
    case .int8, .uint8: p.assumingMemoryBound(to: Int8.self)[index] = Int8(truncatingIfNeeded: value)
    case .boolean: p.assumingMemoryBound(to: UInt8.self)[index] = value == 0 ? 0 : 1
    default: store(Double(value), p, index, element)
    }
  }
}
