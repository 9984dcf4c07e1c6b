/// What of an ONNX graph cannot be read or run, with its node.
public struct ONNXError: Error, Sendable, Equatable, CustomStringConvertible {
  /// "file", a tensor, or a node: `node "dense/MatMul" (MatMul)`.
  public var place: String
  public var reason: String
  /// Further problems of the same graph: all are told at once.
  public var more: [ONNXError]

  public init(place: String, reason: String, more: [ONNXError] = []) {
    self.place = place
    self.reason = reason
    self.more = more
  }

  /// One error for several problems; nil when there are none.
  init?(_ problems: [ONNXError]) {
    guard var first = problems.first else { return nil }
    first.more += problems.dropFirst()
    self = first
  }

  public var description: String { (["\(place): \(reason)"] + more.map(\.description)).joined(separator: "\n") }
}
