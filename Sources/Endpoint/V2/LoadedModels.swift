public import ModelStore
internal import Synchronization
public import Telemetry

/// Between the store, which loads bundles, and the catalog, which requests are answered from: each change of the store becomes one change of
/// the catalog. Any thread.
public final class LoadedModels: Sendable {
  /// A version that cannot be asked for, for the repository's index.
  struct Absent: Sendable {
    var name: String
    /// Empty: not known.
    var version: String
    var reason: String
  }

  public let store: ModelStore
  private let catalog: ModelCatalog
  private let registry: Registry
  private let state = Mutex(State())

  private struct State {
    /// By "name/version": what is counted goes on when the same version is loaded again.
    var statistics: [String: InferenceStatistics] = [:]
    var absent: [Absent] = []
  }

  /// Shows what the store holds, and each change from now on.
  public init(store: ModelStore, catalog: ModelCatalog, registry: Registry) {
    self.store = store
    self.catalog = catalog
    self.registry = registry
    // The store outlives its models' service.
    store.observe { [weak self] _ in self?.show() }
    show()
  }

  func knows(_ name: String) -> Bool { store.knows(name) }

  var absent: [Absent] { state.withLock { $0.absent } }

  /// Loads what is there now, or takes the model off.
  /// - Returns: what is wrong; nil when it is done.
  func change(_ name: String, unloads: Bool) async -> String? {
    await withCheckedContinuation { continuation in
      if unloads {
        store.unload(name) { continuation.resume(returning: $0) }
      } else {
        store.load(name) { continuation.resume(returning: $0) }
      }
    }
  }

  /// One at a time, each with what is newest then.
  private func show() { state.withLock { show(store.snapshot(), &$0) } }

  private func show(_ snapshot: StoreSnapshot, _ state: inout State) {
    let served = catalog.snapshot().models.filter { $0.loaded != nil }
    var models: [ServedModel] = []
    var labels: [String: [String: Int]] = [:]
    var absent: [Absent] = []
    for model in snapshot.models {
      labels[model.name] = model.labels
      for version in model.versions {
        // A model that stays keeps its slots on all loops.
        if let same = served.first(where: { $0.loaded === version }) {
          models.append(same)
          continue
        }
        let key = "\(version.name)/\(version.version)"
        let made = ServedModel(loaded: version, statistics: state.statistics[key], registry: registry)
        state.statistics[key] = made.statistics
        models.append(made)
      }
      absent += model.absent.map { Absent(name: model.name, version: $0.version == 0 ? "" : String($0.version), reason: $0.reason) }
      if model.isUnloaded { absent.append(Absent(name: model.name, version: "", reason: "unloaded")) }
    }
    state.absent = absent
    catalog.setLoaded(models, labels: labels)
  }
}
