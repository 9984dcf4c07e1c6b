internal import Model

/// Rewrites a graph so that fewer, larger steps run. Each rewrite keeps the graph's values, but for rounding.
enum Fusion {
  static func apply(to graph: Graph, options: ONNXOptions) throws(ONNXError) {
    graph.precision = options.precision
    guard options.isFusing else { return }
    bypassCopies(graph)
    ActivationFusion.apply(to: graph)
    LayerNormalizationFusion.apply(to: graph)
    DenseFusion.apply(to: graph)
    graph.removeDeadNodes()
    try LayerCalibration.apply(to: graph, options: options)
  }

  /// Identity, Dropout without a mask and Cast to the same element stand in no other pattern's way.
  private static func bypassCopies(_ graph: Graph) {
    var stands = Array(graph.values.indices)
    for index in graph.nodes.indices {
      for place in graph.nodes[index].inputs.indices where graph.nodes[index].inputs[place] >= 0 {
        graph.nodes[index].inputs[place] = stands[graph.nodes[index].inputs[place]]
      }
      let node = graph.nodes[index]
      guard let input = node.inputs.first, let output = node.outputs.first, input >= 0, output >= 0 else { continue }
      switch node.operation.name {
      case "Identity": stands[output] = input
      case "Dropout" where node.outputs.count == 1 || node.outputs[1] < 0: stands[output] = input
      case "Cast" where graph.values[input].type?.element == graph.values[output].type?.element: stands[output] = input
      default: break
      }
    }
    for index in graph.outputs.indices { graph.outputs[index] = stands[graph.outputs[index]] }
    graph.removeDeadNodes()
  }
}

/// Who makes and who uses each value, while a pass looks at the nodes in order.
struct GraphIndex {
  let graph: Graph
  private let producers: [Int]
  private var users: [[Int]]
  private let isOutput: Set<Int>

  init(_ graph: Graph) {
    self.graph = graph
    producers = graph.producers()
    users = [[Int]](repeating: [], count: graph.values.count)
    for (index, node) in graph.nodes.enumerated() { for input in Set(node.inputs) where input >= 0 { users[input].append(index) } }
    isOutput = Set(graph.outputs)
  }

  /// The node that makes the value.
  func producer(_ value: Int) -> Node? { value >= 0 && producers[value] >= 0 ? graph.nodes[producers[value]] : nil }

  /// The one node that uses the value, when there is no other use.
  func soleUser(_ value: Int) -> Int? { value >= 0 && users[value].count == 1 && !isOutput.contains(value) ? users[value][0] : nil }

  /// A constant of one element.
  func scalar(_ value: Int) -> Double? {
    guard value >= 0, let constant = graph.values[value].constant, constant.count == 1 else { return nil }
    return constant.doubles?.first
  }

  /// For a node of two inputs one of which is `value`: the other one.
  func other(_ node: Node, than value: Int) -> Int? {
    guard node.inputs.count == 2 else { return nil }
    return node.inputs[0] == value ? node.inputs[1] : node.inputs[1] == value ? node.inputs[0] : nil
  }

  /// The constant factor and the other operand of a product; a quotient by a constant is one too.
  func scaled(_ value: Int) -> (operand: Int, factor: Double)? {
    guard let node = producer(value), node.inputs.count == 2 else { return nil }
    switch node.operation.name {
    case "Mul":
      if let factor = scalar(node.inputs[1]) { return (node.inputs[0], factor) }
      if let factor = scalar(node.inputs[0]) { return (node.inputs[1], factor) }
    case "Div":
      if let divisor = scalar(node.inputs[1]), divisor != 0 { return (node.inputs[0], 1 / divisor) }
    default: break
    }
    return nil
  }
}
