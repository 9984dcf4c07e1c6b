internal import Model

/// Operators that only say how bytes are read, and those that make tensors of what is known at load. https://onnx.ai/onnx/operators/
enum ShapeOperators {
  static let all: [ONNXOperator] = [reshape, flatten, squeeze, unsqueeze, identity, dropout, shape, size, constant, constantOfShape]

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
        if node.graph.isRewritten, known.first == 1, input.shape.first == .rows() { target[0] = .rows() }
      } else if let known = node.dimensions(1) {
        // The end of a chain that says [rows, -1].
        for (axis, size) in known.enumerated() {
          if size == Dimension(-1) {
            guard open == nil else { throw node.error("shape \(known.text) is open in more than one dimension") }
            open = axis
          }
          target.append(size == Dimension(-1) ? Dimension(1) : size)
        }
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

  private static let flatten = ONNXOperator(
    "Flatten", attributes: ["axis"], halves: .itself,
    infer: { (node) throws(ONNXError) in
      let input = try node.type(0)
      let given = try node.int("axis", 1)
      // The axis may stand behind the last dimension.
      let axis = given == input.rank ? given : try node.axis(given, rank: input.rank)
      return [
        TensorType(
          input.element,
          [try node.elementCount(Array(input.shape[..<axis])), try node.elementCount(Array(input.shape[axis...]))])
      ]
    },
    compile: { (_) throws(ONNXError) in ViewKernel() })

  /// Axes are an attribute before operator set 13 and an input since.
  private static let squeeze = ONNXOperator(
    "Squeeze", attributes: ["axes"], constantInputs: [1], halves: .itself,
    infer: { (node) throws(ONNXError) in
      let input = try node.type(0)
      var axes = input.shape.indices.filter { input.shape[$0].isOne }
      if let given = try node.ints(input: 1, orAttribute: "axes") { axes = try node.axes(given, rank: input.rank) }
      for axis in axes where !input.shape[axis].isOne { throw node.error("dimension \(axis) of \(input.shape.text) is not 1") }
      return [TensorType(input.element, input.shape.indices.filter { !axes.contains($0) }.map { input.shape[$0] })]
    },
    compile: { (_) throws(ONNXError) in ViewKernel() }, dimensions: viewed)

  private static let unsqueeze = ONNXOperator(
    "Unsqueeze", attributes: ["axes"], constantInputs: [1], halves: .itself,
    infer: { (node) throws(ONNXError) in
      let input = try node.type(0)
      guard let given = try node.ints(input: 1, orAttribute: "axes") else { throw node.error("has no axes") }
      guard given.count <= ONNXLimits.rankMax else { throw node.error("\(given.count) axes") }
      var shape = input.shape
      for axis in try node.axes(given, rank: input.rank + given.count) { shape.insert(Dimension(1), at: axis) }
      return [TensorType(input.element, shape)]
    },
    compile: { (_) throws(ONNXError) in ViewKernel() }, dimensions: viewed)

  private static let identity = ONNXOperator(
    "Identity", halves: .itself,
    infer: { (node) throws(ONNXError) in [try node.type(0)] },
    compile: { (_) throws(ONNXError) in ViewKernel() }, dimensions: viewed)

  /// Served models do not train: the input as it is, and a mask of true.
  private static let dropout = ONNXOperator(
    "Dropout", attributes: ["ratio", "seed"], constantInputs: [2], optionalOutputs: [1], halves: .itself,
    infer: { (node) throws(ONNXError) in
      let input = try node.type(0)
      if let isTraining = node.constant(2)?.integers?.first, isTraining != 0 {
        guard let ratio = node.constant(1)?.doubles?.first, ratio == 0 else { throw node.error("is in training mode") }
      }
      return [input, TensorType(.boolean, input.shape)]
    },
    compile: { (node) throws(ONNXError) in node.hasOutput(1) ? DropoutKernel() : ViewKernel() }, dimensions: viewed)

  private static let size = ONNXOperator(
    "Size", halves: .itself,
    infer: { (node) throws(ONNXError) in
      _ = try node.type(0)
      return [TensorType(.int64, [])]
    },
    compile: { (_) throws(ONNXError) in SizeKernel() },
    dimensions: { (node) throws(ONNXError) in [try node.elementCount(try node.shape(0))] })

  private static let constant = ONNXOperator(
    "Constant", attributes: ["value", "value_float", "value_floats", "value_int", "value_ints", "value_string", "value_strings"], halves: .itself,
    infer: { (node) throws(ONNXError) in [try value(node).type] },
    compile: { (node) throws(ONNXError) in FixedKernel(try value(node)) })

  private static func value(_ node: NodeContext) throws(ONNXError) -> ConstantTensor {
    if let tensor = try node.tensor("value") { return tensor }
    if let float = try node.float("value_float") { return ConstantTensor([float], element: .float32, sizes: []) }
    if let int = try node.int("value_int") { return ConstantTensor([Int64(int)], element: .int64, sizes: []) }
    if let text = try node.bytes("value_string") { return ConstantTensor([TextTable.hash(text)], element: .text, sizes: []) }
    if let floats = try node.floats("value_floats") { return ConstantTensor(floats, element: .float32, sizes: [floats.count]) }
    if let ints = try node.ints("value_ints") { return ConstantTensor(ints.map { Int64($0) }, element: .int64, sizes: [ints.count]) }
    if let texts = try node.strings("value_strings") { return ConstantTensor(texts.map { TextTable.hash($0) }, element: .text, sizes: [texts.count]) }
    throw node.error("has no value")
  }

  private static let constantOfShape = ONNXOperator(
    "ConstantOfShape", attributes: ["value"], constantInputs: [0], halves: .itself,
    infer: { (node) throws(ONNXError) in
      guard let shape = node.dimensions(0) else { throw node.error("its shape must be known at load") }
      let value = try node.tensor("value")
      if let value, value.count != 1 { throw node.error("value of \(value.count) elements") }
      return [TensorType(value?.element ?? .float32, shape)]
    },
    compile: { (node) throws(ONNXError) in
      FillKernel(try node.tensor("value") ?? ConstantTensor([Float(0)], element: .float32, sizes: [1]))
    })

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

final class SizeKernel: Kernel, @unchecked Sendable {
  override func run(_ call: Call) { call.output().pointer(Int64.self).pointee = Int64(call.input(0).count) }
}

final class DropoutKernel: Kernel, @unchecked Sendable {
  override func run(_ call: Call) {
    call.output().data.copyMemory(from: call.input(0).data, byteCount: call.output().byteCount)
    let mask = call.output(1)
    mask.pointer(UInt8.self).update(repeating: 1, count: mask.count)
  }
}

/// The same contents in each run.
final class FixedKernel: Kernel, @unchecked Sendable {
  private let value: ConstantTensor
  init(_ value: ConstantTensor) { self.value = value }

  override func run(_ call: Call) {
    if let base = value.bytes.baseAddress { call.output().data.copyMemory(from: base, byteCount: value.bytes.count) }
  }
}

/// One element, everywhere.
final class FillKernel: Kernel, @unchecked Sendable {
  private let value: ConstantTensor
  init(_ value: ConstantTensor) { self.value = value }

  override func run(_ call: Call) {
    let (y, width) = (call.output(), value.element.bytes)
    for index in 0..<y.count { (y.data + index * width).copyMemory(from: value.pointer, byteCount: width) }
  }
}
