import Foundation
import Kernels
import Testing

/// Functions of many floats against the C library in double precision, over floats of every exponent.
@Suite struct VectorMathTests {
  /// All exponents, both signs, eight mantissas each; and the usual range more closely.
  private static let samples: [Float] =
    (0..<4096 as Range<UInt32>).map { Float(bitPattern: $0 << 20 | ($0 &* 77 % 1024) << 10) }.filter { $0.isFinite }
    + (-1200...1200 as ClosedRange<Int>).map { Float($0) / 13 }

  @Test(arguments: PackedSets.all) func activationsAreExactTo1e6(_ set: InstructionSet) {
    InstructionSet.force(set)
    defer { InstructionSet.force(.avx512) }
    var y = [Float](repeating: 0, count: Self.samples.count)
    for activation in Activation.allCases {
      VectorMath.apply(activation, Self.samples, into: &y, count: y.count)
      for (x, given) in zip(Self.samples, y) {
        let expected = x < -1e9 && [.gelu, .geluTanh, .silu].contains(activation) ? 0 : activationReference(activation, Double(x))
        check(expected, given, "\(activation) \(set) of \(x)", tolerance: activation == .geluTanh && x < -3 ? 4e-5 : 1e-6)
      }
    }
    VectorMath.erf(Self.samples, into: &y, count: y.count)
    for (x, given) in zip(Self.samples, y) { check(erf(Double(x)), given, "erf \(set) of \(x)") }
  }

  private func check(_ expected: Double, _ given: Float, _ what: @autoclosure () -> String, tolerance: Double = 1e-6) {
    if expected > Double(Float.greatestFiniteMagnitude) {
      if given != .infinity && expected > 3.41e38 { Issue.record("\(what()): \(given), not infinity") }
      return
    }
    let bound = abs(expected) >= 1e-36 ? tolerance * abs(expected) : 1e-40
    if !(abs(Double(given) - expected) <= bound) { Issue.record("\(what()): \(given), not \(expected)") }
  }

  @Test(arguments: PackedSets.all) func limits(_ set: InstructionSet) {
    InstructionSet.force(set)
    defer { InstructionSet.force(.avx512) }
    for activation in Activation.allCases {
      var y = [Float](repeating: 0, count: 3)
      VectorMath.apply(activation, [.nan, .infinity, -.infinity], into: &y, count: 3)
      let above: Float = [.sigmoid, .tanh].contains(activation) ? 1 : .infinity
      let below: Float = activation == .none ? -.infinity : activation == .tanh ? -1 : 0
      let isRight = y[0].isNaN && y[1] == above && y[2] == below
      #expect(isRight, "\(activation) \(set): \(y)")
    }
  }

  @Test(arguments: PackedSets.all) func softmaxAddsUpToOne(_ set: InstructionSet) {
    InstructionSet.force(set)
    defer { InstructionSet.force(.avx512) }
    for count in [1, 2, 3, 4, 7, 8, 15, 16, 17, 33] {
      for spread in [1, 30, 1000] as [Float] {
        let x = (0..<count).map { Float($0 * 7 % 11) / 11 * spread - spread / 3 }
        var y = [Float](repeating: 0, count: count), logarithms = y
        VectorMath.softmax(x, into: &y, count: count)
        VectorMath.logSoftmax(x, into: &logarithms, count: count)
        let greatest = Double(x.max() ?? 0)
        let sum = x.reduce(0.0) { $0 + exp(Double($1) - greatest) }
        for index in x.indices {
          let expected = exp(Double(x[index]) - greatest) / sum
          let error = abs(Double(y[index]) - expected)
          let logarithm = Double(x[index]) - greatest - log(sum)
          let logarithmError = abs(Double(logarithms[index]) - logarithm)
          // The difference is rounded before the exponential takes it.
          #expect(error <= (1e-6 + 0x1p-24 * (greatest - Double(x[index]))) * expected + 1e-37)
          #expect(logarithmError <= 1e-6 * abs(logarithm) + 3e-7)
        }
      }
      var poisoned = [Float](repeating: 1, count: count)
      poisoned[count / 2] = .nan
      VectorMath.softmax(poisoned, into: &poisoned, count: count)
      let nans = poisoned.filter(\.isNaN)
      #expect(nans.count == count, "\(set) \(count)")
    }
  }

  @Test func bfloat16RoundsToNearestEven() {
    let x: [Float] = [1, 1 + 0x1p-8, 1 + 0x1p-8 + 0x1p-20, 1 + 0x3p-8, -1 - 0x1p-9, .infinity, 3.4e38, Float(bitPattern: 71362)]
    var halves = [UInt16](repeating: 0, count: x.count), back = [Float](repeating: 0, count: x.count)
    VectorMath.toBFloat16(x, into: &halves, count: x.count)
    VectorMath.fromBFloat16(halves, into: &back, count: x.count)
    let expected: [Float] = [1, 1, 1 + 0x1p-7, 1 + 0x1p-6, -1, .infinity, .infinity, Float(bitPattern: 0x0001_0000)]
    #expect(back == expected)
    VectorMath.toBFloat16([.nan], into: &halves, count: 1)
    let widened = Float(bitPattern: UInt32(halves[0]) << 16)
    #expect(widened.isNaN)
  }
}
