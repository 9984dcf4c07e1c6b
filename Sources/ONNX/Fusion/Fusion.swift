internal import Model

/// Rewrites a graph so that fewer, larger steps run. Each rewrite keeps the graph's values, but for rounding.
enum Fusion {
  static func apply(to graph: Graph, options: ONNXOptions) throws(ONNXError) {
    guard options.isFusing else { return }
    graph.removeDeadNodes()
  }
}
