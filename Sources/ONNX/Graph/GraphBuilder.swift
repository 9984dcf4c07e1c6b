internal import Model

/// Makes a graph ready from a model: operators found and checked, types inferred, what is known at load computed. All problems at once.
struct GraphBuilder {
  /// What an input of the graph is when the graph runs.
  enum Binding {
    case type(TensorType)
    /// Contents known now.
    case constant(ConstantTensor)
  }

  let model: ONNXModel
  private let graph: Graph
  private var problems: [ONNXError] = []
  private var byName: [String: Int] = [:]
  /// Bytes that folding may still make.
  private var foldedBytesLeft: Int
  /// Values whose makers had problems: those that use them are passed over.
  private var isBroken: Set<Int> = []

  static let problemsMax = 100

  /// `bind` tells what each input is.
  static func build(_ model: ONNXModel, isRewritten: Bool = false, bind: (ValueDefinition) throws(ONNXError) -> Binding) throws(ONNXError) -> Graph {
    var builder = GraphBuilder(model: model)
    builder.graph.isRewritten = isRewritten
    builder.addInputs(bind)
    builder.addNodes()
    builder.addOutputs()
    if let error = ONNXError(builder.problems) { throw error }
    builder.graph.removeDeadNodes()
    return builder.graph
  }

  private init(model: ONNXModel) {
    self.model = model
    graph = Graph(texts: model.texts)
    foldedBytesLeft = model.graph.initializers.reduce(ONNXLimits.foldedBytesMax) { $0 + ONNXLimits.foldedTimesMax * $1.tensor.bytes.count }
  }

  private mutating func report(_ error: ONNXError) { if problems.count < Self.problemsMax { problems.append(error) } }

  private mutating func addInputs(_ bind: (ValueDefinition) throws(ONNXError) -> Binding) {
    for (domain, version) in model.operatorSets where domain.isEmpty && !(7...ONNXOperator.versionMax).contains(version) {
      report(ONNXError(place: "opset_import", reason: "operator set \(version) is not supported: 7 to \(ONNXOperator.versionMax) are"))
    }
    for (name, tensor) in model.graph.initializers { byName[name] = graph.addValue(name, constant: tensor) }
    for input in model.graph.inputs {
      do throws(ONNXError) {
        switch try bind(input) {
        case .type(let type):
          let value = graph.addValue(input.name, type: type)
          byName[input.name] = value
          graph.inputs.append(value)
        case .constant(let constant): byName[input.name] = graph.addValue(input.name, constant: constant)
        }
      } catch {
        report(error)
        let value = graph.addValue(input.name)
        byName[input.name] = value
        isBroken.insert(value)
      }
    }
  }

  private mutating func addOutputs() {
    for output in model.graph.outputs {
      guard let value = byName[output.name] else {
        report(ONNXError(place: "output \"\(output.name)\"", reason: "no node makes it"))
        continue
      }
      graph.outputs.append(value)
      graph.outputNames.append(output.name)
    }
    if model.graph.outputs.isEmpty { report(ONNXError(place: "graph", reason: "has no outputs")) }
  }

  private mutating func addNodes() {
    for (index, definition) in model.graph.nodes.enumerated() {
      // Names are optional; the first output tells as well.
      let name = definition.name.isEmpty ? definition.outputs.first ?? "\(index)" : definition.name
      let place = "node \"\(name)\" (\(definition.domain.isEmpty ? "" : definition.domain + ".")\(definition.operation))"
      do throws(ONNXError) { try add(definition, name: name, place: place) } catch {
        report(error)
        for output in definition.outputs where !output.isEmpty {
          let value = graph.addValue(output)
          byName[output] = value
          isBroken.insert(value)
        }
      }
    }
  }

  private mutating func add(_ definition: NodeDefinition, name: String, place: String) throws(ONNXError) {
    func error(_ reason: String) -> ONNXError { ONNXError(place: place, reason: reason) }
    guard let operation = OperatorRegistry.find(domain: definition.domain, name: definition.operation) else {
      throw error("the operator is not supported")
    }
    let version = model.operatorSets[definition.domain] ?? (definition.domain.isEmpty ? 0 : 1)
    guard version > 0 else { throw error("the file imports no operator set for it") }
    guard operation.versions.contains(version) else {
      throw error("operator set \(version) is not supported for it: \(operation.versions.lowerBound) to \(operation.versions.upperBound) are")
    }
    for (attribute, value) in definition.attributes {
      guard operation.attributes.contains(attribute) else { throw error("attribute \(attribute) is not supported") }
      if case .other(let kind) = value { throw error("attribute \(attribute) is a \(kind), which is not supported") }
    }
    var node = Node(
      name: name, operation: operation, version: version, inputs: [], outputs: [], attributes: definition.attributes, kernel: nil)
    var isPassedOver = false
    for input in definition.inputs {
      if input.isEmpty { node.inputs.append(-1); continue }
      guard let value = byName[input] else { throw error("input \"\(input)\" is made by no node before it") }
      node.inputs.append(value)
      if isBroken.contains(value) { isPassedOver = true }
    }
    for output in definition.outputs where !output.isEmpty {
      guard byName[output] == nil else { throw error("output \"\(output)\" is made twice") }
    }
    node.outputs = definition.outputs.map { $0.isEmpty ? -1 : graph.addValue($0) }
    for (output, value) in zip(definition.outputs, node.outputs) where value >= 0 { byName[output] = value }
    if isPassedOver {
      for value in node.outputs where value >= 0 { isBroken.insert(value) }
      return
    }
    do throws(ONNXError) { try finish(node) } catch {
      for value in node.outputs where value >= 0 { isBroken.insert(value) }
      report(error)
    }
  }

  /// Infers, folds, or appends.
  private mutating func finish(_ node: Node) throws(ONNXError) {
    for index in node.operation.constantInputs where index < node.inputs.count && node.inputs[index] >= 0 {
      // Arithmetic of shapes that depends on the rows is for the operator to understand.
      let value = graph.values[node.inputs[index]]
      guard value.constant != nil || value.dimensions != nil else {
        throw ONNXError(place: node.place, reason: "input \(index) (\"\(value.name)\") must be known at load: it depends on the data")
      }
    }
    if node.operation.halves == .asFloats, node.inputs.contains(where: { $0 >= 0 && graph.values[$0].type?.element.isHalf == true }) {
      return try finishHalves(node)
    }
    try settle(node)
  }

  /// Casts around a node that is given floats in place of halves.
  private mutating func finishHalves(_ node: Node) throws(ONNXError) {
    let halves = try NodeContext(node: node, graph: graph).inferred()
    var inner = node
    for (index, value) in node.inputs.enumerated() where value >= 0 {
      guard let type = graph.values[value].type, type.element.isHalf else { continue }
      let floats = graph.addValue(graph.values[value].name + " as float")
      try settle(CastOperator.node(from: value, to: floats, .float32, name: node.name))
      inner.inputs[index] = floats
    }
    inner.outputs = node.outputs.map { $0 < 0 ? -1 : graph.addValue(graph.values[$0].name + " as float") }
    try settle(inner)
    for (index, value) in node.outputs.enumerated() where value >= 0 {
      let element = halves[index].element
      try settle(CastOperator.node(from: inner.outputs[index], to: value, element, name: node.name))
    }
  }

  /// Kernels write their outputs whether or not the file names them: those left out become values without users.
  private mutating func withRequiredOutputs(_ given: Node, _ types: [TensorType]) -> Node {
    var node = given
    for index in types.indices {
      if index == node.outputs.count { node.outputs.append(-1) }
      guard node.outputs[index] < 0, !node.operation.optionalOutputs.contains(index) else { continue }
      node.outputs[index] = graph.addValue("output \(index) of \(node.name)")
    }
    return node
  }

  private mutating func settle(_ given: Node) throws(ONNXError) {
    let types = try NodeContext(node: given, graph: graph).inferred()
    let node = withRequiredOutputs(given, types)
    let context = NodeContext(node: node, graph: graph)
    for (index, value) in node.outputs.enumerated() where value >= 0 { graph.values[value].type = types[index] }
    if let dimensions = node.operation.dimensions, let first = node.outputs.first, first >= 0, types[0].element == .int64 || types[0].element == .int32,
      let held = try dimensions(context)
    {
      guard let count = types[0].shape.elementCount?.fixed, count == held.count else { throw context.error("shape arithmetic of \(held.count) entries") }
      graph.values[first].dimensions = held
      if let sizes = held.fixedSizes, let shape = types[0].shape.fixedSizes {
        graph.values[first].constant = types[0].element == .int64
          ? ConstantTensor(sizes.map { Int64($0) }, element: .int64, sizes: shape)
          : ConstantTensor(sizes.map { Int32(clamping: $0) }, element: .int32, sizes: shape)
        return
      }
    }
    let isKnown = node.inputs.allSatisfy { $0 < 0 || graph.values[$0].constant != nil }
    if isKnown, types.allSatisfy({ $0.shape.fixedSizes != nil }) {
      let kernel = try node.operation.compile(context)
      let constants = try Folding.run(kernel, context: context, types: types, left: &foldedBytesLeft)
      for (index, value) in node.outputs.enumerated() where value >= 0 { graph.values[value].constant = constants[index] }
      return
    }
    graph.nodes.append(node)
  }
}

extension NodeContext {
  /// What the operator infers, checked: as many types as outputs, each of bounded size.
  func inferred() throws(ONNXError) -> [TensorType] {
    let types = try node.operation.infer(self)
    guard types.count >= node.outputs.count else { throw error("has \(node.outputs.count) outputs, of which \(types.count) are supported") }
    for type in types {
      guard type.rank <= ONNXLimits.rankMax else { throw error("\(type.rank) dimensions, of at most \(ONNXLimits.rankMax)") }
      guard type.shape.allSatisfy({ $0.multiple >= 0 }) else { throw error("a negative dimension in \(type.shape.text)") }
      _ = try elementCount(type.shape)
    }
    return types
  }
}
