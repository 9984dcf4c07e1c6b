/// What a matrix product is computed in. Raw values stand in bundles and never change.
public enum MatrixPrecision: UInt8, Sendable, CaseIterable {
  case float32 = 0
  /// Weights and activations rounded to bfloat16, sums in float32.
  case bfloat16 = 1
  /// Weights symmetric by output channel, activations by row or by a calibrated scale, sums in int32.
  case int8 = 2
}

/// What a layer applies to each output. Raw values stand in bundles and never change.
public enum Activation: Int32, Sendable, CaseIterable {
  case none = 0
  /// NaN stays NaN.
  case relu = 1
  /// x Φ(x) with the error function.
  case gelu = 2
  /// x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2.
  case geluTanh = 3
  case sigmoid = 4
  case tanh = 5
  /// x sigmoid(x).
  case silu = 6
  /// ln(1 + eˣ).
  case softplus = 7
  case exponential = 8
}
