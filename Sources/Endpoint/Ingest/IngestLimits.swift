public import Events

/// Bounds of ingest by RPC.
public struct IngestLimits: Sendable, Equatable {
  /// Of one record: those of records from Kafka.
  public var events = EventLimits()
  /// Records of one request. A larger one ends its stream with INVALID_ARGUMENT. The requests of other calls wait while one is read,
  /// so a large bound is felt by them.
  public var requestRecordsMax = 1_024
  /// Records of one stream that may be without an answer; beyond, nothing more is read from it.
  public var streamRecordsMax = 16_384
  /// Bytes of requests of one stream that may be without an answer; beyond, nothing more is read from it.
  public var streamBytesMax = 8 << 20
  /// Bytes of acks that a client has not read; beyond, nothing more is read from it.
  public var unreadAckBytesMax = 1 << 20
  /// Bytes of requests that arrived and cannot be handed to Kafka, for one loop and kind. Streams beyond end with
  /// RESOURCE_EXHAUSTED.
  public var heldBytesMax = 64 << 20

  public init() {}
}
