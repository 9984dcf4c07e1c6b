// Hot: `run` of each batch.

/// How two stacks of matrices are multiplied, as numpy's matmul has it: [..., rows, inner] x [..., inner, columns].
struct ProductShape: Sendable {
  /// Of the operands with the 1 that a vector is given.
  let left: Shape
  let right: Shape
  let output: Shape

  init(_ node: NodeContext, _ a: Shape, _ b: Shape) throws(ONNXError) {
    guard !a.isEmpty, !b.isEmpty else { throw node.error("multiplies a scalar") }
    left = a.count == 1 ? [Dimension(1)] + a : a
    right = b.count == 1 ? b + [Dimension(1)] : b
    let inner = left[left.count - 1]
    guard inner == right[right.count - 2], !inner.isRows else { throw node.error("shapes \(a.text) and \(b.text) do not multiply") }
    var shape = try node.broadcast(Array(left.dropLast(2)), Array(right.dropLast(2)))
    if a.count > 1 { shape.append(left[left.count - 2]) }
    if b.count > 1 { shape.append(right[right.count - 1]) }
    output = shape
    _ = try node.elementCount(shape)
  }

  /// Scales or zero points: one, or one for each row of the left and each column of the right operand.
  func check(_ node: NodeContext, left leftIndex: Int, right rightIndex: Int) throws(ONNXError) {
    if node.hasInput(leftIndex) {
      let count = try node.elementCount(try node.shape(leftIndex))
      guard count == Dimension(1) || (left.count == 2 && count == left[0]) else { throw node.error("input \(leftIndex) of shape \(try node.shape(leftIndex).text)") }
    }
    if node.hasInput(rightIndex) {
      let count = try node.elementCount(try node.shape(rightIndex))
      guard count == Dimension(1) || (right.count == 2 && count == right[1]) else { throw node.error("input \(rightIndex) of shape \(try node.shape(rightIndex).text)") }
    }
  }
}

/// One of `values`: the only one, or that of a place.
@inline(__always)
private func one<T>(_ values: UnsafeMutablePointer<T>?, _ count: Int, _ place: Int, _ usual: T) -> T {
  guard let values else { return usual }
  return count == 1 ? values[0] : values[place]
}

/// The sums of (a - zero) (b - zero), modulo 2^32, of any stack of matrices. Constant right operands take a faster way.
class StackedProductKernel<A: FixedWidthInteger & BitwiseCopyable, B: FixedWidthInteger & BitwiseCopyable>: Kernel, @unchecked Sendable {
  let leftRank: Int
  let rightRank: Int

  init(_ shape: ProductShape) {
    leftRank = shape.left.count
    rightRank = shape.right.count
  }

  /// Rows and columns of one product, in elements of the output, and where its operands begin; `store(place, row, column, sum)`.
  @inline(__always)
  final func each(
    _ a: Tensor, _ b: Tensor, aZero: Tensor?, bZero: Tensor?, output: Tensor, _ store: (_ place: Int, _ row: Int, _ column: Int, _ sum: Int32) -> Void
  ) {
    let inner = a.rank == 0 ? 1 : a.dims[a.rank - 1]
    let rows = a.rank < 2 ? 1 : a.dims[a.rank - 2]
    let columns = b.rank < 2 ? 1 : b.dims[b.rank - 1]
    if rows == 0 || columns == 0 { return }
    let left = a.pointer(A.self)
    let right = b.pointer(B.self)
    let stacks = output.count / (rows &* columns)
    let batchRank = output.rank - (a.rank < 2 ? 0 : 1) - (b.rank < 2 ? 0 : 1)
    for stack in 0..<stacks {
      let from = left + start(of: stack, a, output, batchRank) &* rows &* inner
      let into = right + start(of: stack, b, output, batchRank) &* columns &* inner
      for row in 0..<rows {
        let leftZero = Int32(one(aZero?.pointer(A.self), aZero?.count ?? 0, row, 0))
        for column in 0..<columns {
          let rightZero = Int32(one(bZero?.pointer(B.self), bZero?.count ?? 0, column, 0))
          var sum: Int32 = 0
          var index = 0
          while index < inner {
            sum &+= (Int32(from[row &* inner &+ index]) &- leftZero) &* (Int32(into[index &* columns &+ column]) &- rightZero)
            index &+= 1
          }
          store((stack &* rows &+ row) &* columns &+ column, row, column, sum)
        }
      }
    }
  }

  /// Which of an operand's matrices a stack of the output takes.
  private final func start(of stack: Int, _ operand: Tensor, _ output: Tensor, _ batchRank: Int) -> Int {
    let own = operand.rank - 2
    if own <= 0 { return 0 }
    var rest = stack
    var place = 0
    var stride = 1
    var axis = batchRank - 1
    while axis >= 0 {
      let at = rest % output.dims[axis]
      rest /= output.dims[axis]
      let ownAxis = axis - (batchRank - own)
      if ownAxis >= 0 {
        if operand.dims[ownAxis] != 1 { place &+= at &* stride }
        stride &*= operand.dims[ownAxis]
      }
      axis -= 1
    }
    return place
  }
}

final class IntegerProductKernel<A: FixedWidthInteger & BitwiseCopyable, B: FixedWidthInteger & BitwiseCopyable>: StackedProductKernel<A, B>, @unchecked Sendable {
  override func run(_ call: Call) {
    let sums = call.output().pointer(Int32.self)
    each(
      call.input(0), call.input(1), aZero: call.hasInput(2) ? call.input(2) : nil, bZero: call.hasInput(3) ? call.input(3) : nil, output: call.output()
    ) { place, _, _, sum in sums[place] = sum }
  }
}

final class QuantizedProductKernel<A: FixedWidthInteger & BitwiseCopyable, B: FixedWidthInteger & BitwiseCopyable>: StackedProductKernel<A, B>, @unchecked Sendable {
  let isSigned: Bool

  init(_ shape: ProductShape, isSigned: Bool) {
    self.isSigned = isSigned
    super.init(shape)
  }

  override func run(_ call: Call) {
    let output = call.output()
    let aScale = call.input(1)
    let bScale = call.input(4)
    let yScale = call.input(6).floats[0]
    let yZero = isSigned ? Int32(call.input(7).pointer(Int8.self)[0]) : Int32(call.input(7).pointer(UInt8.self)[0])
    each(call.input(0), call.input(3), aZero: call.input(2), bZero: call.input(5), output: output) { place, row, column, sum in
      let scale = one(aScale.floats, aScale.count, row, 1) * one(bScale.floats, bScale.count, column, 1) / yScale
      if isSigned {
        output.pointer(Int8.self)[place] = quantized(Float(sum) * scale, zero: yZero, as: Int8.self)
      } else {
        output.pointer(UInt8.self)[place] = quantized(Float(sum) * scale, zero: yZero, as: UInt8.self)
      }
    }
  }
}
