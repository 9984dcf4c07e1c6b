/// What a trainer asks of its shell.
public enum TrainerAction {
  /// Append these bytes to the update log's partition `shard`. The bytes are valid until the trainer's
  /// next call. If the append is refused or fails, say so by `appendFailed(sourcePartition:)`; if
  /// nothing is known about it, say nothing: the trainer notices.
  case append(shard: Int, sourcePartition: Int32, bytes: UnsafeRawBufferPointer)
  /// Read examples partition `partition` from `offset` on. Records read before are stale.
  case seek(partition: Int32, offset: Int64)
}

/// What became of an examples record handed to a trainer.
public enum TrainerIntake: Sendable, Equatable {
  /// Taken: its examples are in the batch being built, or its place is covered.
  case taken
  /// Not taken: perform the actions that are waiting, then offer the record again.
  case again
  /// Not taken: too many examples are in flight. Offer the record again after outcomes.
  case full
  /// Not wanted: the partition is not being read, or reads from another offset. Drop it.
  case ignored
}

/// What a trainer has seen and done since it was made. Plain numbers of its owner thread.
public struct TrainerCounters: Sendable, Equatable {
  public var recordsTaken = 0
  /// Examples records that the reader rule refused: their place is covered, they teach nothing.
  public var recordsRefused = 0
  /// Examples records that could not be read: covered, counted, taught nothing.
  public var recordsInvalid = 0
  public var examplesLearned = 0
  /// Examples whose event could not be decoded: covered, counted, taught nothing.
  public var examplesInvalid = 0
  public var updatesSent = 0
  public var updatesAccepted = 0
  public var updatesDropped = 0
  public var updatesLost = 0
  public var resyncs = 0

  public init() {}
}
