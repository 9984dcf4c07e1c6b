import Kafka
public import Model
public import RPC
import Synchronization
public import Telemetry

/// Which topics ingest writes to, and what their records must look like.
public struct IngestServiceSettings: Sendable {
  public var featuresTopic: String
  public var labelsTopic: String
  /// Appended to the name of the topic whose record was refused.
  public var deadLetterSuffix: String
  /// The models that read the topics: a record must suit one of them.
  public var models: [ModelSpecification]
  public var limits: IngestLimits

  public init(
    featuresTopic: String = "features", labelsTopic: String = "labels", deadLetterSuffix: String = ".dead-letter",
    models: [ModelSpecification], limits: IngestLimits = IngestLimits()
  ) {
    self.featuresTopic = featuresTopic
    self.labelsTopic = labelsTopic
    self.deadLetterSuffix = deadLetterSuffix
    self.models = models
    self.limits = limits
  }
}

/// `millrace.Ingest`: events and labels by RPC, written to their topics and acknowledged when Kafka has them.
///
/// `start` before the server that serves `service`; at a stop `beginDrain`, then the server's stop, which waits for the streams, then
/// the producer's.
public final class IngestService: Sendable {
  public static let name = "millrace.Ingest"

  private let producer: EndpointProducer
  private let settings: IngestServiceSettings
  private let registry: Registry
  private let state = Mutex(State())

  private struct State {
    var topics: [PublishKind: IngestTopics] = [:]
    /// With their loops, which a server that has stopped no longer keeps.
    var handlers: [(handler: PublishHandler, loop: ServerLoop)] = []
    var isDraining = false
  }

  public init(producer: EndpointProducer, settings: IngestServiceSettings, registry: Registry) {
    self.producer = producer
    self.settings = settings
    self.registry = registry
  }

  /// Resolves the topics. The producer must have been started.
  /// - Throws: when one does not exist, or no broker answers.
  public func start() throws {
    let topics = try [PublishKind.events: settings.featuresTopic, .labels: settings.labelsTopic].mapValues { name in
      try IngestTopics(records: producer.topic(name), deadLetters: producer.topic(name + settings.deadLetterSuffix))
    }
    state.withLock { $0.topics = topics }
  }

  /// What the server serves.
  public var service: RPCService {
    RPCService(
      name: Self.name, methods: [method("PublishEvents", .events), method("PublishLabels", .labels)],
      fileDescriptors: [ProtoFile.ingest.descriptor, ProtoFile.events.descriptor])
  }

  private func method(_ name: String, _ kind: PublishKind) -> RPCMethod {
    RPCMethod(name, .streaming) { loop in self.makeHandler(loop, kind) }
  }

  private func makeHandler(_ loop: ServerLoop, _ kind: PublishKind) -> PublishHandler {
    let handler = PublishHandler(
      loop: loop, kind: kind, settings: settings, topics: state.withLock { $0.topics[kind] }, producer: producer,
      metrics: IngestMetrics(registry: registry, kind: kind))
    let isDraining = state.withLock { state in
      state.handlers.append((handler, loop))
      return state.isDraining
    }
    if isDraining { handler.beginDrain() }
    return handler
  }

  /// Takes no more requests: each stream ends with UNAVAILABLE when what it sent before has been acknowledged.
  public func beginDrain() {
    let handlers = state.withLock { state in
      defer { state.isDraining = true }
      return state.isDraining ? [] : state.handlers
    }
    for (handler, loop) in handlers { loop.execute { handler.beginDrain() } }
  }
}

/// A topic, and where its refused records go.
struct IngestTopics: Sendable {
  let records: ProducerTopic
  let deadLetters: ProducerTopic
}
