public import Model
public import Serving
public import Telemetry

/// A model that requests can name: its specification, its arms, and what is counted about it. Shared by all event loops and by REST.
public final class ServedModel: Sendable {
  public let specification: ModelSpecification
  /// At least one; the first answers unless a request names another.
  public let arms: [Arm]
  public let statistics: InferenceStatistics
  public let metadata: ModelMetadata

  public init(specification: ModelSpecification, arms: [Arm], registry: Registry) {
    precondition(!arms.isEmpty, "a model answers through at least one arm")
    self.specification = specification
    self.arms = arms
    metadata = ModelMetadata(specification: specification, arms: arms)
    statistics = InferenceStatistics(model: specification.name, version: String(specification.version), registry: registry)
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
