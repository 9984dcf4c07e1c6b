/// What a consumer met that is not a record. Handed to `KafkaConsumer.onEvent` on the owner
/// thread, after the records that were read before it.
public enum ConsumerEvent: Sendable {
  /// No broker answers. Said once in five seconds; librdkafka goes on trying.
  case brokersUnreachable(KafkaError)
  /// The partition's next offset is not in the log (trimmed, truncated, or nothing was committed),
  /// and the partition stands still until it is told where to go on: `seek` or `assign`.
  /// `offset` is what was asked for; negative when there was no offset at all.
  case offsetOutOfRange(topic: Int, partition: Int32, offset: Int64, KafkaError)
  /// Reached the end of the partition as it was just then (once for each end offset; only when
  /// the consumer was created with `reportsPartitionEnds`).
  case partitionEnd(topic: Int, partition: Int32, offset: Int64)
  /// One partition cannot be read now, as when its topic is missing. Retried by librdkafka.
  case partitionError(topic: Int, partition: Int32, KafkaError)
  /// A commit that was not waited for failed.
  case commitFailed(KafkaError)
  /// Anything else that is not fatal.
  case error(KafkaError)
  /// The client can do no more work: close it and create another.
  case fatal(KafkaError)
}

/// A change of what a group gave this consumer. Handled on the owner thread.
public enum Rebalance: Sendable {
  /// These partitions will be read from these offsets once the handler returns: `.exact` where the
  /// group had committed, else where `subscribe` was told to start.
  case assigned([TopicPartitionOffset])
  /// These partitions go away once the handler returns and what it stored is committed. `lost`:
  /// they already belong to another member, and nothing can be committed any more.
  case revoked([TopicPartition], lost: Bool)
}
