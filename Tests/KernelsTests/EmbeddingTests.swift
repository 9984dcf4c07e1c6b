import CKernels
import Kernels
import Testing

/// Bags against plain Swift, in every instruction set that the machine has. Tables begin at odd addresses, with bytes of no meaning around.
@Suite(.serialized) struct EmbeddingTests {
  static let widths = [1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100, 127, 128, 129, 200]

  /// Random rows at an address that is 4 past a multiple of 64.
  final class Rows {
    let table: mr_embedding
    private let memory: UnsafeMutableRawPointer

    init(count: Int, precision: RowPrecision, width: Int, head: Int = 0, generator: inout SeededGenerator) {
      let bytes = mr_embedding_row_bytes(Int32(precision.rawValue), UInt32(head), UInt32(width))
      memory = .allocate(byteCount: count * Int(bytes) + 64, alignment: 64)
      memory.initializeMemory(as: UInt8.self, repeating: 0xFF, count: count * Int(bytes) + 64)
      table = mr_embedding(
        rows: UnsafeRawPointer(memory + 4), row_count: UInt64(count), element: Int32(precision.rawValue), width: UInt32(width), head: UInt32(head),
        row_bytes: bytes)
      var table = table
      for row in 0..<count {
        let heads = (0..<head).map { _ in Float.random(in: -1...1, using: &generator) }
        let values = (0..<width).map { _ in Float.random(in: -1...1, using: &generator) }
        mr_embedding_encode(&table, heads, values, memory + 4 + row * Int(bytes))
      }
    }

    deinit { memory.deallocate() }

    func row(_ row: UInt32) -> (head: [Float], values: [Float]) {
      var table = table
      var head = [Float](repeating: 0, count: Int(table.head) + 1)
      var values = [Float](repeating: 0, count: Int(table.width))
      mr_embedding_decode(&table, UInt64(row), &head, &values)
      return (Array(head.dropLast()), values)
    }
  }

  struct Entries {
    var rows: [UInt32] = []
    var weights: [Float] = []
    var ends: [Int32] = []

    /// Bags of 0 to 40 entries, most rows several times.
    init(bags: Int, rowCount: Int, generator: inout SeededGenerator) {
      for bag in 0..<bags {
        for _ in 0..<(bag % 3 == 1 ? 0 : Int.random(in: 0...40, using: &generator)) {
          rows.append(UInt32.random(in: 0..<UInt32(rowCount), using: &generator))
          weights.append(Float.random(in: -2...2, using: &generator))
        }
        ends.append(Int32(rows.count))
      }
    }
  }

  static func inEverySet(_ body: (InstructionSet) -> Void) {
    let before = InstructionSet.current
    for set in InstructionSet.supported {
      InstructionSet.force(set)
      body(set)
    }
    InstructionSet.force(before)
  }

  @Test(arguments: RowPrecision.allCases) func bagsAreSumsAndMeansOfTheirRows(_ precision: RowPrecision) {
    let seed = UInt64.random(in: 0...UInt64.max)
    print("seed \(seed)")
    var generator = SeededGenerator(seed: seed)
    for width in Self.widths {
      let rows = Rows(count: 11, precision: precision, width: width, generator: &generator)
      let entries = Entries(bags: 5, rowCount: 11, generator: &generator)
      let stride = width + 3
      for isWeighted in [false, true] {
        var sums = [Double](repeating: 0, count: 5 * width)
        var sizes = [Double](repeating: 0, count: 5 * width)
        var start = 0
        for (bag, end) in entries.ends.enumerated() {
          for entry in start..<Int(end) {
            let values = rows.row(entries.rows[entry]).values
            for column in 0..<width {
              let term = (isWeighted ? Double(entries.weights[entry]) : 1) * Double(values[column])
              sums[bag * width + column] += term
              sizes[bag * width + column] += abs(term) + (isWeighted ? 2 : 1)
            }
          }
          start = Int(end)
        }
        for mode in [MR_BAG_SUM, MR_BAG_MEAN] {
          Self.inEverySet { set in
            var table = rows.table
            var out = [Float](repeating: 7, count: 5 * stride)
            entries.weights.withUnsafeBufferPointer { weights in
              mr_embedding_bag(
                &table, entries.rows, isWeighted ? weights.baseAddress : nil, entries.ends, 5, Int32(mode), &out, stride)
            }
            var start = 0
            var isGood = true
            for bag in 0..<5 {
              let count = Int(entries.ends[bag]) - start
              start = Int(entries.ends[bag])
              let divisor = mode == MR_BAG_MEAN ? Double(max(1, count)) : 1
              for column in 0..<width {
                let wanted = sums[bag * width + column] / divisor
                let slack = sizes[bag * width + column] / divisor * 1e-6 + 1e-7
                if !(abs(Double(out[bag * stride + column]) - wanted) <= slack) { isGood = false }
              }
              for column in width..<stride where out[bag * stride + column] != 7 { isGood = false }
            }
            #expect(isGood, "\(set) \(precision) width \(width) weighted \(isWeighted) mode \(mode) seed \(seed)")
          }
        }
      }
    }
  }

  @Test(arguments: RowPrecision.allCases) func rowsAreAddedToTheirSlots(_ precision: RowPrecision) {
    var generator = SeededGenerator(seed: 3)
    for width in [1, 8, 15, 16, 17, 33, 64] {
      let rows = Rows(count: 9, precision: precision, width: width, generator: &generator)
      let entries = Entries(bags: 3, rowCount: 9, generator: &generator)
      let slots = entries.rows.map { _ in UInt32.random(in: 0..<4, using: &generator) }
      var sums = [Double](repeating: 1, count: 4 * width)
      for (entry, slot) in slots.enumerated() {
        let values = rows.row(entries.rows[entry]).values
        for column in 0..<width { sums[Int(slot) * width + column] += Double(entries.weights[entry]) * Double(values[column]) }
      }
      Self.inEverySet { set in
        var table = rows.table
        var out = [Float](repeating: 1, count: 4 * width)
        mr_embedding_add(&table, entries.rows, entries.weights, slots, slots.count, &out, width)
        let worst = zip(out, sums).map { abs(Double($0) - $1) }.max() ?? 0
        #expect(worst < 1e-4, "\(set) \(precision) width \(width): \(worst)")
      }
    }
  }

  @Test func nothingToAddUpIsNothingDone() {
    Self.inEverySet { _ in
      var table = mr_embedding(rows: nil, row_count: 0, element: 1, width: 16, head: 0, row_bytes: 64)
      var out: [Float] = [7]
      mr_embedding_bag(&table, nil, nil, nil, 0, 0, &out, 16)
      mr_embedding_add(&table, nil, nil, nil, 0, &out, 16)
      #expect(out == [7])
    }
  }

  @Test func aRowTouchesNoMoreLinesThanItMust() {
    for precision in RowPrecision.allCases {
      for head in [0, 1, 3] {
        for width in 1...300 {
          guard let bytes = EmbeddingTable.rowBytes(precision: precision, width: width, headWidth: head) else {
            Issue.record("width \(width)")
            continue
          }
          let each = precision == .float32 ? 4 : precision == .bfloat16 ? 2 : 1
          let used: Int = Int(mr_embedding_values_at(Int32(precision.rawValue), UInt32(head))) + width * each
          let least: Int = (used + 63) / 64
          var most = 0
          for row in 0..<64 {
            let first: Int = row * bytes
            most = max(most, (first + used - 1) / 64 - first / 64 + 1)
          }
          #expect(bytes >= used && bytes % 8 == 0 && most == least, "\(precision) head \(head) width \(width): \(bytes) bytes")
        }
      }
    }
    #expect(EmbeddingTable.rowBytes(precision: .int8, width: 32) == 64)
    #expect(EmbeddingTable.rowBytes(precision: .int8, width: 16) == 32)
    #expect(EmbeddingTable.rowBytes(precision: .float32, width: 16) == 64)
    #expect(EmbeddingTable.rowBytes(precision: .float32, width: 0) == nil)
    #expect(EmbeddingTable.rowBytes(precision: .float32, width: 4097) == nil)
    #expect(EmbeddingTable.rowBytes(precision: .float32, width: 1, headWidth: -1) == nil)
  }

  @Test func rowsOfInt8AreWithinHalfAStep() throws {
    var generator = SeededGenerator(seed: 5)
    for spread: Float in [1e-30, 1e-3, 1, 1e6, 1.6e38] {
      let values = (0..<32).map { _ in Float.random(in: -1...1, using: &generator) * spread } + [0, spread, -spread]
      let table = try #require(EmbeddingTable(rowCount: 1, precision: .int8, width: values.count, headWidth: 1))
      table.setRow(0, head: [0.1], values: values)
      var head: [Float] = [0]
      var read = [Float](repeating: 0, count: values.count)
      table.row(0, head: &head, values: &read)
      #expect(head == [0.1])
      let step = mr_embedding_scale(values, UInt32(values.count))
      for (value, back) in zip(values, read) { #expect(abs(value / spread - back / spread) <= step / spread * 0.51, "\(value) came back as \(back)") }
    }
    // What has no spread keeps its value; what is no number does no harm.
    let table = try #require(EmbeddingTable(rowCount: 2, precision: .int8, width: 3))
    table.setRow(0, values: [2.5, 2.5, 2.5])
    table.setRow(1, values: [.nan, .nan, .nan])
    var read: [Float] = [0, 0, 0]
    table.row(0, values: &read)
    #expect(read == [2.5, 2.5, 2.5])
    table.row(1, values: &read)
    #expect(read == [0, 0, 0])
  }

  @Test func rowsOfBfloat16AreRoundedToNearestEven() throws {
    let table = try #require(EmbeddingTable(rowCount: 1, precision: .bfloat16, width: 6))
    table.setRow(0, values: [1, 1.00390625, 1.01171875, -3.0e38, .infinity, .nan])
    var read = [Float](repeating: 0, count: 6)
    table.row(0, values: &read)
    // 1 + 2^-8 and 1 + 3 2^-8 lie in the middle: to the even neighbour.
    #expect(read[0] == 1 && read[1] == 1 && read[2] == 1.015625 && read[4] == .infinity && read[5].isNaN)
    #expect(abs(read[3] / -3.0e38 - 1) < 0.004)
  }

  @Test func rowsOfIdsAreWhatTheyAlwaysWere() {
    // These choose what people trained: a change here is never right.
    #expect(EmbeddingTable.row(of: 0, rowCount: 1000) == 0)
    #expect(EmbeddingTable.row(of: 1, rowCount: 1000) == 338)
    // The value "AA" of a feature "carrier".
    #expect(EmbeddingTable.row(of: 0xF412_6742_7D5D_3A92, rowCount: 1000) == 272)
    #expect(EmbeddingTable.row(of: 0xF412_6742_7D5D_3A92, rowCount: 4_294_967_295) == 1_168_509_925)
    #expect(EmbeddingTable.row(of: .max, rowCount: 0) == 0)
    var generator = SeededGenerator(seed: 11)
    let ids = (0..<29).map { _ in UInt64.random(in: 0...UInt64.max, using: &generator) }
    for rowCount in [1, 2, 7, 1000, 4_000_000, Int(UInt32.max)] {
      Self.inEverySet { set in
        for count in [0, 1, 7, 8, 9, 29] {
          var rows = [UInt32](repeating: 9, count: 30)
          mr_embedding_rows_of(ids, count, UInt32(rowCount), 0, &rows)
          #expect((0..<count).allSatisfy { Int(rows[$0]) == Self.row(ids[$0], rowCount) }, "\(set)")
          #expect(rows[count...].allSatisfy { $0 == 9 }, "\(set)")
        }
      }
    }
  }

  @Test func manyWordsHaveTheHashesOfEach() {
    var generator = SeededGenerator(seed: 12)
    let words = [0, 1, UInt64.max, 1 << 63] + (0..<15).map { _ in UInt64.random(in: 0...UInt64.max, using: &generator) }
    for seed in [0, 7, UInt64.max] {
      let each = words.map { word in withUnsafeBytes(of: word.littleEndian) { mr_hash64($0.baseAddress, 8, seed) } }
      Self.inEverySet { set in
        for count in [0, 1, 7, 8, 9, words.count] {
          var hashes = [UInt64](repeating: 5, count: words.count + 1)
          mr_hash64_words(words, count, seed, &hashes)
          #expect(Array(hashes[..<count]) == Array(each[..<count]) && hashes[count...].allSatisfy { $0 == 5 }, "\(set) \(count)")
        }
      }
    }
  }

  static func row(_ id: UInt64, _ count: Int) -> Int { Int(((mr_mix64(id) >> 32) * UInt64(count)) >> 32) }

  @Test func theCheckedBagRefusesRowsThatAreNotThere() throws {
    let table = try #require(EmbeddingTable(rowCount: 10, precision: .float32, width: 4))
    var out = [Float](repeating: 7, count: 4)
    #expect(table.bag(rows: [1, 2, 10], ends: [3], bags: 1, into: &out, outputStride: 4) == 2)
    #expect(table.bag(rows: [1, UInt32.max, 3], ends: [3], bags: 1, into: &out, outputStride: 4) == 1)
    #expect(out == [7, 7, 7, 7])
    #expect(table.bag(rows: [1, 2, 9], ends: [3], bags: 1, into: &out, outputStride: 4) == nil)
    #expect(out == [0, 0, 0, 0])
    var many = [UInt32](repeating: 9, count: 10_000)
    #expect(mr_embedding_first_outside(many, many.count, 10) == 10_000)
    many[9_998] = 10
    #expect(mr_embedding_first_outside(many, many.count, 10) == 9_998)
  }

  @Test func tablesAreBoundedAndBorrowedWhole() throws {
    #expect(EmbeddingTable(rowCount: -1, precision: .float32, width: 4) == nil)
    #expect(EmbeddingTable(rowCount: Int(UInt32.max) + 1, precision: .int8, width: 4) == nil)
    let table = try #require(EmbeddingTable(rowCount: 3, precision: .float32, width: 4))
    table.setRow(2, values: [1, 2, 3, 4])
    let other = try #require(EmbeddingTable(borrowing: table.bytes, owner: table, rowCount: 3, precision: .float32, width: 4))
    var read = [Float](repeating: 0, count: 4)
    other.row(2, values: &read)
    #expect(read == [1, 2, 3, 4])
    #expect(EmbeddingTable(borrowing: table.bytes, owner: table, rowCount: 4, precision: .float32, width: 4) == nil)
    let copy = try #require(EmbeddingTable(rowCount: 3, precision: .float32, width: 4))
    copy.fill { $0.copyMemory(from: table.bytes) }
    copy.row(2, values: &read)
    #expect(read == [1, 2, 3, 4])
    #expect(try #require(EmbeddingTable(rowCount: 0, precision: .float32, width: 4)).byteCount == 0)
  }

  @Test func entriesFindTheirTables() {
    // Fields: a table, a vector of 2 columns, a table, a number.
    let fields = [
      mr_embedding_field(first_row: 0, table_rows: 10, slot: 1, column: 0, columns: 0), mr_embedding_field(first_row: 0, table_rows: 0, slot: 0, column: 1, columns: 2),
      mr_embedding_field(first_row: 10, table_rows: 5, slot: 2, column: 0, columns: 0), mr_embedding_field(first_row: 0, table_rows: 0, slot: 0, column: 0, columns: 1),
    ]
    let ids: [UInt64] = [1, 2, 20, 21, 22, 30, 40, 99, 3]
    let values: [Float] = [1, 3, 5, 6, 7, 8, 9, 1, 2]
    // Three numbers for the vector: one too many. Field 7 is none.
    let entryFields: [UInt16] = [0, 0, 1, 1, 1, 2, 3, 7, 0]
    let ends: [Int32] = [8, 8, 9]
    func row(_ table: Int, _ id: UInt64) -> UInt32 { UInt32(table == 0 ? Self.row(id, 10) : 10 + Self.row(id, 5)) }
    for isMean in [false, true] {
      var rows = [UInt32](repeating: 0, count: 9)
      var weights = [Float](repeating: 0, count: 9)
      var slots = [UInt32](repeating: 0, count: 9)
      var counts = [UInt32](repeating: 0, count: 3)
      let kept = mr_embedding_route(fields, 4, 3, ids, values, entryFields, 0, ends, 3, 0, 1, isMean, &rows, &weights, &slots, &counts)
      #expect(kept == 4)
      #expect(Array(rows[..<4]) == [row(0, 1), row(0, 2), row(1, 30), row(0, 3)])
      #expect(Array(weights[..<4]) == (isMean ? [0.5, 1.5, 8, 2] : [1, 3, 8, 2]))
      #expect(Array(slots[..<4]) == [1, 1, 2, 7])
      // Each row belongs to one shard.
      var total = 0
      for shard in 0..<UInt32(3) {
        let count = mr_embedding_route(fields, 4, 3, ids, values, entryFields, 0, ends, 3, shard, 3, isMean, &rows, &weights, &slots, &counts)
        for entry in 0..<count { #expect(mr_shard_of(UInt64(rows[entry]), 3) == shard) }
        total += count
      }
      #expect(total == 4)
    }
    var dense = [Float](repeating: -1, count: 12)
    mr_embedding_route_dense(fields, 4, values, entryFields, 0, ends, 3, &dense, 4)
    #expect(dense == [9, 5, 6, -1] + [Float](repeating: -1, count: 8))
    var rows = [UInt32](repeating: 0, count: 9)
    var weights = [Float](repeating: 0, count: 9)
    var newEnds = [Int32](repeating: 0, count: 3)
    #expect(mr_embedding_route_shared(10, 22, ids, values, ends, 3, 0, 1, &rows, &weights, &newEnds) == 8)
    #expect(newEnds == [7, 7, 8])
    #expect(Array(weights[..<8]) == [1, 3, 5, 6, 8, 9, 1, 2])
  }
}
