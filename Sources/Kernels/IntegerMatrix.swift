// Hot: `multiply` allocates nothing once the scratch has grown.
internal import CKernels

/// A constant right-hand operand of integer products (ONNX MatMulInteger, QLinearMatMul), packed once. Immutable; any thread.
public final class IntegerMatrix: @unchecked Sendable {
  private let pointer: OpaquePointer
  /// Rows of b (the product's inner dimension) and its columns.
  public let rows: Int
  public let columns: Int

  /// `b`: [rows, columns] bytes, signed or unsigned, `rowStride` and `columnStride` elements apart (row-major: columns and 1). `zeroPoints`,
  /// of b's type: one, one for each column, or none.
  public init(
    _ b: UnsafeRawPointer, isSigned: Bool, rows: Int, columns: Int, rowStride: Int, columnStride: Int = 1,
    zeroPoints: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0)
  ) {
    precondition(zeroPoints.count <= 1 || zeroPoints.count == columns, "\(zeroPoints.count) zero points for \(columns) columns")
    guard
      let pointer = mr_integer_matrix_create(b, isSigned, rowStride, columnStride, rows, columns, zeroPoints.baseAddress, zeroPoints.count)
    else { preconditionFailure("no memory for weights of \(rows) x \(columns)") }
    self.pointer = pointer
    self.rows = rows
    self.columns = columns
  }

  deinit { mr_integer_matrix_destroy(pointer) }

  /// c[r, o] = Σ (a[r, i] - aZero) (b[i, o] - bZero), modulo 2³². a: `count` rows of `rows` bytes, `aStride` bytes apart; `aZeroPoints`, of a's
  /// type: one, one for each row of a, or none. c: `cStride` int32 between rows.
  public func multiply(
    _ a: UnsafeRawPointer, isSigned: Bool, aStride: Int, aZeroPoints: UnsafeRawBufferPointer, count: Int,
    into c: UnsafeMutablePointer<Int32>, cStride: Int, scratch: MatrixScratch
  ) {
    precondition(aZeroPoints.count <= 1 || aZeroPoints.count == count, "\(aZeroPoints.count) zero points for \(count) rows")
    let memory = scratch.bytes(mr_integer_scratch_bytes(pointer, count))
    mr_integer_multiply(pointer, a, isSigned, aStride, aZeroPoints.baseAddress, aZeroPoints.count, count, c, cStride, memory)
  }
}
