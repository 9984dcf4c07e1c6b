// Hot where it says Kernel.
internal import CKernels
internal import Foundation
internal import Model

/// Elementwise operators of two inputs, with numpy's broadcasting.
enum BinaryFunction: Int32, Sendable {
  case add = 0
  case subtract = 1
  case multiply = 2
  case divide = 3
  case minimum = 4
  case maximum = 5
  case power = 6
  /// a < 0 ? a b : a
  case slope = 7
  /// The remainder with the sign of a.
  case remainder = 8
  /// The remainder with the sign of b: integers only.
  case modulo = 9

  /// Single precision, by the kernels.
  static func kernel(_ function: BinaryFunction, element: TensorElement) -> Kernel? {
    switch element {
    case .float32: FloatBinaryKernel(function)
    case .float64: FloatingBinaryKernel<Double>(function)
    case .int64: IntegerBinaryKernel<Int64>(function)
    case .int32: IntegerBinaryKernel<Int32>(function)
    case .int16: IntegerBinaryKernel<Int16>(function)
    case .int8: IntegerBinaryKernel<Int8>(function)
    case .uint64: IntegerBinaryKernel<UInt64>(function)
    case .uint32: IntegerBinaryKernel<UInt32>(function)
    case .uint16: IntegerBinaryKernel<UInt16>(function)
    case .uint8: IntegerBinaryKernel<UInt8>(function)
    default: nil
    }
  }
}

class BinaryKernel: Kernel, @unchecked Sendable {
  let function: BinaryFunction
  init(_ function: BinaryFunction) { self.function = function }
  override var stateBytes: Int { Broadcasting.stateBytes(inputs: 2) }
  override var inPlaceInputs: [Int] { [0, 1] }
  override func prepare(_ call: Call) { Broadcasting.prepare(call, inputs: 2) }
}

final class FloatBinaryKernel: BinaryKernel, @unchecked Sendable {
  override func run(_ call: Call) {
    let x = call.input(0).floats
    let z = call.input(1).floats
    let y = call.output().floats
    let code = function.rawValue
    Broadcasting.forEachBlock(call) { rows, columns, a, aRow, aStep, b, bRow, bStep, offset in
      mr_elementwise_binary(code, rows, columns, x + a, aRow, Int32(aStep), z + b, bRow, Int32(bStep), y + offset, columns)
    }
  }
}

final class FloatingBinaryKernel<T: BinaryFloatingPoint & BitwiseCopyable>: BinaryKernel, @unchecked Sendable {
  override func run(_ call: Call) {
    switch function {
    case .add: loop(call) { $0 + $1 }
    case .subtract: loop(call) { $0 - $1 }
    case .multiply: loop(call) { $0 * $1 }
    case .divide: loop(call) { $0 / $1 }
    case .minimum: loop(call) { $0 < $1 || $0.isNaN ? $0 : $1 }
    case .maximum: loop(call) { $0 > $1 || $0.isNaN ? $0 : $1 }
    case .power: loop(call) { T(pow(Double($0), Double($1))) }
    case .slope: loop(call) { $0 < 0 ? $0 * $1 : $0 }
    case .remainder, .modulo: loop(call) { $0.truncatingRemainder(dividingBy: $1) }
    }
  }

  @inline(__always) private func loop(_ call: Call, _ f: (T, T) -> T) {
    let a = call.input(0).pointer(T.self)
    let b = call.input(1).pointer(T.self)
    let y = call.output().pointer(T.self)
    Broadcasting.forEachRun(call, inputs: 2) { count, start, walk in
      let p = a + walk.offset(0)
      let q = b + walk.offset(1)
      let (pStep, qStep) = (walk.step(0), walk.step(1))
      for index in 0..<count { y[start &+ index] = f(p[index &* pStep], q[index &* qStep]) }
    }
  }
}

/// Integers wrap, as they do elsewhere; a division by zero is a problem of the run.
final class IntegerBinaryKernel<T: FixedWidthInteger & BitwiseCopyable>: BinaryKernel, @unchecked Sendable {
  override func run(_ call: Call) {
    switch function {
    case .add: loop(call) { $0 &+ $1 }
    case .subtract: loop(call) { $0 &- $1 }
    case .multiply: loop(call) { $0 &* $1 }
    case .divide:
      loop(call) {
        if $1 == 0 { call.problem(.divisionByZero) }
        return $1 == 0 ? 0 : $0.dividedReportingOverflow(by: $1).partialValue
      }
    case .minimum: loop(call) { Swift.min($0, $1) }
    case .maximum: loop(call) { Swift.max($0, $1) }
    case .power: loop(call) { Self.power($0, $1) }
    case .slope: loop(call) { $0 < 0 ? $0 &* $1 : $0 }
    case .remainder:
      loop(call) {
        if $1 == 0 { call.problem(.divisionByZero) }
        return $1 == 0 ? 0 : $0.remainderReportingOverflow(dividingBy: $1).partialValue
      }
    case .modulo:
      loop(call) {
        if $1 == 0 { call.problem(.divisionByZero) }
        let rest = $1 == 0 ? 0 : $0.remainderReportingOverflow(dividingBy: $1).partialValue
        return rest != 0 && (rest < 0) != ($1 < 0) ? rest &+ $1 : rest
      }
    }
  }

  private static func power(_ base: T, _ exponent: T) -> T {
    if exponent < 0 { return base == 1 ? 1 : base == 0 &- 1 ? (exponent & 1 == 0 ? 1 : base) : 0 }
    var (result, factor, left): (T, T, T) = (1, base, exponent)
    while left != 0 {
      if left & 1 != 0 { result = result &* factor }
      factor = factor &* factor
      left >>= 1
    }
    return result
  }

  @inline(__always) private func loop(_ call: Call, _ f: (T, T) -> T) {
    let a = call.input(0).pointer(T.self)
    let b = call.input(1).pointer(T.self)
    let y = call.output().pointer(T.self)
    Broadcasting.forEachRun(call, inputs: 2) { count, start, walk in
      let p = a + walk.offset(0)
      let q = b + walk.offset(1)
      let (pStep, qStep) = (walk.step(0), walk.step(1))
      for index in 0..<count { y[start &+ index] = f(p[index &* pStep], q[index &* qStep]) }
    }
  }
}

/// Powers whose base and exponent are of different types.
final class AnyPowerKernel: Kernel, @unchecked Sendable {
  override var stateBytes: Int { Broadcasting.stateBytes(inputs: 2) }
  override func prepare(_ call: Call) { Broadcasting.prepare(call, inputs: 2) }

  override func run(_ call: Call) {
    let (a, b, y) = (call.input(0), call.input(1), call.output())
    Broadcasting.forEachRun(call, inputs: 2) { count, start, walk in
      for index in 0..<count {
        let base = Conversion.double(a.data, walk.offset(0) + index * walk.step(0), a.element)
        let exponent = Conversion.double(b.data, walk.offset(1) + index * walk.step(1), b.element)
        Conversion.store(pow(base, exponent), y.data, start + index, y.element)
      }
    }
  }
}
