import Model
import Serving
import Synchronization
import Telemetry
import UpdateLog

@testable import Endpoint

/// Models for tests, served from replicas in memory that have learned nothing.
enum ServedModels {
  static let clicks = """
    model: clicks
    version: 1
    family: linear
    loss: logistic
    shards: 2
    features:
      city: categorical
      price: numeric
      tags: {type: categorical, values: 4}
    crosses: [[city, tags]]
    """

  /// Whether a model's arms are ready, to be changed by a test.
  final class Readiness: Sendable {
    private let value = Atomic<Bool>(true)
    var isReady: Bool {
      get { value.load(ordering: .relaxed) }
      set { value.store(newValue, ordering: .relaxed) }
    }
  }

  static func model(
    _ yaml: String = clicks, version: Int = 1, readiness: Readiness = Readiness(), registry: Registry = Registry()
  ) throws -> ServedModel {
    var specification = try ModelSpecification.parse(yaml: yaml, file: "test.yaml")
    specification.version = version
    let arm = Arm(name: "online", set: ReplicaSet(specification: specification), isReady: { readiness.isReady })
    return ServedModel(specification: specification, arms: [arm], registry: registry)
  }

  static func named(_ name: String, version: Int = 1) throws -> ServedModel {
    try model(clicks.replacing("model: clicks", with: "model: \(name)"), version: version)
  }
}
