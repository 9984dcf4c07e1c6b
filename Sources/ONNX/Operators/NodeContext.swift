internal import Model

/// A node as its operator sees it: types, known contents and attributes of its operands.
struct NodeContext {
  let node: Node
  let graph: Graph

  /// The version of its domain's operator set.
  var version: Int { node.version }
  var texts: TextTable { graph.texts }

  func error(_ reason: String) -> ONNXError { ONNXError(place: node.place, reason: reason) }

  // MARK: Operands

  /// Inputs as written, including optional ones left out.
  var inputCount: Int { node.inputs.count }
  var outputCount: Int { node.outputs.count }

  func hasInput(_ index: Int) -> Bool { index < node.inputs.count && node.inputs[index] >= 0 }
  /// Whether somebody may use the output.
  func hasOutput(_ index: Int) -> Bool { index < node.outputs.count && node.outputs[index] >= 0 }

  func type(_ index: Int) throws(ONNXError) -> TensorType {
    guard hasInput(index) else { throw error("has no input \(index)") }
    guard let type = graph.values[node.inputs[index]].type else { throw error("input \(index) has no type") }
    return type
  }

  func element(_ index: Int) throws(ONNXError) -> TensorElement { try type(index).element }
  func shape(_ index: Int) throws(ONNXError) -> Shape { try type(index).shape }

  /// The type that was inferred for an output; for `compile`.
  func outputType(_ index: Int) throws(ONNXError) -> TensorType {
    guard hasOutput(index), let type = graph.values[node.outputs[index]].type else { throw error("has no output \(index)") }
    return type
  }

  /// What an input holds, when that is known at load.
  func constant(_ index: Int) -> ConstantTensor? { hasInput(index) ? graph.values[node.inputs[index]].constant : nil }

  /// The integers that an input holds; throws when they are not known at load. Nil: the input is left out.
  func constantInts(_ index: Int) throws(ONNXError) -> [Int]? {
    guard hasInput(index) else { return nil }
    guard let constant = constant(index) else { throw error("input \(index) must be known at load: it depends on the data") }
    guard let integers = constant.integers else { throw error("input \(index) is \(constant.element.onnxName), not integers") }
    return integers
  }

  /// What an integer input holds, where entries may depend on the rows (the end of a chain of Shape, Gather, Concat, …). Entries may be negative:
  /// the -1 of a target of Reshape.
  func dimensions(_ index: Int) -> [Dimension]? {
    guard hasInput(index) else { return nil }
    let value = graph.values[node.inputs[index]]
    if let dimensions = value.dimensions { return dimensions }
    guard let constant = value.constant, constant.count <= 1024, let integers = constant.integers else { return nil }
    return integers.map { Dimension($0) }
  }

  /// Attributes of older operator sets that became inputs of newer ones: axes, pads, split, starts and so on. The input when there is one, the
  /// attribute when there is that, nil when neither.
  func ints(input index: Int, orAttribute name: String) throws(ONNXError) -> [Int]? {
    if let ints = try constantInts(index) { return ints }
    return try ints(name)
  }

  /// Whether the input's elements are one of `elements`; throws what is wrong otherwise.
  func require(_ index: Int, _ elements: Set<TensorElement>) throws(ONNXError) {
    let element = try element(index)
    guard elements.contains(element) else { throw error("input \(index) is \(element.onnxName), which is not supported") }
  }

  /// An axis counted from the end when negative. A scalar has none: operators that take one as a list of one element say so by a rank of 1.
  func axis(_ axis: Int, rank: Int) throws(ONNXError) -> Int {
    let (positive, overflow) = axis < 0 ? axis.addingReportingOverflow(rank) : (axis, false)
    guard !overflow, positive >= 0, positive < rank else { throw error("axis \(axis) of \(rank) dimensions") }
    return positive
  }

  func axes(_ axes: [Int], rank: Int) throws(ONNXError) -> [Int] {
    var result: [Int] = []
    for value in axes {
      let axis = try axis(value, rank: rank)
      guard !result.contains(axis) else { throw error("axis \(value) twice") }
      result.append(axis)
    }
    return result.sorted()
  }

  // MARK: Attributes

  func has(_ name: String) -> Bool { node.attributes[name] != nil }

  func int(_ name: String) throws(ONNXError) -> Int? {
    guard let attribute = node.attributes[name] else { return nil }
    guard case .int(let value) = attribute else { throw error("attribute \(name) is not an integer") }
    return value
  }

  func int(_ name: String, _ usual: Int) throws(ONNXError) -> Int { try int(name) ?? usual }

  /// 0 or 1.
  func flag(_ name: String, _ usual: Bool = false) throws(ONNXError) -> Bool { try int(name).map { $0 != 0 } ?? usual }

  func float(_ name: String) throws(ONNXError) -> Float? {
    guard let attribute = node.attributes[name] else { return nil }
    guard case .float(let value) = attribute else { throw error("attribute \(name) is not a float") }
    return value
  }

  func float(_ name: String, _ usual: Float) throws(ONNXError) -> Float { try float(name) ?? usual }

  func bytes(_ name: String) throws(ONNXError) -> [UInt8]? {
    guard let attribute = node.attributes[name] else { return nil }
    guard case .string(let value) = attribute else { throw error("attribute \(name) is not a string") }
    return value
  }

  func string(_ name: String, _ usual: String) throws(ONNXError) -> String { try bytes(name).map { String(decoding: $0, as: UTF8.self) } ?? usual }

  func ints(_ name: String) throws(ONNXError) -> [Int]? {
    guard let attribute = node.attributes[name] else { return nil }
    // An empty list carries no element that tells its kind.
    if case .floats(let values) = attribute, values.isEmpty { return [] }
    guard case .ints(let values) = attribute else { throw error("attribute \(name) is not a list of integers") }
    return values
  }

  func floats(_ name: String) throws(ONNXError) -> [Float]? {
    guard let attribute = node.attributes[name] else { return nil }
    if case .ints(let values) = attribute, values.isEmpty { return [] }
    guard case .floats(let values) = attribute else { throw error("attribute \(name) is not a list of floats") }
    return values
  }

  /// Texts; their hashes are in `texts` already.
  func strings(_ name: String) throws(ONNXError) -> [[UInt8]]? {
    guard let attribute = node.attributes[name] else { return nil }
    if case .ints(let values) = attribute, values.isEmpty { return [] }
    if case .floats(let values) = attribute, values.isEmpty { return [] }
    guard case .strings(let values) = attribute else { throw error("attribute \(name) is not a list of strings") }
    return values
  }

  func tensor(_ name: String) throws(ONNXError) -> ConstantTensor? {
    guard let attribute = node.attributes[name] else { return nil }
    guard case .tensor(let value) = attribute else { throw error("attribute \(name) is not a tensor") }
    return value
  }

  /// `to` of Cast and the like.
  func element(_ name: String, _ usual: TensorElement) throws(ONNXError) -> TensorElement {
    guard let code = try int(name) else { return usual }
    guard let element = TensorElement(onnx: code) else { throw error("data type \(code) is not supported") }
    return element
  }

  // MARK: Shapes

  func broadcast(_ a: Shape, _ b: Shape) throws(ONNXError) -> Shape {
    guard let shape = a.broadcast(with: b) else { throw error("shapes \(a.text) and \(b.text) do not broadcast") }
    return shape
  }

  func elementCount(_ shape: Shape) throws(ONNXError) -> Dimension {
    guard let count = shape.elementCount else { throw error("shape \(shape.text) is out of bounds") }
    return count
  }
}
