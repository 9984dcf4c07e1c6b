import Kernels
import Testing

/// Products of two operands that come at run time, against sums in double precision.
@Suite struct MatrixProductTests {
  @Test(arguments: PackedSets.all) func anyStridesAndShapes(_ set: InstructionSet) {
    let samples = MatrixSamples(seed: 31, count: 12_000)
    let scratch = MatrixScratch()
    InstructionSet.force(set)
    defer { InstructionSet.force(.avx512) }
    for (m, k, n) in [(1, 1, 1), (2, 0, 3), (1, 40, 33), (3, 17, 15), (16, 5, 32), (40, 9, 35), (30, 33, 16)] {
      for (aTransposed, bTransposed, accumulates) in [(false, false, false), (false, true, true), (true, false, true), (true, true, false)] {
        let a = MatrixOperand(samples.values + 1, rowStride: aTransposed ? 1 : k + 1, columnStride: aTransposed ? m : 1)
        let b = MatrixOperand(samples.values + 5000, rowStride: bTransposed ? 1 : n + 2, columnStride: bTransposed ? k : 1)
        var c = [Float](repeating: 2, count: m * (n + 3))
        MatrixProduct.multiply(a, b, m: m, k: k, n: n, into: &c, cStride: n + 3, accumulates: accumulates, scratch: scratch)
        let doubles = UnsafeMutablePointer<Double>.allocate(capacity: samples.count)
        defer { doubles.deallocate() }
        for index in 0..<samples.count { doubles[index] = Double(samples.values[index]) }
        var d = [Double](repeating: 2, count: m * (n + 3))
        MatrixProduct.multiply(
          MatrixOperand(doubles + 1, rowStride: a.rowStride, columnStride: a.columnStride),
          MatrixOperand(doubles + 5000, rowStride: b.rowStride, columnStride: b.columnStride), m: m, k: k, n: n, into: &d, cStride: n + 3,
          accumulates: accumulates)
        let bound = Double(summationBound(inputs: k))
        var wrong = 0, wrongDoubles = 0
        for row in 0..<m {
          for column in 0..<n + 3 {
            let index = row * (n + 3) + column
            var sum = column >= n || accumulates ? 2.0 : 0
            if column < n {
              for i in 0..<k {
                let left = Double(a.base[row * a.rowStride + i * a.columnStride])
                let right = Double(b.base[i * b.rowStride + column * b.columnStride])
                sum += left * right
              }
            }
            let error = abs(Double(c[index]) - sum), doubleError = abs(d[index] - sum)
            if !(error <= bound) { wrong += 1 }
            if !(doubleError <= 1e-12) { wrongDoubles += 1 }
          }
        }
        #expect(wrong == 0 && wrongDoubles == 0, "\(set) \(m) x \(k) x \(n), transposed \(aTransposed) \(bTransposed)")
      }
    }
  }
}
