internal import Model

/// Numbers held in few bits: q = saturate(round(x / scale) + zero point), and products of them.
enum QuantizedOperators {
  static let all: [ONNXOperator] = [quantize, dequantize, dynamicQuantize, matMulInteger, quantizedMatMul]

  /// QuantizeLinear: 10, 13 (by axis), 19, 21 (by block, 16 bits), 23.
  static let quantize = ONNXOperator(
    "QuantizeLinear", versions: 10...ONNXOperator.versionMax, attributes: ["axis", "block_size", "saturate", "output_dtype", "precision"]
  ) { node throws(ONNXError) in
    let type = try node.type(0)
    try node.require(0, [.float32, .float16, .bfloat16, .int32])
    try node.require(1, [.float32, .float16, .bfloat16, .int32])
    let element = try quantizedElement(node)
    guard narrow.contains(element) else { throw node.error("quantizes to \(element.onnxName)") }
    guard try node.element(1) != .int32 else { throw node.error("a scale of whole numbers") }
    _ = try Granularity(node, type.shape)
    return [TensorType(element, type.shape)]
  } compile: { node throws(ONNXError) in
    let type = try node.type(0)
    let grain = try Granularity(node, type.shape)
    if type.element == .int32 {
      switch try quantizedElement(node) {
      case .int8: return QuantizeKernel<Int32, Int8>(grain)
      case .uint16: return QuantizeKernel<Int32, UInt16>(grain)
      case .int16: return QuantizeKernel<Int32, Int16>(grain)
      default: return QuantizeKernel<Int32, UInt8>(grain)
      }
    }
    switch try quantizedElement(node) {
    case .int8: return QuantizeKernel<Float, Int8>(grain)
    case .uint16: return QuantizeKernel<Float, UInt16>(grain)
    case .int16: return QuantizeKernel<Float, Int16>(grain)
    default: return QuantizeKernel<Float, UInt8>(grain)
    }
  }

  private static let narrow: Set<TensorElement> = [.uint8, .int8, .uint16, .int16]

  private static func quantizedElement(_ node: NodeContext) throws(ONNXError) -> TensorElement {
    let told = try node.int("output_dtype", 0)
    guard node.hasInput(2) else { return told == 0 ? .uint8 : try node.element("output_dtype", .uint8) }
    let element = try node.element(2)
    guard told == 0 || TensorElement(onnx: told) == element else { throw node.error("output_dtype is not the zero point's type") }
    return element
  }

  /// DequantizeLinear: 10, 13 (by axis), 19, 21 (by block), 23.
  static let dequantize = ONNXOperator(
    "DequantizeLinear", versions: 10...ONNXOperator.versionMax, attributes: ["axis", "block_size", "output_dtype"]
  ) { node throws(ONNXError) in
    let type = try node.type(0)
    try node.require(0, narrow.union([.int32]))
    try node.require(1, [.float32, .float16, .bfloat16])
    if node.hasInput(2), try node.element(2) != type.element { throw node.error("a zero point of another type") }
    _ = try Granularity(node, type.shape)
    let told = try node.int("output_dtype", 0)
    return [TensorType(told == 0 ? try node.element(1) : try node.element("output_dtype", .float32), type.shape)]
  } compile: { node throws(ONNXError) in
    let type = try node.type(0)
    let grain = try Granularity(node, type.shape)
    switch type.element {
    case .int8: return DequantizeKernel<Int8>(grain)
    case .uint16: return DequantizeKernel<UInt16>(grain)
    case .int16: return DequantizeKernel<Int16>(grain)
    case .int32: return DequantizeKernel<Int32>(grain)
    default: return DequantizeKernel<UInt8>(grain)
    }
  }

  /// DynamicQuantizeLinear: 11. All of a tensor at once: over the rows of a batch it is refused, since what one request is answered would
  /// depend on the others. (With the product that follows it, it is fused into one that takes each row for itself.)
  static let dynamicQuantize = ONNXOperator("DynamicQuantizeLinear", versions: 11...ONNXOperator.versionMax) { node throws(ONNXError) in
    let type = try node.type(0)
    try node.require(0, [.float32])
    return [TensorType(.uint8, type.shape), TensorType(.float32, []), TensorType(.uint8, [])]
  } compile: { node throws(ONNXError) in
    guard try node.shape(0).fixedSizes != nil else { throw node.error("quantizes all rows of the batch by one scale") }
    return DynamicQuantizeKernel()
  }

  // MARK: Products

  /// MatMulInteger: 10. Zero points: one, or one for each row of the left and each column of the right operand.
  static let matMulInteger = ONNXOperator("MatMulInteger", versions: 10...ONNXOperator.versionMax) { node throws(ONNXError) in
    try node.require(0, [.uint8, .int8])
    try node.require(1, [.uint8, .int8])
    let shape = try ProductShape(node, try node.shape(0), try node.shape(1))
    for (zero, operand) in [(2, 0), (3, 1)] where node.hasInput(zero) {
      guard try node.element(zero) == node.element(operand) else { throw node.error("a zero point of another type") }
    }
    try shape.check(node, left: 2, right: 3)
    return [TensorType(.int32, shape.output)]
  } compile: { node throws(ONNXError) in
    let shape = try ProductShape(node, try node.shape(0), try node.shape(1))
    if let matrix = try PackedIntegers.matrix(node, operand: 1, zero: 3) { return PackedIntegerProductKernel(matrix) }
    switch (try node.element(0), try node.element(1)) {
    case (.uint8, .uint8): return IntegerProductKernel<UInt8, UInt8>(shape)
    case (.uint8, _): return IntegerProductKernel<UInt8, Int8>(shape)
    case (_, .uint8): return IntegerProductKernel<Int8, UInt8>(shape)
    default: return IntegerProductKernel<Int8, Int8>(shape)
    }
  }

  /// QLinearMatMul: 10, 21 (half scales).
  static let quantizedMatMul = ONNXOperator("QLinearMatMul", versions: 10...ONNXOperator.versionMax) { node throws(ONNXError) in
    for operand in [0, 3, 7] { try node.require(operand, [.uint8, .int8]) }
    for scale in [1, 4, 6] { try node.require(scale, [.float32, .float16, .bfloat16]) }
    guard try node.element(2) == node.element(0), try node.element(5) == node.element(3) else { throw node.error("a zero point of another type") }
    let shape = try ProductShape(node, try node.shape(0), try node.shape(3))
    try shape.check(node, left: 1, right: 4)
    try shape.check(node, left: 2, right: 5)
    for index in [6, 7] where try node.shape(index).elementCount != Dimension(1) { throw node.error("an output scale for each row") }
    return [TensorType(try node.element(7), shape.output)]
  } compile: { node throws(ONNXError) in
    let shape = try ProductShape(node, try node.shape(0), try node.shape(3))
    let isSigned = try node.element(7) == .int8
    if let matrix = try PackedIntegers.matrix(node, operand: 3, zero: 5) { return PackedQuantizedProductKernel(matrix, isSigned: isSigned) }
    switch (try node.element(0), try node.element(3)) {
    case (.uint8, .uint8): return QuantizedProductKernel<UInt8, UInt8>(shape, isSigned: isSigned)
    case (.uint8, _): return QuantizedProductKernel<UInt8, Int8>(shape, isSigned: isSigned)
    case (_, .uint8): return QuantizedProductKernel<Int8, UInt8>(shape, isSigned: isSigned)
    default: return QuantizedProductKernel<Int8, Int8>(shape, isSigned: isSigned)
    }
  }
}

/// Which elements share a scale: all, those of one place of an axis, or blocks along it.
struct Granularity: Sendable {
  enum Kind: Sendable { case tensor, axis, block }
  var kind = Kind.tensor
  var axis = 0
  var block = 1

  init(_ node: NodeContext, _ shape: Shape) throws(ONNXError) {
    let scale = try node.shape(1)
    if node.hasInput(2), try node.shape(2) != scale, !(try node.shape(2).elementCount == Dimension(1) && scale.elementCount == Dimension(1)) {
      throw node.error("zero points \(try node.shape(2).text) for scales \(scale.text)")
    }
    let block = try node.int("block_size", 0)
    if scale.elementCount == Dimension(1) && block == 0 { return }
    guard !shape.isEmpty else { throw node.error("scales \(scale.text) for a scalar") }
    axis = try node.axis(try node.int("axis", 1), rank: shape.count)
    guard let size = shape[axis].fixed else { throw node.error("a scale for each row of the batch") }
    if block == 0 {
      guard scale == [Dimension(size)] else { throw node.error("scales \(scale.text) for \(shape.text) by axis \(axis)") }
      kind = .axis
      return
    }
    guard block > 0, block <= ONNXLimits.elementsMax, scale.count == shape.count, scale[axis].fixed == (size + block - 1) / block
    else { throw node.error("scales \(scale.text) for \(shape.text) in blocks of \(block)") }
    for other in shape.indices where other != axis && scale[other] != shape[other] { throw node.error("scales \(scale.text) for \(shape.text) in blocks") }
    kind = .block
    self.block = block
  }
}
