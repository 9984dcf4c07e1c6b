import EmbeddedBroker
import Events
import Foundation
import Kafka
import Logging
import Model
import ModelStore
import Operations
import Serving
import Synchronization
import Telemetry
import Training
import UpdateLog

/// Everything that one process runs, put together from its settings: the only place where broker, joiner,
/// replica hosts, predictor, endpoint and admin server meet.
///
/// `register(in:)` adds the parts to a `Lifecycle`, which starts them in order and stops them in reverse:
/// the endpoint and the predictor stop before the replicas that they read, those before the broker that they talk to.
final class Instance: Sendable {
  let settings: InstanceSettings
  let registry = Registry()
  let health = HealthRegistry()
  let logger: Logger
  /// What answers requests; nil in an instance without the role `gateway`.
  let endpoint: InstanceEndpoint?
  /// The models from bundles; nil when there are none, or nothing here answers.
  let store: ModelStore?
  private let parts = Mutex(Parts())

  private struct Parts {
    var broker: EmbeddedBroker?
    var kafka: KafkaSettings?
    var hosts: [ReplicaHost] = []
    var joiners: [JoinerService] = []
    var predictors: [StreamPredictor] = []
    var admin: AdminServer?
    var adminPort: Int?
  }

  /// `takesAnyPort`: when a port of the endpoint is taken, the system chooses another one, and the log says which.
  init(settings: InstanceSettings, logger: Logger, takesAnyPort: Bool = false) {
    self.settings = settings
    self.logger = logger
    let answers = settings.roles.contains(.gateway)
    store =
      answers && !settings.bundles.isEmpty
      ? ModelStore(
        sources: settings.bundles.map(ModelSource.init), scorersWarm: settings.scorersWarm,
        reservedNames: Set(settings.models.map(\.name)), registry: registry, logger: logger) : nil
    endpoint = answers
      ? InstanceEndpoint(
        settings: settings, store: store, registry: registry, health: health, logger: logger, takesAnyPort: takesAnyPort) : nil
  }

  // MARK: What others need to know once it runs

  /// How to reach the Kafka that this instance uses; nil before the broker runs.
  var kafka: KafkaSettings? { parts.withLock { $0.kafka } }
  /// The replicas of every arm, in the order of the settings' arms.
  var hosts: [ReplicaHost] { parts.withLock { $0.hosts } }
  var adminPort: Int? { parts.withLock { $0.adminPort } }

  /// Blocks until every component is ready.
  func waitUntilReady(timeoutMilliseconds: Int64, isStopped: () -> Bool) throws {
    let deadline = MonotonicClock.nanoseconds() + timeoutMilliseconds * 1_000_000
    while !health.isReady && !isStopped() {
      guard MonotonicClock.nanoseconds() < deadline else {
        let waiting = health.components().filter { !$0.ready }.map { "\($0.name): \($0.detail)" }
        throw InstanceError.notReady(waiting)
      }
      Thread.sleep(forTimeInterval: 0.01)
    }
  }

  // MARK: Putting together

  func register(in lifecycle: Lifecycle) {
    ProcessMetrics.register(in: registry, version: Millrace.version)
    let roles = settings.roles
    // Ready only when the last part runs, whatever those before it say.
    let whole = health.register("start")
    whole.notReady("parts are starting")
    if settings.kafka.bootstrapServers == nil && roles.contains(.broker) {
      lifecycle.add("embedded broker") { try await self.startBroker() } stop: { await self.stopBroker() }
    }
    // Before anything that may wait for others, so that the wait can be seen.
    if let listen = settings.admin.listen {
      lifecycle.add("admin server") { try await self.startAdmin(listen) } stop: { await self.stopAdmin() }
    }
    lifecycle.add("Kafka") {
      // The thread that waits for a broker is no task's: it must be told.
      let given = Cancellation()
      try await withTaskCancellationHandler {
        try await blocking { try self.reachKafka { given.isRequested } }
      } onCancel: {
        given.request()
      }
    }
    if roles.contains(.node) || roles.contains(.trainer) {
      lifecycle.add("replicas") { try await blocking { try self.startHosts() } } stop: {
        await blocking { self.stopHosts() }
      }
    }
    if roles.contains(.trainer) && settings.training.joiner && !settings.models.isEmpty {
      lifecycle.add("joiner") { try await blocking { try self.startJoiner() } } stop: {
        await blocking { self.parts.withLock { $0.joiners }.forEach { $0.stop() } }
      }
    }
    if let store {
      lifecycle.add("models") { await blocking { self.startModels(store) } } stop: { await blocking { store.stop() } }
    }
    if roles.contains(.gateway) {
      lifecycle.add("stream predictor") { try await blocking { try self.startPredictors() } } stop: {
        self.health.beginStopping()
        await blocking { self.parts.withLock { $0.predictors }.forEach { $0.stop() } }
      }
    }
    if let endpoint {
      lifecycle.add("endpoint") {
        guard let kafka = self.kafka else { return }
        try await endpoint.start(hosts: self.hosts, kafka: kafka)
      } stop: {
        await endpoint.stop()
      }
    }
    lifecycle.add("start") { whole.ready() }
  }

  // MARK: Broker and topics

  private func startBroker() async throws {
    let embedded = settings.kafka.embedded
    var broker = BrokerSettings(dataDirectory: settings.brokerDirectory)
    broker.host = embedded.listen.host
    broker.port = embedded.listen.port
    broker.defaultPartitions = settings.topics.partitions
    if let advertised = embedded.advertised {
      broker.advertisedHost = advertised.host
      broker.advertisedPort = advertised.port
    }
    broker.segmentBytes = embedded.segmentBytes
    if let bytes = embedded.retentionBytes { broker.retentionBytes = bytes }
    broker.flush =
      switch embedded.flush {
      case .never: .never
      case .everyBatch: .everyBatch
      case .interval(let milliseconds): .interval(milliseconds: milliseconds)
      }
    let running = EmbeddedBroker(settings: broker, logger: logger)
    let port = try await running.start()
    parts.withLock {
      $0.broker = running
      $0.kafka = clientSettings("\(embedded.listen.host):\(port)")
    }
    logger.notice(
      "embedded Kafka broker: one node, for development and tests; use a real Kafka beyond one machine",
      metadata: ["listen": "\(embedded.listen.host):\(port)", "data": "\(settings.brokerDirectory)"])
  }

  private func stopBroker() async {
    await parts.withLock { $0.broker }?.stop()
  }

  private func clientSettings(_ servers: String) -> KafkaSettings {
    KafkaSettings(
      bootstrapServers: servers, clientID: settings.kafka.clientID, properties: settings.kafka.properties)
  }

  /// The broker in this process, or the one that the configuration names.
  private var reachedKafka: KafkaSettings {
    parts.withLock { parts in
      let kafka =
        parts.kafka
        ?? clientSettings(settings.kafka.bootstrapServers ?? "\(settings.kafka.embedded.listen)")
      parts.kafka = kafka
      return kafka
    }
  }

  /// Waits until a broker answers, however long it takes, then makes sure of the topics.
  private func reachKafka(until isStopRequested: () -> Bool) throws {
    let kafka = reachedKafka
    let readiness = health.register("kafka")
    let admin = try KafkaAdmin(kafka, logger: logger)
    let logger = logger
    let reached = admin.waitUntilReachable { waited, error in
      readiness.notReady("\(error)")
      if waited % 5_000 < 1_000 {
        logger.warning("waiting for Kafka", metadata: ["servers": "\(kafka.bootstrapServers)", "error": "\(error)"])
      }
      return !isStopRequested()
    }
    guard reached else { throw CancellationError() }
    if settings.topics.create && (!settings.models.isEmpty || streamsBundles) { try admin.ensureTopics(topicSpecs) }
    try checkPartitions(admin)
    readiness.ready(kafka.bootstrapServers)
  }

  /// The topics of events, with a dead-letter topic for each one that people write to.
  private var topicSpecs: [TopicSpec] {
    let topics = settings.topics
    let kept = ["cleanup.policy": "delete"]
    // What does not learn has neither labels nor examples.
    let learns = !settings.models.isEmpty
    let written = learns ? [topics.features, topics.labels] : [topics.features]
    return (written + (learns ? [topics.examples] : []) + [topics.predictions] + written.map { $0 + topics.deadLetterSuffix }).map {
      TopicSpec(name: $0, partitions: topics.partitions, replication: topics.replication, config: kept)
    }
  }

  /// Events, labels, examples and predictions are co-partitioned: a different count is a mistake that no
  /// amount of waiting mends.
  private func checkPartitions(_ admin: KafkaAdmin) throws {
    guard !settings.models.isEmpty || streamsBundles else { return }
    let topics = settings.topics
    guard let wanted = try admin.partitionCount(topics.features) else { return }
    // What does not learn has neither labels nor examples.
    for name in settings.models.isEmpty ? [topics.predictions] : [topics.labels, topics.examples, topics.predictions] {
      guard let count = try admin.partitionCount(name), count != wanted else { continue }
      throw InstanceError.partitionsDiffer(topic: name, count: count, features: topics.features, wanted: wanted)
    }
  }

  // MARK: Models

  private func startHosts() throws {
    guard let kafka else { return }
    if settings.models.isEmpty && settings.bundles.isEmpty {
      logger.warning("no models are configured: add `models:` to the configuration, or see `millrace run --help`")
    }
    let trains = settings.roles.contains(.trainer) && settings.training.trainer
    let onlyFollowing = settings.arms.allSatisfy { $0.policy == .online }
    for model in settings.models {
      let watermark = LabelWatermark()
      var hasTrainer = false
      for arm in settings.arms {
        var host = ReplicaHostSettings(
          specification: model, examplesTopic: settings.topics.examples, policy: arm.policy.position, arm: arm.name)
        host.createsLog = settings.topics.create
        host.replicationFactor = settings.topics.replication
        host.servingPrecision = settings.serving.precision
        host.backlogBytesMax = settings.training.backlogBytesMax
        if arm.policy == .online && !hasTrainer {
          hasTrainer = true
          if trains {
            host.training = .all
            host.beaconMilliseconds = settings.training.beaconMilliseconds
          }
          let checkpoints = settings.training.checkpoints
          // A directory for each model: what is not of the model would be passed over, or pruned as damaged.
          host.checkpointDirectory = "\(settings.checkpointDirectory)/\(model.identifier)"
          host.checkpointEverySeconds = checkpoints.everyMilliseconds.map { max(1, $0 / 1_000) }
          // An arm that stands still reads the log again from where it stands.
          host.trimsLog = checkpoints.trimsLog && onlyFollowing && trains
        }
        let replica = try ReplicaHost(
          specification: model, settings: host, kafka: kafka, watermark: watermark, registry: registry, logger: logger)
        health.register("replicas \(model.name)/\(arm.name)") {
          let problem = replica.problem
          return (problem == nil, problem ?? "")
        }
        try replica.start()
        parts.withLock { $0.hosts.append(replica) }
      }
    }
  }

  private func stopHosts() {
    // All are asked at once; each waits for its own thread.
    let hosts = parts.withLock { $0.hosts }
    DispatchQueue.concurrentPerform(iterations: hosts.count) { hosts[$0].stop() }
  }

  private func startJoiner() throws {
    guard let kafka, let model = settings.models.first else { return }
    if let other = settings.models.dropFirst().first(where: { $0.join != model.join }) {
      logger.warning("one joiner serves all models: `join` of \(model.name) is used, that of \(other.name) is not")
    }
    let topics = settings.topics
    let joiner = JoinerService(
      specification: model, kafka: kafka,
      settings: JoinerServiceSettings(
        featuresTopic: topics.features, labelsTopic: topics.labels, examplesTopic: topics.examples,
        deadLetterTopic: topics.labels + topics.deadLetterSuffix, limits: settings.serving.eventLimits, models: settings.models),
      registry: registry, logger: logger)
    health.register("joiner") {
      let reason = joiner.unreadyReason
      return (reason == nil, reason ?? "")
    }
    try joiner.start()
    parts.withLock { $0.joiners.append(joiner) }
  }

  private func startPredictors() throws {
    guard let kafka else { return }
    let serving = settings.serving
    for model in settings.models {
      let arms = hosts.filter { $0.specification == model }.map { host in
        Arm(name: host.settings.arm, set: host.set, isReady: { host.isReady })
      }
      let several = settings.models.count > 1
      let predictor = StreamPredictor(
        specification: model, arms: arms, kafka: kafka,
        // Each model answers every event, so each has a group of its own.
        settings: predictorSettings(group: several ? "\(serving.group)-\(model.name)" : serving.group),
        registry: registry, logger: logger)
      health.register("predictor \(model.name)") {
        let reason = predictor.unreadyReason
        return (reason == nil, reason ?? "")
      }
      try predictor.start()
      parts.withLock { $0.predictors.append(predictor) }
    }
    guard let store else { return }
    for (index, bundle) in settings.bundles.enumerated() where bundle.streams {
      let predictor = StreamPredictor(
        bundles: BundleSource(store, source: index), kafka: kafka, settings: predictorSettings(group: "\(serving.group)-\(store.sources[index].provisionalName)"),
        registry: registry, logger: logger)
      health.register("predictor \(store.sources[index].provisionalName)") {
        let reason = predictor.unreadyReason
        return (reason == nil, reason ?? "")
      }
      try predictor.start()
      parts.withLock { $0.predictors.append(predictor) }
    }
  }

  private func predictorSettings(group: String) -> StreamPredictorSettings {
    let serving = settings.serving
    return StreamPredictorSettings(
      featuresTopic: settings.topics.features, predictionsTopic: settings.topics.predictions,
      deadLetterTopic: settings.topics.features + settings.topics.deadLetterSuffix, group: group, limits: serving.eventLimits,
      pollEventsMax: serving.pollEventsMax, openRangesMax: serving.openRangesMax,
      commitIntervalMilliseconds: Int64(serving.commitIntervalMilliseconds), lingerMilliseconds: Double(serving.lingerMicroseconds) / 1_000)
  }

  private var streamsBundles: Bool { store != nil && settings.bundles.contains(where: \.streams) }

  /// Loads every model once; one that cannot be loaded keeps nothing else from starting.
  private func startModels(_ store: ModelStore) {
    for index in settings.bundles.indices {
      health.register("model \(store.sources[index].provisionalName)") {
        guard let model = store.snapshot().models.first(where: { $0.source == index }) else { return (false, "is being loaded") }
        if model.isUnloaded { return (true, "unloaded") }
        return (!model.versions.isEmpty, model.versions.isEmpty ? model.absent.first?.reason ?? "no version is loaded" : "")
      }
    }
    store.start()
  }

  private func startAdmin(_ listen: ListenAddress) async throws {
    let about = RegistryStatus.About(
      version: Millrace.version, roles: settings.roles.map(\.rawValue).sorted(), kafka: reachedKafka.bootstrapServers)
    let status = RegistryStatus(about: about, registry: registry)
    let admin = AdminServer(
      address: listen, registry: registry, health: health, status: status, logger: logger)
    let port = try await admin.start()
    parts.withLock {
      $0.admin = admin
      $0.adminPort = port
    }
  }

  /// A client that sends half a request keeps nobody waiting for long.
  private func stopAdmin() async {
    guard let admin = parts.withLock({ $0.admin }) else { return }
    _ = await MonotonicDeadline(milliseconds: min(2_000, settings.stopWithinMilliseconds / 4)).wait { await admin.stop() }
  }
}

/// What keeps an instance from starting.
enum InstanceError: Error, CustomStringConvertible {
  case partitionsDiffer(topic: String, count: Int, features: String, wanted: Int)
  case notReady([String])

  var description: String {
    switch self {
    case .notReady(let components): "not ready in time: \(components.joined(separator: "; "))"
    case .partitionsDiffer(let topic, let count, let features, let wanted):
      """
      topic \(topic) has \(count) partitions, \(features) has \(wanted): they must have the same number, because \
      an event, its label and its prediction share a partition. Delete \(topic) and let it be created again, or \
      name another topic under `topics:`.
      """
    }
  }
}

extension InstanceSettings.ArmSettings.Policy {
  var position: PositionPolicy {
    switch self {
    case .online: .follow
    case .held(let until): .hold(untilEventTimeMilliseconds: until)
    case .refreshed(let every): .refresh(everyMilliseconds: every)
    }
  }
}

extension InstanceSettings.ServingSettings {
  var eventLimits: EventLimits {
    var limits = EventLimits()
    limits.payloadBytesMax = self.limits.payloadBytesMax
    limits.valuesMax = self.limits.valuesMax
    limits.textBytesMax = self.limits.textBytesMax
    limits.idBytesMax = self.limits.idBytesMax
    limits.jsonDepthMax = self.limits.jsonDepthMax
    return limits
  }
}

/// A wish to stop that a thread outside all tasks can see.
private final class Cancellation: Sendable {
  private let requested = Atomic<Bool>(false)

  var isRequested: Bool { requested.load(ordering: .acquiring) }
  func request() { requested.store(true, ordering: .releasing) }
}

/// Runs work that blocks on a thread of its own, so that it holds none of the threads that tasks share.
func blocking<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws -> Value {
  try await withCheckedThrowingContinuation { continuation in
    Thread.detachNewThread { continuation.resume(with: Result { try work() }) }
  }
}

func blocking(_ work: @escaping @Sendable () -> Void) async {
  await withCheckedContinuation { continuation in
    Thread.detachNewThread {
      work()
      continuation.resume()
    }
  }
}
