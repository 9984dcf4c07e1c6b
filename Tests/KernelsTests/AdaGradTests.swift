import CKernels
import Kernels
import Testing

/// AdaGrad gives the same bits in every instruction set, and those of its definition.
@Suite(.serialized) struct AdaGradTests {
  private let settings = mr_adagrad(alpha: 0.1, epsilon: 1e-8)
  private static let strange: [Float] = [.nan, .infinity, -.infinity, 3.4e38, -3.4e38, 1e-42, -0.0, 0, 1e30]

  private struct Row {
    var w: [Float], n: [Float], g: [Float], g2: [Float]

    init(width: Int, strange: Bool, generator: inout SeededGenerator) {
      func some(_ range: ClosedRange<Float>) -> Float {
        strange && Int.random(in: 0..<4, using: &generator) == 0
          ? AdaGradTests.strange.randomElement(using: &generator) ?? 0 : Float.random(in: range, using: &generator)
      }
      w = (0..<width).map { _ in some(-1...1) }
      n = (0..<width).map { _ in abs(some(0...2)) }
      g = (0..<width).map { _ in some(-1...1) }
      g2 = (0..<width).map { _ in some(0...1) }
    }
  }

  private func bits(_ values: [Float]) -> [UInt32] { values.map(\.bitPattern) }

  @Test func stepsGiveTheBitsOfTheDefinition() {
    var generator = SeededGenerator(seed: 31)
    let settings = settings
    for width in [0, 1, 5, 15, 16, 17, 32, 40, 64] {
      for isStrange in [false, true] {
        let row = Row(width: width, strange: isStrange, generator: &generator)
        for hasSquares in [false, true] {
          var w = row.w, n = row.n
          var refused: UInt32 = 0
          for i in 0..<width {
            let given = hasSquares ? row.g2[i] : row.g[i] * row.g[i]
            let gGood = abs(row.g[i]) <= 100, squareGood = given >= 0 && given <= 1e6
            let g = gGood ? row.g[i] : 0, square = squareGood ? given : 0
            let n1 = n[i] + square
            let w1 = w[i] - (settings.alpha * g) / (n1.squareRoot() + settings.epsilon)
            let isGood = n1.isFinite && w1.isFinite
            if isGood { (n[i], w[i]) = (n1, w1) }
            refused += (gGood ? 0 : 1) + (squareGood ? 0 : 1) + (isGood ? 0 : 1)
          }
          EmbeddingTests.inEverySet { set in
            var w1 = row.w, n1 = row.n
            var s = settings
            let count = row.g2.withUnsafeBufferPointer {
              mr_adagrad_step(&s, &w1, &n1, row.g, hasSquares ? $0.baseAddress : nil, width, 100, 1e6)
            }
            // An empty array has no address, and then squares are made.
            #expect(width == 0 || (bits(w1) == bits(w) && bits(n1) == bits(n) && count == refused), "\(set) width \(width) \(isStrange)")
          }
        }
      }
    }
  }

  @Test func rowStepsGiveTheBitsOfTheDefinition() {
    var generator = SeededGenerator(seed: 32)
    let settings = settings
    for width in [1, 5, 15, 16, 17, 32, 40, 64] {
      for isStrange in [false, true] {
        let row = Row(width: width, strange: isStrange, generator: &generator)
        let g = row.g.map { abs($0) <= 100 ? $0 : 0 }
        var sums = [Float](repeating: 0, count: 16)
        for i in 0..<width { sums[i % 16] += g[i] * g[i] }
        for half in [8, 4, 2, 1] { for i in 0..<half { sums[i] += sums[i + half] } }
        let n = row.n[0].isFinite ? row.n[0] : 1
        let wantedN = n + sums[0] / Float(width)
        let rate = settings.alpha / (wantedN.squareRoot() + settings.epsilon)
        var w = row.w
        var refused: UInt32 = 0
        for i in 0..<width {
          let w1 = w[i] - rate * g[i]
          if w1.isFinite { w[i] = w1 }
          refused += (abs(row.g[i]) <= 100 ? 0 : 1) + (w1.isFinite ? 0 : 1)
        }
        EmbeddingTests.inEverySet { set in
          var w1 = row.w, n1 = n
          var s = settings
          let count = mr_adagrad_row_step(&s, &w1, &n1, row.g, width, 100)
          #expect(bits(w1) == bits(w) && n1.bitPattern == wantedN.bitPattern && count == refused, "\(set) width \(width) \(isStrange)")
        }
      }
    }
    // A sum that is not finite changes nothing.
    EmbeddingTests.inEverySet { _ in
      var w: [Float] = [1, 2], n: Float = 3.4e38
      var s = settings
      #expect(mr_adagrad_row_step(&s, &w, &n, [1.8e19, 1.8e19], 2, 1e38) == 2)
      #expect(w == [1, 2] && n == 3.4e38)
    }
  }

  @Test func manyRowsAreTheirStepsOneByOne() {
    var generator = SeededGenerator(seed: 33)
    let g = (0..<30 * 5).map { _ in Float.random(in: -1...1, using: &generator) }
    let rows = (0..<30).map { UInt32($0 * 2 + 1) }
    EmbeddingTests.inEverySet { set in
      var w = [Float](repeating: 0.5, count: 61 * 8), n = [Float](repeating: 0.1, count: 61)
      var w1 = w, n1 = n
      var s = settings
      #expect(mr_adagrad_apply_rows(&s, &w, 8, &n, rows, 30, g, 5, 10) == 0)
      for (index, row) in rows.enumerated() {
        let row = Int(row)
        var part = Array(w1[row * 8..<row * 8 + 5])
        mr_adagrad_row_step(&s, &part, &n1[row], Array(g[index * 5..<index * 5 + 5]), 5, 10)
        w1.replaceSubrange(row * 8..<row * 8 + 5, with: part)
      }
      #expect(bits(w) == bits(w1) && bits(n) == bits(n1), "\(set)")
    }
  }
}
