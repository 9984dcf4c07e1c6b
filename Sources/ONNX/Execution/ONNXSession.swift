public import Model

/// A tensor by itself: what a session takes and gives.
public struct ONNXTensor: Sendable {
  public var element: TensorElement
  public var sizes: [Int]
  /// Little-endian elements; texts: their hashes (`TextTable`).
  public var bytes: [UInt8]

  public init(element: TensorElement, sizes: [Int], bytes: [UInt8]) {
    self.element = element
    self.sizes = sizes
    self.bytes = bytes
  }

  public init<T: BitwiseCopyable>(_ values: [T], element: TensorElement, sizes: [Int]) {
    self.init(element: element, sizes: sizes, bytes: values.withUnsafeBytes { Array($0) })
  }

  public func values<T: BitwiseCopyable>(_: T.Type) -> [T] {
    bytes.withUnsafeBytes { raw in (0..<(raw.count / MemoryLayout<T>.size)).map { raw.loadUnaligned(fromByteOffset: $0 * MemoryLayout<T>.size, as: T.self) } }
  }
}

/// Runs any graph on whole tensors: no rows, every size as the inputs have it. For tests and tools: it plans anew and allocates in each run.
public struct ONNXSession {
  public let model: ONNXModel
  public let options: ONNXOptions

  public init(model: ONNXModel, options: ONNXOptions = ONNXOptions()) {
    self.model = model
    self.options = options
  }

  /// Text of the hash of a string tensor's element, if the model or `addText` knows it.
  public func text(_ hash: UInt64) -> [UInt8]? { model.texts.text(hash) }
  /// The hash that stands for a text in the inputs.
  public func addText(_ text: [UInt8]) -> UInt64 { model.texts.add(text) }

  /// The outputs by name. Inputs that decide shapes (the target of Reshape, axes, …) may come among `inputs` like any other.
  public func run(_ inputs: [String: ONNXTensor]) throws(ONNXError) -> [String: ONNXTensor] {
    let known = shapeInputs()
    let graph = try GraphBuilder.build(model) { (input) throws(ONNXError) in
      guard let tensor = inputs[input.name] else { throw ONNXError(place: "input \"\(input.name)\"", reason: "is not given") }
      var count = 1
      for size in tensor.sizes {
        let (product, overflow) = count.multipliedReportingOverflow(by: size)
        guard size >= 0, !overflow, product <= ONNXLimits.elementsMax else { throw ONNXError(place: "input \"\(input.name)\"", reason: "shape \(tensor.sizes)") }
        count = product
      }
      guard tensor.bytes.count == count * tensor.element.bytes else {
        throw ONNXError(place: "input \"\(input.name)\"", reason: "\(tensor.bytes.count) bytes for shape \(tensor.sizes)")
      }
      if let element = input.element, element != tensor.element {
        throw ONNXError(place: "input \"\(input.name)\"", reason: "is \(tensor.element.onnxName), not \(element.onnxName)")
      }
      if known.contains(input.name) { return .constant(ConstantTensor(tensor.bytes, reading: tensor.element, sizes: tensor.sizes)) }
      return .type(TensorType(tensor.element, Shape(fixed: tensor.sizes)))
    }
    try Fusion.apply(to: graph, options: options)
    let program = try Program(graph)
    let executor = Executor(program, rowsMax: 1)
    var memory: [AlignedMemory] = []
    for (index, value) in graph.inputs.enumerated() {
      guard let tensor = inputs[graph.values[value].name] else { continue }
      let copy = AlignedMemory(byteCount: tensor.bytes.count)
      tensor.bytes.withUnsafeBytes { if let base = $0.baseAddress { copy.pointer.copyMemory(from: base, byteCount: $0.count) } }
      memory.append(copy)
      executor.setInput(index, copy.pointer)
    }
    var results: [AlignedMemory] = []
    for (index, type) in program.outputTypes.enumerated() {
      let count = type.shape.elementCount?.fixed ?? 0
      results.append(AlignedMemory(byteCount: count * type.element.bytes))
      executor.setOutput(index, results[index].pointer)
    }
    let problem = executor.run(rows: 1)
    withExtendedLifetime((memory, program)) {}
    if let problem { throw ONNXError(place: "run", reason: problem.reason) }
    var outputs: [String: ONNXTensor] = [:]
    for (index, type) in program.outputTypes.enumerated() {
      guard let sizes = type.shape.fixedSizes else { continue }
      let byteCount = sizes.reduce(1, *) * type.element.bytes
      outputs[graph.outputNames[index]] = ONNXTensor(
        element: type.element, sizes: sizes, bytes: Array(UnsafeRawBufferPointer(start: results[index].pointer, count: byteCount)))
    }
    return outputs
  }

  /// Inputs of the graph that an operator must know at load, directly or through other nodes.
  private func shapeInputs() -> Set<String> {
    var wanted: Set<String> = []
    for node in model.graph.nodes.reversed() {
      guard let operation = OperatorRegistry.find(domain: node.domain, name: node.operation) else { continue }
      // Of Shape's input only the shape is asked, which stands anyway.
      let isWanted = operation.name != "Shape" && operation.name != "Size" && node.outputs.contains { wanted.contains($0) }
      for (index, input) in node.inputs.enumerated() where !input.isEmpty && (isWanted || operation.constantInputs.contains(index)) { wanted.insert(input) }
    }
    return wanted
  }
}

extension ConstantTensor {
  fileprivate convenience init(_ bytes: [UInt8], reading element: TensorElement, sizes: [Int]) {
    self.init(element: element, sizes: sizes) { memory in
      bytes.withUnsafeBytes { if let base = $0.baseAddress { memory.copyMemory(from: base, byteCount: $0.count) } }
    }
  }
}
