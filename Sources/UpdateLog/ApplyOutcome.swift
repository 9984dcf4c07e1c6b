/// What a replica made of one record.
public enum ApplyOutcome: Sendable, Equatable {
  /// Accepted, and applied as far as its kind has an effect.
  case accepted(UpdateKind)
  /// Dropped by the rule, as by every other replica.
  case dropped(DropReason)
  /// Not a record. Passed over, as by every other replica.
  case invalid(UpdateRecordError)
  /// Its offset is behind the replica: a redelivery. Nothing changed, not even the position.
  case alreadyApplied
  /// Memory ran out half-way: the state is not what the log says. The replica has to stop serving and restore.
  case outOfMemory

  public var isAccepted: Bool { if case .accepted = self { true } else { false } }
}

/// A record said that the state at some offset was other than this replica's was there. One of the two is wrong.
public struct Divergence: Sendable, Equatable {
  /// The record that said so.
  public var recordOffset: Int64
  public var trainer: UInt64
  /// The offset that both talk about.
  public var basisOffset: Int64
  public var theirs: UInt64
  public var ours: UInt64
}

/// Running counts of a shard. Part of its state: the same on every replica at the same offset.
public struct ReplicaCounts: Sendable, Equatable {
  public internal(set) var recordsAccepted: Int64 = 0
  public internal(set) var recordsInvalid: Int64 = 0
  /// By `DropReason`.
  public internal(set) var recordsDropped = [Int64](repeating: 0, count: DropReason.allCases.count)
  /// Examples in accepted records.
  public internal(set) var examples: Int64 = 0
  public internal(set) var rowsApplied: Int64 = 0
  /// Values that counted as zero: not finite, or beyond the bound.
  public internal(set) var valuesRefused: Int64 = 0

  public func dropped(_ reason: DropReason) -> Int64 { recordsDropped[Int(reason.rawValue)] }
}
