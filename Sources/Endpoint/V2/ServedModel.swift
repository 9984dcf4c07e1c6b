public import Model
public import ModelStore
public import Serving
public import Telemetry

/// A model that requests can name: its specification, what scores it, and what is counted about it. Shared by all event loops and by REST.
///
/// A model that learns is scored from the replicas of its arms; one that came from a bundle by scorers of its loaded version.
public final class ServedModel: Sendable {
  public let specification: ModelSpecification
  /// Of models that learn: at least one; the first answers unless a request names another.
  public let arms: [Arm]
  /// Of models from bundles.
  public let loaded: LoadedVersion?
  public let statistics: InferenceStatistics
  public let metadata: ModelMetadata

  public init(specification: ModelSpecification, arms: [Arm], registry: Registry) {
    precondition(!arms.isEmpty, "a model answers through at least one arm")
    self.specification = specification
    self.arms = arms
    loaded = nil
    metadata = ModelMetadata(specification: specification, arms: arms)
    statistics = InferenceStatistics(model: specification.name, version: String(specification.version), registry: registry)
  }

  /// - Parameter statistics: of earlier loads of the same version, which go on; nil: new ones.
  public init(loaded: LoadedVersion, statistics: InferenceStatistics? = nil, registry: Registry) {
    specification = loaded.specification
    arms = []
    self.loaded = loaded
    metadata = ModelMetadata(loaded: loaded)
    self.statistics = statistics ?? InferenceStatistics(model: loaded.name, version: String(loaded.version), registry: registry)
  }

  public var name: String { specification.name }
  /// The version as the protocol has it: a text.
  public var version: String { metadata.versions.first ?? "" }

  /// Whether every arm has caught up with its log.
  public var isReady: Bool {
    for arm in arms where !arm.isReady() { return false }
    return true
  }

  /// Why it is not ready; empty when it is.
  public var problem: String {
    for arm in arms where !arm.isReady() { return "arm \"\(arm.name)\" has not caught up with its update log" }
    return ""
  }
}
