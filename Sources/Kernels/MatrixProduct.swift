// Hot: allocates nothing once the scratch has grown.
internal import CKernels

/// An operand that lies in memory as it came: element (r, c) at base + r * rowStride + c * columnStride. A transposed operand is one with its
/// strides exchanged.
public struct MatrixOperand<Element: BitwiseCopyable> {
  public var base: UnsafePointer<Element>
  public var rowStride: Int
  public var columnStride: Int

  @inline(__always) public init(_ base: UnsafePointer<Element>, rowStride: Int, columnStride: Int = 1) {
    self.base = base
    self.rowStride = rowStride
    self.columnStride = columnStride
  }
}

/// Products of two operands that come at run time: attention, similarity, ONNX MatMul of activations. A batch is a loop over these.
public enum MatrixProduct {
  /// c = a b, or c += a b. a: [m, k]; b: [k, n]; c: [m, n] row-major, `cStride` elements between rows; c overlaps neither. float32 sums.
  public static func multiply(
    _ a: MatrixOperand<Float>, _ b: MatrixOperand<Float>, m: Int, k: Int, n: Int, into c: UnsafeMutablePointer<Float>, cStride: Int,
    accumulates: Bool = false, scratch: MatrixScratch
  ) {
    precondition(m >= 0 && k >= 0 && n >= 0, "a product of \(m) x \(k) x \(n)")
    mr_product_f32(
      a.base, a.rowStride, a.columnStride, b.base, b.rowStride, b.columnStride, c, cStride, m, k, n, accumulates,
      scratch.bytes(mr_product_scratch_bytes(k)))
  }

  /// The same in double precision; plain loops.
  public static func multiply(
    _ a: MatrixOperand<Double>, _ b: MatrixOperand<Double>, m: Int, k: Int, n: Int, into c: UnsafeMutablePointer<Double>, cStride: Int,
    accumulates: Bool = false
  ) {
    precondition(m >= 0 && k >= 0 && n >= 0, "a product of \(m) x \(k) x \(n)")
    mr_product_f64(a.base, a.rowStride, a.columnStride, b.base, b.rowStride, b.columnStride, c, cStride, m, k, n, accumulates)
  }
}
