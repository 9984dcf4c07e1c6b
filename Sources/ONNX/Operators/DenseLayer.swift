internal import Dispatch
internal import Kernels
internal import Model
internal import Synchronization

/// A product with constant weights, what is added to it and what is applied to it: as nodes of a graph say it, before it is packed.
struct DenseLayer {
  let weights: ConstantTensor
  /// [inputs, outputs] as MatMul has it; else [outputs, inputs].
  let isTransposed: Bool
  let inputs: Int
  let outputs: Int
  /// Factors of the outputs; nil: 1.
  private(set) var scale: [Float]?
  private(set) var bias: [Float]?
  var activation = Activation.none
  /// What comes in, as calibration found it, for static int8.
  var input: ONNXLayerInput?
  /// Where to note what comes in.
  var notes: (ranges: LayerRanges, layer: Int)?

  /// MatMul and Gemm with constant single-precision weights of two dimensions; nil for others.
  init?(_ node: NodeContext) {
    guard let weights = node.constant(1), weights.element == .float32, weights.sizes.count == 2,
      let input = try? node.type(0), input.element == .float32, input.rank >= 1
    else { return nil }
    self.weights = weights
    switch node.node.operation.name {
    case "MatMul":
      isTransposed = true
      (inputs, outputs) = (weights.sizes[0], weights.sizes[1])
    case "Gemm":
      guard let transA = try? node.flag("transA"), !transA, let transB = try? node.flag("transB"), let alpha = try? node.float("alpha", 1),
        let beta = try? node.float("beta", 1)
      else { return nil }
      isTransposed = !transB
      (inputs, outputs) = transB ? (weights.sizes[1], weights.sizes[0]) : (weights.sizes[0], weights.sizes[1])
      if alpha != 1 { scale = [Float](repeating: alpha, count: outputs) }
      if node.hasInput(2) {
        guard let c = node.constant(2), let vector = Self.vector(c, outputs: outputs) else { return nil }
        bias = vector.map { $0 * beta }
      }
    default: return nil
    }
    // Nothing to pack.
    guard inputs > 0, outputs > 0 else { return nil }
  }

  /// A constant as one number for each output: a scalar, or a vector in the last dimension.
  static func vector(_ constant: ConstantTensor, outputs: Int) -> [Float]? {
    guard constant.element == .float32 else { return nil }
    if constant.count == 1 { return [Float](repeating: constant.array(Float.self)[0], count: outputs) }
    guard constant.count == outputs, constant.sizes.last == outputs else { return nil }
    return constant.array(Float.self)
  }

  /// What comes after the layer so far, when nothing is applied yet: y + vector.
  mutating func add(_ vector: [Float]) { bias = bias.map { zip($0, vector).map { $0 + $1 } } ?? vector }

  /// y * vector.
  mutating func multiply(_ vector: [Float]) {
    scale = scale.map { zip($0, vector).map { $0 * $1 } } ?? vector
    bias = bias.map { zip($0, vector).map { $0 * $1 } }
  }

  func packed(precision: MatrixPrecision) -> PackedMatrix {
    func pack(_ pointer: UnsafePointer<Float>) -> PackedMatrix {
      PackedMatrix(
        weights: pointer, isTransposed: isTransposed, bias: bias, inputs: inputs, outputs: outputs, activation: activation, precision: precision,
        activationScale: precision == .int8 ? input?.scale : nil, activationZeroPoint: input?.zeroPoint ?? 128)
    }
    guard let scale else {
      // The packing reads once: an unaligned file is copied for that long only.
      return weights.withAlignedBytes { pack($0.assumingMemoryBound(to: Float.self)) }
    }
    var scaled = weights.withAlignedBytes { Array(UnsafeBufferPointer(start: $0.assumingMemoryBound(to: Float.self), count: weights.count)) }
    for output in 0..<outputs {
      for input in 0..<inputs { scaled[isTransposed ? input * outputs + output : output * inputs + input] *= scale[output] }
    }
    return pack(scaled)
  }
}

extension DenseLayer {
  /// From so many bytes of weights on, layers are packed side by side.
  private static let parallelBytesMin = 1 << 24

  static func packed(_ layers: [DenseLayer], precision: MatrixPrecision) -> [PackedMatrix] {
    guard layers.count > 1, layers.reduce(0, { $0 + $1.weights.bytes.count }) >= parallelBytesMin else {
      return layers.map { $0.packed(precision: precision) }
    }
    let results = Mutex<[Int: PackedMatrix]>([:])
    DispatchQueue.concurrentPerform(iterations: layers.count) { index in
      let matrix = layers[index].packed(precision: precision)
      results.withLock { $0[index] = matrix }
    }
    return results.withLock { results in layers.indices.compactMap { results[$0] } }
  }
}

extension ConstantTensor {
  /// The bytes, aligned for their element, as long as `body` runs.
  func withAlignedBytes<R>(_ body: (UnsafeRawPointer) -> R) -> R {
    if let base = bytes.baseAddress, UInt(bitPattern: base) % UInt(element.bytes) == 0 { return body(base) }
    let copy = AlignedMemory(byteCount: bytes.count)
    if let base = bytes.baseAddress { copy.pointer.copyMemory(from: base, byteCount: bytes.count) }
    return withExtendedLifetime(copy) { body(UnsafeRawPointer(copy.pointer)) }
  }
}
