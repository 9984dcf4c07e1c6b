internal import Kernels

/// Layers one by one in single precision, noting what comes into each: for calibration, so it allocates.
final class CalibratingKernel: Kernel, @unchecked Sendable {
  private let layers: [(matrix: PackedMatrix, notes: (ranges: LayerRanges, layer: Int)?)]

  init(_ layers: [DenseLayer]) { self.layers = layers.map { ($0.packed(precision: .float32), $0.notes) } }

  override func run(_ call: Call) {
    let (x, y) = (call.input(0), call.output())
    guard let first = layers.first, let last = layers.last else { return }
    let rows = y.count / last.matrix.outputs
    if rows == 0 { return }
    var values = Array(UnsafeBufferPointer(start: x.floats, count: rows * first.matrix.inputs))
    for (matrix, notes) in layers {
      notes?.ranges.note(notes?.layer ?? 0, values, count: values.count)
      var next = [Float](repeating: 0, count: rows * matrix.outputs)
      next.withUnsafeMutableBufferPointer { out in
        guard let out = out.baseAddress else { return }
        matrix.multiply(values, xStride: matrix.inputs, rows: rows, into: out, yStride: matrix.outputs, scratch: call.matrices)
      }
      values = next
    }
    values.withUnsafeBufferPointer { if let base = $0.baseAddress { y.floats.update(from: base, count: values.count) } }
  }
}
