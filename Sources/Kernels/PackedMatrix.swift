// Hot: `multiply` allocates nothing once the scratch has grown.
internal import CKernels

/// A layer y = activation(x Wᵀ + bias), its weights packed once for the instruction set in force. Immutable; any thread.
///
/// int8: weights are symmetric by output (`w = scale[output] * q`, q in -127...127); activations are u8, by row (the scale comes from the row's
/// greatest magnitude; rows without negative values use all of 0...255) or by a calibrated scale and zero point. Sums are exact. With no
/// activation or ReLU the outputs are the same bits on every instruction set. A row with a NaN or an infinity gives NaN in all its outputs.
/// More than `int8InputsMax` inputs are computed in float32: see `precision`.
public final class PackedMatrix: @unchecked Sendable {
  /// Beyond this an int32 could not hold the sums.
  public static let int8InputsMax = Int(MR_INT8_INPUTS_MAX)

  let pointer: OpaquePointer
  /// The chain of this layer alone.
  private let layers: UnsafeMutablePointer<OpaquePointer?>
  public let inputs: Int
  public let outputs: Int
  public let activation: Activation
  /// What it is computed in.
  public let precision: MatrixPrecision
  public let instructionSet: InstructionSet

  /// Bytes of the packed weights, scales and biases.
  public var byteCount: Int { mr_matrix_bytes(pointer) }

  /// `weights`: [outputs, inputs] row-major, or [inputs, outputs] when `isTransposed`. `bias`: [outputs]. Nothing is kept of either.
  /// `activationScale` (int8 only): x = scale * (q - zero point) for every row, values beyond saturate; nil: a scale for each row.
  public convenience init(
    weights: UnsafePointer<Float>, isTransposed: Bool = false, bias: UnsafePointer<Float>?, inputs: Int, outputs: Int,
    activation: Activation = .none, precision: MatrixPrecision = .float32, activationScale: Float? = nil, activationZeroPoint: UInt8 = 128
  ) {
    self.init(
      element: MR_FLOAT32, weights: weights, isTransposed: isTransposed, scales: nil, bias: bias, inputs: inputs, outputs: outputs,
      activation: activation, precision: precision, activationScale: activationScale, activationZeroPoint: activationZeroPoint)
  }

  /// From weights that are int8 already: w = scales[output] * weights[output, input]; any of -128...127. `scales`: [outputs].
  public convenience init(
    quantized weights: UnsafePointer<Int8>, scales: UnsafePointer<Float>, isTransposed: Bool = false, bias: UnsafePointer<Float>?,
    inputs: Int, outputs: Int, activation: Activation = .none, activationScale: Float? = nil, activationZeroPoint: UInt8 = 128
  ) {
    self.init(
      element: MR_INT8, weights: weights, isTransposed: isTransposed, scales: scales, bias: bias, inputs: inputs, outputs: outputs,
      activation: activation, precision: .int8, activationScale: activationScale, activationZeroPoint: activationZeroPoint)
  }

  /// From weights in bfloat16 (the upper halves of floats).
  public convenience init(
    bfloat16 weights: UnsafePointer<UInt16>, isTransposed: Bool = false, bias: UnsafePointer<Float>?, inputs: Int, outputs: Int,
    activation: Activation = .none, precision: MatrixPrecision = .bfloat16, activationScale: Float? = nil, activationZeroPoint: UInt8 = 128
  ) {
    self.init(
      element: MR_BFLOAT16, weights: weights, isTransposed: isTransposed, scales: nil, bias: bias, inputs: inputs, outputs: outputs,
      activation: activation, precision: precision, activationScale: activationScale, activationZeroPoint: activationZeroPoint)
  }

  private init(
    element: Int, weights: UnsafeRawPointer, isTransposed: Bool, scales: UnsafePointer<Float>?, bias: UnsafePointer<Float>?, inputs: Int,
    outputs: Int, activation: Activation, precision: MatrixPrecision, activationScale: Float?, activationZeroPoint: UInt8
  ) {
    precondition(inputs >= 0 && outputs >= 0, "a matrix of \(outputs) x \(inputs)")
    var source = mr_matrix_source()
    source.element = Int32(element)
    source.weights = weights
    source.output_stride = isTransposed ? 1 : inputs
    source.input_stride = isTransposed ? outputs : 1
    source.scales = scales
    source.bias = bias
    source.inputs = inputs
    source.outputs = outputs
    source.precision = Int32(precision.rawValue)
    source.activation = activation.rawValue
    source.x_scale = activationScale ?? 0
    source.x_zero = activationZeroPoint
    guard let pointer = mr_matrix_create(&source) else { preconditionFailure("no memory for weights of \(outputs) x \(inputs)") }
    self.pointer = pointer
    layers = .allocate(capacity: 1)
    layers.initialize(to: pointer)
    self.inputs = inputs
    self.outputs = outputs
    self.activation = activation
    self.precision = MatrixPrecision(rawValue: UInt8(truncatingIfNeeded: mr_matrix_precision(pointer))) ?? .float32
    instructionSet = InstructionSet(rawValue: mr_matrix_isa(pointer)) ?? .scalar
  }

  deinit {
    mr_matrix_destroy(pointer)
    layers.deallocate()
  }

  /// x: `rows` rows of `inputs` floats, `xStride` floats apart; y: `rows` rows of `outputs`, `yStride` apart; they may not overlap.
  public func multiply(
    _ x: UnsafePointer<Float>, xStride: Int, rows: Int, into y: UnsafeMutablePointer<Float>, yStride: Int, scratch: MatrixScratch
  ) {
    let memory = scratch.bytes(mr_chain_scratch_bytes(layers, 1, rows))
    mr_chain_run(layers, 1, x, xStride, rows, y, yStride, memory)
  }
}
