// Hot: `run` of each batch.
internal import Model

extension MovementOperators {
  /// Concat: 4 (axis must be given), 11 (negative axis), 13.
  static let concat = ONNXOperator("Concat", attributes: ["axis"], halves: .itself) { node throws(ONNXError) in
    let first = try node.type(0)
    let axis = try concatAxis(node, rank: first.rank)
    var shape = first.shape
    for index in 1..<max(1, node.inputCount) {
      let type = try node.type(index)
      guard type.element == first.element else { throw node.error("input \(index) is \(type.element.onnxName), input 0 \(first.element.onnxName)") }
      guard type.rank == first.rank else { throw node.error("input \(index) has \(type.rank) dimensions, input 0 \(first.rank)") }
      for other in 0..<first.rank where other != axis && type.shape[other] != first.shape[other] {
        throw node.error("shapes \(first.shape.text) and \(type.shape.text) differ in dimension \(other)")
      }
      guard let sum = shape[axis].plus(type.shape[axis]) else { throw node.error("joins \(shape[axis]) and \(type.shape[axis])") }
      shape[axis] = sum
    }
    // Rows of several inputs, one after the other: the rows of requests would not stay together.
    guard node.inputCount < 2 || !shape[axis].isRows else { throw node.error("joins along the rows of the batch") }
    _ = try node.elementCount(shape)
    return [TensorType(first.element, shape)]
  } compile: { node throws(ONNXError) in
    ConcatKernel(axis: try concatAxis(node, rank: try node.type(0).rank))
  } dimensions: { node throws(ONNXError) in
    guard try node.type(0).rank == 1 else { return nil }
    var all: [Dimension] = []
    for index in 0..<node.inputCount {
      guard let part = node.dimensions(index) else { return nil }
      all += part
    }
    return all
  }

  private static func concatAxis(_ node: NodeContext, rank: Int) throws(ONNXError) -> Int {
    guard let given = try node.int("axis") else { throw node.error("has no axis") }
    guard rank > 0 else { throw node.error("joins scalars") }
    return try node.axis(given, rank: rank)
  }
}

private final class ConcatKernel: Kernel, @unchecked Sendable {
  let axis: Int

  init(axis: Int) { self.axis = axis }

  override func run(_ call: Call) {
    let output = call.output()
    let outer = output.product(0, axis)
    let stride = output.product(axis, output.rank) &* output.element.bytes
    var start = output.data
    for index in 0..<call.inputCount {
      let input = call.input(index)
      let block = input.product(axis, input.rank) &* input.element.bytes
      if block > 0 {
        var row = 0
        while row < outer {
          (start + row &* stride).copyMemory(from: input.data + row &* block, byteCount: block)
          row &+= 1
        }
      }
      start += block
    }
  }
}
