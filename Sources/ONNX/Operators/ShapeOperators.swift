internal import Model

/// Operators that only say how bytes are read: Reshape, Flatten, Squeeze, Unsqueeze, Shape, Identity. https://onnx.ai/onnx/operators/
enum ShapeOperators {
  static let all: [ONNXOperator] = [reshape, shape]

  static let reshape = ONNXOperator(
    "Reshape", attributes: ["allowzero", "shape"], constantInputs: [1], halves: .itself,
    infer: { (node) throws(ONNXError) in
      let input = try node.type(0)
      let count = try node.elementCount(input.shape)
      var target: [Dimension] = []
      var open: Int?
      if let known = node.constant(1)?.integers {
        for (axis, size) in known.enumerated() {
          if size == -1 {
            guard open == nil else { throw node.error("shape \(known) is open in more than one dimension") }
            open = axis
            target.append(Dimension(1))
          } else if size == 0, try !node.flag("allowzero") {
            guard axis < input.rank else { throw node.error("shape \(known) keeps dimension \(axis) of \(input.shape.text)") }
            target.append(input.shape[axis])
          } else {
            guard size >= 0 else { throw node.error("shape \(known)") }
            target.append(Dimension(size))
          }
        }
      } else if let known = node.dimensions(1) {
        target = known
      } else {
        throw node.error("its shape must be known at load")
      }
      if let open {
        guard let rest = target.elementCount, let size = count.divided(by: rest) else {
          throw node.error("cannot read \(input.shape.text) as \(target.text) with dimension \(open) open")
        }
        target[open] = size
      }
      guard target.elementCount == count else { throw node.error("cannot read \(input.shape.text) as \(target.text)") }
      return [TensorType(input.element, target)]
    },
    compile: { (_) throws(ONNXError) in ViewKernel() },
    dimensions: viewed)

  /// A view of shape arithmetic holds the same.
  static let viewed: @Sendable (NodeContext) throws(ONNXError) -> [Dimension]? = { (node) throws(ONNXError) in
    node.constant(0) == nil ? node.dimensions(0) : nil
  }

  static let shape = ONNXOperator(
    "Shape", attributes: ["start", "end"], halves: .itself,
    infer: { (node) throws(ONNXError) in
      let range = try shapeRange(node)
      return [TensorType(.int64, [Dimension(range.count)])]
    },
    compile: { (node) throws(ONNXError) in ShapeKernel(range: try shapeRange(node)) },
    dimensions: { (node) throws(ONNXError) in Array(try node.shape(0)[try shapeRange(node)]) })

  private static func shapeRange(_ node: NodeContext) throws(ONNXError) -> Range<Int> {
    let rank = try node.type(0).rank
    func bound(_ value: Int) -> Int { min(rank, max(0, value < 0 ? value + rank : value)) }
    let start = bound(max(-ONNXLimits.rankMax, min(ONNXLimits.rankMax, try node.int("start", 0))))
    let end = bound(max(-ONNXLimits.rankMax, min(ONNXLimits.rankMax, try node.int("end", rank))))
    return start..<max(start, end)
  }
}

final class ShapeKernel: Kernel, @unchecked Sendable {
  private let range: Range<Int>
  init(range: Range<Int>) { self.range = range }

  override func run(_ call: Call) {
    let dims = call.input(0).dims
    let y = call.output().pointer(Int64.self)
    for axis in range { y[axis - range.lowerBound] = Int64(dims[axis]) }
  }
}
