import Kernels
import Testing

/// Values that no model should meet: nothing traps, nothing spreads to other rows, and every form does the same.
@Suite struct MatrixExtremesTests {
  private static let inputs = 70
  private static let outputs = 20

  private func multiply(
    _ set: InstructionSet, _ precision: MatrixPrecision, weights: [Float], x: [Float], activation: Activation = .none, scale: Float? = nil
  ) -> [Float] {
    let matrix = PackedSets.pack(set) {
      PackedMatrix(
        weights: weights, bias: nil, inputs: Self.inputs, outputs: Self.outputs, activation: activation, precision: precision,
        activationScale: scale)
    }
    let rows = x.count / Self.inputs
    var y = [Float](repeating: 7, count: rows * Self.outputs)
    matrix.multiply(x, xStride: Self.inputs, rows: rows, into: &y, yStride: Self.outputs, scratch: MatrixScratch())
    return y
  }

  private func samples(_ seed: UInt64, _ count: Int) -> [Float] {
    var generator = SeededGenerator(seed: seed)
    return (0..<count).map { _ in Float.random(in: -1...1, using: &generator) }
  }

  private static let specials: [Float] = [.nan, .infinity, -.infinity, -.nan]

  @Test(arguments: MatrixPrecision.allCases, PackedSets.all)
  func whatIsNotFiniteStaysInItsRow(_ precision: MatrixPrecision, _ set: InstructionSet) {
    let weights = samples(1, Self.inputs * Self.outputs).map { $0 == 0 ? 0.5 : $0 }
    let clean = samples(2, 6 * Self.inputs)
    for scale in [nil, 0.01] as [Float?] {
      let expected = multiply(set, precision, weights: weights, x: clean, scale: scale)
      for special in Self.specials {
        for place in [0, 15, 63, 64, 69] {
          var x = clean
          x[3 * Self.inputs + place] = special
          let y = multiply(set, precision, weights: weights, x: x, scale: scale)
          for row in 0..<6 {
            let (given, was) = (y[row * Self.outputs..<(row + 1) * Self.outputs], expected[row * Self.outputs..<(row + 1) * Self.outputs])
            guard row == 3 else {
              #expect(given == was, "\(special) at \(place) changes row \(row)")
              continue
            }
            // float32 and bfloat16: an infinity, by its weight's sign, or NaN. int8: NaN, whatever it was.
            let asExpected = given.filter { precision == .int8 || special.isNaN ? $0.isNaN : !$0.isFinite }
            #expect(asExpected.count == Self.outputs, "\(special) at \(place): \(given)")
          }
        }
      }
    }
  }

  @Test(arguments: MatrixPrecision.allCases, PackedSets.all)
  func aWeightThatIsNotFiniteStaysInItsOutput(_ precision: MatrixPrecision, _ set: InstructionSet) {
    let clean = samples(3, Self.inputs * Self.outputs)
    let x = samples(4, 3 * Self.inputs).map { $0 == 0 ? 0.5 : $0 }
    let expected = multiply(set, precision, weights: clean, x: x)
    for special in Self.specials {
      var weights = clean
      weights[5 * Self.inputs + 11] = special
      let y = multiply(set, precision, weights: weights, x: x)
      for index in y.indices {
        let isRight = index % Self.outputs != 5 ? y[index] == expected[index] : precision == .int8 ? y[index].isNaN : !y[index].isFinite
        #expect(isRight, "\(special): output \(index) is \(y[index])")
      }
    }
  }

  @Test(arguments: MatrixPrecision.allCases, PackedSets.all)
  func reluKeepsNaN(_ precision: MatrixPrecision, _ set: InstructionSet) {
    let weights = samples(5, Self.inputs * Self.outputs)
    var x = samples(6, 2 * Self.inputs)
    x[4] = .nan
    let y = multiply(set, precision, weights: weights, x: x, activation: .relu)
    let (poisoned, negative) = (y.prefix(Self.outputs).filter(\.isNaN), y.suffix(Self.outputs).filter { !($0 >= 0) })
    #expect(poisoned.count == Self.outputs && negative.isEmpty)
  }

  /// int8: rows of any size give the same bits in every form; what is too small for a scale is zero.
  @Test func quantizedRowsOfAnySize() {
    let weights = samples(7, Self.inputs * Self.outputs)
    for magnitude in [3e38, 1e30, 1e-20, 1.1e-30, 0.9e-30, 1e-38, 0x1p-140, 0] as [Float] {
      let x = samples(8, 3 * Self.inputs).map { $0 * magnitude }
      let expected = multiply(.scalar, .int8, weights: weights, x: x)
      for set in PackedSets.all {
        let y = multiply(set, .int8, weights: weights, x: x)
        let (bits, expectedBits) = (y.map(\.bitPattern), expected.map(\.bitPattern))
        #expect(bits == expectedBits, "\(set) \(magnitude)")
        let zeros = y.filter { $0 == 0 }
        if magnitude < 1e-30 { #expect(zeros.count == y.count) }
        if magnitude == 1e30 {
          for output in 0..<Self.outputs {
            var exact = 0.0
            for input in 0..<Self.inputs { exact += Double(x[input]) * Double(weights[output * Self.inputs + input]) }
            let error = abs(Double(y[output]) - exact)
            #expect(error < 1e30)
          }
        }
      }
    }
  }

  /// A static scale: what is outside saturates at both ends, in every form.
  @Test func staticScalesSaturate() {
    let weights = (0..<Self.inputs * Self.outputs).map { Float($0 % 3) }
    let x = (0..<Self.inputs).map { _ in Float(1e9) } + (0..<Self.inputs).map { _ in Float(-3e38) }
    for set in PackedSets.all {
      let y = multiply(set, .int8, weights: weights, x: x, scale: 0.5)
      for output in 0..<Self.outputs {
        var sum: Float = 0
        for input in 0..<Self.inputs { sum += weights[output * Self.inputs + input] }
        // The zero point is 128: 127 steps above it and 128 below.
        let (above, below) = (abs(y[output] - sum * 63.5), abs(y[Self.outputs + output] + sum * 64))
        #expect(above < sum && below < sum)
      }
    }
  }

  /// Sums at the edge of what an int32 holds: 65,536 inputs of 255 times 127.
  @Test func theLongestRowsDoNotOverflow() {
    let inputs = PackedMatrix.int8InputsMax
    let weights = [Float](repeating: 1, count: inputs), x = [Float](repeating: 2, count: inputs)
    for set in PackedSets.all {
      let matrix = PackedSets.pack(set) { PackedMatrix(weights: weights, bias: nil, inputs: inputs, outputs: 1, precision: .int8) }
      #expect(matrix.precision == .int8)
      var y: Float = 0
      matrix.multiply(x, xStride: inputs, rows: 1, into: &y, yStride: 1, scratch: MatrixScratch())
      let error = abs(y - Float(2 * inputs))
      #expect(error < 1)
    }
    let longer = PackedMatrix(weights: weights + [1], bias: nil, inputs: inputs + 1, outputs: 1, precision: .int8)
    #expect(longer.precision == .float32)
    var y: Float = 0
    longer.multiply(x + [2], xStride: inputs + 1, rows: 1, into: &y, yStride: 1, scratch: MatrixScratch())
    let error = abs(y - Float(2 * inputs + 2))
    #expect(error < 1)
  }

  /// float32 keeps denormals in every form.
  @Test func denormalsAreKept() {
    var weights = [Float](repeating: 0, count: Self.inputs * Self.outputs)
    weights[0] = 1
    var x = [Float](repeating: 0, count: Self.inputs)
    x[0] = 0x1p-140
    for set in PackedSets.all { #expect(multiply(set, .float32, weights: weights, x: x)[0] == 0x1p-140) }
  }
}
