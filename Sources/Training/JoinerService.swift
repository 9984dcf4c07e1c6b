public import Events
internal import Glibc
public import Kafka
public import Learning
public import Logging
public import Model
internal import Synchronization
public import Telemetry

/// Where a joiner reads and writes.
public struct JoinerServiceSettings: Sendable {
  public var featuresTopic: String
  public var labelsTopic: String
  public var examplesTopic: String
  /// Where labels go that no example can be made from.
  public var deadLetterTopic: String
  /// The partitions to join; nil: all. Any number of services may join the same ones: one of them gets through.
  public var partitions: [Int32]?
  public var limits: EventLimits
  /// Records taken from one poll at most.
  public var pollRecordsMax: Int
  /// All models that learn from the examples: a label that none of them takes is refused. Empty: only the model that is joined for.
  public var models: [ModelSpecification]
  /// Bounds of each partition's joiner; nil: from the specification.
  public var joiner: JoinerSettings?
  /// How long a stop waits for its last batches to come back.
  public var stopMilliseconds: Int64

  public init(
    featuresTopic: String = "features", labelsTopic: String = "labels", examplesTopic: String = "examples",
    deadLetterTopic: String? = nil, partitions: [Int32]? = nil, limits: EventLimits = EventLimits(), pollRecordsMax: Int = 2048,
    models: [ModelSpecification] = [], joiner: JoinerSettings? = nil, stopMilliseconds: Int64 = 5_000
  ) {
    self.featuresTopic = featuresTopic
    self.labelsTopic = labelsTopic
    self.examplesTopic = examplesTopic
    self.deadLetterTopic = deadLetterTopic ?? DeadLetter.topic(of: labelsTopic)
    self.partitions = partitions
    self.limits = limits
    self.pollRecordsMax = pollRecordsMax
    self.models = models
    self.joiner = joiner
    self.stopMilliseconds = stopMilliseconds
  }
}

/// Joins features and labels into examples: one thread that reads the three topics and appends batches.
///
/// Whatever goes wrong with a client ends the *session*; the next one starts from what the log says, as after a crash. Nothing is committed
/// anywhere: the examples topic is the progress.
public final class JoinerService: Sendable {
  /// Why the joiner is not joining all its partitions, for people; nil when it is.
  public var unreadyReason: String? { state.withLock { $0.unreadyReason } }
  public var isReady: Bool { unreadyReason == nil }

  private struct State {
    var unreadyReason: String? = "starting"
    var thread: OwnerThread?
  }

  private let specification: ModelSpecification
  private let kafka: KafkaSettings
  private let settings: JoinerServiceSettings
  private let registry: Registry
  private let logger: Logger
  private let state = Mutex(State())

  public init(
    specification: ModelSpecification, kafka: KafkaSettings, settings: JoinerServiceSettings = JoinerServiceSettings(),
    registry: Registry, logger: Logger
  ) {
    self.specification = specification
    self.kafka = kafka
    self.settings = settings
    self.registry = registry
    self.logger = logger
  }

  public func start() throws {
    let thread = OwnerThread(name: "joiner") { thread in self.run(thread) }
    state.withLock { $0.thread = thread }
    try thread.start()
  }

  /// Takes no more, covers what was taken, waits until that is seen in the log, and ends the thread.
  public func stop() {
    let thread = state.withLock { $0.thread }
    thread?.requestStop()
    thread?.join()
    setReason("stopped")
  }

  private func setReason(_ reason: String?) { state.withLock { $0.unreadyReason = reason } }

  private func run(_ thread: OwnerThread) {
    let metrics = JoinerMetrics(registry: registry, model: specification.identifier)
    var lastError = ""
    while !thread.isStopRequested {
      do {
        let session = try JoinerSession(
          specification: specification, kafka: kafka, settings: settings, metrics: metrics, logger: logger)
        thread.setWakeUp { session.wakeUp() }
        // A stop may be about to wake the session: it closes only when that cannot happen any more.
        defer {
          thread.setWakeUp(nil)
          session.close()
        }
        lastError = ""
        try session.run(until: { thread.isStopRequested }, onReadiness: { self.setReason($0) })
      } catch {
        metrics.sessionsFailed.add()
        setReason("\(error)")
        // Said once while it stays the same.
        if lastError != "\(error)" { logger.error("Joining starts again from the log", metadata: ["error": "\(error)"]) }
        lastError = "\(error)"
        var waited: UInt32 = 0
        while waited < 500 && !thread.isStopRequested {
          usleep(25_000)
          waited += 25
        }
      }
    }
  }
}
