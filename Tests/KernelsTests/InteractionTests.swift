import CKernels
import Kernels
import Testing

/// Factorization machines and dot interactions against plain Swift, in every instruction set that the machine has.
@Suite(.serialized) struct InteractionTests {
  @Test(arguments: RowPrecision.allCases) func partialsAndFinishAreTheSumOverPairs(_ precision: RowPrecision) {
    var generator = SeededGenerator(seed: 21)
    for (k, outputs) in [(1, 1), (3, 2), (7, 1), (8, 1), (16, 1), (16, 3), (17, 1), (33, 2), (64, 1), (70, 1)] {
      let rows = EmbeddingTests.Rows(count: 13, precision: precision, width: k * outputs, head: outputs, generator: &generator)
      let entries = EmbeddingTests.Entries(bags: 4, rowCount: 13, generator: &generator)
      let bias = (0..<outputs).map { Float($0) - 0.5 }
      var wanted: [Double] = []
      var start = 0
      for end in entries.ends {
        let parts = (start..<Int(end)).map { (rows.row(entries.rows[$0]), Double(entries.weights[$0])) }
        start = Int(end)
        for output in 0..<outputs {
          var sum = Double(bias[output])
          for (index, a) in parts.enumerated() {
            sum += a.1 * Double(a.0.head[output])
            for b in parts[..<index] {
              for c in output * k..<(output + 1) * k { sum += a.1 * b.1 * Double(a.0.values[c]) * Double(b.0.values[c]) }
            }
          }
          wanted.append(sum)
        }
      }
      EmbeddingTests.inEverySet { set in
        var table = rows.table
        var accumulators = [Float](repeating: 0, count: 4 * outputs * (k + 2))
        mr_fm_partial(&table, UInt32(outputs), entries.rows, entries.weights, entries.ends, 4, &accumulators)
        var margins = [Float](repeating: 0, count: 4 * outputs)
        mr_fm_finish(UInt32(outputs), UInt32(k), bias, accumulators, 4, &margins)
        let worst = zip(margins, wanted).map { abs(Double($0) - $1) / (1 + Double(k) + abs($1)) }.max() ?? 0
        #expect(worst < 2e-5, "\(set) \(precision) k \(k) outputs \(outputs): \(worst)")
        // What is there already is added to.
        mr_fm_partial(&table, UInt32(outputs), entries.rows, entries.weights, entries.ends, 4, &accumulators)
        var twice = [Float](repeating: 0, count: 4 * outputs)
        mr_fm_finish(UInt32(outputs), UInt32(k), bias, accumulators, 4, &twice)
        #expect(twice != margins || entries.rows.isEmpty)
      }
    }
  }

  @Test func dotProductsOfAllPairsStandInOrder() {
    var generator = SeededGenerator(seed: 22)
    for (vectors, width) in [(1, 5), (2, 1), (3, 16), (8, 8), (9, 7), (16, 16), (17, 4), (27, 16), (33, 20), (40, 3), (5, 129), (18, 260)] {
      let xStride = vectors * width + 3
      let outputs = width + vectors * (vectors - 1) / 2
      let yStride = outputs + 2
      let x = (0..<2 * xStride).map { _ in Float.random(in: -1...1, using: &generator) }
      var wanted: [Double] = []
      for row in 0..<2 {
        let from = row * xStride
        wanted += (0..<width).map { Double(x[from + $0]) }
        for i in 0..<vectors {
          for j in 0..<i {
            var sum = 0.0
            for c in 0..<width { sum += Double(x[from + i * width + c]) * Double(x[from + j * width + c]) }
            wanted.append(sum)
          }
        }
      }
      EmbeddingTests.inEverySet { set in
        var y = [Float](repeating: 7, count: 2 * yStride)
        mr_dot_interaction(x, xStride, UInt32(vectors), UInt32(width), 2, &y, yStride)
        var worst = 0.0
        for index in 0..<2 * outputs {
          let place = index / outputs * yStride + index % outputs
          worst = max(worst, abs(Double(y[place]) - wanted[index]))
        }
        #expect(worst < 1e-6 * Double(width) + 1e-6, "\(set) \(vectors) vectors of \(width): \(worst)")
        #expect(y[outputs..<yStride].allSatisfy { $0 == 7 } && y[(yStride + outputs)...].allSatisfy { $0 == 7 }, "\(set)")
      }
    }
  }
}
