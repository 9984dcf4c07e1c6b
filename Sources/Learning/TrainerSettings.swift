public import Model

/// Bounds and delays of a trainer. All times are nanoseconds of a monotonic clock.
public struct TrainerSettings: Sendable, Equatable {
  /// Examples whose records have been handed out and not yet applied by the local replica; at the bound
  /// the trainer takes no more.
  public var inFlightExamplesMax: Int
  /// The bound while the model has learned nothing; it rises by one for every
  /// `coldExamplesPerStep` learned examples until it reaches `inFlightExamplesMax`.
  public var inFlightExamplesColdMax: Int
  public var coldExamplesPerStep: Int
  /// A batch is sent when it holds this many examples. One examples record is never split.
  public var batchExamplesMax: Int
  /// A shard that no example touches is covered by an empty record at the latest after this many source offsets…
  public var coverOffsetsMax: Int64
  /// …or this long, whichever comes first; at once when the source is drained.
  public var coverDelayNanosecondsMax: Int64
  /// An own record that is not seen in the log for this long counts as lost.
  public var ownRecordTimeoutNanoseconds: Int64
  /// Back-off after a lost or dropped record: uniform in 0..<min(max, base * 2^attempt).
  public var backoffBaseNanoseconds: Int64
  public var backoffNanosecondsMax: Int64
  /// A record from beyond the position is believed, and what lies between taken for nothing, when it came so often in a row
  /// after a seek to the position.
  public var gapSightingsMin = 5

  public init(
    inFlightExamplesMax: Int = 1000, inFlightExamplesColdMax: Int = 128, coldExamplesPerStep: Int = 4,
    batchExamplesMax: Int = 256, coverOffsetsMax: Int64 = 256, coverDelayNanosecondsMax: Int64 = 50_000_000,
    ownRecordTimeoutNanoseconds: Int64 = 5_000_000_000, backoffBaseNanoseconds: Int64 = 5_000_000,
    backoffNanosecondsMax: Int64 = 2_000_000_000
  ) {
    self.inFlightExamplesMax = max(1, inFlightExamplesMax)
    self.inFlightExamplesColdMax = max(1, min(inFlightExamplesColdMax, inFlightExamplesMax))
    self.coldExamplesPerStep = max(1, coldExamplesPerStep)
    self.batchExamplesMax = max(1, batchExamplesMax)
    self.coverOffsetsMax = max(1, coverOffsetsMax)
    self.coverDelayNanosecondsMax = max(0, coverDelayNanosecondsMax)
    self.ownRecordTimeoutNanoseconds = max(1, ownRecordTimeoutNanoseconds)
    self.backoffBaseNanoseconds = max(1, backoffBaseNanoseconds)
    self.backoffNanosecondsMax = max(1, backoffNanosecondsMax)
  }

  /// The settings that a model's specification asks for.
  public init(_ learning: LearningSettings) {
    self.init(
      inFlightExamplesMax: learning.inFlightExamplesMax, batchExamplesMax: learning.batchExamplesMax)
  }
}
