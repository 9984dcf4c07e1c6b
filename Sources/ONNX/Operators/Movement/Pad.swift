// Hot: `run` of each batch.
internal import Model

extension MovementOperators {
  /// Pad: pads and value by attribute (2), by input (11, 13), with axes (18), mode wrap (19).
  static let pad = ONNXOperator(
    "Pad", versions: 2...ONNXOperator.versionMax, attributes: ["mode", "pads", "value"], constantInputs: [1, 3], halves: .itself
  ) { node throws(ONNXError) in
    let type = try node.type(0)
    let pads = try padSizes(node, rank: type.rank)
    let mode = try padMode(node)
    if node.hasInput(2), try node.element(2) != type.element { throw node.error("pads \(type.element.onnxName) with \(try node.element(2).onnxName)") }
    if node.version < 11, !type.element.isFloating { throw node.error("pads \(type.element.onnxName)") }
    var shape = type.shape
    for axis in shape.indices where pads.before[axis] != 0 || pads.after[axis] != 0 {
      guard let size = shape[axis].fixed else { throw node.error("pads the rows of the batch") }
      let (some, overflow1) = size.addingReportingOverflow(pads.before[axis])
      let (all, overflow2) = some.addingReportingOverflow(pads.after[axis])
      guard !overflow1, !overflow2, all >= 0, all <= ONNXLimits.elementsMax else { throw node.error("pads \(size) by \(pads.before[axis]) and \(pads.after[axis])") }
      guard mode == .constant || size > 0 || all == 0 else { throw node.error("pads nothing with itself") }
      shape[axis] = Dimension(all)
    }
    _ = try node.elementCount(shape)
    return [TensorType(type.element, shape)]
  } compile: { node throws(ONNXError) in
    let type = try node.type(0)
    let value: UInt64 =
      switch type.element {
      case .float32: UInt64(try node.float("value", 0).bitPattern)
      case .float64: Double(try node.float("value", 0)).bitPattern
      case .float16: UInt64(HalfFloat.half(try node.float("value", 0)))
      case .bfloat16: UInt64(HalfFloat.bfloat(try node.float("value", 0)))
      case .text: node.texts.add([])
      default: 0
      }
    return PadKernel(mode: try padMode(node), before: try padSizes(node, rank: type.rank).before, value: value)
  }

  enum PadMode: Sendable { case constant, edge, reflect, wrap }

  private static func padMode(_ node: NodeContext) throws(ONNXError) -> PadMode {
    switch try node.string("mode", "constant") {
    case "constant": return .constant
    case "edge": return .edge
    case "reflect": return .reflect
    case "wrap" where node.version >= 19: return .wrap
    case let other: throw node.error("mode \(other)")
    }
  }

  private static func padSizes(_ node: NodeContext, rank: Int) throws(ONNXError) -> (before: [Int], after: [Int]) {
    guard let pads = try node.ints(input: 1, orAttribute: "pads") else { throw node.error("has no pads") }
    let axes = try node.constantInts(3) ?? Array(0..<rank)
    guard rank > 0 || axes.isEmpty else { throw node.error("pads a scalar") }
    guard pads.count == 2 * axes.count else { throw node.error("\(pads.count) pads for \(axes.count) axes") }
    _ = try node.axes(axes, rank: rank)
    var before = [Int](repeating: 0, count: rank)
    var after = before
    for (index, axis) in axes.enumerated() {
      let place = try node.axis(axis, rank: rank)
      before[place] = pads[index]
      after[place] = pads[axes.count + index]
    }
    return (before, after)
  }
}

/// Element by element: padding is rare in what is served here.
private final class PadKernel: Kernel, @unchecked Sendable {
  let mode: MovementOperators.PadMode
  let before: [Int]
  /// The bytes of the value where no input gives it.
  let value: UInt64

  init(mode: MovementOperators.PadMode, before: [Int], value: UInt64) {
    self.mode = mode
    self.before = before
    self.value = value
  }

  override func run(_ call: Call) {
    let input = call.input(0)
    let output = call.output()
    let bytes = input.element.bytes
    withUnsafeBytes(of: value) { usual in
      let filler = UnsafeRawPointer(call.hasInput(2) ? UnsafeRawPointer(call.input(2).data) : usual.baseAddress ?? UnsafeRawPointer(output.data))
      var index = 0
      while index < output.count {
        let source = source(of: index, input, output)
        ElementCopy.run(output.data + index &* bytes, 1, source < 0 ? filler : UnsafeRawPointer(input.data + source &* bytes), 1, 1, bytes: bytes)
        index &+= 1
      }
    }
  }

  /// Which element of the input an element of the output is; -1: the value.
  private func source(of index: Int, _ input: Tensor, _ output: Tensor) -> Int {
    var rest = index
    var source = 0
    var stride = 1
    var axis = output.rank - 1
    while axis >= 0 {
      let size = input.dims[axis]
      var place = rest % output.dims[axis] &- before[axis]
      rest /= output.dims[axis]
      if place < 0 || place >= size {
        switch mode {
        case .constant: return -1
        case .edge: place = place < 0 ? 0 : size &- 1
        case .wrap: place = (place % size &+ size) % size
        case .reflect:
          let period = max(1, 2 &* (size &- 1))
          place = (place % period &+ period) % period
          if place >= size { place = period &- place }
        }
      }
      source &+= place &* stride
      stride &*= size
      axis -= 1
    }
    return source
  }
}
