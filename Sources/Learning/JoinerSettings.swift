public import Model

/// How one partition is joined.
public struct JoinerSettings: Sendable, Equatable {
  /// The window, what happens at its end, the bound on waiting events, sampling.
  public var join: JoinSettings
  /// A raw label above this is positive; nil: any label but 0 is. Only decides which examples may be sampled out.
  public var positiveAbove: Double?
  /// Examples in one record.
  public var batchExamplesMax = 256
  /// Bytes of one record, but for a single example that is larger by itself.
  public var batchBytesMax = 512 << 10
  /// Bytes of one event's record. A larger one cannot become an example; it is counted.
  public var eventBytesMax = 900 << 10
  /// Batches that are appended and not yet seen again. Beyond it no more is read.
  public var inFlightBatchesMax = 64
  /// Progress without a decision is covered by an empty batch after this time…
  public var coverMilliseconds: Int64 = 1_000
  /// …or after so many offsets: it bounds what a restart reads again.
  public var coverOffsetsMax: Int64 = 16_384
  /// A source that is read to its end and quiet for so long does not hold the watermark back.
  public var idleMilliseconds: Int64 = 1_000
  /// Event times may be so far ahead of the wall clock; beyond it they are taken for that.
  public var futureMilliseconds: Int64 = 600_000
  /// A batch that is not seen in `examples` for so long is given up.
  public var unseenMilliseconds: Int64 = 10_000
  /// The first wait after a refused batch; doubled each time, at random between half and whole.
  public var backoffMilliseconds: Int64 = 50
  public var backoffMillisecondsMax: Int64 = 10_000

  public init(join: JoinSettings, positiveAbove: Double? = nil) {
    self.join = join
    self.positiveAbove = positiveAbove
  }

  /// What the specification says, and defaults for the rest.
  public init(_ specification: ModelSpecification) {
    self.init(join: specification.join, positiveAbove: specification.label.above)
  }
}
