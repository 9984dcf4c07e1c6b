// Hot: `run` of each batch.
internal import Model

extension MovementOperators {
  /// Split: sizes by attribute (2, 11), by input (13), by `num_outputs` (18: the last part may be smaller).
  static let split = ONNXOperator("Split", attributes: ["axis", "split", "num_outputs"], constantInputs: [1], halves: .itself) { node throws(ONNXError) in
    let type = try node.type(0)
    guard type.rank > 0 else { throw node.error("splits a scalar") }
    let axis = try node.axis(try node.int("axis", 0), rank: type.rank)
    guard let size = type.shape[axis].fixed else { throw node.error("splits the rows of the batch") }
    let parts = try splitSizes(node, size: size)
    return parts.map { part in
      var shape = type.shape
      shape[axis] = Dimension(part)
      return TensorType(type.element, shape)
    }
  } compile: { node throws(ONNXError) in
    let type = try node.type(0)
    let axis = try node.axis(try node.int("axis", 0), rank: type.rank)
    return SplitKernel(axis: axis, sizes: try splitSizes(node, size: type.shape[axis].fixed ?? 0))
  }

  private static func splitSizes(_ node: NodeContext, size: Int) throws(ONNXError) -> [Int] {
    let count = node.outputCount
    guard count > 0 else { throw node.error("has no outputs") }
    if let sizes = try node.ints(input: 1, orAttribute: "split"), !sizes.isEmpty {
      var rest = size
      for part in sizes {
        guard part >= 0, part <= rest else { throw node.error("parts \(sizes) of \(size)") }
        rest -= part
      }
      guard rest == 0, sizes.count == count else { throw node.error("\(count) parts \(sizes) of \(size)") }
      return sizes
    }
    if let told = try node.int("num_outputs"), told != count { throw node.error("num_outputs is \(told) and there are \(count)") }
    if node.version < 18 {
      guard size % count == 0 else { throw node.error("\(size) does not split into \(count) equal parts") }
      return Array(repeating: size / count, count: count)
    }
    // All parts but the last are rounded up.
    let part = size / count + (size % count == 0 ? 0 : 1)
    return (0..<count).map { min(part, max(0, size - min(size, $0 * part))) }
  }
}

private final class SplitKernel: Kernel, @unchecked Sendable {
  let axis: Int
  let sizes: [Int]

  init(axis: Int, sizes: [Int]) {
    self.axis = axis
    self.sizes = sizes
  }

  override func run(_ call: Call) {
    let input = call.input(0)
    let outer = input.product(0, axis)
    let stride = input.product(axis, input.rank) &* input.element.bytes
    let inner = input.product(axis + 1, input.rank) &* input.element.bytes
    var start = UnsafeRawPointer(input.data)
    for index in 0..<call.outputCount {
      let block = sizes[index] &* inner
      if block > 0 {
        let output = call.output(index)
        var row = 0
        while row < outer {
          (output.data + row &* block).copyMemory(from: start + row &* stride, byteCount: block)
          row &+= 1
        }
      }
      start += block
    }
  }
}
