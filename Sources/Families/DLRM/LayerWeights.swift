/// A dense layer as it was trained: y = x Wᵀ + bias.
public struct LayerWeights: Sendable, Equatable {
  public static let sizeMax = 65_536

  public let inputs: Int
  public let outputs: Int
  /// [outputs, inputs], row-major.
  public let weights: [Float]
  /// [outputs]
  public let bias: [Float]

  /// Nil when the sizes do not fit each other, or are none or beyond `sizeMax`.
  public init?(inputs: Int, outputs: Int, weights: [Float], bias: [Float]) {
    guard (1...Self.sizeMax).contains(inputs), (1...Self.sizeMax).contains(outputs), weights.count == inputs * outputs, bias.count == outputs
    else { return nil }
    self.inputs = inputs
    self.outputs = outputs
    self.weights = weights
    self.bias = bias
  }
}
