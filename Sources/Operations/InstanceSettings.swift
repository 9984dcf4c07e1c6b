public import Logging
public import Model

/// What one instance of Millrace does, as read from its configuration file. docs/configuration.md
/// describes every key; an empty file gives `InstanceSettings()`.
public struct InstanceSettings: Sendable, Equatable {
  /// What this process takes part in.
  public var roles: Set<Role> = Set(Role.allCases)
  /// Where the embedded broker and the checkpoints live unless told otherwise.
  public var dataDirectory = ".millrace"
  public var kafka = KafkaConnection()
  public var topics = Topics()
  /// Models that learn.
  public var models: [ModelSpecification] = []
  /// Models that come from bundles.
  public var bundles: [BundleSettings] = []
  /// The ways in which every model answers. The first one is what RPC clients get.
  public var arms: [ArmSettings] = [ArmSettings(name: "online", policy: .online)]
  public var serving = ServingSettings()
  public var training = TrainingSettings()
  public var grpc = GRPCSettings()
  public var http = HTTPSettings()
  public var control = ControlSettings()
  public var ingest = IngestSettings()
  public var admin = AdminSettings()
  public var logging = LoggingSettings()
  /// How long a clean stop may take before the process gives up on it.
  public var stopWithinMilliseconds = 30_000

  public init() {}

  public enum Role: String, Sendable, CaseIterable {
    /// The embedded Kafka broker, for development and tests.
    case broker
    /// Takes events and answers them.
    case gateway
    /// Holds replicas of models.
    case node
    /// Joins events with labels, and learns.
    case trainer
  }

  public struct KafkaConnection: Sendable, Equatable {
    /// `host:port,host:port`; nil when the embedded broker is used.
    public var bootstrapServers: String?
    public var clientID = "millrace"
    /// Passed to librdkafka as they are, after substitution of `${NAME}` from the environment.
    public var properties: [String: String] = [:]
    public var embedded = EmbeddedSettings()
  }

  public struct EmbeddedSettings: Sendable, Equatable {
    public var listen = ListenAddress(host: "127.0.0.1", port: 9092)
    /// What clients are told to connect to; nil is what they used already.
    public var advertised: ListenAddress?
    /// Nil: `broker` in the data directory.
    public var dataDirectory: String?
    public var flush = Flush.never
    public var segmentBytes = 128 << 20
    /// Nil: everything is kept.
    public var retentionBytes: Int?

    public enum Flush: Sendable, Equatable {
      /// The operating system decides; acknowledged records survive the death of the process, not of the machine.
      case never
      case interval(milliseconds: Int)
      case everyBatch
    }
  }

  public struct Topics: Sendable, Equatable {
    public var features = "features"
    public var labels = "labels"
    public var examples = "examples"
    public var predictions = "predictions"
    /// Appended to the name of the topic whose record could not be read.
    public var deadLetterSuffix = ".dead-letter"
    /// Partitions of features, labels, examples and predictions: the same for all, fixed once they exist.
    public var partitions = 2
    public var replication = 1
    /// Whether topics that are missing are created at start.
    public var create = true
  }

  public struct ArmSettings: Sendable, Equatable {
    public var name: String
    public var policy: Policy

    public init(name: String, policy: Policy) {
      self.name = name
      self.policy = policy
    }

    public enum Policy: Sendable, Equatable {
      /// Follows the update log.
      case online
      /// Follows it until labels of this event time, then stands still.
      case held(untilMilliseconds: Int64)
      /// Moves on once in each period of event time, to where the log stood at its begin.
      case refreshed(everyMilliseconds: Int64)
    }
  }

  public struct ServingSettings: Sendable, Equatable {
    /// The consumer group that shares the features partitions.
    public var group = "millrace-serving"
    public var pollEventsMax = 1024
    public var openRangesMax = 256
    public var commitIntervalMilliseconds = 200
    /// How long a prediction may wait for others to share its request.
    public var lingerMicroseconds = 500
    /// Whether the features of requests with an event id go to the features topic, so that a label can teach them.
    public var logsRequests = true
    /// What models that learn answer from.
    public var precision = ServingPrecision.float32
    public var limits = Limits()

    public struct Limits: Sendable, Equatable {
      public var payloadBytesMax = 1 << 20
      public var valuesMax = 4096
      public var textBytesMax = 16384
      public var idBytesMax = 1024
      public var jsonDepthMax = 64
    }
  }

  public struct TrainingSettings: Sendable, Equatable {
    /// Whether this trainer joins events with labels.
    public var joiner = true
    /// Whether this trainer learns from examples.
    public var trainer = true
    public var checkpoints = CheckpointSettings()
    /// How often an update-log partition that carries nothing gets a beacon.
    public var beaconMilliseconds = 250
    /// Examples that wait in memory while enough are in flight.
    public var backlogBytesMax = 16 << 20
  }

  public struct CheckpointSettings: Sendable, Equatable {
    /// Nil: `checkpoints` in the data directory.
    public var directory: String?
    /// Nil: only on demand and at a clean stop.
    public var everyMilliseconds: Int? = 60_000
    /// Whether update-log records below the older of two verified checkpoints are deleted.
    public var trimsLog = true
  }

  public struct AdminSettings: Sendable, Equatable {
    /// Nil: there is no admin server.
    public var listen: ListenAddress? = ListenAddress(host: "127.0.0.1", port: 8002)
  }

  public struct LoggingSettings: Sendable, Equatable {
    public var level = Logger.Level.info
    public var format = LogFormat.text
  }
}

extension InstanceSettings {
  /// Where the embedded broker keeps its files.
  public var brokerDirectory: String { kafka.embedded.dataDirectory ?? dataDirectory + "/broker" }

  /// Where checkpoints are kept.
  public var checkpointDirectory: String { training.checkpoints.directory ?? dataDirectory + "/checkpoints" }
}
