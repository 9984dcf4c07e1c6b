// Hot: `run` of each batch.
internal import Model

extension MovementOperators {
  /// Expand: 8, 13.
  static let expand = ONNXOperator("Expand", constantInputs: [1], halves: .itself) { node throws(ONNXError) in
    let type = try node.type(0)
    guard try node.type(1).rank == 1 else { throw node.error("its shape is no list") }
    guard let wanted = node.dimensions(1) else { throw node.error("its shape must be known at load") }
    let shape = try node.broadcast(type.shape, wanted)
    guard shape.count <= ONNXLimits.rankMax else { throw node.error("\(shape.count) dimensions") }
    _ = try node.elementCount(shape)
    return [TensorType(type.element, shape)]
  } compile: { _ throws(ONNXError) in
    ExpandKernel()
  } dimensions: { node throws(ONNXError) in
    guard let all = node.dimensions(0), let wanted = node.dimensions(1), wanted.count == 1, all.count == 1, let count = wanted[0].fixed, count <= 64 else { return nil }
    return Array(repeating: all[0], count: count)
  }

  /// Tile: 6, 13. A repeat may be the number of rows.
  static let tile = ONNXOperator("Tile", constantInputs: [1], halves: .itself) { node throws(ONNXError) in
    let type = try node.type(0)
    guard let repeats = node.dimensions(1) else { throw node.error("its repeats must be known at load") }
    guard repeats.count == type.rank else { throw node.error("\(repeats.count) repeats of \(type.rank) dimensions") }
    var shape = type.shape
    for axis in shape.indices {
      guard !shape[axis].isRows || repeats[axis].isOne else { throw node.error("repeats the rows of the batch") }
      guard let size = shape[axis].times(repeats[axis]) else { throw node.error("repeats \(shape[axis]) \(repeats[axis]) times") }
      shape[axis] = size
    }
    _ = try node.elementCount(shape)
    return [TensorType(type.element, shape)]
  } compile: { _ throws(ONNXError) in
    TileKernel()
  }
}

private final class ExpandKernel: Kernel, @unchecked Sendable {
  override var stateBytes: Int { StridedWalk.byteCount }

  override func prepare(_ call: Call) { StridedWalk(call.state).setBroadcast(call.output(), call.input(0)) }

  override func run(_ call: Call) {
    let input = call.input(0)
    ElementCopy.run(StridedWalk(call.state), to: call.output().data, from: input.data, bytes: input.element.bytes)
  }
}

private final class TileKernel: Kernel, @unchecked Sendable {
  override var stateBytes: Int { StridedWalk.byteCount }

  override func prepare(_ call: Call) {
    let walk = StridedWalk(call.state)
    let input = call.input(0)
    let output = call.output()
    walk.begin()
    for axis in 0..<output.rank {
      let size = input.dims[axis]
      let stride = output.product(axis + 1, output.rank)
      walk.add(size: size == 0 ? 0 : output.dims[axis] / size, stride &* size, 0)
      walk.add(size: size, stride, input.product(axis + 1, input.rank))
    }
  }

  override func run(_ call: Call) {
    let input = call.input(0)
    ElementCopy.run(StridedWalk(call.state), to: call.output().data, from: input.data, bytes: input.element.bytes)
  }
}
