internal import Kernels
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
  /// Of layers with constant weights.
  var precision = MatrixPrecision.float32
  /// Exported for one row and made ready for many: a target of Reshape that begins with 1 begins with the rows instead.
  var isRewritten = false

  init(texts: TextTable) { self.texts = texts }

  func addValue(_ name: String, type: TensorType? = nil, constant: ConstantTensor? = nil) -> Int {
    values.append(Value(name: name, type: type ?? constant?.type, constant: constant, dimensions: nil))
    return values.count - 1
  }

  /// The node that makes each value; -1: none.
  func producers() -> [Int] {
    var producers = [Int](repeating: -1, count: values.count)
    for (index, node) in nodes.enumerated() { for output in node.outputs where output >= 0 { producers[output] = index } }
    return producers
  }

  /// Removes nodes of which nothing is used when the graph runs.
  func removeDeadNodes() {
    var isUsed = [Bool](repeating: false, count: values.count)
    for output in outputs { isUsed[output] = true }
    var kept: [Node] = []
    for node in nodes.reversed() where node.outputs.contains(where: { $0 >= 0 && isUsed[$0] }) {
      for (index, input) in node.inputs.enumerated() where input >= 0 {
        // What must be known at load and is, be it as a multiple of the rows, is not computed again by each run.
        if node.operation.constantInputs.contains(index), values[input].constant == nil, values[input].dimensions != nil { continue }
        isUsed[input] = true
      }
      kept.append(node)
    }
    nodes = kept.reversed()
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
  /// For nodes of dense layers, which fusion made.
  var layers: [DenseLayer] = []

  var place: String { "node \"\(name)\" (\(operation.domain.isEmpty ? "" : operation.domain + ".")\(operation.name))" }
}
