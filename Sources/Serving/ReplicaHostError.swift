public import Kafka

/// Why a host is not serving, or why one attempt of it ended. None ends the process: the host says it,
/// is not ready, and tries again where that can help.
public enum ReplicaHostError: Error, Sendable, CustomStringConvertible {
  /// The log has records of another model, or the specification was changed under the same name.
  case otherSpecification(topic: String, shard: Int, found: UInt64, expected: UInt64)
  /// What the replica has to read next is no longer in the log, and no checkpoint reaches it.
  case startOfLogPassed(topic: String, shard: Int, needed: Int64, logStart: Int64)
  /// The log ends before the replica's position: it is not the log that the replica came from.
  case logTooShort(topic: String, shard: Int, position: Int64, logEnd: Int64)
  /// The record that the replica applied last is not the one in the log.
  case logDiffers(topic: String, shard: Int, offset: Int64)
  /// A record's state hash and the replica's at the same offset differ.
  case diverged(topic: String, shard: Int, offset: Int64)
  /// The replica could not apply a record (memory is out).
  case replicaBroken(topic: String, shard: Int, offset: Int64, String)
  case clientFailed(KafkaError)
  /// The host was stopped while it waited for a broker.
  case stopped
  case sourceLost(topic: String, partition: Int32, needed: Int64, logStart: Int64)

  /// Whether the replicas themselves are of no use any more.
  var needsRestore: Bool {
    switch self {
    case .startOfLogPassed, .logDiffers, .diverged, .replicaBroken: true
    case .otherSpecification, .logTooShort, .clientFailed, .stopped, .sourceLost: false
    }
  }

  public var description: String {
    switch self {
    case .otherSpecification(let topic, let shard, let found, let expected):
      """
      \(topic)/\(shard) belongs to a specification with hash \(hex(found)), ours is \(hex(expected)): \
      a changed specification needs a new version number
      """
    case .startOfLogPassed(let topic, let shard, let needed, let start):
      """
      \(topic)/\(shard) starts at offset \(start) and offset \(needed) is needed: the log was trimmed past what \
      this host has; copy a newer checkpoint into its checkpoint directory
      """
    case .logTooShort(let topic, let shard, let position, let end):
      """
      \(topic)/\(shard) ends at offset \(end), before the replica's position \(position): this is not the log \
      that the checkpoint was made from; remove the checkpoint, or bring the log back
      """
    case .logDiffers(let topic, let shard, let offset):
      """
      \(topic)/\(shard): the record at offset \(offset) is not the one that the replica applied there: this is \
      not the log that the checkpoint was made from
      """
    case .diverged(let topic, let shard, let offset):
      "\(topic)/\(shard): the replica's state at offset \(offset) is not what a record says it was there"
    case .replicaBroken(let topic, let shard, let offset, let reason):
      "\(topic)/\(shard): the record at offset \(offset) could not be applied: \(reason)"
    case .stopped: "stopped while waiting for a broker"
    case .clientFailed(let error): "the Kafka client failed: \(error)"
    case .sourceLost(let topic, let partition, let needed, let start):
      """
      \(topic)/\(partition) starts at offset \(start) and offset \(needed) is the next to learn: examples were \
      deleted before they were learned
      """
    }
  }

  private func hex(_ value: UInt64) -> String { String(value, radix: 16) }
}
