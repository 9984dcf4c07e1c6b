// Hot: `values` of each row.
internal import CKernels
internal import Foundation
internal import Model

/// The support vectors of a machine and its kernel function. In blocks of 16 vectors: a column of a block lies together, so that 16 sums grow
/// side by side. Immutable.
final class SupportVectors: @unchecked Sendable {
  /// Of the dot product d, or of the squared distance: d, (gamma d + coef0)^degree, tanh(gamma d + coef0), exp(-gamma |x - v|²).
  enum Function { case linear, polynomial, sigmoid, radial }

  let columns: Int
  let count: Int
  private let function: Function
  private let blocks: ModelNumbers<SIMD16<Float>>
  private var gamma: Float = 0
  private var offset: Float = 0
  private var degree: Float = 0

  /// - Parameter attribute: [count, columns] of them. `isPlain`: the dot product, whatever kernel the node names.
  init(_ node: NodeContext, _ attribute: String, count: Int, columns: Int, isPlain: Bool = false) throws(ONNXError) {
    let numbers = try node.floats(attribute) ?? []
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
    if !parameters.isEmpty { (gamma, offset, degree) = (parameters[0], parameters[1], parameters[2]) }
    var blocks = [SIMD16<Float>](repeating: SIMD16(), count: (count - 1) / 16 * columns + columns)
    for vector in 0..<count {
      for column in 0..<columns { blocks[vector / 16 * columns + column][vector % 16] = numbers[vector * columns + column] }
    }
    self.blocks = ModelNumbers(blocks)
  }

  /// What `values` writes: whole blocks.
  var blockCount: Int { (count - 1) / 16 + 1 }

  /// The kernel function of x and each vector; what follows the last one has no meaning.
  func values(_ x: UnsafePointer<Float>, into values: UnsafeMutablePointer<SIMD16<Float>>) {
    var from = UnsafePointer(blocks.pointer)
    for block in 0..<blockCount {
      var sum = SIMD16<Float>()
      if function == .radial {
        for column in 0..<columns {
          let difference = from[column] - x[column]
          sum += difference * difference
        }
        sum *= -gamma
      } else {
        for column in 0..<columns { sum += from[column] * x[column] }
        if function != .linear { sum = sum * gamma + offset }
        if function == .polynomial { sum = power(sum) }
      }
      values[block] = sum
      from += columns
    }
    guard function == .radial || function == .sigmoid else { return }
    let floats = UnsafeMutableRawPointer(values).assumingMemoryBound(to: Float.self)
    let last = function == .radial ? UnaryFunction.exponential : .tanh
    mr_elementwise_unary(last.rawValue, floats, floats, count, 0, 0)
  }

  private func power(_ base: SIMD16<Float>) -> SIMD16<Float> {
    if degree == 2 { return base * base }
    if degree == 3 { return base * base * base }
    var result = base
    for lane in 0..<16 { result[lane] = pow(base[lane], degree) }
    return result
  }
}

extension Tensor {
  /// One row of any numbers as floats: where it lies, or converted into `scratch`.
  func floatRow(_ row: Int, scratch: UnsafeMutablePointer<Float>) -> UnsafePointer<Float> {
    let columns = rowColumns
    func converted<X: RowNumber>(_ from: UnsafeMutablePointer<X>) -> UnsafePointer<Float> {
      for column in 0..<columns { scratch[column] = from[row &* columns &+ column].single }
      return UnsafePointer(scratch)
    }
    switch element {
    case .float64: return converted(pointer(Double.self))
    case .int64: return converted(pointer(Int64.self))
    case .int32: return converted(pointer(Int32.self))
    default: return UnsafePointer(floats + row &* columns)
    }
  }
}
