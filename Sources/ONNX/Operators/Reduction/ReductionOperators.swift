internal import Model

/// Many elements to one, or to few.
enum ReductionOperators {
  static let all: [ONNXOperator] =
    [
      reduction("ReduceSum", .sum), reduction("ReduceMean", .mean), reduction("ReduceMax", .max), reduction("ReduceMin", .min),
      reduction("ReduceProd", .product), reduction("ReduceL1", .absolutes), reduction("ReduceL2", .norm), reduction("ReduceLogSum", .logSum),
      reduction("ReduceLogSumExp", .logSumExp), reduction("ReduceSumSquare", .squares), extreme("ArgMax", isMax: true), extreme("ArgMin", isMax: false), topK, cumSum,
    ]

  enum Kind: Sendable { case sum, mean, max, min, product, absolutes, norm, logSum, logSumExp, squares }

  /// Axes by attribute (1, 11: negative axes, 13), by input (ReduceSum 13, the others 18). Max and Min: 20 (booleans).
  private static func reduction(_ name: String, _ kind: Kind) -> ONNXOperator {
    ONNXOperator(name, attributes: ["axes", "keepdims", "noop_with_empty_axes"], constantInputs: [1]) { node throws(ONNXError) in
      let type = try node.type(0)
      guard isSupported(type.element, kind) else { throw node.error("input 0 is \(type.element.onnxName), which is not supported") }
      let axes = try reducedAxes(node, rank: type.rank)
      if axes.isEmpty { return [type] }
      for axis in axes where type.shape[axis].isRows { throw node.error("reduces over the rows of the batch") }
      return [TensorType(type.element, shape(type.shape, without: axes, keeping: try node.flag("keepdims", true)))]
    } compile: { node throws(ONNXError) in
      let type = try node.type(0)
      let axes = try reducedAxes(node, rank: type.rank)
      switch type.element {
      case .float32: return ReduceFloats<Float>(kind, axes)
      case .float64: return ReduceFloats<Double>(kind, axes)
      case .int8: return ReduceIntegers<Int8>(kind, axes)
      case .int16: return ReduceIntegers<Int16>(kind, axes)
      case .int32: return ReduceIntegers<Int32>(kind, axes)
      case .uint16: return ReduceIntegers<UInt16>(kind, axes)
      case .uint32: return ReduceIntegers<UInt32>(kind, axes)
      case .uint64: return ReduceIntegers<UInt64>(kind, axes)
      case .uint8: return ReduceIntegers<UInt8>(kind, axes)
      case .boolean: return ReduceIntegers<UInt8>(kind, axes, smallest: 0, largest: 1)
      default: return ReduceIntegers<Int64>(kind, axes)
      }
    } dimensions: { node throws(ONNXError) in
      guard kind == .product || kind == .sum, let all = node.dimensions(0), try node.type(0).rank == 1 else { return nil }
      var result: Dimension? = Dimension(kind == .product ? 1 : 0)
      for dimension in all { result = kind == .product ? result?.times(dimension) : result?.plus(dimension) }
      return result.map { [$0] }
    }
  }

  private static func isSupported(_ element: TensorElement, _ kind: Kind) -> Bool {
    switch element {
    case .text: false
    case .boolean: kind == .max || kind == .min
    default: true
    }
  }

  /// No axes given: all of them, or none with `noop_with_empty_axes`. Without axes nothing is reduced, but ReduceL1 and the like still take
  /// each element for itself.
  private static func reducedAxes(_ node: NodeContext, rank: Int) throws(ONNXError) -> [Int] {
    let given = try node.ints(input: 1, orAttribute: "axes") ?? []
    // A scalar has no axes, and is what its reduction over none is.
    if rank == 0 { return [] }
    if !given.isEmpty { return try node.axes(given, rank: rank) }
    return try node.flag("noop_with_empty_axes") ? [] : Array(0..<rank)
  }

  private static func shape(_ shape: Shape, without axes: [Int], keeping: Bool) -> Shape {
    var result: Shape = []
    for (axis, dimension) in shape.enumerated() {
      if !axes.contains(axis) { result.append(dimension) } else if keeping { result.append(Dimension(1)) }
    }
    return result
  }

  // MARK: Places

  /// ArgMax, ArgMin: 1, 11 (negative axis), 12 (select_last_index), 13.
  private static func extreme(_ name: String, isMax: Bool) -> ONNXOperator {
    ONNXOperator(name, attributes: ["axis", "keepdims", "select_last_index"]) { node throws(ONNXError) in
      let type = try node.type(0)
      guard type.element.isNumber else { throw node.error("input 0 is \(type.element.onnxName), which is not supported") }
      let axis = try node.axis(try node.int("axis", 0), rank: max(1, type.rank))
      guard type.rank > 0 else { return [TensorType(.int64, [])] }
      guard let size = type.shape[axis].fixed else { throw node.error("compares the rows of the batch") }
      guard size > 0 else { throw node.error("looks for a place among none") }
      return [TensorType(.int64, shape(type.shape, without: [axis], keeping: try node.flag("keepdims", true)))]
    } compile: { node throws(ONNXError) in
      let axis = try node.axis(try node.int("axis", 0), rank: max(1, try node.type(0).rank))
      let last = try node.flag("select_last_index")
      switch try node.element(0) {
      case .float32: return ArgumentKernel<Float>(axis, isMax: isMax, takesLast: last)
      case .float64: return ArgumentKernel<Double>(axis, isMax: isMax, takesLast: last)
      case .int8: return ArgumentKernel<Int8>(axis, isMax: isMax, takesLast: last)
      case .int16: return ArgumentKernel<Int16>(axis, isMax: isMax, takesLast: last)
      case .int32: return ArgumentKernel<Int32>(axis, isMax: isMax, takesLast: last)
      case .uint8: return ArgumentKernel<UInt8>(axis, isMax: isMax, takesLast: last)
      case .uint16: return ArgumentKernel<UInt16>(axis, isMax: isMax, takesLast: last)
      case .uint32: return ArgumentKernel<UInt32>(axis, isMax: isMax, takesLast: last)
      case .uint64: return ArgumentKernel<UInt64>(axis, isMax: isMax, takesLast: last)
      default: return ArgumentKernel<Int64>(axis, isMax: isMax, takesLast: last)
      }
    }
  }

  /// TopK: k by attribute (1), by input (10), smallest or unsorted (11). Unsorted ones come sorted too. Equal values: the lower place first.
  static let topK = ONNXOperator("TopK", attributes: ["axis", "k", "largest", "sorted"], constantInputs: [1]) { node throws(ONNXError) in
    let type = try node.type(0)
    guard type.element.isNumber, type.rank > 0 else { throw node.error("input 0 is \(type), which is not supported") }
    let axis = try node.axis(try node.int("axis", -1), rank: type.rank)
    guard let size = type.shape[axis].fixed else { throw node.error("compares the rows of the batch") }
    let k = try topCount(node)
    guard k <= size else { throw node.error("the top \(k) of \(size)") }
    var shape = type.shape
    shape[axis] = Dimension(k)
    return [TensorType(type.element, shape), TensorType(.int64, shape)]
  } compile: { node throws(ONNXError) in
    let axis = try node.axis(try node.int("axis", -1), rank: try node.type(0).rank)
    let largest = try node.flag("largest", true)
    switch try node.element(0) {
    case .float32: return TopKernel<Float>(axis, isMax: largest)
    case .float64: return TopKernel<Double>(axis, isMax: largest)
    case .int8: return TopKernel<Int8>(axis, isMax: largest)
    case .int16: return TopKernel<Int16>(axis, isMax: largest)
    case .int32: return TopKernel<Int32>(axis, isMax: largest)
    case .uint8: return TopKernel<UInt8>(axis, isMax: largest)
    case .uint16: return TopKernel<UInt16>(axis, isMax: largest)
    case .uint32: return TopKernel<UInt32>(axis, isMax: largest)
    case .uint64: return TopKernel<UInt64>(axis, isMax: largest)
    default: return TopKernel<Int64>(axis, isMax: largest)
    }
  }

  private static func topCount(_ node: NodeContext) throws(ONNXError) -> Int {
    let given: Int?
    if let list = try node.constantInts(1) { given = list.count == 1 ? list[0] : nil } else { given = try node.int("k") }
    guard let given, given >= 0 else { throw node.error("has no k") }
    return given
  }

  /// CumSum: 11, 14.
  static let cumSum = ONNXOperator(
    "CumSum", versions: 11...ONNXOperator.versionMax, attributes: ["exclusive", "reverse"], constantInputs: [1]
  ) { node throws(ONNXError) in
    let type = try node.type(0)
    try node.require(0, [.float32, .float64, .float16, .bfloat16, .int32, .int64, .uint32, .uint64])
    let axis = try cumulatedAxis(node, rank: type.rank)
    guard type.rank > 0, !type.shape[axis].isRows else { throw node.error("adds up the rows of the batch") }
    return [type]
  } compile: { node throws(ONNXError) in
    let axis = try cumulatedAxis(node, rank: try node.type(0).rank)
    let exclusive = try node.flag("exclusive")
    let reverse = try node.flag("reverse")
    switch try node.element(0) {
    case .float32: return CumulateKernel<Float>(axis, exclusive, reverse, zero: 0) { $0 + $1 }
    case .float64: return CumulateKernel<Double>(axis, exclusive, reverse, zero: 0) { $0 + $1 }
    case .int32: return CumulateKernel<Int32>(axis, exclusive, reverse, zero: 0) { $0 &+ $1 }
    case .uint32: return CumulateKernel<UInt32>(axis, exclusive, reverse, zero: 0) { $0 &+ $1 }
    case .uint64: return CumulateKernel<UInt64>(axis, exclusive, reverse, zero: 0) { $0 &+ $1 }
    default: return CumulateKernel<Int64>(axis, exclusive, reverse, zero: 0) { $0 &+ $1 }
    }
  }

  private static func cumulatedAxis(_ node: NodeContext, rank: Int) throws(ONNXError) -> Int {
    guard let axis = try node.constantInts(1), axis.count == 1 else { throw node.error("its axis must be one number") }
    return try node.axis(axis[0], rank: max(1, rank))
  }
}
