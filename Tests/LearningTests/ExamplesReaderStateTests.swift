import Learning
import Testing

/// `#expect` takes no mutating calls.
private final class Reader {
  var state: ExamplesReaderState
  init(_ state: ExamplesReaderState) { self.state = state }
  func accepts(_ claim: ExampleBatchClaim, at offset: Int64) -> Bool { state.accept(claim, at: offset) }
}

@Suite struct ExamplesReaderStateTests {
  private func claim(
    _ features: Range<Int64>, _ labels: Range<Int64>, batch: UInt64, follows: UInt64
  ) -> ExampleBatchClaim {
    ExampleBatchClaim(
      featuresFrom: features.lowerBound, featuresTo: features.upperBound, labelsFrom: labels.lowerBound,
      labelsTo: labels.upperBound, batch: batch, follows: follows)
  }

  @Test func acceptsWhatContinuesAndDropsTheRest() {
    let reader = Reader(ExamplesReaderState())
    #expect(reader.accepts(claim(0..<3, 0..<1, batch: 7, follows: 0), at: 0))
    #expect(!reader.accepts(claim(0..<3, 0..<1, batch: 7, follows: 0), at: 1), "a duplicate")
    #expect(!reader.accepts(claim(4..<5, 1..<1, batch: 8, follows: 7), at: 2), "a hole in features")
    #expect(!reader.accepts(claim(3..<5, 2..<3, batch: 8, follows: 7), at: 3), "a hole in labels")
    #expect(!reader.accepts(claim(3..<5, 1..<3, batch: 0, follows: 7), at: 4), "no identity")
    #expect(reader.accepts(claim(3..<5, 1..<3, batch: 8, follows: 7), at: 5))
    #expect(reader.state == ExamplesReaderState(offset: 6, featuresTo: 5, labelsTo: 3, batch: 8))
  }

  @Test func rangesThatFitAreNotEnough() {
    // Two joiners wrote the same ranges; the second's next batch builds on its own first, which was dropped.
    let reader = Reader(ExamplesReaderState())
    #expect(reader.accepts(claim(0..<2, 0..<2, batch: 1, follows: 0), at: 0))
    #expect(!reader.accepts(claim(0..<2, 0..<2, batch: 11, follows: 0), at: 1))
    #expect(!reader.accepts(claim(2..<4, 2..<2, batch: 12, follows: 11), at: 2))
    #expect(reader.accepts(claim(2..<4, 2..<2, batch: 2, follows: 1), at: 3))
  }

  @Test func batchesWithoutProgressCountOnce() {
    let reader = Reader(ExamplesReaderState(offset: 4, featuresTo: 9, labelsTo: 3, batch: 5))
    #expect(reader.accepts(claim(9..<9, 3..<3, batch: 6, follows: 5), at: 4))
    #expect(!reader.accepts(claim(9..<9, 3..<3, batch: 6, follows: 5), at: 5))
    #expect(!reader.accepts(claim(9..<9, 3..<3, batch: 66, follows: 5), at: 6))
  }

  @Test func directExamplesAlwaysCount() {
    let reader = Reader(ExamplesReaderState(offset: 4, featuresTo: 9, labelsTo: 3, batch: 5))
    #expect(reader.accepts(.direct, at: 4))
    #expect(reader.accepts(.direct, at: 5))
    #expect(reader.state == ExamplesReaderState(offset: 6, featuresTo: 9, labelsTo: 3, batch: 5))
  }

  @Test func rangesThatRunBackwardsAreRefused() {
    let reader = Reader(ExamplesReaderState(offset: 4, featuresTo: 9, labelsTo: 3, batch: 5))
    var backwards = claim(9..<9, 3..<3, batch: 6, follows: 5)
    backwards.featuresTo = 2
    #expect(!reader.accepts(backwards, at: 4))
    #expect(reader.state.featuresTo == 9)
  }
}
