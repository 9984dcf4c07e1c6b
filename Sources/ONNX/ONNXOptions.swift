public import Kernels

/// How a graph is made ready.
public struct ONNXOptions: Sendable, Equatable {
  /// Whether nodes are fused; off, each node runs by itself (tests compare the two).
  public var isFusing: Bool

  /// What layers with constant weights are computed in. int8: dynamic, a scale for each row.
  public var precision: MatrixPrecision

  public init(isFusing: Bool = true, precision: MatrixPrecision = .float32) {
    self.isFusing = isFusing
    self.precision = precision
  }
}
