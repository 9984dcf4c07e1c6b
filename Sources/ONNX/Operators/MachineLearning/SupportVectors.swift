// Hot: `values` of each block of rows.
internal import CKernels
internal import Foundation
internal import Kernels
internal import Model

/// The support vectors of a machine and its kernel function. Those of dot products are a packed matrix; for distances, vectors lie in blocks of 16
/// with a column of a block together, so that 16 sums grow side by side. Immutable.
final class SupportVectors: @unchecked Sendable {
  /// Of the dot product d, or of the distance: d, (gamma d + coef0)^degree, tanh(gamma d + coef0), exp(-gamma |x - v|²).
  enum Function { case linear, polynomial, sigmoid, radial }

  /// Values of one call stay in the second-level cache.
  private static let valuesMax = 1 << 16

  let columns: Int
  let count: Int
  private let function: Function
  private let products: PackedMatrix?
  private let blocks: ModelNumbers<SIMD16<Float>>
  private var gamma: Float = 0
  private var degree: Float = 0

  /// - Parameter attribute: [count, columns] of them. `isPlain`: the dot product, whatever kernel the node names.
  init(_ node: NodeContext, _ attribute: String, count: Int, columns: Int, isPlain: Bool = false) throws(ONNXError) {
    var numbers = try node.floats(attribute) ?? []
    let (expected, overflow) = count.multipliedReportingOverflow(by: columns)
    guard count > 0, columns > 0, !overflow, numbers.count == expected else {
      throw node.error("\(numbers.count) numbers in \(attribute) for \(count) vectors of \(columns) columns")
    }
    self.count = count
    self.columns = columns
    let named: Function =
      switch try node.string("kernel_type", "LINEAR") {
      case "LINEAR": .linear
      case "POLY": .polynomial
      case "SIGMOID": .sigmoid
      case "RBF": .radial
      case let other: throw node.error("kernel_type \(other)")
      }
    let parameters = try node.floats("kernel_params") ?? []
    guard parameters.isEmpty || parameters.count == 3 else { throw node.error("\(parameters.count) kernel_params instead of gamma, coef0 and degree") }
    function = isPlain ? .linear : named
    if !parameters.isEmpty { (gamma, degree) = (parameters[0], parameters[2]) }
    guard function == .radial else {
      blocks = ModelNumbers([])
      if function != .linear { for index in numbers.indices { numbers[index] *= gamma } }
      let offset = function == .linear ? nil : [Float](repeating: parameters.isEmpty ? 0 : parameters[1], count: count)
      products = PackedMatrix(
        weights: numbers, bias: offset, inputs: columns, outputs: count, activation: function == .sigmoid ? .tanh : .none, precision: .float32)
      return
    }
    products = nil
    var blocks = [SIMD16<Float>](repeating: SIMD16(), count: (count - 1) / 16 * columns + columns)
    for vector in 0..<count {
      for column in 0..<columns { blocks[vector / 16 * columns + column][vector % 16] = numbers[vector * columns + column] }
    }
    self.blocks = ModelNumbers(blocks)
  }

  /// Floats from the values of one row to those of the next: whole blocks.
  var stride: Int { ((count - 1) / 16 + 1) * 16 }
  /// Rows that `values` takes at most.
  var rowsMax: Int { max(1, min(16, Self.valuesMax / stride)) }
  /// Values of the rows of one call, and those rows as floats.
  var scratchFloats: Int { rowsMax * (stride + columns) }

  /// The kernel function of each vector and `rows` rows of x, into rows of `stride` floats, 64-byte aligned; what follows the last vector has no
  /// meaning.
  func values(_ x: UnsafePointer<Float>, rows: Int, into values: UnsafeMutablePointer<Float>, scratch: MatrixScratch) {
    if let products {
      products.multiply(x, xStride: columns, rows: rows, into: values, yStride: stride, scratch: scratch)
      if function == .polynomial { for row in 0..<rows { raise(values + row &* stride) } }
      return
    }
    for row in 0..<rows {
      distances(x + row &* columns, into: values + row &* stride)
      mr_elementwise_unary(UnaryFunction.exponential.rawValue, values + row &* stride, values + row &* stride, count, 0, 0)
    }
  }

  /// -gamma |x - v|²
  private func distances(_ x: UnsafePointer<Float>, into values: UnsafeMutablePointer<Float>) {
    let to = UnsafeMutableRawPointer(values).assumingMemoryBound(to: SIMD16<Float>.self)
    var from = UnsafePointer(blocks.pointer)
    for block in 0..<stride / 16 {
      var sum = SIMD16<Float>()
      for column in 0..<columns {
        let difference = from[column] - x[column]
        sum += difference * difference
      }
      to[block] = sum * -gamma
      from += columns
    }
  }

  /// To the power of the degree.
  private func raise(_ values: UnsafeMutablePointer<Float>) {
    if degree != 2 && degree != 3 {
      for vector in 0..<count { values[vector] = pow(values[vector], degree) }
      return
    }
    let blocks = UnsafeMutableRawPointer(values).assumingMemoryBound(to: SIMD16<Float>.self)
    for block in 0..<stride / 16 {
      let base = blocks[block]
      blocks[block] = degree == 2 ? base * base : base * base * base
    }
  }
}

extension Tensor {
  /// Some rows of any numbers as floats: where they lie, or converted into `scratch`.
  func floatRows(_ first: Int, _ count: Int, scratch: UnsafeMutablePointer<Float>) -> UnsafePointer<Float> {
    let start = first &* rowColumns
    let numbers = count &* rowColumns
    switch element {
    case .float64: return converted(pointer(Double.self) + start, numbers, scratch)
    case .int64: return converted(pointer(Int64.self) + start, numbers, scratch)
    case .int32: return converted(pointer(Int32.self) + start, numbers, scratch)
    default: return UnsafePointer(floats + start)
    }
  }

  private func converted<X: RowNumber>(_ from: UnsafePointer<X>, _ count: Int, _ scratch: UnsafeMutablePointer<Float>) -> UnsafePointer<Float> {
    for index in 0..<count { scratch[index] = from[index].single }
    return UnsafePointer(scratch)
  }
}
