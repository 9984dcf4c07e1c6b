internal import Kernels
internal import Model

/// Products with constant weights, what is added, scaled, normalized and applied after them, and such layers after each other: one step.
enum DenseFusion {
  /// Layers that fusion made; not in any file.
  static let operation = ONNXOperator(
    "Dense", domain: "millrace", infer: { (node) throws(ONNXError) in throw node.error("is made by fusion only") },
    compile: { (node) throws(ONNXError) in
      guard !node.node.layers.isEmpty else { throw node.error("has no layers") }
      if node.node.layers.contains(where: { $0.notes != nil }) { return CalibratingKernel(node.node.layers) }
      return DenseKernel(node.node.layers, precision: node.graph.precision)
    })

  static func apply(to graph: Graph) {
    makeLayers(graph)
    graph.removeDeadNodes()
    makeChains(graph)
    graph.removeDeadNodes()
  }

  private static func makeLayers(_ graph: Graph) {
    let index = GraphIndex(graph)
    for place in graph.nodes.indices {
      let node = graph.nodes[place]
      guard node.operation.domain.isEmpty, node.operation.name == "MatMul" || node.operation.name == "Gemm",
        var layer = DenseLayer(NodeContext(node: node, graph: graph)), var output = node.outputs.first, output >= 0
      else { continue }
      var end = place
      while layer.activation == .none, let next = index.soleUser(output), absorb(graph, index, graph.nodes[next], output, into: &layer) {
        end = next
        output = graph.nodes[next].outputs[0]
      }
      graph.nodes[end] = Node(
        name: node.name, operation: operation, version: 1, inputs: [node.inputs[0]], outputs: [output], attributes: [:], kernel: nil, layers: [layer])
    }
  }

  /// Whether the node could become part of the layer that makes `value`.
  private static func absorb(_ graph: Graph, _ index: GraphIndex, _ node: Node, _ value: Int, into layer: inout DenseLayer) -> Bool {
    guard node.operation.domain.isEmpty, node.outputs.count == 1, let output = node.outputs.first, output >= 0,
      let type = graph.values[value].type, graph.values[output].type == type
    else { return false }
    /// The other operand as one number for each output.
    func vector() -> [Float]? {
      guard let other = index.other(node, than: value), let constant = graph.values[other].constant else { return nil }
      return DenseLayer.vector(constant, outputs: layer.outputs)
    }
    let isFirst = node.inputs.first == value
    switch node.operation.name {
    case "Add":
      guard let vector = vector() else { return false }
      layer.add(vector)
    case "Sub":
      guard let vector = vector() else { return false }
      if !isFirst { layer.multiply([Float](repeating: -1, count: layer.outputs)) }
      layer.add(isFirst ? vector.map { -$0 } : vector)
    case "Mul":
      guard let vector = vector() else { return false }
      layer.multiply(vector)
    case "Div":
      guard isFirst, let vector = vector(), vector.allSatisfy({ $0 != 0 && (1 / $0).isFinite }) else { return false }
      layer.multiply(vector.map { 1 / $0 })
    case "BatchNormalization":
      guard type.rank == 2, isFirst, let affine = NormalizationOperators.BatchAffine(NodeContext(node: node, graph: graph)),
        affine.scale.count == layer.outputs
      else { return false }
      layer.multiply(affine.scale)
      layer.add(affine.shift)
    case "Relu": layer.activation = .relu
    case "Sigmoid": layer.activation = .sigmoid
    case "Tanh": layer.activation = .tanh
    case "Softplus": layer.activation = .softplus
    case "Exp": layer.activation = .exponential
    case "Gelu":
      guard case .string(let form)? = node.attributes["approximate"] else {
        layer.activation = .gelu
        return true
      }
      layer.activation = form.elementsEqual("tanh".utf8) ? .geluTanh : .gelu
    case "Swish":
      guard case .float(1)? = node.attributes["alpha"] else { return false }
      layer.activation = .silu
    default: return false
    }
    return true
  }

  private static func makeChains(_ graph: Graph) {
    let index = GraphIndex(graph)
    for place in graph.nodes.indices where !graph.nodes[place].layers.isEmpty {
      guard let output = graph.nodes[place].outputs.first, let next = index.soleUser(output), !graph.nodes[next].layers.isEmpty,
        graph.nodes[place].layers.last?.outputs == graph.nodes[next].layers.first?.inputs
      else { continue }
      graph.nodes[next].layers = graph.nodes[place].layers + graph.nodes[next].layers
      graph.nodes[next].inputs = graph.nodes[place].inputs
    }
  }
}
