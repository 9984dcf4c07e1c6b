import Testing

@testable import EmbeddedBroker

@Suite struct ProducerTableTests {
  private func header(_ batch: TestBatch, at offset: Int64 = 0) -> RecordBatchHeader {
    var header = batch.bytes.withUnsafeBytes { RecordBatchHeader($0.baseAddress!) }
    header.baseOffset = offset
    return header
  }

  private func code(_ decision: ProducerTable.Decision) -> ErrorCode? {
    if case .refuse(let code, _) = decision { return code }
    return nil
  }

  @Test func sequencesMustFollow() {
    var table = ProducerTable()
    #expect(table.decide(header(TestBatch(producer: 1, sequence: 0, count: 3))) == .append)
    table.append(header(TestBatch(producer: 1, sequence: 0, count: 3), at: 10), now: 0)
    #expect(table.decide(header(TestBatch(producer: 1, sequence: 3))) == .append)
    #expect(code(table.decide(header(TestBatch(producer: 1, sequence: 4)))) == .outOfOrderSequenceNumber)
    #expect(table.decide(header(TestBatch(producer: 1, sequence: 0, count: 3))) == .duplicate(baseOffset: 10))
    // Overlaps what was appended, but is not it.
    #expect(code(table.decide(header(TestBatch(producer: 1, sequence: 1, count: 3)))) == .outOfOrderSequenceNumber)
    #expect(code(table.decide(header(TestBatch(producer: 2, sequence: 1)))) == .unknownProducerID)
  }

  @Test func theLastFiveBatchesAreRecognizedAndOlderOnesAreDuplicates() {
    var table = ProducerTable()
    for sequence in 0..<8 {
      table.append(header(TestBatch(producer: 1, sequence: Int32(sequence)), at: Int64(100 + sequence)), now: 0)
    }
    for sequence in 3..<8 {
      #expect(table.decide(header(TestBatch(producer: 1, sequence: Int32(sequence)))) == .duplicate(baseOffset: Int64(100 + sequence)))
    }
    for sequence in 0..<3 {
      #expect(code(table.decide(header(TestBatch(producer: 1, sequence: Int32(sequence))))) == .duplicateSequenceNumber)
    }
  }

  @Test func epochs() {
    var table = ProducerTable()
    table.append(header(TestBatch(producer: 1, epoch: 3, sequence: 0)), now: 0)
    #expect(code(table.decide(header(TestBatch(producer: 1, epoch: 2, sequence: 1)))) == .invalidProducerEpoch)
    #expect(code(table.decide(header(TestBatch(producer: 1, epoch: 4, sequence: 1)))) == .outOfOrderSequenceNumber)
    #expect(table.decide(header(TestBatch(producer: 1, epoch: 4, sequence: 0))) == .append)
    table.append(header(TestBatch(producer: 1, epoch: 4, sequence: 0)), now: 0)
    #expect(table.decide(header(TestBatch(producer: 1, epoch: 4, sequence: 1))) == .append)
  }

  @Test func sequencesWrap() {
    #expect(ProducerTable.advance(Int32.max, by: 1) == 0)
    #expect(ProducerTable.advance(Int32.max - 1, by: 3) == 1)
    #expect(ProducerTable.advance(5, by: 0) == 5)
    var table = ProducerTable()
    table.append(header(TestBatch(producer: 1, sequence: 0)), now: 0)
    // Jump to the end of the circle by hand.
    var near = header(TestBatch(producer: 1, sequence: 0, count: 4))
    near.baseSequence = Int32.max - 1
    table.append(near, now: 0)  // covers max-1, max, 0, 1
    var next = header(TestBatch(producer: 1, sequence: 0))
    next.baseSequence = 2
    #expect(table.decide(next) == .append)
    next.baseSequence = 3
    #expect(code(table.decide(next)) == .outOfOrderSequenceNumber)
  }

  @Test func savedAndLoaded() throws {
    let directory = try TemporaryDirectory()
    var table = ProducerTable()
    for producer in 0..<20 {
      for sequence in 0..<7 {
        table.append(header(TestBatch(producer: Int64(producer), sequence: Int32(sequence)), at: Int64(sequence)), now: 5)
      }
    }
    try table.save(directory.path + "/producers", offset: 77)
    let loaded = try #require(ProducerTable.load(directory.path + "/producers"))
    #expect(loaded.offset == 77)
    #expect(loaded.table.producers == table.producers)
    table.expire(before: 6)
    #expect(table.producers.isEmpty)
  }

  @Test func boundedByEvictingTheIdle() {
    var table = ProducerTable()
    for producer in 0..<(ProducerTable.producersMax + 500) {
      table.append(header(TestBatch(producer: Int64(producer), sequence: 0)), now: Int64(producer))
    }
    #expect(table.producers.count <= ProducerTable.producersMax)
    #expect(table.producers[Int64(ProducerTable.producersMax + 499)] != nil)
    #expect(table.producers[0] == nil)
  }
}
