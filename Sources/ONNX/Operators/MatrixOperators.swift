// Hot where it says Kernel.
internal import CKernels
internal import Model

/// MatMul and Gemm: https://onnx.ai/onnx/operators/
enum MatrixOperators {
  static let all: [ONNXOperator] = [matMul]

  static let matMul = ONNXOperator(
    "MatMul",
    infer: { (node) throws(ONNXError) in
      let a = try node.type(0)
      let b = try node.type(1)
      guard a.element == b.element, a.element.isNumber else { throw node.error("multiplies \(a.element.onnxName) and \(b.element.onnxName)") }
      return [TensorType(a.element, try product(node, a.shape, b.shape))]
    },
    compile: { (node) throws(ONNXError) in
      switch try node.element(0) {
      case .float32: return AnyMatMulKernel<Float>()
      default: throw node.error("does not multiply \(try node.element(0).onnxName)")
      }
    })

  /// numpy.matmul's rules: the last two dimensions are matrices, one dimension alone is a row on the left and a column on the right.
  static func product(_ node: NodeContext, _ a: Shape, _ b: Shape) throws(ONNXError) -> Shape {
    guard let inner = a.last, !b.isEmpty else { throw node.error("multiplies \(a.text) and \(b.text)") }
    let rows = a.count > 1 ? [a[a.count - 2]] : []
    let columns = b.count > 1 ? [b[b.count - 1]] : []
    guard inner == (b.count > 1 ? b[b.count - 2] : b[0]),
      let batch = Array(a.dropLast(2)).broadcast(with: Array(b.dropLast(2)))
    else { throw node.error("multiplies \(a.text) and \(b.text)") }
    return batch + rows + columns
  }
}

/// Any number, plain loops.
final class AnyMatMulKernel<T: Numeric & BitwiseCopyable>: Kernel, @unchecked Sendable {
  override func run(_ call: Call) {
    let (a, b, y) = (call.input(0), call.input(1), call.output())
    let inner = a.dims[a.rank - 1]
    let rows = a.rank > 1 ? a.dims[a.rank - 2] : 1
    let columns = b.rank > 1 ? b.dims[b.rank - 1] : 1
    guard rows * columns > 0 else { return }
    let batches = y.count / (rows * columns)
    for batch in 0..<batches {
      let p = a.pointer(T.self) + MatrixBatch.offset(batch, a, y, matrix: rows * inner, trailing: (a.rank > 1 ? 1 : 0) + (b.rank > 1 ? 1 : 0))
      let q = b.pointer(T.self) + MatrixBatch.offset(batch, b, y, matrix: inner * columns, trailing: (a.rank > 1 ? 1 : 0) + (b.rank > 1 ? 1 : 0))
      let out = y.pointer(T.self) + batch * rows * columns
      for row in 0..<rows {
        for column in 0..<columns { out[row * columns + column] = 0 }
        for place in 0..<inner {
          let value = p[row * inner + place]
          for column in 0..<columns { out[row * columns + column] += value * q[place * columns + column] }
        }
      }
    }
  }
}

/// Where the matrices of a batched product lie.
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
}
