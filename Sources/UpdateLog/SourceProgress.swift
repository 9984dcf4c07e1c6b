/// How far a shard has come in one partition of `examples`: the state of a reader that goes on from there.
public struct SourceProgress: Sendable, Equatable, Hashable {
  /// The next offset of the examples partition.
  public var offset: Int64
  /// The end of the feature range that the joiner's accepted records cover up to `offset`.
  public var featuresTo: Int64
  /// The end of the label range.
  public var labelsTo: Int64
  /// Identity of the batch of examples that the joiner's chain has come to; 0: none yet.
  public var batch: UInt64

  public init(offset: Int64 = 0, featuresTo: Int64 = 0, labelsTo: Int64 = 0, batch: UInt64 = 0) {
    self.offset = offset
    self.featuresTo = featuresTo
    self.labelsTo = labelsTo
    self.batch = batch
  }
}
