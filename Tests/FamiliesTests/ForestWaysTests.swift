import Kernels
import Testing

@testable import Families

/// Every way of scoring, with every instruction set that the machine has, against the reference.
@Suite struct ForestWaysTests {
  static let ways: [PackedForest.Ways] = [.plain, .sliced, .doubling, .walk, [.sliced, .doubling], .best]
  static let allComparisons: [TreeEnsemble.Comparison] = [.lessOrEqual, .less, .greaterOrEqual, .greater, .equal, .notEqual, .member]
  static let allMissing: [TreeEnsemble.Missing] = [.nothing, .notANumber, .zero, .compared]

  static let shapes: [(name: String, shape: ForestShape, rows: Int)] = [
    ("small trees", ForestShape(features: 3, trees: 7, leavesMax: 8), 300),
    ("up to 64 leaves", ForestShape(features: 28, trees: 9, leavesMax: 64, thresholdsPerFeature: 20), 70),
    ("64 columns at most", ForestShape(features: 30, trees: 6, leavesMax: 64, missing: [.notANumber], thresholdsPerFeature: 9), 33),
    ("all comparisons", ForestShape(features: 6, trees: 12, leavesMax: 30, comparisons: allComparisons, missing: allMissing, hasDoubleThresholds: true), 65),
    ("thresholds in double", ForestShape(features: 4, trees: 9, leavesMax: 40, comparisons: [.lessOrEqual, .less, .greater, .greaterOrEqual], missing: allMissing, hasDoubleThresholds: true), 65),
    ("floats in order", ForestShape(features: 5, trees: 21, leavesMax: 33, comparisons: [.less], summation: .float), 129),
    ("categories", ForestShape(features: 3, trees: 5, leavesMax: 20, comparisons: [.member], missing: allMissing), 40),
    ("many thresholds of one feature", ForestShape(features: 1, trees: 20, leavesMax: 200), 20),
    ("256 leaves", ForestShape(features: 10, trees: 4, leavesMax: 256), 67),
    ("1000 leaves", ForestShape(features: 20, trees: 3, leavesMax: 1000), 40),
    ("chains", ForestShape(features: 8, trees: 4, leavesMax: 64, isChain: true), 20),
    ("long chains", ForestShape(features: 8, trees: 3, leavesMax: 700, isChain: true), 12),
    ("2000 features", ForestShape(features: 2000, trees: 6, leavesMax: 50), 18),
    ("three outputs", ForestShape(features: 6, trees: 11, leavesMax: 40, outputs: 3), 70),
    ("wide leaves", ForestShape(features: 6, trees: 7, leavesMax: 40, outputs: 4, hasWideLeaves: true), 70),
    ("wide leaves in float", ForestShape(features: 6, trees: 7, leavesMax: 90, outputs: 3, hasWideLeaves: true, summation: .float), 30),
    ("single leaves", ForestShape(features: 2, trees: 5, leavesMax: 1, outputs: 2), 9),
    ("no trees", ForestShape(features: 2, trees: 0), 5),
    ("no features", ForestShape(features: 0, trees: 3), 5),
    ("most outputs", ForestShape(features: 3, trees: 5, leavesMax: 9, outputs: 1025), 3),
  ]

  /// Rows of `values`, `stride` bytes apart from an odd address on.
  static func packed(_ values: [[Double]], of element: PackedForest.Element, features: Int) -> (rows: UnsafeMutableRawPointer, start: Int, stride: Int) {
    let bytes = element == .float ? 4 : 8
    let stride = features * bytes + 3
    let rows = UnsafeMutableRawPointer.allocate(byteCount: 1 + stride * max(1, values.count), alignment: 64)
    for (row, columns) in values.enumerated() {
      for (column, value) in columns.enumerated() {
        let at = 1 + row * stride + column * bytes
        if element == .float {
          withUnsafeBytes(of: Float(value)) { (rows + at).copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(rows), byteCount: 4) }
        } else {
          withUnsafeBytes(of: value) { (rows + at).copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(rows), byteCount: 8) }
        }
      }
    }
    return (rows, 1, stride)
  }

  @Test(arguments: shapes.indices) func agreesWithTheReference(_ index: Int) throws {
    let (name, shape, rowCount) = Self.shapes[index]
    let seed = UInt64(100 + index)
    var numbers = SeededNumbers(seed)
    var ensemble = TreeEnsemble.random(shape, &numbers)
    ensemble.baseScores = ensemble.baseScores.map { _ in numbers.uniform() }
    if index % 3 == 1, shape.summation == .double { ensemble.divisor = 3 }
    try #require(ensemble.problems() == [])
    let before = InstructionSet.current
    defer { InstructionSet.force(before) }
    for element in [PackedForest.Element.float, .double] {
      let values = ensemble.rows(rowCount, &numbers).map { element == .float ? $0.map { Double(Float($0)) } : $0 }
      let expected = values.map { ensemble.score(row: $0) }
      let greatest = ensemble.leafValues.map(abs).max() ?? 0
      let (rows, start, stride) = Self.packed(values, of: element, features: shape.features)
      defer { rows.deallocate() }
      for packedFor in InstructionSet.supported {
        InstructionSet.force(packedFor)
        for ways in Self.ways {
          let forest = try PackedForest(ensemble, ways: ways)
          let scratch = try PackedForest.Scratch(forest, rowsMax: 1)
          for set in InstructionSet.supported {
            InstructionSet.force(set)
            for batch in [1, rowCount] {
              var answers = Array(repeating: Double.nan, count: rowCount * forest.answerCount)
              for begin in Swift.stride(from: 0, to: rowCount, by: batch) {
                answers.withUnsafeMutableBytes {
                  guard let base = $0.baseAddress else { return }
                  forest.score(
                    rows + start + begin * stride, stride: stride, of: element, count: min(batch, rowCount - begin),
                    into: base + begin * forest.answerCount * 8, of: .double, scratch: scratch)
                }
              }
              var worst = 0.0
              for row in 0..<rowCount {
                for output in 0..<forest.answerCount {
                  worst = max(worst, abs(answers[row * forest.answerCount + output] - expected[row][output]))
                  if answers[row * forest.answerCount + output].isNaN { worst = .infinity }
                }
              }
              let allowed = shape.summation == .float ? 0 : 1e-7 * greatest * Double(shape.trees)
              #expect(worst <= allowed, "\(name), seed \(seed), \(element), ways \(ways.rawValue) packed for \(packedFor) run with \(set), batches of \(batch)")
            }
          }
        }
      }
    }
  }

  @Test func waysThatCannotCarryAForestAreLeftOut() throws {
    var numbers = SeededNumbers(5)
    let large = TreeEnsemble.random(ForestShape(features: 9, trees: 8, leavesMax: 2000), &numbers)
    try #require(large.trees.contains { $0.leafCount > 256 })
    #expect(try PackedForest(large, ways: .sliced).ways == .plain)
    #expect(try PackedForest(large, ways: [.sliced, .walk]).ways == .walk)
    #expect(try PackedForest(large).ways == .walk)
    let small = TreeEnsemble.random(ForestShape(features: 9, trees: 8, leavesMax: 60, thresholdsPerFeature: 5), &numbers)
    #expect(try PackedForest(small).ways.contains(.sliced))
    #expect(try PackedForest(small, ways: .plain).ways == .plain)
  }

  @Test func leavesThatFloatsCannotHoldStayDoubles() throws {
    var numbers = SeededNumbers(6)
    var ensemble = TreeEnsemble.random(ForestShape(features: 4, trees: 3, leavesMax: 10), &numbers)
    for index in ensemble.leafValues.indices { ensemble.leafValues[index] *= 1e-40 }
    let rows = ensemble.rows(30, &numbers)
    for ways in Self.ways {
      let forest = try PackedForest(ensemble, ways: ways)
      let scratch = try PackedForest.Scratch(forest, rowsMax: 30)
      var answers = Array(repeating: 0.0, count: 30)
      let (base, start, stride) = Self.packed(rows, of: .double, features: 4)
      defer { base.deallocate() }
      answers.withUnsafeMutableBytes {
        guard let to = $0.baseAddress else { return }
        forest.score(base + start, stride: stride, of: .double, count: 30, into: to, of: .double, scratch: scratch)
      }
      for row in 0..<30 { #expect(abs(answers[row] - ensemble.score(row: rows[row])[0]) <= 1e-50) }
    }
  }

  /// Sets over so many categories that no table is made of them, beside one that has a table.
  @Test func setsOfManyCategories() throws {
    let words = 40_000
    var ensemble = TreeEnsemble(
      featureCount: 2, outputCount: 1,
      nodes: [
        .init(feature: 0, comparison: .member, missing: .zero, defaultLeft: true, threshold: 0, categoryStart: 0, categoryWords: Int32(words), left: 1, right: ~2),
        .init(feature: 1, comparison: .member, missing: .nothing, defaultLeft: false, threshold: 0, categoryStart: 7, categoryWords: 1, left: ~0, right: ~1),
      ], categoryBits: Array(repeating: 0, count: words), leafValues: [1, 2, 4],
      trees: [.init(nodeStart: 0, nodeCount: 2, leafStart: 0, leafCount: 3, output: 0)])
    ensemble.categoryBits[words - 1] = 1 << 31
    ensemble.categoryBits[7] = 1 | 1 << 5
    let last = Double(words * 32 - 1)
    let rows: [[Double]] = [[last, 5], [last, 5.9], [last, 6], [last, .nan], [last, -0.9], [last, -1], [last + 1, 5], [0, 5], [.nan, 0], [.infinity, 0], [31, 0]]
    #expect(rows.map { ensemble.score(row: $0)[0] } == [1, 1, 2, 1, 1, 2, 4, 1, 1, 4, 4])
    let before = InstructionSet.current
    defer { InstructionSet.force(before) }
    for set in InstructionSet.supported {
      InstructionSet.force(set)
      for ways in Self.ways {
        let forest = try PackedForest(ensemble, ways: ways)
        let scratch = try PackedForest.Scratch(forest, rowsMax: rows.count)
        let (base, start, stride) = Self.packed(rows, of: .double, features: 2)
        defer { base.deallocate() }
        var answers = Array(repeating: 0.0, count: rows.count)
        answers.withUnsafeMutableBytes {
          guard let to = $0.baseAddress else { return }
          forest.score(base + start, stride: stride, of: .double, count: rows.count, into: to, of: .double, scratch: scratch)
        }
        #expect(answers == [1, 1, 2, 1, 1, 2, 4, 1, 1, 4, 4], "\(set), ways \(ways.rawValue)")
      }
    }
  }
}
