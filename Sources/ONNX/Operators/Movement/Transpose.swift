// Hot: `run` of each batch.
internal import Model

extension MovementOperators {
  /// Transpose: 1, 13, 21.
  static let transpose = ONNXOperator("Transpose", attributes: ["perm"], halves: .itself) { node throws(ONNXError) in
    let type = try node.type(0)
    let order = try transposeOrder(node, rank: type.rank)
    return [TensorType(type.element, order.map { type.shape[$0] })]
  } compile: { node throws(ONNXError) in
    TransposeKernel(order: try transposeOrder(node, rank: try node.type(0).rank))
  }

  private static func transposeOrder(_ node: NodeContext, rank: Int) throws(ONNXError) -> [Int] {
    guard let order = try node.ints("perm"), !(order.isEmpty && rank > 0) else { return Array((0..<rank).reversed()) }
    guard order.sorted() == Array(0..<rank) else { throw node.error("perm \(order) of \(rank) dimensions") }
    return order
  }
}

private final class TransposeKernel: Kernel, @unchecked Sendable {
  let order: [Int]

  init(order: [Int]) { self.order = order }

  override var stateBytes: Int { StridedWalk.byteCount }

  override func prepare(_ call: Call) {
    let walk = StridedWalk(call.state)
    let input = call.input(0)
    let output = call.output()
    walk.begin()
    for axis in 0..<output.rank {
      walk.add(size: output.dims[axis], output.product(axis + 1, output.rank), input.product(order[axis] + 1, input.rank))
    }
  }

  override func run(_ call: Call) {
    let input = call.input(0)
    ElementCopy.run(StridedWalk(call.state), to: call.output().data, from: input.data, bytes: input.element.bytes)
  }
}
