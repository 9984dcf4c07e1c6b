internal import Model

/// A graph while it is being made ready: values and nodes by index. One thread.
final class Graph {
  struct Value {
    var name: String
    /// Nil until inferred.
    var type: TensorType?
    /// What it holds, when that is known at load.
    var constant: ConstantTensor?
    /// For integer values that speak of shapes: what they hold, where entries may depend on the rows. In row-major order.
    var dimensions: [Dimension]?
  }

  var values: [Value] = []
  /// In an order in which inputs come before those that use them.
  var nodes: [Node] = []
  var inputs: [Int] = []
  var outputs: [Int] = []
  var outputNames: [String] = []
  let texts: TextTable

  init(texts: TextTable) { self.texts = texts }

  func addValue(_ name: String, type: TensorType? = nil, constant: ConstantTensor? = nil) -> Int {
    values.append(Value(name: name, type: type ?? constant?.type, constant: constant, dimensions: nil))
    return values.count - 1
  }

  /// How many nodes and outputs use each value.
  func useCounts() -> [Int] {
    var counts = [Int](repeating: 0, count: values.count)
    for node in nodes { for input in node.inputs where input >= 0 { counts[input] += 1 } }
    for output in outputs { counts[output] += 1 }
    return counts
  }

  /// The node that makes each value; -1: none.
  func producers() -> [Int] {
    var producers = [Int](repeating: -1, count: values.count)
    for (index, node) in nodes.enumerated() { for output in node.outputs where output >= 0 { producers[output] = index } }
    return producers
  }

  /// Removes nodes of which nothing is used.
  func removeDeadNodes() {
    var isUsed = [Bool](repeating: false, count: values.count)
    for output in outputs { isUsed[output] = true }
    var kept: [Node] = []
    for node in nodes.reversed() where node.outputs.contains(where: { $0 >= 0 && isUsed[$0] }) {
      for input in node.inputs where input >= 0 { isUsed[input] = true }
      kept.append(node)
    }
    nodes = kept.reversed()
  }

  /// Lets every user of `value` use `other`.
  func replaceUses(of value: Int, with other: Int) {
    for index in nodes.indices {
      for input in nodes[index].inputs.indices where nodes[index].inputs[input] == value { nodes[index].inputs[input] = other }
    }
    for index in outputs.indices where outputs[index] == value { outputs[index] = other }
  }
}

/// One node: an operator with its operands.
struct Node {
  var name: String
  var operation: ONNXOperator
  /// The version of its domain's operator set.
  var version: Int
  /// Values; -1: an optional input that is left out.
  var inputs: [Int]
  /// Values; -1: an output that nobody named.
  var outputs: [Int]
  var attributes: [String: ONNXAttribute]
  /// For nodes that fusion made: how to run it.
  var kernel: Kernel?

  var place: String { "node \"\(name)\" (\(operation.domain.isEmpty ? "" : operation.domain + ".")\(operation.name))" }
}
