import CKernels
import Kernels
import Testing

/// FTRL-Proximal in plain Swift: the oracle, bit for bit.
struct OracleRow: Equatable {
  var z: Float = 0
  var n: Float = 0
  var w: Float = 0
  var touched: UInt32 = 0

  mutating func apply(_ f: FTRL, g: Float, g2: Float) -> Bool {
    let n1 = n + g2
    let root = n1.squareRoot()
    let sigma = (root - n.squareRoot()) / f.alpha
    let product = sigma * w
    let difference = g - product
    let z1 = z + difference
    var w1: Float = 0
    if !(abs(z1) <= f.l1) {
      let shrunk = (z1.sign == .minus ? -f.l1 : f.l1) - z1
      let rate = (f.beta + root) / f.alpha
      w1 = shrunk / (rate + f.l2)
    }
    guard n1.isFinite, z1.isFinite, w1.isFinite else { return false }
    z = z1
    n = n1
    w = w1
    return true
  }
}

let settings: [FTRL] = [
  FTRL(alpha: 0.1, beta: 1, l1: 0, l2: 0)!, FTRL(alpha: 0.5, beta: 0.01, l1: 0.3, l2: 2)!, FTRL(alpha: 1e-6, beta: 1e-6, l1: 1e-3, l2: 0)!,
]

@Suite struct RowTableTests {
  @Test func settingsThatAreNotSettings() {
    #expect(FTRL(alpha: 0, beta: 1, l1: 0, l2: 0) == nil)
    #expect(FTRL(alpha: 0.1, beta: 0, l1: 0, l2: 0) == nil)
    #expect(FTRL(alpha: .infinity, beta: 1, l1: 0, l2: 0) == nil)
    #expect(FTRL(alpha: 0.1, beta: 1, l1: -1, l2: 0) == nil)
    #expect(FTRL(alpha: 0.1, beta: 1, l1: 0, l2: .nan) == nil)
    #expect(FTRL(alpha: 1e-300, beta: 1, l1: 0, l2: 0) == nil)
  }

  /// Every instruction set, odd sizes, strange values, growth: bits of the oracle, and the rolling hash of the recomputed one.
  @Test(arguments: [InstructionSet.scalar, .avx2, .avx512], [0, 1, 2])
  func appliesLikeTheOracle(set: InstructionSet, setting: Int) {
    let inForce = InstructionSet.force(set)
    defer { InstructionSet.force(.avx512) }
    let seed = UInt64(setting * 10) + UInt64(set.rawValue)
    print("row table against oracle: seed \(seed), asked \(set), runs \(inForce)")
    var generator = SeededGenerator(seed: seed)
    let ftrl = settings[setting]
    let table = RowTable()!
    var oracle: [UInt64: OracleRow] = [:]
    var refused = 0
    for record in 0..<120 {
      let count = [0, 1, 2, 15, 16, 17, 31, 33, 100][Int(generator.next() % 9)]
      // Few ids at first, so that rows meet again; with id 0, the largest id, and neighbours.
      var ids = Set<UInt64>()
      while ids.count < count {
        let id = generator.next() % (record % 3 == 0 ? 200 : 4000)
        ids.insert(generator.next() % 50 == 0 ? .max - id : id)
      }
      let sorted = ids.sorted()
      var g: [Float] = []
      var g2: [Float] = []
      for _ in sorted {
        switch generator.next() % 40 {
        case 0: g.append(.nan)
        case 1: g.append(.infinity)
        case 2: g.append(-1e30)
        case 3: g.append(-0.0)
        case 4: g.append(Float(bitPattern: 71_362))
        default: g.append(Float.random(in: -3...3, using: &generator))
        }
        switch generator.next() % 40 {
        case 0: g2.append(.nan)
        case 1: g2.append(-1)
        case 2: g2.append(1e30)
        case 3: g2.append(0)
        default: g2.append(Float.random(in: 0...9, using: &generator))
        }
      }
      let touched = UInt32(generator.next() % 1000)
      let result = table.apply(ftrl, ids: sorted, gradients: g, squares: g2, count: sorted.count, gradientBound: 100, squareBound: 1e4, touchedHours: touched)
      #expect(!result.out_of_memory)
      var expected = 0
      for (i, id) in sorted.enumerated() {
        let goodG = abs(g[i]) <= 100
        let goodG2 = g2[i] >= 0 && g2[i] <= 1e4
        var row = oracle[id] ?? OracleRow()
        expected += (goodG ? 0 : 1) + (goodG2 ? 0 : 1)
        if !row.apply(ftrl, g: goodG ? g[i] : 0, g2: goodG2 ? g2[i] : 0) { expected += 1 }
        row.touched = max(row.touched, touched)
        oracle[id] = row
      }
      #expect(Int(result.refused) == expected)
      refused += expected
    }
    #expect(refused > 0)
    #expect(table.rows == oracle.count)
    for (id, row) in oracle {
      let there = table.row(id)
      #expect(there?.z.bitPattern == row.z.bitPattern && there?.n.bitPattern == row.n.bitPattern && there?.w.bitPattern == row.w.bitPattern, "row \(id)")
      #expect(there?.touched == row.touched)
    }
    #expect(table.row(999_999_999) == nil)
    #expect(table.stateHash == table.recomputedStateHash())
    var seen = Set<UInt64>()
    var visits = 0
    table.forEachRow { row in
      seen.insert(row.id)
      visits += 1
    }
    #expect(seen == Set(oracle.keys) && visits == oracle.count)
  }

  @Test func oneStepIsOneApply() {
    var generator = SeededGenerator(seed: 5)
    for ftrl in settings {
      let table = RowTable()!
      var row = mr_row(id: 7, z: 0, n: 0, w: 0, touched: 0, count: 0)
      for _ in 0..<200 {
        let g = Float.random(in: -2...2, using: &generator)
        ftrl.step(&row, gradientSum: g, squareSum: g * g)
        _ = table.apply(ftrl, ids: [7], gradients: [g], squares: [g * g], count: 1, gradientBound: 1e6, squareBound: 1e12, touchedHours: 0)
        #expect(table.row(7)?.w.bitPattern == row.w.bitPattern && table.row(7)?.z.bitPattern == row.z.bitPattern)
        #expect(ftrl.weight(z: row.z, n: row.n).bitPattern == row.w.bitPattern)
      }
    }
  }

  @Test func theStateHashTellsRowsApart() {
    let base = mr_row(id: 3, z: 1, n: 2, w: 0, touched: 4, count: 5)
    func hash(_ change: (inout mr_row) -> Void) -> UInt64 {
      var row = base
      change(&row)
      return mr_row_hash(&row)
    }
    let all = [
      hash { _ in }, hash { $0.id = 4 }, hash { $0.z = 2 }, hash { $0.n = 1 }, hash { $0.touched = 5 }, hash { $0.count = 4 },
      hash { swap(&$0.z, &$0.n) }, hash { $0.z = -1 },
    ]
    #expect(Set(all).count == all.count)
    // The weight follows from z and n.
    #expect(hash { $0.w = 9 } == all[0])
  }

  @Test func countsAddUp() {
    let table = RowTable()!
    var sums: [UInt64: Int64] = [:]
    var generator = SeededGenerator(seed: 9)
    for _ in 0..<200 {
      let ids = Set((0..<20).map { _ in generator.next() % 500 }).sorted()
      let counts = ids.map { _ in Int64(bitPattern: generator.next() % 7) }
      #expect(!table.add(ids: ids, counts: counts, count: ids.count, touchedHours: 1).out_of_memory)
      for (id, n) in zip(ids, counts) { sums[id, default: 0] += n }
    }
    for (id, n) in sums {
      #expect(table.row(id)?.count == n)
      #expect(table.row(id)?.w == Float(n))
    }
    #expect(table.stateHash == table.recomputedStateHash())
  }

  @Test func learningOneByOneIsTheOracle() {
    // A squared loss: its gradient needs no library function, so the bits are the oracle's.
    var generator = SeededGenerator(seed: 21)
    let ftrl = settings[1]
    let table = RowTable()!
    var c = ftrl.c
    var oracle: [UInt64: OracleRow] = [:]
    for _ in 0..<2000 {
      let ids = (0..<7).map { _ in generator.next() % 300 }  // ids may repeat within an example
      let values = ids.map { _ in Float.random(in: -1...1, using: &generator) }
      let label = Float.random(in: -2...2, using: &generator)
      let margin = mr_table_learn(table.pointer, &c, Int32(MR_LOSS_SQUARED), ids, values, ids.count, label, 1)
      var expected: Float = 0
      for (id, x) in zip(ids, values) {
        let product = (oracle[id] ?? OracleRow()).w * x
        expected += product
      }
      #expect(margin.bitPattern == expected.bitPattern)
      for (id, x) in zip(ids, values) {
        var row = oracle[id] ?? OracleRow()
        let g = (expected - label) * x
        _ = row.apply(ftrl, g: g, g2: g * g)
        oracle[id] = row
      }
    }
    for (id, row) in oracle { #expect(table.row(id)?.w.bitPattern == row.w.bitPattern) }
  }

  @Test func growsASliceAtATime() {
    let table = RowTable()!
    let first = table.capacity
    var wasGrowing = false
    for id in UInt64(1)...20_000 {
      #expect(table.put(mr_row(id: id &* 0x9E37_79B9_7F4A_7C15, z: Float(id), n: 1, w: Float(id), touched: 0, count: 0)))
      wasGrowing = wasGrowing || table.isGrowing
    }
    #expect(wasGrowing)
    #expect(table.capacity > first)
    #expect(Double(table.rows) <= 0.6 * Double(table.capacity) + 1)
    for id in UInt64(1)...20_000 { #expect(table.row(id &* 0x9E37_79B9_7F4A_7C15)?.z == Float(id)) }
    while table.isGrowing { table.work(slotsMax: 100) }
    #expect(table.stateHash == table.recomputedStateHash())
    // No reader is inside: the old arrays are gone but for the newest.
    table.work(slotsMax: 1)
    #expect(table.bytes < table.capacity * 32 + (4 << 20))
  }

  @Test func tooLargeIsRefusedNotTrapped() {
    #expect(RowTable(rowsExpected: .max) == nil)
  }

  @Test func theFloatEnvironmentIsPutRight() {
    _ = FloatEnvironment.set()
    #expect(FloatEnvironment.set())
  }
}
