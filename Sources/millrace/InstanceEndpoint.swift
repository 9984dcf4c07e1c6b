import Endpoint
import Foundation
import Kafka
import Logging
import Model
import ModelStore
import Operations
import RPC
import Serving
import Synchronization
import Telemetry

/// What answers requests in one process: the models that can be named, the services, their listeners, and the health that they show.
///
/// `start` when the replicas are there; they may still be behind, which is answered UNAVAILABLE. `stop` says NOT_SERVING before anything
/// else, and returns when every call in flight was answered or the grace is over.
final class InstanceEndpoint: Sendable {
  /// Where it listens; nil what is off.
  struct Addresses: Sendable {
    var grpc: ListenAddress?
    var http: ListenAddress?
    var control: ListenAddress?
  }

  /// How often the health service looks at the components.
  private static let healthEveryMilliseconds = 50

  private struct Parts {
    var addresses = Addresses()
    var servers: [RPCServer] = []
    var rest: RESTServer?
    var producer: EndpointProducer?
    var ingest: IngestService?
    var health: HealthService?
    var watch: Task<Void, Never>?
  }

  private let settings: InstanceSettings
  /// Of models from bundles; nil when there are none.
  private let store: ModelStore?
  private let registry: Registry
  private let health: HealthRegistry
  private let logger: Logger
  /// A port that is taken is no error: the system chooses another one.
  private let takesAnyPort: Bool
  private let parts = Mutex(Parts())
  private let isStopping = Atomic<Bool>(false)

  init(settings: InstanceSettings, store: ModelStore?, registry: Registry, health: HealthRegistry, logger: Logger, takesAnyPort: Bool) {
    self.settings = settings
    self.store = store
    self.registry = registry
    self.health = health
    self.logger = logger
    self.takesAnyPort = takesAnyPort
  }

  var addresses: Addresses { parts.withLock { $0.addresses } }

  // MARK: Start

  /// - Parameter hosts: the replicas of every arm of every model, in the order of the settings.
  func start(hosts: [ReplicaHost], kafka: KafkaSettings) async throws {
    let catalog = ModelCatalog(
      settings.models.compactMap { model in
        let arms = hosts.filter { $0.specification == model }.map { host in
          Arm(name: host.settings.arm, set: host.set, isReady: { host.canAnswer })
        }
        return arms.isEmpty ? nil : ServedModel(specification: model, arms: arms, registry: registry)
      })
    let healthService = HealthService()
    parts.withLock { $0.health = healthService }
    let (log, ingest) = try await blocking { try self.openTopics(kafka) }
    let services = EndpointServices(
      catalog: catalog,
      control: ControlService(catalog: catalog, limits: limits, version: Millrace.version, isReady: { self.canInfer(catalog) },
        loadedModels: store.map { LoadedModels(store: $0, catalog: catalog, registry: registry) }),
      health: healthService, limits: limits, sink: log, ingest: ingest?.service)
    watch(healthService, catalog)
    // The control listener first: the other one tells people where it is.
    let control = try await listen("control", settings.control.listen, serve: { address in
      var server = RPCServerSettings()
      server.name = "control"
      server.loops = 1
      return try await self.serve(server, address, services.forOperators())
    })
    parts.withLock { $0.addresses.control = control }
    let grpc = try await listen("grpc", settings.grpc.listen, serve: { address in
      try await self.serve(self.publicSettings, address, services.forEverybody(controlListener: control.map { "\($0)" }))
    })
    parts.withLock { $0.addresses.grpc = grpc }
    let http = try await listen("http", settings.http.listen, serve: { address in
      var rest = RESTServer.Settings(address: address)
      rest.bodyBytesMax = self.settings.http.bodyBytesMax
      let server = RESTServer(
        settings: rest, control: services.control, access: .readOnly(controlListener: control.map { "\($0)" }), sink: log,
        registry: self.registry, logger: self.logger)
      let port = try await server.start()
      self.parts.withLock { $0.rest = server }
      return port
    })
    parts.withLock { $0.addresses.http = http }
  }

  /// Listens. The error names the key.
  private func listen(
    _ key: String, _ wanted: ListenAddress?, serve: (ListenAddress) async throws -> Int
  ) async throws -> ListenAddress? {
    guard var address = wanted else { return nil }
    do {
      address.port = try await serve(address)
    } catch where takesAnyPort && address.port != 0 && !(error is CancellationError) {
      address.port = try await serve(ListenAddress(host: address.host, port: 0))
    } catch {
      throw EndpointError(key: key, address: address, reason: "\(error)")
    }
    if !address.isLoopback && key == "control" {
      logger.warning(
        "the control listener is open to other machines and asks for no password", metadata: ["listen": "\(address)"])
    }
    return address
  }

  private func serve(_ settings: RPCServerSettings, _ address: ListenAddress, _ services: [RPCService]) async throws -> Int {
    var settings = settings
    settings.host = address.host
    settings.port = address.port
    let server = RPCServer(settings: settings, services: services, registry: registry, logger: logger)
    let port = try await server.start()
    parts.withLock { $0.servers.append(server) }
    return port
  }

  /// What writes to Kafka for those who come by RPC: the log of served requests, and ingest.
  private func openTopics(_ kafka: KafkaSettings) throws -> (RequestLog?, IngestService?) {
    let logs = settings.serving.logsRequests
    let ingests = settings.ingest.isEnabled && settings.grpc.listen != nil
    // Without a model there are no topics.
    guard !settings.models.isEmpty, logs || ingests else { return (nil, nil) }
    let producer = EndpointProducer(kafka: kafka, registry: registry, logger: logger)
    try producer.start()
    parts.withLock { $0.producer = producer }
    var log: RequestLog?
    if logs {
      let opened = RequestLog(
        producer: producer, topic: settings.topics.features, limits: settings.serving.eventLimits, registry: registry)
      try opened.start()
      log = opened
    }
    guard ingests else { return (log, nil) }
    var ingest = IngestServiceSettings(
      featuresTopic: settings.topics.features, labelsTopic: settings.topics.labels,
      deadLetterSuffix: settings.topics.deadLetterSuffix, models: settings.models)
    ingest.limits.events = settings.serving.eventLimits
    let service = IngestService(producer: producer, settings: ingest, registry: registry)
    try service.start()
    parts.withLock { $0.ingest = service }
    return (log, service)
  }

  // MARK: Health

  private func watch(_ service: HealthService, _ catalog: ModelCatalog) {
    show(service, catalog)
    let task = Task { [self] in
      while !Task.isCancelled {
        try? await Task.sleep(for: .milliseconds(Self.healthEveryMilliseconds))
        if !Task.isCancelled { show(service, catalog) }
      }
    }
    parts.withLock { $0.watch = task }
  }

  /// What components and models say, for those who ask by gRPC.
  private func show(_ service: HealthService, _ catalog: ModelCatalog) {
    var statuses: [String: Bool] = ["": health.isReady]
    var models: [String: Bool] = [:]
    for entry in catalog.index {
      let isReady = entry.isServed && entry.model.isReady
      statuses[entry.model.specification.identifier] = isReady
      // The name alone is the newest version, which stands first.
      if models[entry.model.name] == nil { models[entry.model.name] = isReady }
    }
    statuses.merge(models) { identifier, _ in identifier }
    statuses[V2Service.name] = canInfer(catalog)
    if parts.withLock({ $0.ingest }) != nil { statuses[IngestService.name] = true }
    for (name, isServing) in statuses { service.set(name, isServing ? .serving : .notServing) }
  }

  /// Ready in the protocol's sense: every loaded model answers. A joiner that waits for Kafka takes nothing from that.
  private func canInfer(_ catalog: ModelCatalog) -> Bool {
    !isStopping.load(ordering: .acquiring) && catalog.snapshot().models.allSatisfy(\.isReady)
  }

  // MARK: Stop

  func stop() async {
    isStopping.store(true, ordering: .releasing)
    health.beginStopping()
    let parts = self.parts.withLock { $0 }
    parts.watch?.cancel()
    parts.health?.stop()
    for server in parts.servers { server.beginDrain() }
    parts.ingest?.beginDrain()
    let grace = settings.drainMilliseconds
    await withTaskGroup { group in
      for server in parts.servers { group.addTask { await server.stop(graceMilliseconds: grace) } }
      if let rest = parts.rest {
        // A client that sends half a request keeps nobody waiting for longer.
        let deadline = MonotonicDeadline(milliseconds: grace)
        group.addTask { [logger] in
          if await !deadline.wait({ await rest.stop() }) {
            logger.warning("REST requests were cut off", metadata: ["after_ms": "\(grace)"])
          }
        }
      }
    }
    // What was answered last is in the log before its broker goes.
    if let producer = parts.producer { await blocking { producer.stop() } }
  }

  // MARK: Settings

  private var limits: InferenceLimits {
    var limits = InferenceLimits()
    limits.requestBytesMax = settings.grpc.messageBytesMax
    limits.textBytesMax = settings.serving.limits.textBytesMax
    limits.idBytesMax = settings.serving.limits.idBytesMax
    limits.rowsPerRunMax = settings.grpc.rowsPerBatchMax
    return limits
  }

  private var publicSettings: RPCServerSettings {
    let grpc = settings.grpc
    var server = RPCServerSettings()
    server.name = "grpc"
    server.loops = grpc.loops
    server.messageBytesMax = grpc.messageBytesMax
    server.headerBytesMax = grpc.headerBytesMax
    server.streamsMax = grpc.streamsMax
    server.connectionsMax = grpc.connectionsMax
    server.connectionWindowBytes = grpc.connectionWindowBytes
    server.streamWindowBytes = grpc.streamWindowBytes
    server.idleMilliseconds = grpc.idleMilliseconds ?? 0
    server.ageMilliseconds = grpc.ageMilliseconds ?? 0
    server.ageGraceMilliseconds = grpc.ageGraceMilliseconds
    server.handshakeMilliseconds = grpc.handshakeMilliseconds
    server.pingIntervalMilliseconds = grpc.pingIntervalMilliseconds ?? 0
    server.pingTimeoutMilliseconds = grpc.pingTimeoutMilliseconds
    server.stallMilliseconds = grpc.stallMilliseconds ?? 0
    server.floods.pings = .init(burst: grpc.pingsPerSecondMax * 10, perSecond: grpc.pingsPerSecondMax)
    server.floods.resets = .init(burst: grpc.resetsPerSecondMax * 10, perSecond: grpc.resetsPerSecondMax)
    server.tls = grpc.tls.map {
      TLSServerSettings(
        certificateChainPath: $0.certificatePath, privateKeyPath: $0.keyPath,
        clientCertificateAuthorityPath: $0.clientCertificateAuthorityPath)
    }
    return server
  }
}

/// A listener that cannot listen.
struct EndpointError: Error, CustomStringConvertible {
  let key: String
  let address: ListenAddress
  let reason: String

  var description: String {
    "cannot listen at \(address) for \(key): \(reason). Is another process using the port? Set \(key).listen to another one, or to port 0; \(key).enabled: false does without."
  }
}
