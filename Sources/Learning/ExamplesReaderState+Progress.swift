public import UpdateLog

extension ExamplesReaderState {
  /// The state of a reader that goes on from a shard's progress.
  public init(_ progress: SourceProgress) {
    self.init(offset: progress.offset, featuresTo: progress.featuresTo, labelsTo: progress.labelsTo, batch: progress.batch)
  }
}

extension SourceProgress {
  /// The progress of a shard that has taken everything up to where the reader stands.
  public init(_ state: ExamplesReaderState) {
    self.init(offset: state.offset, featuresTo: state.featuresTo, labelsTo: state.labelsTo, batch: state.batch)
  }
}
