import CKernels
import Kernels
import Testing

/// A capture is the table as it stood when it began, whatever happens meanwhile.
@Suite struct RowTableCaptureTests {
  @Test(arguments: 1...8)
  func isExactWhileTheTableChangesAndGrows(seed: Int) {
    print("capture: seed \(seed)")
    var generator = SeededGenerator(seed: UInt64(seed))
    let table = RowTable()!
    let ftrl = FTRL(alpha: 0.1, beta: 1, l1: 0, l2: 0)!
    var range: UInt64 = 400
    func change() {
      let ids = Set((0..<Int(generator.next() % 30)).map { _ in generator.next() % range }).sorted()
      let g = ids.map { _ in Float.random(in: -1...1, using: &generator) }
      _ = table.apply(ftrl, ids: ids, gradients: g, squares: g.map { $0 * $0 }, count: ids.count, gradientBound: 10, squareBound: 10, touchedHours: 0)
    }
    for round in 0..<6 {
      for _ in 0..<Int(generator.next() % 60) { change() }
      var expected: [UInt64: UInt64] = [:]
      table.forEachRow { row in
        var row = row
        expected[row.id] = mr_row_hash(&row)
      }
      let hash = table.stateHash
      #expect(mr_table_capture_begin(table.pointer))
      #expect(!mr_table_capture_begin(table.pointer))
      range += UInt64(round) * 900  // new rows come in while it is captured, and the table grows
      var got: [UInt64: UInt64] = [:]
      var sum: UInt64 = 0
      var done = false
      var failed = false
      var steps = 0
      let out = UnsafeMutableBufferPointer<mr_row>.allocate(capacity: 64)
      defer { out.deallocate() }
      while !done {
        let count = mr_table_capture_slice(table.pointer, out.baseAddress, 1 + Int(generator.next() % 64), 1 + generator.next() % 200, &done, &failed)
        #expect(!failed)
        for i in 0..<count {
          var row = out[i]
          #expect(got.updateValue(mr_row_hash(&row), forKey: row.id) == nil, "row \(row.id) twice")
          sum &+= mr_row_hash(&row)
        }
        for _ in 0..<Int(generator.next() % 4) { change() }
        steps += 1
        if steps > 100_000 { break }
      }
      mr_table_capture_end(table.pointer)
      #expect(done)
      #expect(got == expected)
      #expect(sum == hash)
    }
    #expect(table.stateHash == table.recomputedStateHash())
  }
}
