// Hot.
internal import Kernels
internal import Model

/// Layers with constant weights, one after the other, on the last dimension of the first input.
final class DenseKernel: Kernel, @unchecked Sendable {
  private let matrix: PackedMatrix
  /// Nil: one layer alone.
  private let chain: DenseChain?
  let layerCount: Int

  init(_ layers: [DenseLayer], precision: MatrixPrecision) {
    let packed = DenseLayer.packed(layers, precision: precision)
    precondition(!packed.isEmpty, "no layers")
    matrix = packed[0]
    chain = packed.count > 1 ? DenseChain(layers: packed) : nil
    layerCount = packed.count
    precondition(packed.count == 1 || chain != nil, "layers that do not fit")
  }

  override func run(_ call: Call) {
    let (x, y) = (call.input(0), call.output())
    let outputs = chain?.outputs ?? matrix.outputs
    let rows = y.count / outputs
    if rows == 0 { return }
    if let chain {
      chain.run(x.floats, xStride: chain.inputs, rows: rows, into: y.floats, yStride: outputs, scratch: call.matrices)
    } else {
      matrix.multiply(x.floats, xStride: matrix.inputs, rows: rows, into: y.floats, yStride: outputs, scratch: call.matrices)
    }
  }
}

/// Batched products of operands that come at run time.
final class MatMulKernel<T: TensorNumber>: Kernel, @unchecked Sendable {
  override func run(_ call: Call) {
    let (a, b, y) = (call.input(0), call.input(1), call.output())
    let inner = a.dims[a.rank - 1]
    let rows = a.rank > 1 ? a.dims[a.rank - 2] : 1
    let columns = b.rank > 1 ? b.dims[b.rank - 1] : 1
    guard rows > 0, columns > 0 else { return }
    let trailing = (a.rank > 1 ? 1 : 0) + (b.rank > 1 ? 1 : 0)
    for batch in 0..<(y.count / (rows * columns)) {
      let p = a.pointer(T.self) + MatrixBatch.offset(batch, a, y, matrix: rows * inner, trailing: trailing)
      let q = b.pointer(T.self) + MatrixBatch.offset(batch, b, y, matrix: inner * columns, trailing: trailing)
      let out = y.pointer(T.self) + batch * rows * columns
      MatrixBatch.multiply(
        MatrixOperand(p, rowStride: inner), MatrixOperand(q, rowStride: columns), m: rows, k: inner, n: columns, into: out, scratch: call.matrices)
    }
  }
}

/// alpha A' B' + beta C where the weights come at run time, or are not of single precision.
final class GemmKernel<T: TensorNumber>: Kernel, @unchecked Sendable {
  private let transA: Bool
  private let transB: Bool
  private let alpha: Float
  private let beta: Float

  init(transA: Bool, transB: Bool, alpha: Float, beta: Float) {
    self.transA = transA
    self.transB = transB
    self.alpha = alpha
    self.beta = beta
  }

  override func run(_ call: Call) {
    let (a, b, y) = (call.input(0), call.input(1), call.output())
    let (m, n) = (y.dims[0], y.dims[1])
    let k = a.dims[transA ? 0 : 1]
    let out = y.pointer(T.self)
    MatrixBatch.multiply(
      MatrixOperand(a.pointer(T.self), rowStride: transA ? 1 : k, columnStride: transA ? m : 1),
      MatrixOperand(b.pointer(T.self), rowStride: transB ? 1 : n, columnStride: transB ? k : 1), m: m, k: k, n: n, into: out,
      scratch: call.matrices)
    if alpha != 1 { for index in 0..<y.count { out[index] = T.scaled(out[index], by: alpha) } }
    guard call.hasInput(2) else { return }
    let c = call.input(2)
    let values = c.pointer(T.self)
    let rowStride = c.rank == 2 && c.dims[0] != 1 ? c.dims[1] : 0
    let columnStride = c.rank > 0 && c.dims[c.rank - 1] != 1 ? 1 : 0
    for row in 0..<m {
      for column in 0..<n {
        let addend = T.scaled(values[row * rowStride + column * columnStride], by: beta)
        out[row * n + column] = T.plus(out[row * n + column], addend)
      }
    }
  }
}

/// Products of matrices that lie in a batch.
enum MatrixBatch {
  /// The offset of the matrix of `tensor` that makes the output's matrix `batch`; `trailing`: dimensions of the output that are not the batch's.
  @inline(__always) static func offset(_ batch: Int, _ tensor: Tensor, _ output: Tensor, matrix: Int, trailing: Int) -> Int {
    var rest = batch
    var offset = 0
    var stride = matrix
    var axis = output.rank - trailing - 1
    var own = tensor.rank - 3
    while axis >= 0 {
      let size = output.dims[axis]
      let place = rest % size
      rest /= size
      if own >= 0 {
        if tensor.dims[own] != 1 { offset += place * stride }
        stride *= tensor.dims[own]
      }
      axis -= 1
      own -= 1
    }
    return offset
  }

  /// c = a b, row-major.
  @inline(__always) static func multiply<T: TensorNumber>(
    _ a: MatrixOperand<T>, _ b: MatrixOperand<T>, m: Int, k: Int, n: Int, into c: UnsafeMutablePointer<T>, scratch: MatrixScratch
  ) {
    if T.self == Float.self {
      let x = UnsafeRawPointer(a.base).assumingMemoryBound(to: Float.self)
      let z = UnsafeRawPointer(b.base).assumingMemoryBound(to: Float.self)
      MatrixProduct.multiply(
        MatrixOperand(x, rowStride: a.rowStride, columnStride: a.columnStride), MatrixOperand(z, rowStride: b.rowStride, columnStride: b.columnStride),
        m: m, k: k, n: n, into: UnsafeMutableRawPointer(c).assumingMemoryBound(to: Float.self), cStride: n, scratch: scratch)
    } else if T.self == Double.self {
      let x = UnsafeRawPointer(a.base).assumingMemoryBound(to: Double.self)
      let z = UnsafeRawPointer(b.base).assumingMemoryBound(to: Double.self)
      MatrixProduct.multiply(
        MatrixOperand(x, rowStride: a.rowStride, columnStride: a.columnStride), MatrixOperand(z, rowStride: b.rowStride, columnStride: b.columnStride),
        m: m, k: k, n: n, into: UnsafeMutableRawPointer(c).assumingMemoryBound(to: Double.self), cStride: n)
    } else {
      for row in 0..<m {
        for column in 0..<n {
          var sum = T.zero
          for place in 0..<k {
            sum = T.plus(sum, T.times(a.base[row * a.rowStride + place * a.columnStride], b.base[place * b.rowStride + column * b.columnStride]))
          }
          c[row * n + column] = sum
        }
      }
    }
  }
}
