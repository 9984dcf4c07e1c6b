/// What a record of the update log is.
public enum UpdateKind: UInt8, Sendable, CaseIterable {
  /// The canonical specification and the version of the code's semantics: offset 0 of each partition.
  case spec = 1
  /// Gradient sums (or counts) of a range of examples.
  case update = 2
  /// Back to a named checkpoint. Parsed; not applied yet.
  case reset = 3
  /// Trainers pause, progress holds.
  case freeze = 4
  /// Goes on after a freeze: each source resumes, or skips to a place.
  case thaw = 5
  /// Forgets rows not touched since a time, a slice at a time. Parsed; not applied yet.
  case expire = 6
  /// A source range is lost: progress passes it without rows.
  case skip = 7
  /// Nothing happened, and here is how fresh that news is.
  case beacon = 8
}

/// The fixed part of a record.
public struct UpdateHeader: Sendable, Equatable {
  /// No label event time.
  public static let noTime = Int64.min

  public var kind: UpdateKind
  public var specHash: UInt64
  public var epoch: UInt32
  /// The partition of `examples` that `from` and `to` are about; -1 for records about none.
  public var sourcePartition: Int32
  /// The first offset covered: accepted only when it is the shard's progress.
  public var from: Int64
  /// The reader state after the range; `to.offset` is the end of the half-open range.
  public var to: SourceProgress
  /// Who wrote it. For diagnosis, never for decisions.
  public var trainer: UInt64
  /// Where the writer's replica of this shard stood when it computed: its next offset (-1: not said) and its state hash there.
  public var basis: (offset: Int64, stateHash: UInt64) {
    get { (basisOffset, basisStateHash) }
    set { (basisOffset, basisStateHash) = newValue }
  }
  var basisOffset: Int64
  var basisStateHash: UInt64
  /// Event times of the labels covered, milliseconds since 1970; `noTime` for none.
  public var eventTimeFromMilliseconds: Int64
  public var eventTimeThroughMilliseconds: Int64
  /// When the oldest label covered was produced, nanoseconds of the machine's monotonic clock; 0: not known.
  public var labelProducedNanoseconds: Int64
  /// Examples covered.
  public var examples: Int32
  /// Rows in the record. The writer sets it.
  public var rowCount: Int32

  public init(
    kind: UpdateKind, specHash: UInt64, epoch: UInt32 = 0, sourcePartition: Int32 = -1, from: Int64 = 0,
    to: SourceProgress = SourceProgress(), trainer: UInt64 = 0, basis: (offset: Int64, stateHash: UInt64) = (-1, 0),
    eventTimeFromMilliseconds: Int64 = UpdateHeader.noTime, eventTimeThroughMilliseconds: Int64 = UpdateHeader.noTime,
    labelProducedNanoseconds: Int64 = 0, examples: Int32 = 0, rowCount: Int32 = 0
  ) {
    self.kind = kind
    self.specHash = specHash
    self.epoch = epoch
    self.sourcePartition = sourcePartition
    self.from = from
    self.to = to
    self.trainer = trainer
    basisOffset = basis.offset
    basisStateHash = basis.stateHash
    self.eventTimeFromMilliseconds = eventTimeFromMilliseconds
    self.eventTimeThroughMilliseconds = eventTimeThroughMilliseconds
    self.labelProducedNanoseconds = labelProducedNanoseconds
    self.examples = examples
    self.rowCount = rowCount
  }

  /// Event times of the labels covered; nil for none, or when they make no range.
  public var eventTime: ClosedRange<Int64>? {
    get {
      guard eventTimeThroughMilliseconds != Self.noTime, eventTimeFromMilliseconds <= eventTimeThroughMilliseconds else { return nil }
      return eventTimeFromMilliseconds...eventTimeThroughMilliseconds
    }
    set {
      eventTimeFromMilliseconds = newValue?.lowerBound ?? Self.noTime
      eventTimeThroughMilliseconds = newValue?.upperBound ?? Self.noTime
    }
  }
}
