/// What `/status` and the status page show: the state of one process for a person.
///
/// A number that is not known is nil. Everything is a plain copy, taken when asked for.
public struct StatusSnapshot: Sendable, Codable, Equatable {
  /// The program's version.
  public var version: String
  public var roles: [String]
  /// Where Kafka is, or that the broker is embedded.
  public var kafka: String
  public var uptimeSeconds: Double
  /// Filled in by the admin server from the health registry.
  public var components: [ComponentHealth]
  public var models: [ModelStatus]
  public var throughput: [Throughput]
  public var latencies: [Latency]
  public var lags: [Lag]
  /// Errors and dead letters by reason, since the start.
  public var errors: [ErrorCount]

  public init(
    version: String = "", roles: [String] = [], kafka: String = "", uptimeSeconds: Double = 0,
    components: [ComponentHealth] = [], models: [ModelStatus] = [], throughput: [Throughput] = [],
    latencies: [Latency] = [], lags: [Lag] = [], errors: [ErrorCount] = []
  ) {
    self.version = version
    self.roles = roles
    self.kafka = kafka
    self.uptimeSeconds = uptimeSeconds
    self.components = components
    self.models = models
    self.throughput = throughput
    self.latencies = latencies
    self.lags = lags
    self.errors = errors
  }

  /// One arm of one model.
  public struct ModelStatus: Sendable, Codable, Equatable {
    public var name: String
    public var version: Int
    public var arm: String
    /// The next update-log offset of each shard.
    public var position: [Int64]
    /// Rows held in all shards.
    public var rows: Int
    /// Examples learned.
    public var examples: Int
    /// Progressive validation over the recent window.
    public var logLoss: Double?
    public var auc: Double?
    /// Mean prediction divided by mean label: 1 is calibrated.
    public var calibration: Double?
    /// From a label's produce call until this replica applied it, 99th percentile.
    public var freshnessMilliseconds: Double?
    /// The greatest event time of an applied label, in milliseconds since 1970.
    public var labelsThroughMilliseconds: Int64?

    public init(
      name: String, version: Int, arm: String, position: [Int64], rows: Int, examples: Int, logLoss: Double? = nil,
      auc: Double? = nil, calibration: Double? = nil, freshnessMilliseconds: Double? = nil,
      labelsThroughMilliseconds: Int64? = nil
    ) {
      self.name = name
      self.version = version
      self.arm = arm
      self.position = position
      self.rows = rows
      self.examples = examples
      self.logLoss = logLoss
      self.auc = auc
      self.calibration = calibration
      self.freshnessMilliseconds = freshnessMilliseconds
      self.labelsThroughMilliseconds = labelsThroughMilliseconds
    }
  }

  /// A running total; the page derives the rate from two looks.
  public struct Throughput: Sendable, Codable, Equatable {
    public var name: String
    public var total: Int

    public init(name: String, total: Int) {
      self.name = name
      self.total = total
    }
  }

  /// A latency distribution in milliseconds.
  public struct Latency: Sendable, Codable, Equatable {
    public var name: String
    public var count: Int
    public var p50: Double
    public var p99: Double
    public var max: Double

    public init(name: String, count: Int, p50: Double, p99: Double, max: Double) {
      self.name = name
      self.count = count
      self.p50 = p50
      self.p99 = p99
      self.max = max
    }
  }

  /// Records that are in a topic partition and not yet read.
  public struct Lag: Sendable, Codable, Equatable {
    public var topic: String
    public var partition: Int
    public var records: Int64

    public init(topic: String, partition: Int, records: Int64) {
      self.topic = topic
      self.partition = partition
      self.records = records
    }
  }

  public struct ErrorCount: Sendable, Codable, Equatable {
    public var reason: String
    public var count: Int

    public init(reason: String, count: Int) {
      self.reason = reason
      self.count = count
    }
  }
}

/// Who can tell the status of this process. Asked for each `/status`, from any thread; must not block.
public protocol StatusSource: Sendable {
  func status() -> StatusSnapshot
}
