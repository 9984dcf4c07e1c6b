/// In what precision the weights of a model that learns are read when it answers. What it learns with is always single precision.
public enum ServingPrecision: String, Sendable, CaseIterable {
  case float32
  /// Rounded to bfloat16, which is off by at most a 256th of each weight.
  case bf16
}
