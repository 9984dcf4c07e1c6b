// Hot: `run` of each batch.
internal import Model

extension MovementOperators {
  /// OneHot: 9, 11 (negative axis). The depth must be known at load; indices may be of any number type, and count from the end when negative.
  static let oneHot = ONNXOperator(
    "OneHot", versions: 9...ONNXOperator.versionMax, attributes: ["axis"], constantInputs: [1], halves: .itself
  ) { node throws(ONNXError) in
    let indices = try node.type(0)
    try node.require(0, [.float32, .float64, .int8, .int16, .int32, .int64, .uint8, .uint16, .uint32, .uint64])
    let depth = try oneHotDepth(node)
    let values = try node.type(2)
    guard values.shape == [Dimension(2)] else { throw node.error("values of shape \(values.shape.text) instead of [2]") }
    let axis = try node.axis(try node.int("axis", -1), rank: indices.rank + 1)
    var shape = indices.shape
    shape.insert(Dimension(depth), at: axis)
    guard shape.count <= ONNXLimits.rankMax else { throw node.error("\(shape.count) dimensions") }
    _ = try node.elementCount(shape)
    return [TensorType(values.element, shape)]
  } compile: { node throws(ONNXError) in
    let axis = try node.axis(try node.int("axis", -1), rank: try node.type(0).rank + 1)
    let depth = try oneHotDepth(node)
    switch try node.element(0) {
    case .float32: return OneHotKernel<Float>(axis: axis, depth: depth) { Int(truncating: Double($0)) }
    case .float64: return OneHotKernel<Double>(axis: axis, depth: depth) { Int(truncating: $0) }
    case .int8: return OneHotKernel<Int8>(axis: axis, depth: depth) { Int($0) }
    case .int16: return OneHotKernel<Int16>(axis: axis, depth: depth) { Int($0) }
    case .int32: return OneHotKernel<Int32>(axis: axis, depth: depth) { Int($0) }
    case .uint8: return OneHotKernel<UInt8>(axis: axis, depth: depth) { Int($0) }
    case .uint16: return OneHotKernel<UInt16>(axis: axis, depth: depth) { Int($0) }
    case .uint32: return OneHotKernel<UInt32>(axis: axis, depth: depth) { Int($0) }
    case .uint64: return OneHotKernel<UInt64>(axis: axis, depth: depth) { Int(clamping: $0) }
    default: return OneHotKernel<Int64>(axis: axis, depth: depth) { Int($0) }
    }
  }

  private static func oneHotDepth(_ node: NodeContext) throws(ONNXError) -> Int {
    guard let values = node.constant(1)?.doubles, values.count == 1, values[0] >= 0, values[0] <= Double(ONNXLimits.elementsMax) else {
      throw node.error("its depth must be one number, known at load")
    }
    return Int(values[0])
  }
}

extension Int {
  /// Towards zero; what no Int holds becomes the smallest one, which is no index of anything.
  init(truncating value: Double) { self = abs(value) < 0x1p62 ? Int(value) : .min }
}

private final class OneHotKernel<Index: BitwiseCopyable>: Kernel, @unchecked Sendable {
  let axis: Int
  let depth: Int
  let index: (Index) -> Int

  init(axis: Int, depth: Int, index: @escaping (Index) -> Int) {
    self.axis = axis
    self.depth = depth
    self.index = index
  }

  override func run(_ call: Call) {
    let indices = call.input(0)
    let output = call.output()
    let values = call.input(2)
    let bytes = output.element.bytes
    ElementCopy.run(output.data, 1, values.data, 0, output.count, bytes: bytes)
    let outer = indices.product(0, axis)
    let inner = indices.product(axis, indices.rank)
    let at = indices.pointer(Index.self)
    for row in 0..<outer {
      for column in 0..<inner {
        let value = index(at[row &* inner &+ column])
        let place = value < 0 ? value &+ depth : value
        if place >= 0 && place < depth {
          ElementCopy.run(output.data + ((row &* depth &+ place) &* inner &+ column) &* bytes, 1, values.data + bytes, 1, 1, bytes: bytes)
        }
      }
    }
  }
}
