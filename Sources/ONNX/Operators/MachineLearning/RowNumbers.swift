// Hot: used for each batch.
internal import Model

/// What ai.onnx.ml's operators take as numbers. Computed with as floats, but for doubles.
protocol RowNumber: BitwiseCopyable {
  var single: Float { get }
  var wide: Double { get }
  /// Towards zero; what no Int64 holds is its smallest one.
  var whole: Int64 { get }
}

extension Float: RowNumber {
  var single: Float { self }
  var wide: Double { Double(self) }
  var whole: Int64 { Int64(Int(truncating: Double(self))) }
}

extension Double: RowNumber {
  var single: Float { Float(self) }
  var wide: Double { self }
  var whole: Int64 { Int64(Int(truncating: self)) }
}

extension Int64: RowNumber {
  var single: Float { Float(self) }
  var wide: Double { Double(self) }
  var whole: Int64 { self }
}

extension Int32: RowNumber {
  var single: Float { Float(self) }
  var wide: Double { Double(self) }
  var whole: Int64 { Int64(self) }
}

/// The rows of an input: [rows, columns], or one row of [columns].
struct RowShape {
  let rows: Dimension
  let columns: Int
  /// Whether there is a dimension of rows.
  let isMatrix: Bool

  init(_ node: NodeContext, input: Int = 0) throws(ONNXError) {
    let shape = try node.shape(input)
    guard shape.count == 1 || shape.count == 2, let last = shape.last?.fixed else {
      throw node.error("input \(input) of shape \(shape.text) instead of rows of a fixed number of columns")
    }
    rows = shape.count == 2 ? shape[0] : Dimension(1)
    columns = last
    isMatrix = shape.count == 2
  }
}

extension NodeContext {
  /// Float, double, int64 or int32.
  func requireNumbers(_ index: Int = 0) throws(ONNXError) { try require(index, [.float32, .float64, .int64, .int32, .float16, .bfloat16]) }

  /// One value for all columns, or one for each.
  func perColumn(_ values: [Float], _ columns: Int, _ name: String) throws(ONNXError) -> [Float] {
    if values.count == columns { return values }
    guard values.count == 1 else { throw error("\(values.count) values of \(name) for \(columns) columns") }
    return Array(repeating: values[0], count: columns)
  }
}

extension Tensor {
  /// Columns and rows of what `RowShape` accepted.
  @inline(__always) var rowColumns: Int { dims[rank - 1] }
  @inline(__always) var rowCount: Int { rank == 2 ? dims[0] : 1 }
}

/// Numbers of the model, where kernels read them. Immutable.
final class ModelNumbers<T: BitwiseCopyable>: @unchecked Sendable {
  let pointer: UnsafeMutablePointer<T>
  let count: Int

  init(_ values: [T]) {
    count = values.count
    pointer = .allocate(capacity: max(1, count))
    pointer.initialize(from: values, count: count)
  }

  deinit { pointer.deallocate() }

  @inline(__always) subscript(_ index: Int) -> T { pointer[index] }
}
