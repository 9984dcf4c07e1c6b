// Hot where it says Kernel.
internal import CKernels
internal import Foundation
internal import Model

/// What an elementwise operator of one input computes. Raw values below 28 are those of mr_elementwise.h.
enum UnaryFunction: Int32, Sendable {
  case copy = 0, relu, leakyRelu, elu, selu, sigmoid, tanh, gelu, geluTanh, erf, exponential, logarithm, squareRoot, magnitude, negate,
    reciprocal, square, clip, softplus, floor, ceil, round, sign, hardSigmoid, scale, softsign, hardSwish, swish
  case thresholdedRelu = 100, celu, sine, cosine, tangent, arcTangent, hyperbolicSine, hyperbolicCosine

  func kernel(_ element: TensorElement, alpha: Double = 0, beta: Double = 0) -> Kernel? {
    switch element {
    case .float32: isFast(alpha) ? FloatUnaryKernel(self, alpha: alpha, beta: beta) : FloatingUnaryKernel<Float>(self, alpha: alpha, beta: beta)
    case .float64: FloatingUnaryKernel<Double>(self, alpha: alpha, beta: beta)
    case .int64: SignedUnaryKernel<Int64>(self)
    case .int32: SignedUnaryKernel<Int32>(self)
    case .int16: SignedUnaryKernel<Int16>(self)
    case .int8: SignedUnaryKernel<Int8>(self)
    case .uint64: UnsignedUnaryKernel<UInt64>(self)
    case .uint32: UnsignedUnaryKernel<UInt32>(self)
    case .uint16: UnsignedUnaryKernel<UInt16>(self)
    case .uint8: UnsignedUnaryKernel<UInt8>(self)
    default: nil
    }
  }
}

extension UnaryFunction {
  /// Whether the kernels have it.
  func isFast(_ alpha: Double) -> Bool { rawValue < MR_UNARY_COUNT && (self != .swish || alpha == 1) }
}

class UnaryKernel: Kernel, @unchecked Sendable {
  let function: UnaryFunction
  init(_ function: UnaryFunction) { self.function = function }
  override var inPlaceInputs: [Int] { [0] }
}

/// Single precision, by the kernels.
final class FloatUnaryKernel: UnaryKernel, @unchecked Sendable {
  let alpha: Float
  let beta: Float
  init(_ function: UnaryFunction, alpha: Double, beta: Double) {
    self.alpha = Float(alpha)
    self.beta = Float(beta)
    super.init(function)
  }

  override func run(_ call: Call) {
    mr_elementwise_unary(function.rawValue, call.input(0).floats, call.output().floats, call.output().count, alpha, beta)
  }
}

/// Any floating-point number, in double precision.
final class FloatingUnaryKernel<T: BinaryFloatingPoint & BitwiseCopyable>: UnaryKernel, @unchecked Sendable {
  let alpha: Double
  let beta: Double
  init(_ function: UnaryFunction, alpha: Double, beta: Double) {
    self.alpha = alpha
    self.beta = beta
    super.init(function)
  }

  override func run(_ call: Call) {
    let x = call.input(0).pointer(T.self)
    let y = call.output().pointer(T.self)
    for index in 0..<call.output().count { y[index] = T(value(Double(x[index]))) }
  }

  private func value(_ x: Double) -> Double {
    switch function {
    case .copy: x
    case .relu: x < 0 ? 0 : x
    case .leakyRelu: x < 0 ? alpha * x : x
    case .elu: x < 0 ? alpha * expm1(x) : x
    case .selu: beta * (x <= 0 ? alpha * expm1(x) : x)
    case .celu: x < 0 ? alpha * expm1(x / alpha) : x
    case .sigmoid: 1 / (1 + exp(-x))
    case .tanh: Foundation.tanh(x)
    case .gelu: 0.5 * x * (1 + Foundation.erf(x * 0.5.squareRoot()))
    case .geluTanh: 0.5 * x * (1 + Foundation.tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
    case .erf: Foundation.erf(x)
    case .exponential: exp(x)
    case .logarithm: log(x)
    case .squareRoot: x.squareRoot()
    case .magnitude: abs(x)
    case .negate: -x
    case .reciprocal: 1 / x
    case .square: x * x
    case .clip: x < alpha ? min(alpha, beta) : x > beta ? beta : x
    case .softplus: max(x, 0) + log1p(exp(-abs(x)))
    case .floor: x.rounded(.down)
    case .ceil: x.rounded(.up)
    case .round: x.rounded(.toNearestOrEven)
    case .sign: x > 0 ? 1 : x < 0 ? -1 : x
    case .hardSigmoid: max(0, min(1, alpha * x + beta))
    case .scale: alpha * x + beta
    case .softsign: x / (1 + abs(x))
    case .hardSwish: x * max(0, min(1, x / 6 + 0.5))
    case .swish: x / (1 + exp(-alpha * x))
    case .thresholdedRelu: x > alpha ? x : 0
    case .sine: sin(x)
    case .cosine: cos(x)
    case .tangent: tan(x)
    case .arcTangent: atan(x)
    case .hyperbolicSine: sinh(x)
    case .hyperbolicCosine: cosh(x)
    }
  }
}

final class SignedUnaryKernel<T: FixedWidthInteger & SignedInteger & BitwiseCopyable>: UnaryKernel, @unchecked Sendable {
  override func run(_ call: Call) {
    let x = call.input(0).pointer(T.self)
    let y = call.output().pointer(T.self)
    for index in 0..<call.output().count {
      let value = x[index]
      y[index] =
        switch function {
        case .relu: max(value, 0)
        case .magnitude: value < 0 ? 0 &- value : value
        case .negate: 0 &- value
        case .sign: value.signum()
        case .erf: T(truncatingIfNeeded: Conversion.integer(erf(Double(value))))
        default: value
        }
    }
  }
}

final class UnsignedUnaryKernel<T: FixedWidthInteger & UnsignedInteger & BitwiseCopyable>: UnaryKernel, @unchecked Sendable {
  override func run(_ call: Call) {
    let x = call.input(0).pointer(T.self)
    let y = call.output().pointer(T.self)
    for index in 0..<call.output().count {
      y[index] =
        switch function {
        case .negate: 0 &- x[index]
        case .sign: x[index] == 0 ? 0 : 1
        case .erf: x[index] == 0 ? 0 : T(truncatingIfNeeded: Conversion.integer(erf(Double(x[index]))))
        default: x[index]
        }
    }
  }
}

/// Clip whose bounds may be data (inputs 1 and 2).
final class ClipKernel<T: Comparable & BitwiseCopyable & Sendable>: Kernel, @unchecked Sendable {
  private let low: T?
  private let high: T?
  init(low: T?, high: T?) {
    self.low = low
    self.high = high
  }

  override var inPlaceInputs: [Int] { [0] }

  override func run(_ call: Call) {
    let x = call.input(0).pointer(T.self)
    let y = call.output().pointer(T.self)
    let low = call.hasInput(1) ? call.input(1).pointer(T.self).pointee : self.low
    let high = call.hasInput(2) ? call.input(2).pointer(T.self).pointee : self.high
    for index in 0..<call.output().count {
      var value = x[index]
      if let low, value < low { value = low }
      if let high, value > high { value = high }
      y[index] = value
    }
  }
}
