/// What a broker can be told. Every default suits development on one machine.
public struct BrokerSettings: Sendable {
  /// When appended bytes are forced to the device. Acknowledged records survive `kill -9` under each of them; only the loss
  /// of the machine makes a difference.
  public enum FlushPolicy: Sendable, Equatable {
    /// The operating system decides.
    case never
    /// At least this often. Requests wait while it happens.
    case interval(milliseconds: Int)
    /// Before each acknowledgement.
    case everyBatch
  }

  /// The address to listen on: a name or a number. The default reaches this machine only.
  public var host = "127.0.0.1"
  /// 0 lets the system choose; `EmbeddedBroker.start()` returns the choice.
  public var port = 0
  /// Where topics, offsets and identity are kept. Made when it is missing. One broker at a time.
  public var dataDirectory: String
  /// The name that clients are told to connect to; nil is the address that each client already used.
  public var advertisedHost: String?
  /// The port that clients are told to connect to; nil is the port listened on.
  public var advertisedPort: Int?
  /// Whether a topic that a client asks metadata for is created.
  public var autoCreateTopics = true
  /// Partitions of topics that are created without a count.
  public var defaultPartitions = 1
  /// Bytes of a segment before the next one begins (`segment.bytes`).
  public var segmentBytes = 128 << 20
  /// Bytes kept for each partition (`retention.bytes`); -1: all.
  public var retentionBytes = -1
  /// Milliseconds that records are kept, by their own timestamps (`retention.ms`); -1: forever. The default differs from
  /// Kafka's seven days because replayed events carry old timestamps.
  public var retentionMilliseconds: Int64 = -1
  /// How often limits of size and age are applied.
  public var retentionCheckMilliseconds = 5_000
  public var flush = FlushPolicy.never
  /// Bytes of the greatest record batch accepted (`max.message.bytes`).
  public var messageBytesMax = 10 << 20
  /// Bytes of the greatest request accepted; a connection that announces more is closed.
  public var requestBytesMax = 64 << 20
  /// Bytes of records in one fetch response, whatever the client asks for; one batch may exceed it.
  public var fetchBytesMax = 16 << 20
  public var connectionsMax = 2_000
  public var topicsMax = 10_000
  public var partitionsPerTopicMax = 1_024
  /// How long an empty group waits for more members before the first assignment. Consumers that start together and miss it wait
  /// for a heartbeat, 3 s by default; Kafka waits 3 s here. kafka-python needs about 100 ms for its own metadata.
  public var groupInitialRebalanceDelayMilliseconds = 200
  /// What consumers may ask for as session timeout. Kafka refuses less than 6,000; tests like less.
  public var sessionTimeoutMilliseconds = 100 ... 1_800_000
  public var membersPerGroupMax = 1_000

  public init(dataDirectory: String) {
    self.dataDirectory = dataDirectory
  }
}
