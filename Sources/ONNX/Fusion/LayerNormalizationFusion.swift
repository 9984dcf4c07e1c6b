internal import Model

/// LayerNormalization as exporters wrote it before operator set 17: (x - mean) / sqrt(mean((x - mean)^2) + epsilon) * scale + bias over the
/// last dimension.
enum LayerNormalizationFusion {
  static func apply(to graph: Graph) {
    let index = GraphIndex(graph)
    for node in graph.nodes where node.operation.name == "Div" && node.inputs.count == 2 {
      guard let match = match(index, node), let operation = OperatorRegistry.find(domain: "", name: "LayerNormalization") else { continue }
      // Scale and bias, when they are constants over the last dimension alone.
      guard let product = index.soleUser(node.outputs[0]), graph.nodes[product].operation.name == "Mul",
        let scale = index.other(graph.nodes[product], than: node.outputs[0]), isVector(graph, scale, width: match.width)
      else { continue }
      var end = product
      var inputs = [match.x, scale]
      if let sum = index.soleUser(graph.nodes[product].outputs[0]), graph.nodes[sum].operation.name == "Add",
        let bias = index.other(graph.nodes[sum], than: graph.nodes[product].outputs[0]), isVector(graph, bias, width: match.width)
      {
        end = sum
        inputs.append(bias)
      }
      guard graph.values[graph.nodes[end].outputs[0]].type == graph.values[match.x].type else { continue }
      graph.nodes[end] = Node(
        name: graph.nodes[end].name, operation: operation, version: ONNXOperator.versionMax, inputs: inputs, outputs: graph.nodes[end].outputs,
        attributes: ["axis": .int(-1), "epsilon": .float(Float(match.epsilon))], kernel: nil)
    }
    graph.removeDeadNodes()
  }

  private static func isVector(_ graph: Graph, _ value: Int, width: Int) -> Bool {
    graph.values[value].constant.map { $0.element == .float32 && $0.sizes == [width] } ?? false
  }

  private static func match(_ index: GraphIndex, _ node: Node) -> (x: Int, epsilon: Double, width: Int)? {
    let centered = node.inputs[0]
    guard let difference = index.producer(centered), difference.operation.name == "Sub", difference.inputs.count == 2,
      isMean(index, difference.inputs[1], of: difference.inputs[0]),
      let root = index.producer(node.inputs[1]), root.operation.name == "Sqrt",
      let sum = index.producer(root.inputs[0]), sum.operation.name == "Add", sum.inputs.count == 2
    else { return nil }
    let x = difference.inputs[0]
    guard let type = index.graph.values[x].type, type.element == .float32, let width = type.shape.last?.fixed else { return nil }
    for (variance, added) in [(sum.inputs[0], sum.inputs[1]), (sum.inputs[1], sum.inputs[0])] {
      guard let epsilon = index.scalar(added), let mean = index.producer(variance), mean.operation.name == "ReduceMean",
        let input = mean.inputs.first, isMean(index, variance, of: input), let square = index.producer(input)
      else { continue }
      let isSquare =
        square.operation.name == "Mul" && square.inputs == [centered, centered]
        || square.operation.name == "Pow" && square.inputs.first == centered && square.inputs.count == 2 && index.scalar(square.inputs[1]) == 2
      if isSquare { return (x, epsilon, width) }
    }
    return nil
  }

  /// The mean over the last dimension, which is kept.
  private static func isMean(_ index: GraphIndex, _ value: Int, of x: Int) -> Bool {
    guard let node = index.producer(value), node.operation.name == "ReduceMean", node.inputs.first == x,
      let shape = index.graph.values[x].type?.shape, index.graph.values[value].type?.shape == Array(shape.dropLast()) + [Dimension(1)]
    else { return false }
    let context = NodeContext(node: node, graph: index.graph)
    guard let axes = try? context.ints(input: 1, orAttribute: "axes") else { return false }
    return axes == [-1] || axes == [shape.count - 1]
  }
}
