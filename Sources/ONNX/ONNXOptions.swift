public import Kernels

/// How a graph is made ready.
public struct ONNXOptions: Sendable, Equatable {
  /// Whether nodes are fused; off, each node runs by itself (tests compare the two).
  public var isFusing: Bool

  /// What layers with constant weights are computed in. int8: a scale for each row, or `layerInputs`.
  public var precision: MatrixPrecision

  /// What comes into each dense layer, for static int8: scales and zero points stand. None: dynamic.
  public var layerInputs: [ONNXLayerInput] = []

  /// Notes what comes into layers.
  var ranges: LayerRanges?

  public init(isFusing: Bool = true, precision: MatrixPrecision = .float32) {
    self.isFusing = isFusing
    self.precision = precision
  }

  public static func == (a: ONNXOptions, b: ONNXOptions) -> Bool {
    a.isFusing == b.isFusing && a.precision == b.precision && a.layerInputs == b.layerInputs && a.ranges === b.ranges
  }
}
