// Hot: `run` of each batch.
internal import Kernels
internal import Model

/// A constant right operand of integer products, packed once.
enum PackedIntegers {
  /// Nil: not constant, not one matrix, or with zero points that are not known at load.
  static func matrix(_ node: NodeContext, operand: Int, zero: Int) throws(ONNXError) -> IntegerMatrix? {
    guard let weights = node.constant(operand), weights.sizes.count == 2, weights.count > 0 else { return nil }
    let isSigned = weights.element == .int8
    let (rows, columns) = (weights.sizes[0], weights.sizes[1])
    if node.hasInput(zero) {
      guard let zeros = node.constant(zero), zeros.count == 1 || zeros.count == columns else { return nil }
      return IntegerMatrix(
        weights.pointer, isSigned: isSigned, rows: rows, columns: columns, rowStride: columns,
        zeroPoints: UnsafeRawBufferPointer(start: zeros.pointer, count: zeros.count))
    }
    return IntegerMatrix(weights.pointer, isSigned: isSigned, rows: rows, columns: columns, rowStride: columns)
  }

  /// The product of `a` (any number of rows of `matrix.rows`) into `sums`; `zeros`: one for all rows, or one for each.
  @inline(__always)
  static func multiply(_ a: Tensor, _ zeros: Tensor?, _ matrix: IntegerMatrix, _ sums: UnsafeMutablePointer<Int32>, _ call: Call) {
    let count = a.count / matrix.rows
    if count == 0 { return }
    let points = UnsafeRawBufferPointer(start: zeros?.data, count: zeros?.count ?? 0)
    matrix.multiply(
      a.data, isSigned: a.element == .int8, aStride: matrix.rows, aZeroPoints: points, count: count, into: sums, cStride: matrix.columns,
      scratch: call.matrices)
  }
}

/// MatMulInteger with constant weights.
final class PackedIntegerProductKernel: Kernel, @unchecked Sendable {
  private let matrix: IntegerMatrix

  init(_ matrix: IntegerMatrix) { self.matrix = matrix }

  override func run(_ call: Call) {
    PackedIntegers.multiply(call.input(0), call.hasInput(2) ? call.input(2) : nil, matrix, call.output().pointer(Int32.self), call)
  }
}

/// QLinearMatMul with constant weights: sums in the scratch memory, then scaled and rounded.
final class PackedQuantizedProductKernel: Kernel, @unchecked Sendable {
  private let matrix: IntegerMatrix
  private let isSigned: Bool

  init(_ matrix: IntegerMatrix, isSigned: Bool) {
    self.matrix = matrix
    self.isSigned = isSigned
  }

  override func scratchBytes(_ call: Call) -> Int { call.output().count * MemoryLayout<Int32>.stride }

  override func run(_ call: Call) {
    let output = call.output()
    let sums = call.scratch.assumingMemoryBound(to: Int32.self)
    PackedIntegers.multiply(call.input(0), call.input(2), matrix, sums, call)
    if isSigned { store(call, sums, output.pointer(Int8.self)) } else { store(call, sums, output.pointer(UInt8.self)) }
  }

  @inline(__always)
  private func store<Q: FixedWidthInteger & BitwiseCopyable>(_ call: Call, _ sums: UnsafeMutablePointer<Int32>, _ output: UnsafeMutablePointer<Q>) {
    let (aScale, bScale) = (call.input(1), call.input(4))
    let yScale = call.input(6).floats[0]
    let zero = Int32(call.input(7).pointer(Q.self)[0])
    let columns = matrix.columns
    for row in 0..<(call.output().count / columns) {
      let scale = aScale.floats[aScale.count == 1 ? 0 : row]
      for column in 0..<columns {
        let place = row &* columns &+ column
        output[place] = quantized(Float(sums[place]) * (scale * bScale.floats[bScale.count == 1 ? 0 : column] / yScale), zero: zero, as: Q.self)
      }
    }
  }
}
