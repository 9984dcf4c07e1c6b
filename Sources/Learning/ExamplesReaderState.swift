/// What a header of a record of `examples` says about acceptance: where the batch stands in the chain of
/// batches, and which half-open ranges of source offsets it covers.
public struct ExampleBatchClaim: Sendable, Equatable {
  /// First features offset covered; -1 in direct examples, which belong to no chain.
  public var featuresFrom: Int64
  /// One past the last features offset covered.
  public var featuresTo: Int64
  /// First labels offset covered; -1 in direct examples.
  public var labelsFrom: Int64
  /// One past the last labels offset covered.
  public var labelsTo: Int64
  /// The batch's own identity: random, never 0 in a batch with ranges.
  public var batch: UInt64
  /// Identity of the batch that this one was decided after; 0: it is the first.
  public var follows: UInt64

  public init(
    featuresFrom: Int64, featuresTo: Int64, labelsFrom: Int64, labelsTo: Int64, batch: UInt64, follows: UInt64
  ) {
    self.featuresFrom = featuresFrom
    self.featuresTo = featuresTo
    self.labelsFrom = labelsFrom
    self.labelsTo = labelsTo
    self.batch = batch
    self.follows = follows
  }

  /// The claim of examples that a producer gave directly: no ranges, no place in the chain.
  public static let direct = ExampleBatchClaim(
    featuresFrom: -1, featuresTo: -1, labelsFrom: -1, labelsTo: -1, batch: 0, follows: 0)

  /// True for examples that a producer gave directly. They are always accepted.
  public var isDirect: Bool {
    featuresFrom == -1 && featuresTo == -1 && labelsFrom == -1 && labelsTo == -1 && batch == 0 && follows == 0
  }
}

/// Where a reader of one partition of `examples` stands: enough to decide about every later record exactly as
/// every other reader does. Joiners and trainers share it.
///
/// The rule is a compare-and-swap on the log. A batch is accepted if and only if it was decided right after the batch
/// that was accepted last, and its ranges begin where the accepted ones end. Everything else (a rival's
/// batch, a duplicate, one that comes too late or out of order) is dropped as a whole.
///
/// Ranges alone would not do. A joiner has several batches in flight, and what is in the second depends on what it decided
/// in the first. If a rival's batch with the same ranges is accepted instead of the first, the second would still fit by its
/// ranges, and could repeat or miss what the rival decided.
public struct ExamplesReaderState: Sendable, Equatable {
  /// The next offset of the examples partition to read.
  public var offset: Int64
  /// Features below this offset are covered by accepted batches.
  public var featuresTo: Int64
  /// Labels below this offset are covered by accepted batches.
  public var labelsTo: Int64
  /// Identity of the batch accepted last; 0: none yet.
  public var batch: UInt64

  /// The state before the first record of a partition is the default.
  public init(offset: Int64 = 0, featuresTo: Int64 = 0, labelsTo: Int64 = 0, batch: UInt64 = 0) {
    self.offset = offset
    self.featuresTo = featuresTo
    self.labelsTo = labelsTo
    self.batch = batch
  }

  /// Decides about the record at `offset` and steps past it.
  /// - Returns: true if its examples count. Direct examples always do and change no range.
  public mutating func accept(_ claim: ExampleBatchClaim, at offset: Int64) -> Bool {
    skip(offset)
    if claim.isDirect { return true }
    guard claim.batch != 0, claim.follows == batch, claim.featuresFrom == featuresTo, claim.labelsFrom == labelsTo,
      claim.featuresTo >= claim.featuresFrom, claim.labelsTo >= claim.labelsFrom
    else { return false }
    featuresTo = claim.featuresTo
    labelsTo = claim.labelsTo
    batch = claim.batch
    return true
  }

  /// Steps past a record that is no batch at all (unreadable bytes).
  public mutating func skip(_ offset: Int64) {
    self.offset = offset == .max ? offset : offset + 1
  }
}
