// Hot: `run` of each batch.
internal import Model

extension MovementOperators {
  /// Slice: starts, ends and axes by attribute (1), by input with steps (10, 11, 13).
  static let slice = ONNXOperator("Slice", attributes: ["starts", "ends", "axes"], constantInputs: [1, 2, 3, 4], halves: .itself) { node throws(ONNXError) in
    let type = try node.type(0)
    let ranges = try sliceRanges(node, type.shape)
    return [TensorType(type.element, ranges.map(\.size))]
  } compile: { node throws(ONNXError) in
    let ranges = try sliceRanges(node, try node.shape(0))
    return SliceKernel(starts: ranges.map(\.start), steps: ranges.map(\.step))
  } dimensions: { node throws(ONNXError) in
    guard try node.type(0).rank == 1, let all = node.dimensions(0) else { return nil }
    let range = try sliceRanges(node, [Dimension(all.count)])[0]
    return (0..<(range.size.fixed ?? 0)).map { all[range.start + $0 * range.step] }
  }

  private struct SliceRange {
    var start = 0
    var step = 1
    var size: Dimension
  }

  private static func sliceRanges(_ node: NodeContext, _ shape: Shape) throws(ONNXError) -> [SliceRange] {
    guard !shape.isEmpty else { throw node.error("takes a part of a scalar") }
    var ranges = shape.map { SliceRange(size: $0) }
    guard let starts = try node.ints(input: 1, orAttribute: "starts") else { throw node.error("has no starts") }
    // An end may be a number of rows: the whole of the rows is taken then.
    let ends: [Dimension?]
    if let dimensions = node.hasInput(2) && node.constant(2) == nil ? node.dimensions(2) : nil {
      ends = dimensions.map { $0 }
    } else {
      ends = Array(repeating: nil, count: starts.count)
    }
    let fixedEnds = ends.contains { $0 != nil } ? [] : try node.ints(input: 2, orAttribute: "ends") ?? []
    let axes = try node.ints(input: 3, orAttribute: "axes") ?? Array(starts.indices)
    let steps = try node.constantInts(4) ?? Array(repeating: 1, count: starts.count)
    guard starts.count == axes.count, starts.count == steps.count, max(fixedEnds.count, ends.count) == starts.count,
      fixedEnds.isEmpty || fixedEnds.count == starts.count
    else { throw node.error("\(starts.count) starts, \(max(fixedEnds.count, ends.count)) ends, \(axes.count) axes, \(steps.count) steps") }
    _ = try node.axes(axes, rank: shape.count)
    for index in starts.indices {
      let axis = try node.axis(axes[index], rank: shape.count)
      let step = steps[index]
      guard step != 0 else { throw node.error("a step of 0") }
      guard let size = shape[axis].fixed else {
        let isWhole = starts[index] == 0 && step == 1 && (ends[index].map { $0 == shape[axis] } ?? (fixedEnds[index] >= Int(Int32.max)))
        guard isWhole else { throw node.error("takes some of the rows of the batch") }
        continue
      }
      if let end = ends[index] {
        guard let fixed = end.fixed else { throw node.error("an end of \(end)") }
        ranges[axis] = sliceRange(size: size, start: starts[index], end: fixed, step: step)
      } else {
        ranges[axis] = sliceRange(size: size, start: starts[index], end: fixedEnds[index], step: step)
      }
    }
    return ranges
  }

  /// Counted from the end when negative, then clamped: as the specification says.
  private static func sliceRange(size: Int, start: Int, end: Int, step: Int) -> SliceRange {
    func counted(_ value: Int) -> Int { value < 0 ? max(value, -size - 1) + size : min(value, size) }
    if step > 0 {
      let first = min(max(counted(start), 0), size)
      let last = min(max(counted(end), 0), size)
      return SliceRange(start: first, step: step, size: Dimension(last > first ? (last - first - 1) / step + 1 : 0))
    }
    guard size > 0 else { return SliceRange(start: 0, step: step, size: Dimension(0)) }
    let first = min(max(counted(start), -1), size - 1)
    let last = min(max(counted(end), -1), size - 1)
    // -(step + 1) does not overflow where -step would.
    return SliceRange(start: max(first, 0), step: step, size: Dimension(first > last ? (first - last - 1) / max(1, step == .min ? .max : -step) + 1 : 0))
  }
}

private final class SliceKernel: Kernel, @unchecked Sendable {
  let starts: [Int]
  let steps: [Int]

  init(starts: [Int], steps: [Int]) {
    self.starts = starts
    self.steps = steps
  }

  override var stateBytes: Int { StridedWalk.byteCount }

  override func prepare(_ call: Call) {
    let walk = StridedWalk(call.state)
    let input = call.input(0)
    let output = call.output()
    walk.begin()
    for axis in 0..<output.rank {
      // A step beyond the size is never taken: one element at most is left of such an axis.
      let step = output.dims[axis] > 1 ? steps[axis] : 1
      walk.add(size: output.dims[axis], output.product(axis + 1, output.rank), input.product(axis + 1, input.rank) &* step)
    }
  }

  override func run(_ call: Call) {
    let input = call.input(0)
    let output = call.output()
    if output.count == 0 { return }
    var start = 0
    var axis = 0
    while axis < input.rank {
      start &+= starts[axis] &* input.product(axis + 1, input.rank)
      axis &+= 1
    }
    let bytes = input.element.bytes
    ElementCopy.run(StridedWalk(call.state), to: output.data, from: input.data + start &* bytes, bytes: bytes)
  }
}
