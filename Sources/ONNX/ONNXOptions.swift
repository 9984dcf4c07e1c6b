/// How a graph is made ready.
public struct ONNXOptions: Sendable, Equatable {
  /// Whether nodes are fused; off, each node runs by itself (tests compare the two).
  public var isFusing = true

  public init(isFusing: Bool = true) { self.isFusing = isFusing }
}
