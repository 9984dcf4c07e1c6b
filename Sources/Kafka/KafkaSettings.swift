/// How to reach a cluster, for consumer, producer and admin alike.
public struct KafkaSettings: Sendable, Equatable {
  /// `host:port`, several separated by commas.
  public var bootstrapServers: String
  /// Shown in the broker's logs and in ours.
  public var clientID: String
  /// Any librdkafka property (SASL, TLS, buffers, …). These come last: they override ours.
  public var properties: [String: String]

  public init(
    bootstrapServers: String, clientID: String = "millrace", properties: [String: String] = [:]
  ) {
    self.bootstrapServers = bootstrapServers
    self.clientID = clientID
    self.properties = properties
  }
}

/// What a consumer sees of transactions.
public enum IsolationLevel: String, Sendable {
  /// Records of aborted transactions are left out and open ones hold the reader back.
  case readCommitted = "read_committed"
  /// Everything up to the high watermark. For logs that are never written in transactions.
  case readUncommitted = "read_uncommitted"
}
