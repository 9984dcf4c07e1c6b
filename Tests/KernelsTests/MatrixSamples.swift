import Kernels

/// Makes `make()` under each set that the machine has. Other suites force sets too, so a matrix says which one it got.
enum PackedSets {
  static let all = InstructionSet.supported

  static func pack(_ set: InstructionSet, _ make: () -> PackedMatrix) -> PackedMatrix {
    while true {
      InstructionSet.force(set)
      let matrix = make()
      InstructionSet.force(.avx512)
      if matrix.instructionSet == set { return matrix }
    }
  }
}

/// Numbers in [-1, 1], or [0, 1], that tests take their operands from: one array, used from any place on.
final class MatrixSamples {
  let values: UnsafeMutablePointer<Float>
  let positive: UnsafeMutablePointer<Float>
  let count: Int

  init(seed: UInt64, count: Int) {
    var generator = SeededGenerator(seed: seed)
    self.count = count
    values = .allocate(capacity: count)
    positive = .allocate(capacity: count)
    for index in 0..<count {
      values[index] = Float(Int32(truncatingIfNeeded: generator.next() >> 33)) / 2_147_483_648 * 2 - 1
      positive[index] = abs(values[index])
    }
  }

  deinit {
    values.deallocate()
    positive.deallocate()
  }
}

/// A layer of the tests' grid.
struct MatrixCase: CustomStringConvertible {
  var precision: MatrixPrecision
  var set: InstructionSet
  var inputs: Int
  var outputs: Int
  var rows: Int
  var description: String { "\(precision) \(set) \(rows) x \(inputs) -> \(outputs)" }
}

/// Two sums of `inputs` products of numbers within +-1, each in its own order: each rounding is at most half of 2⁻²³ of a sum that is at most `inputs`.
func summationBound(inputs: Int) -> Float { Float(inputs + 2) * Float(inputs + 2) * 0x1p-23 }
