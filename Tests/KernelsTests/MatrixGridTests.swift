import Foundation
import Kernels
import Testing

/// Every form that the machine has against the scalar one: odd shapes, tails, empty sides, odd strides and places, every activation.
@Suite struct MatrixGridTests {
  static let inputs = [0, 1, 3, 4, 15, 16, 17, 63, 64, 65, 130]
  static let outputs = [0, 1, 2, 8, 9, 15, 16, 17, 31, 33, 65]
  static let rows = [0, 1, 2, 3, 4, 7, 14, 15, 29]
  private static let sentinel: Float = 12345

  @Test(arguments: MatrixPrecision.allCases) func everyFormGivesWhatTheScalarOneGives(_ precision: MatrixPrecision) {
    let samples = MatrixSamples(seed: 11, count: 40_000)
    let scratch = MatrixScratch()
    for set in PackedSets.all where set != .scalar {
      for inputs in Self.inputs {
        for outputs in Self.outputs { compare(precision, set, inputs, outputs, samples, scratch) }
      }
    }
  }

  private func compare(
    _ precision: MatrixPrecision, _ set: InstructionSet, _ inputs: Int, _ outputs: Int, _ samples: MatrixSamples, _ scratch: MatrixScratch
  ) {
    // Odd sizes choose the options: a bias or none, ReLU or none, a static scale, a transposed source.
    let (hasBias, activation): (Bool, Activation) = (inputs % 2 == 1, outputs % 2 == 1 ? .relu : .none)
    let scale: Float? = precision == .int8 && inputs % 3 == 0 ? 0.007 : nil
    let make = {
      PackedMatrix(
        weights: samples.values + 1, isTransposed: outputs % 4 == 1, bias: hasBias ? UnsafePointer(samples.values + 20_000) : nil,
        inputs: inputs, outputs: outputs, activation: activation, precision: precision, activationScale: scale, activationZeroPoint: 117)
    }
    let (oracle, matrix) = (PackedSets.pack(.scalar, make), PackedSets.pack(set, make))
    let bound = summationBound(inputs: inputs)
    for rows in Self.rows {
      let (xStride, yStride) = (inputs + rows % 3, outputs + rows % 4)
      // A place that is aligned to floats only; rows without negative values quantize in another way.
      let x = (rows % 2 == 1 ? samples.values : samples.positive) + 3
      var expected = [Float](repeating: Self.sentinel, count: rows * yStride + 1), given = expected
      oracle.multiply(x, xStride: xStride, rows: rows, into: &expected, yStride: yStride, scratch: scratch)
      matrix.multiply(x, xStride: xStride, rows: rows, into: &given, yStride: yStride, scratch: scratch)
      // int8 sums are exact, and scaled by the same two roundings: the same bits. Sentinels between rows stay.
      if memcmp(expected, given, expected.count * 4) == 0 { continue }
      let differences = expected.indices.filter { !(abs(expected[$0] - given[$0]) <= (precision == .int8 ? 0 : bound)) }
      let betweenRows = expected.indices.filter { (yStride == 0 || $0 % yStride >= outputs) && given[$0] != Self.sentinel }
      let this = MatrixCase(precision: precision, set: set, inputs: inputs, outputs: outputs, rows: rows)
      #expect(differences.isEmpty, "\(this): \(differences.first.map { "\($0): \(given[$0]), not \(expected[$0])" } ?? "")")
      #expect(betweenRows.isEmpty || rows == 0, "\(this) writes between rows")
    }
  }

  /// The oracle itself, against sums in double precision.
  @Test(arguments: MatrixPrecision.allCases) func theScalarFormIsRight(_ precision: MatrixPrecision) {
    let samples = MatrixSamples(seed: 12, count: 4_000)
    let scratch = MatrixScratch()
    for (inputs, outputs, rows) in [(1, 1, 1), (5, 3, 2), (33, 7, 4)] {
      let (weights, bias, x) = (samples.values, samples.values + 1000, samples.values + 2000)
      let matrix = PackedSets.pack(.scalar) {
        PackedMatrix(weights: weights, bias: bias, inputs: inputs, outputs: outputs, precision: precision)
      }
      var y = [Float](repeating: 0, count: rows * outputs)
      matrix.multiply(x, xStride: inputs, rows: rows, into: &y, yStride: outputs, scratch: scratch)
      for row in 0..<rows {
        for output in 0..<outputs {
          var sum = Double(bias[output])
          for input in 0..<inputs { sum += Double(x[row * inputs + input]) * Double(weights[output * inputs + input]) }
          // Each of two factors is rounded to 8 bits of mantissa, or to half a step of 1/127.
          let bound: Double =
            precision == .float32 ? 1e-5 : precision == .bfloat16 ? Double(inputs) * 0x1p-7 : Double(inputs) * (1.01 / 127)
          let error = abs(sum - Double(y[row * outputs + output]))
          #expect(error <= bound, "\(precision) \(inputs) \(row) \(output)")
        }
      }
    }
  }

  @Test func activationsAreAppliedToEveryOutput() {
    let samples = MatrixSamples(seed: 13, count: 4_000)
    let scratch = MatrixScratch()
    let (inputs, outputs, rows) = (19, 37, 5)
    for activation in Activation.allCases {
      var plain = [Float](repeating: 0, count: rows * outputs), given = plain
      let make = { (activation: Activation) in
        PackedMatrix(weights: samples.values, bias: samples.values + 2000, inputs: inputs, outputs: outputs, activation: activation)
      }
      for set in PackedSets.all {
        PackedSets.pack(set) { make(.none) }.multiply(samples.values + 900, xStride: inputs, rows: rows, into: &plain, yStride: outputs, scratch: scratch)
        PackedSets.pack(set) { make(activation) }
          .multiply(samples.values + 900, xStride: inputs, rows: rows, into: &given, yStride: outputs, scratch: scratch)
        for index in plain.indices {
          let expected = activationReference(activation, Double(plain[index]))
          let error = abs(Double(given[index]) - expected)
          #expect(error <= 2e-6 * abs(expected) + 1e-7, "\(activation) \(set) of \(plain[index])")
        }
      }
    }
  }

  /// What is read and written ends where rows end: the memory behind them is not ours.
  @Test func nothingBeyondTheOperandsIsTouched() throws {
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    func guarded() throws -> UnsafeMutablePointer<Float> {
      let map = mmap(nil, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
      let base = try #require(map == MAP_FAILED ? nil : map)
      #expect(mprotect(base + page, page, PROT_NONE) == 0)
      return (base + page).assumingMemoryBound(to: Float.self)
    }
    let (xEnd, yEnd, weightsEnd) = (try guarded(), try guarded(), try guarded())
    defer { for end in [xEnd, yEnd, weightsEnd] { munmap(UnsafeMutableRawPointer(end) - page, 2 * page) } }
    let scratch = MatrixScratch()
    for precision in MatrixPrecision.allCases {
      for set in PackedSets.all {
        for (inputs, outputs) in [(1, 1), (3, 17), (17, 2), (33, 15), (64, 1), (21, 33)] {
          let weights = weightsEnd - inputs * outputs
          for index in 0..<inputs * outputs { weights[index] = Float(index % 7) - 3 }
          let matrix = PackedSets.pack(set) {
            PackedMatrix(weights: weights, bias: nil, inputs: inputs, outputs: outputs, precision: precision)
          }
          for rows in [1, 2, 5, 15] {
            let (x, y) = (xEnd - rows * inputs, yEnd - rows * outputs)
            for index in 0..<rows * inputs { x[index] = 1 }
            matrix.multiply(x, xStride: inputs, rows: rows, into: y, yStride: outputs, scratch: scratch)
            #expect(y[0] == y[(rows - 1) * outputs])
            if inputs * outputs < 100 {
              MatrixProduct.multiply(
                MatrixOperand(x, rowStride: inputs), MatrixOperand(weights, rowStride: outputs), m: rows, k: inputs, n: outputs, into: y,
                cStride: outputs, scratch: scratch)
            }
          }
        }
      }
    }
  }
}

/// In double precision.
func activationReference(_ activation: Activation, _ x: Double) -> Double {
  switch activation {
  case .none: x
  case .relu: max(0, x)
  case .gelu: x * 0.5 * erfc(-x / 2.0.squareRoot())
  case .geluTanh: x / (1 + exp(-2 * (2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
  case .sigmoid: 1 / (1 + exp(-x))
  case .tanh: tanh(x)
  case .silu: x / (1 + exp(-x))
  case .softplus: max(0, x) + log1p(exp(-abs(x)))
  case .exponential: exp(x)
  }
}
