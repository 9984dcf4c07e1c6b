import Kernels
import Testing

/// Raw integer products against plain loops: the same integers for every sign, zero point and shape.
@Suite struct IntegerMatrixTests {
  @Test(arguments: PackedSets.all, [false, true]) func productsAreExact(_ set: InstructionSet, _ aSigned: Bool) {
    var generator = SeededGenerator(seed: 21)
    let bytes = (0..<6000).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
    func value(_ place: Int, _ isSigned: Bool) -> Int { isSigned ? Int(Int8(bitPattern: bytes[place])) : Int(bytes[place]) }
    let scratch = MatrixScratch()
    for bSigned in [false, true] {
      for (k, n) in [(0, 3), (1, 1), (3, 17), (16, 2), (17, 33), (65, 16)] {
        for rows in [1, 2, 15] {
          for zeroMode in 0..<4 {
            // None; one each; one for each row of a; one for each column of b too.
            let aZeros = zeroMode < 2 ? zeroMode : rows
            let bZeros = zeroMode == 0 ? 0 : zeroMode == 3 ? n : 1
            let a = 7, b = 1100, aZero = 5000, bZero = 5100
            var c = [Int32](repeating: -1, count: rows * n)
            bytes.withUnsafeBytes { base in
              InstructionSet.force(set)
              let matrix = IntegerMatrix(
                base.baseAddress! + b, isSigned: bSigned, rows: k, columns: n, rowStride: n,
                zeroPoints: UnsafeRawBufferPointer(rebasing: base[bZero..<bZero + bZeros]))
              InstructionSet.force(.avx512)
              matrix.multiply(
                base.baseAddress! + a, isSigned: aSigned, aStride: k + 1,
                aZeroPoints: UnsafeRawBufferPointer(rebasing: base[aZero..<aZero + aZeros]), count: rows, into: &c, cStride: n,
                scratch: scratch)
            }
            var wrong = 0
            for row in 0..<rows {
              for column in 0..<n {
                let za = aZeros == 0 ? 0 : value(aZero + (aZeros == 1 ? 0 : row), aSigned)
                let zb = bZeros == 0 ? 0 : value(bZero + (bZeros == 1 ? 0 : column), bSigned)
                var sum = 0
                for i in 0..<k {
                  let left = value(a + row * (k + 1) + i, aSigned) - za
                  let right = value(b + i * n + column, bSigned) - zb
                  sum += left * right
                }
                if Int(c[row * n + column]) != sum { wrong += 1 }
              }
            }
            #expect(wrong == 0, "\(set) a signed \(aSigned), b signed \(bSigned), \(rows) x \(k) x \(n), zero points \(zeroMode)")
          }
        }
      }
    }
  }

  /// Extremes of both sides, where a saturating instruction would show.
  @Test func nothingSaturates() {
    let k = 257
    let extremes: [(UInt8, Int8)] = [(255, -128), (255, 127), (1, -128)]
    for (a, b) in extremes {
      let left = [UInt8](repeating: a, count: k), right = [Int8](repeating: b, count: k)
      for set in PackedSets.all {
        InstructionSet.force(set)
        let matrix = IntegerMatrix(right, isSigned: true, rows: k, columns: 1, rowStride: 1)
        InstructionSet.force(.avx512)
        var c: Int32 = 0
        matrix.multiply(
          left, isSigned: false, aStride: k, aZeroPoints: UnsafeRawBufferPointer(start: nil, count: 0), count: 1, into: &c, cStride: 1,
          scratch: MatrixScratch())
        #expect(Int(c) == k * Int(a) * Int(b), "\(set)")
      }
    }
  }
}
