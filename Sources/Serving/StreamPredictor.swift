// Hot: no allocation, existential, String, await or Foundation per event in the steady state.
public import Events
public import Kafka
public import Logging
public import Model
internal import ModelStore
import Synchronization
public import Telemetry

/// Where stream predictions come from and go to, and how much is taken at once.
public struct StreamPredictorSettings: Sendable {
  public var featuresTopic: String
  public var predictionsTopic: String
  /// Where records go that cannot be decoded.
  public var deadLetterTopic: String
  /// The consumer group that shares the features partitions between gateways.
  public var group: String
  public var limits: EventLimits
  /// Events taken from one poll at most: caps the batch, and so the latency of its first event.
  public var pollEventsMax: Int
  /// Polled batches whose outputs may be without delivery report before no more is taken.
  public var openRangesMax: Int
  /// How often acknowledged offsets are committed, in milliseconds.
  public var commitIntervalMilliseconds: Int64
  /// How long a prediction may wait for others to share its request, in milliseconds. At high rates this
  /// lowers latency: at 0 the first prediction of a batch leaves alone and the others queue behind it.
  public var lingerMilliseconds: Double

  public init(
    featuresTopic: String = "features", predictionsTopic: String = "predictions",
    deadLetterTopic: String? = nil, group: String, limits: EventLimits = EventLimits(),
    pollEventsMax: Int = 1024, openRangesMax: Int = 256, commitIntervalMilliseconds: Int64 = 200,
    lingerMilliseconds: Double = 0.5
  ) {
    self.featuresTopic = featuresTopic
    self.predictionsTopic = predictionsTopic
    self.deadLetterTopic = deadLetterTopic ?? featuresTopic + ".dead-letter"
    self.group = group
    self.limits = limits
    self.pollEventsMax = pollEventsMax
    self.openRangesMax = openRangesMax
    self.commitIntervalMilliseconds = commitIntervalMilliseconds
    self.lingerMilliseconds = lingerMilliseconds
  }
}

/// Answers the features topic: one thread that polls, decodes, scores by every arm, and produces.
///
/// Every source offset is covered by a prediction or an error stub for each arm, and a record that cannot
/// be decoded is also on the dead-letter topic, before its offset is committed. Whatever goes wrong with a
/// client (a fatal producer error, a lost report) ends the *session*; the next one starts from the
/// committed offsets, and readers drop what is answered twice by the tiling rule.
public final class StreamPredictor: Sendable {
  /// Why the predictor is not answering, for people.
  public var unreadyReason: String? { state.withLock { $0.unreadyReason } }
  public var isReady: Bool { unreadyReason == nil }

  private struct State {
    var unreadyReason: String? = "starting"
    var thread: OwnerThread?
  }

  /// What is scored, and by what.
  private enum Model: Sendable {
    case learned(ModelSpecification, [Arm])
    case bundles(BundleSource)
  }

  private let model: Model
  private let kafka: KafkaSettings
  private let settings: StreamPredictorSettings
  private let registry: Registry
  private let logger: Logger
  private let state = Mutex(State())

  public init(
    specification: ModelSpecification, arms: [Arm], kafka: KafkaSettings, settings: StreamPredictorSettings,
    registry: Registry, logger: Logger
  ) {
    model = .learned(specification, arms)
    self.kafka = kafka
    self.settings = settings
    self.registry = registry
    self.logger = logger
  }

  /// For a model from bundles: each poll is answered by the version that is current then.
  public init(bundles: BundleSource, kafka: KafkaSettings, settings: StreamPredictorSettings, registry: Registry, logger: Logger) {
    model = .bundles(bundles)
    self.kafka = kafka
    self.settings = settings
    self.registry = registry
    self.logger = logger
  }

  public func start() throws {
    let thread = OwnerThread(name: "predictor") { thread in self.run(thread) }
    state.withLock { $0.thread = thread }
    try thread.start()
  }

  /// Stops taking events, waits for the reports of what was answered, commits, and ends the thread.
  public func stop() {
    let thread = state.withLock { $0.thread }
    thread?.requestStop()
    thread?.join()
    setReason("stopped")
  }

  private func setReason(_ reason: String?) { state.withLock { $0.unreadyReason = reason } }

  private func run(_ thread: OwnerThread) {
    switch model {
    case .learned(let specification, let arms):
      let batch = PredictionBatch(specification: specification, arms: arms, limits: settings.limits)
      run(thread, name: specification.name, identifier: specification.identifier, arms: arms, batch)
    case .bundles(let bundles):
      // Its name may be in a bundle that is not there yet.
      while bundles.current() == nil, !thread.isStopRequested {
        setReason("no version of the model is loaded")
        pause(milliseconds: 50)
      }
      guard let name = bundles.current()?.name else { return }
      run(thread, name: name, identifier: name, arms: [], PredictionBatch(bundles: bundles, limits: settings.limits))
    }
  }

  private func run(_ thread: OwnerThread, name: String, identifier: String, arms: [Arm], _ batch: PredictionBatch) {
    let metrics = StreamPredictorMetrics(registry: registry, model: identifier)
    while !thread.isStopRequested {
      for arm in arms where !arm.isReady() {
        setReason("arm \(arm.name) is catching up with the update log")
        while !arm.isReady() && !thread.isStopRequested { pause(milliseconds: 5) }
      }
      guard !thread.isStopRequested else { break }
      do {
        let session = try StreamPredictorSession(
          model: name, batch: batch, kafka: kafka, settings: settings, metrics: metrics, logger: logger)
        thread.setWakeUp { session.wakeUp() }
        // A stop may be about to wake the session: it closes only when that cannot happen any more.
        defer {
          thread.setWakeUp(nil)
          session.close()
        }
        try session.run(until: { thread.isStopRequested }, onReadiness: { self.setReason($0) })
      } catch {
        metrics.sessionsFailed.add()
        setReason("\(error)")
        logger.error("Stream prediction starts again from the committed offsets", metadata: ["error": "\(error)"])
        var waited: UInt32 = 0
        while waited < 1_000 && !thread.isStopRequested {
          pause(milliseconds: 50)
          waited += 50
        }
      }
    }
  }
}
