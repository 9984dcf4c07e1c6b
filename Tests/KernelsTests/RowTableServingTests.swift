import CKernels
import Kernels
import Testing

/// The serving form of a row table: weights in bfloat16 beside the rows.
@Suite struct RowTableServingTests {
  private func sum(_ table: RowTable, _ id: UInt64) -> Float {
    var (id, value, end, sum) = (id, Float(1), Int32(1), Float(0))
    mr_partial(table.pointer, 0, 1, &id, &value, &end, 1, &sum)
    return sum
  }

  private func rounded(_ w: Float) -> Float {
    let bits = w.bitPattern
    return Float(bitPattern: (bits &+ 0x7FFF &+ (bits >> 16 & 1)) & 0xFFFF_0000)
  }

  private func learn(_ table: RowTable, _ generator: inout SeededGenerator, ids below: UInt64, times: Int) throws {
    let ftrl = try #require(FTRL(alpha: 0.1, beta: 1, l1: 0.05, l2: 0))
    for _ in 0..<times {
      let ids = Set((0..<64).map { _ in generator.next() % below &* 0x9E37_79B9_7F4A_7C15 }).sorted()
      let gradients = ids.map { _ in Float.random(in: -2...2, using: &generator) }
      let squares = gradients.map { $0 * $0 }
      _ = table.apply(ftrl, ids: ids, gradients: gradients, squares: squares, count: ids.count, gradientBound: 100, squareBound: 100, touchedHours: 1)
    }
  }

  @Test(arguments: [0, 200, 1_000])
  func everyRowIsServedAsItsRoundedWeight(before: Int) throws {
    let plain = try #require(RowTable())
    let served = try #require(RowTable())
    var (a, b) = (SeededGenerator(seed: 11), SeededGenerator(seed: 11))
    try learn(plain, &a, ids: 20_000, times: before)
    try learn(served, &b, ids: 20_000, times: before)
    #expect(!served.isServed)
    #expect(served.serve() && served.serve() && served.isServed)
    #expect(served.stateHash == plain.stateHash, "the serving form is no part of the state")
    for _ in 0..<8 {
      // While it grows, too: rows then stand in two arrays.
      try learn(plain, &a, ids: 20_000, times: 60)
      try learn(served, &b, ids: 20_000, times: 60)
      #expect(served.stateHash == plain.stateHash && served.recomputedStateHash() == served.stateHash)
      var rows = 0
      var wrong = 0
      served.forEachRow { row in
        rows += 1
        if sum(served, row.id) != rounded(row.w) { wrong += 1 }
      }
      #expect(rows == served.rows && wrong == 0, "\(wrong) of \(rows) rows are served as another weight")
    }
    var missing = 0
    for _ in 0..<5_000 where sum(served, a.next()) == 0 { missing += 1 }
    #expect(missing == 5_000, "rows that are not there add nothing")
    #expect(served.bytes > plain.bytes)
  }

  @Test func theRowOfIdZeroIsServedToo() throws {
    let table = try #require(RowTable())
    #expect(table.serve())
    #expect(sum(table, 0) == 0)
    #expect(table.put(mr_row(id: 0, z: 1, n: 1, w: 1.2345, touched: 0, count: 0)))
    #expect(sum(table, 0) == rounded(1.2345))
  }

  @Test func tablesThatAreExchangedKeepBeingServed() throws {
    let served = try #require(RowTable())
    #expect(served.serve())
    let restored = try #require(RowTable())
    var generator = SeededGenerator(seed: 5)
    try learn(served, &generator, ids: 1_000, times: 10)
    try learn(restored, &generator, ids: 3_000, times: 100)
    let hash = restored.stateHash
    _ = mr_table_exchange(served.pointer, restored.pointer)
    #expect(served.isServed && served.stateHash == hash)
    try learn(served, &generator, ids: 9_000, times: 50)
    var wrong = 0
    served.forEachRow { row in if sum(served, row.id) != rounded(row.w) { wrong += 1 } }
    #expect(wrong == 0)
  }
}
