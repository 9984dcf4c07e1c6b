internal import Foundation
internal import Model

/// Activations that exporters write out in several nodes: GELU with the error function (as PyTorch does), GELU by tanh, SiLU.
enum ActivationFusion {
  static func apply(to graph: Graph) {
    let index = GraphIndex(graph)
    for node in graph.nodes {
      guard let input = node.inputs.first, let output = node.outputs.first, input >= 0 else { continue }
      switch node.operation.name {
      case "Erf":
        guard let (x, factor) = index.scaled(input), isNear(factor, 0.5.squareRoot()), let root = root(index, output, x) else { continue }
        replace(graph, root, by: "Gelu", x, [:])
      case "Tanh":
        guard let x = tanhOperand(index, input), let root = root(index, output, x) else { continue }
        replace(graph, root, by: "Gelu", x, ["approximate": .string(Array("tanh".utf8))])
      case "Sigmoid":
        guard let user = index.soleUser(output), graph.nodes[user].operation.name == "Mul", index.other(graph.nodes[user], than: output) == input,
          graph.values[graph.nodes[user].outputs[0]].type == graph.values[input].type
        else { continue }
        replace(graph, user, by: "Swish", input, ["alpha": .float(1)])
      default: continue
      }
    }
    graph.removeDeadNodes()
  }

  private static func isNear(_ a: Double, _ b: Double) -> Bool { abs(a - b) <= 2e-6 * abs(b) }

  private static func replace(_ graph: Graph, _ place: Int, by name: String, _ x: Int, _ attributes: [String: ONNXAttribute]) {
    guard let operation = OperatorRegistry.find(domain: "", name: name) else { return }
    let old = graph.nodes[place]
    guard let output = old.outputs.first, graph.values[output].type == graph.values[x].type, graph.values[x].type?.element == .float32 else { return }
    graph.nodes[place] = Node(
      name: old.name, operation: operation, version: ONNXOperator.versionMax, inputs: [x], outputs: old.outputs, attributes: attributes, kernel: nil)
  }

  /// The node that ends x * 0.5 * (1 + f), in whatever order it is multiplied; f is the value of erf or tanh.
  private static func root(_ index: GraphIndex, _ f: Int, _ x: Int) -> Int? {
    let nodes = index.graph.nodes
    guard let sum = index.soleUser(f), nodes[sum].operation.name == "Add", let one = index.other(nodes[sum], than: f), index.scalar(one) == 1,
      let first = index.soleUser(nodes[sum].outputs[0]), nodes[first].operation.name == "Mul",
      let other = index.other(nodes[first], than: nodes[sum].outputs[0])
    else { return nil }
    // (0.5 x) (1 + f)
    if let (operand, factor) = index.scaled(other), operand == x, factor == 0.5 { return first }
    guard let second = index.soleUser(nodes[first].outputs[0]), let last = index.other(nodes[second], than: nodes[first].outputs[0]) else { return nil }
    // (x (1 + f)) 0.5
    if other == x, let (_, factor) = index.scaled(nodes[second].outputs[0]), factor == 0.5 { return second }
    // ((1 + f) 0.5) x
    if index.scalar(other) == 0.5, nodes[second].operation.name == "Mul", last == x { return second }
    return nil
  }

  /// x of sqrt(2 / pi) (x + 0.044715 x^3).
  private static func tanhOperand(_ index: GraphIndex, _ value: Int) -> Int? {
    guard let (inner, factor) = index.scaled(value), isNear(factor, (2 / Double.pi).squareRoot()), let sum = index.producer(inner),
      sum.operation.name == "Add", sum.inputs.count == 2
    else { return nil }
    for (x, cubic) in [(sum.inputs[0], sum.inputs[1]), (sum.inputs[1], sum.inputs[0])] {
      guard let (cube, factor) = index.scaled(cubic), isNear(factor, 0.044715), let power = index.producer(cube), power.inputs.count == 2 else { continue }
      if power.operation.name == "Pow", power.inputs[0] == x, index.scalar(power.inputs[1]) == 3 { return x }
      if power.operation.name == "Mul", let square = index.other(power, than: x).flatMap({ index.producer($0) }), square.operation.name == "Mul",
        square.inputs == [x, x]
      {
        return x
      }
    }
    return nil
  }
}
