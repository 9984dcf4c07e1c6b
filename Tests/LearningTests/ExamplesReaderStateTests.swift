import Learning
import Testing

@Suite struct ExamplesReaderStateTests {
  private func claim(
    _ features: Range<Int64>, _ labels: Range<Int64>, batch: UInt64, follows: UInt64
  ) -> ExampleBatchClaim {
    ExampleBatchClaim(
      featuresFrom: features.lowerBound, featuresTo: features.upperBound, labelsFrom: labels.lowerBound,
      labelsTo: labels.upperBound, batch: batch, follows: follows)
  }

  @Test func acceptsWhatContinuesAndDropsTheRest() {
    var state = ExamplesReaderState()
    #expect(state.accept(claim(0..<3, 0..<1, batch: 7, follows: 0), at: 0))
    #expect(!state.accept(claim(0..<3, 0..<1, batch: 7, follows: 0), at: 1), "a duplicate")
    #expect(!state.accept(claim(4..<5, 1..<1, batch: 8, follows: 7), at: 2), "a hole in features")
    #expect(!state.accept(claim(3..<5, 2..<3, batch: 8, follows: 7), at: 3), "a hole in labels")
    #expect(!state.accept(claim(3..<5, 1..<3, batch: 0, follows: 7), at: 4), "no identity")
    #expect(state.accept(claim(3..<5, 1..<3, batch: 8, follows: 7), at: 5))
    #expect(state == ExamplesReaderState(offset: 6, featuresTo: 5, labelsTo: 3, batch: 8))
  }

  @Test func rangesThatFitAreNotEnough() {
    // Two joiners wrote the same ranges; the second's next batch builds on its own first, which was dropped.
    var state = ExamplesReaderState()
    #expect(state.accept(claim(0..<2, 0..<2, batch: 1, follows: 0), at: 0))
    #expect(!state.accept(claim(0..<2, 0..<2, batch: 11, follows: 0), at: 1))
    #expect(!state.accept(claim(2..<4, 2..<2, batch: 12, follows: 11), at: 2))
    #expect(state.accept(claim(2..<4, 2..<2, batch: 2, follows: 1), at: 3))
  }

  @Test func batchesWithoutProgressCountOnce() {
    var state = ExamplesReaderState(offset: 4, featuresTo: 9, labelsTo: 3, batch: 5)
    #expect(state.accept(claim(9..<9, 3..<3, batch: 6, follows: 5), at: 4))
    #expect(!state.accept(claim(9..<9, 3..<3, batch: 6, follows: 5), at: 5))
    #expect(!state.accept(claim(9..<9, 3..<3, batch: 66, follows: 5), at: 6))
  }

  @Test func directExamplesAlwaysCount() {
    var state = ExamplesReaderState(offset: 4, featuresTo: 9, labelsTo: 3, batch: 5)
    #expect(state.accept(.direct, at: 4))
    #expect(state.accept(.direct, at: 5))
    #expect(state == ExamplesReaderState(offset: 6, featuresTo: 9, labelsTo: 3, batch: 5))
  }

  @Test func rangesThatRunBackwardsAreRefused() {
    var state = ExamplesReaderState(offset: 4, featuresTo: 9, labelsTo: 3, batch: 5)
    var backwards = claim(9..<9, 3..<3, batch: 6, follows: 5)
    backwards.featuresTo = 2
    #expect(!state.accept(backwards, at: 4))
    #expect(state.featuresTo == 9)
  }
}
