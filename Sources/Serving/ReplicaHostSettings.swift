public import Learning
public import Model

/// How a host holds and, if asked to, trains the replicas of one model.
public struct ReplicaHostSettings: Sendable {
  /// Topic of the update log: one partition for each shard.
  public var updatesTopic: String
  /// Topic of the examples that a training host learns from.
  public var examplesTopic: String
  /// Whether this host trains: all partitions of the examples topic, these only, or none.
  public var training: Training
  public var policy: PositionPolicy
  /// The name of this host's arm, in metrics and log lines.
  public var arm: String
  /// Creates the update log's topic when it is missing, and writes its first record.
  public var createsLog: Bool
  public var replicationFactor: Int
  /// Appends a beacon to a partition that carried nothing for so long; nil: never. Nil reads as 250 ms in a training host.
  public var beaconMilliseconds: Int?
  /// Where checkpoints are read at start and written; nil: the whole log is replayed at start.
  public var checkpointDirectory: String?
  /// Nil: checkpoints are written on demand and at a clean stop only.
  public var checkpointEverySeconds: Int?
  /// Records below the older kept checkpoint are deleted from the log.
  public var trimsLog: Bool
  /// A loop that stood still for longer is not ready until it has caught up again.
  public var stallMillisecondsMax: Int
  /// Records taken from Kafka at once.
  public var pollRecordsMax: Int
  /// Examples waiting in memory while the trainer has enough in flight, in bytes.
  public var backlogBytesMax: Int
  /// What answers read weights in; learning and checkpoints do not see it.
  public var servingPrecision: ServingPrecision
  /// Nil: as the specification says.
  public var trainer: TrainerSettings?
  /// Seeds trainer identity and back-off; nil: random.
  public var seed: UInt64?

  public enum Training: Sendable, Equatable {
    case none
    case all
    case partitions([Int32])
  }

  public init(specification: ModelSpecification, examplesTopic: String = "examples", training: Training = .none, policy: PositionPolicy = .follow, arm: String = "online") {
    updatesTopic = specification.updatesTopic
    self.examplesTopic = examplesTopic
    self.training = training
    self.policy = policy
    self.arm = arm
    createsLog = true
    replicationFactor = 1
    beaconMilliseconds = nil
    checkpointDirectory = nil
    checkpointEverySeconds = nil
    trimsLog = true
    stallMillisecondsMax = 100
    pollRecordsMax = 512
    backlogBytesMax = 16 << 20
    servingPrecision = .float32
    trainer = nil
    seed = nil
  }
}
