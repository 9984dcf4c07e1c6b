public import RPC

/// The gRPC services of a process, as its two listeners serve them.
///
/// Everybody's listener: V2 inference and what reads, ingest, health, reflection. The control listener: all of V2, health and reflection,
/// for operators.
public struct EndpointServices: Sendable {
  public let catalog: ModelCatalog
  public let control: ControlService
  public let health: HealthService
  public let limits: InferenceLimits
  /// Told of requests with an id; nil: nothing is logged.
  public let sink: ServedRequestSink?
  /// Nil: events and labels come by Kafka only.
  public let ingest: RPCService?

  public init(
    catalog: ModelCatalog, control: ControlService, health: HealthService, limits: InferenceLimits = InferenceLimits(),
    sink: ServedRequestSink? = nil, ingest: RPCService? = nil
  ) {
    self.catalog = catalog
    self.control = control
    self.health = health
    self.limits = limits
    self.sink = sink
    self.ingest = ingest
  }

  /// What anybody may call. `controlListener` is where calls that change the server are served, for the message of their refusal; nil when
  /// they are nowhere.
  public func forEverybody(controlListener: String?) -> [RPCService] {
    reflected([inference(access: .readOnly(controlListener: controlListener)), health.service] + (ingest.map { [$0] } ?? []))
  }

  /// What operators may call.
  public func forOperators() -> [RPCService] { reflected([inference(access: .control), health.service]) }

  private func inference(access: ControlService.Access) -> RPCService {
    RPCService(
      name: V2Service.name,
      methods: InferenceService.methods(catalog: catalog, limits: limits, log: sink) + control.methods(access: access),
      fileDescriptors: [ProtoFile.inference.descriptor])
  }

  private func reflected(_ services: [RPCService]) -> [RPCService] {
    services + ReflectionService(services: services).services
  }
}
