// Hot: `run` allocates nothing once the scratch has grown.
internal import CKernels

/// Layers, each on the outputs of the one before. A block of rows goes through all layers while it is in cache; between int8 (or bfloat16) layers
/// its activations are made narrow there. Immutable; any thread.
public final class DenseChain: @unchecked Sendable {
  public let layers: [PackedMatrix]
  private let pointers: UnsafeMutablePointer<OpaquePointer?>
  private let count: Int

  public let inputs: Int
  public let outputs: Int

  /// Nil when there are no layers, or one does not take what the one before gives.
  public init?(layers: [PackedMatrix]) {
    guard let first = layers.first, let last = layers.last else { return nil }
    for (layer, next) in zip(layers, layers.dropFirst()) where layer.outputs != next.inputs { return nil }
    self.layers = layers
    count = layers.count
    inputs = first.inputs
    outputs = last.outputs
    pointers = .allocate(capacity: layers.count)
    for (index, layer) in layers.enumerated() { (pointers + index).initialize(to: layer.pointer) }
  }

  deinit { pointers.deallocate() }

  /// Bytes of all layers.
  public var byteCount: Int { layers.reduce(0) { $0 + $1.byteCount } }

  /// What `run` takes of the scratch for so many rows.
  public func scratchByteCount(rows: Int) -> Int { mr_chain_scratch_bytes(pointers, count, rows) }

  /// x: `rows` rows of `inputs` floats, `xStride` floats apart; y: `rows` rows of `outputs`, `yStride` apart; they may not overlap.
  public func run(
    _ x: UnsafePointer<Float>, xStride: Int, rows: Int, into y: UnsafeMutablePointer<Float>, yStride: Int, scratch: MatrixScratch
  ) {
    let memory = scratch.bytes(mr_chain_scratch_bytes(pointers, count, rows))
    mr_chain_run(pointers, count, x, xStride, rows, y, yStride, memory)
  }
}
