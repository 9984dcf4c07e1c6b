internal import Model
public import RPC
internal import Settings
internal import Synchronization

/// Which models are served. Readers keep a snapshot and ask one atomic word whether there is a newer one; changes make a new snapshot.
/// Any thread.
public final class ModelCatalog: Sendable {
  /// One line of the repository's index.
  public struct Entry: Sendable {
    public var model: ServedModel
    /// Taken off by `setServed`: requests find no such model.
    public var isServed: Bool
    /// "READY" or "UNAVAILABLE", as clients know them.
    public var state: String { isServed && model.isReady ? "READY" : "UNAVAILABLE" }
    /// Why it is not ready; empty when it is.
    public var reason: String { isServed ? model.problem : "unloaded" }
  }

  /// What is served at one moment. Never changes.
  public final class Snapshot: Sendable {
    /// Served models, by name and then version, the newest version of a name first.
    public let models: [ServedModel]
    public let generation: Int
    /// By name: the versions that have a label.
    public let labels: [String: [String: Int]]

    init(models: [ServedModel], generation: Int, labels: [String: [String: Int]] = [:]) {
      self.labels = labels
      self.models = models.sorted { ($0.name, -$0.specification.version) < ($1.name, -$1.specification.version) }
      self.generation = generation
    }

    /// What a request means that names no version: the one labelled `stable`, or the newest.
    func isNormal(_ index: Int) -> Bool {
      let model = models[index]
      if let stable = labels[model.name]?["stable"], models.contains(where: { $0.name == model.name && $0.specification.version == stable }) {
        return model.specification.version == stable
      }
      return index == 0 || models[index - 1].name != model.name
    }

    /// Labels of the model's version.
    func labels(of index: Int) -> [String] {
      let model = models[index]
      return labels[model.name, default: [:]].filter { $0.value == model.specification.version }.map(\.key).sorted()
    }

    /// The model of this name; `version` is a number or a label, and empty means the one labelled `stable`, or the newest. Cold.
    /// - Throws: NOT_FOUND with what there is.
    public func find(name: String, version: String = "") throws(RPCStatus) -> ServedModel {
      let named = models.filter { $0.name == name }
      guard !named.isEmpty else { throw RPCStatus(.notFound, unknownModel(name)) }
      if version.isEmpty, let index = models.indices.first(where: { models[$0].name == name && isNormal($0) }) { return models[index] }
      if let found = named.first(where: { $0.version == version }) { return found }
      let known = labels[name] ?? [:]
      if let number = known[version], let found = named.first(where: { $0.specification.version == number }) { return found }
      let labelled = known.isEmpty ? "" : "; labels: \(known.keys.sorted().joined(separator: ", "))"
      throw RPCStatus(
        .notFound,
        "model \"\(name)\" has no version \"\(clipped(version))\"; served: \(named.map(\.version).joined(separator: ", "))\(labelled)")
    }

    /// "model … is not served", with the nearest name, or what there is.
    func unknownModel(_ name: String) -> String {
      let names = models.map(\.name)
      let known = names.isEmpty ? "no model is served" : "served: \(names.prefix(20).joined(separator: ", "))"
      let hint = nearest(to: name, in: names).map { "did you mean \"\($0)\"? " } ?? ""
      return "model \"\(clipped(name))\" is not served; \(hint)\(known)"
    }
  }

  private let latest = Atomic<Int>(0)
  private let state = Mutex(State())

  private struct State {
    var entries: [Entry] = []
    var snapshot = Snapshot(models: [], generation: 0)
    var labels: [String: [String: Int]] = [:]
    var observers: [@Sendable () -> Void] = []

    mutating func makeSnapshot() {
      snapshot = Snapshot(models: entries.filter(\.isServed).map(\.model), generation: snapshot.generation &+ 1, labels: labels)
    }
  }

  /// Two models may share a name when their versions differ.
  public init(_ models: [ServedModel]) {
    var entries: [Entry] = []
    for model in models { entries.append(Entry(model: model, isServed: true)) }
    entries.sort { ($0.model.name, -$0.model.specification.version) < ($1.model.name, -$1.model.specification.version) }
    let state = State(entries: entries, snapshot: Snapshot(models: models, generation: 0))
    self.state.withLock { $0 = state }
  }

  /// Changes when `snapshot()` does: one atomic load.
  public var generation: Int { latest.load(ordering: .acquiring) }

  /// What is served now. Takes a lock: keep what comes back and look at `generation`.
  public func snapshot() -> Snapshot { state.withLock { $0.snapshot } }

  /// The served model of this name; an empty `version` means the newest.
  /// - Throws: NOT_FOUND with what there is.
  public func find(name: String, version: String = "") throws(RPCStatus) -> ServedModel {
    try snapshot().find(name: name, version: version)
  }

  /// `observer` is called after each change, on the thread that made it: whoever keeps a snapshot while nothing happens can let go of it.
  func observe(_ observer: @escaping @Sendable () -> Void) { state.withLock { $0.observers.append(observer) } }

  /// Puts these in the place of all models that came from bundles, in one change.
  /// - Parameter labels: by name, versions by their label.
  func setLoaded(_ models: [ServedModel], labels: [String: [String: Int]]) {
    let observers = state.withLock { state in
      state.entries.removeAll { $0.model.loaded != nil }
      state.entries += models.map { Entry(model: $0, isServed: true) }
      state.entries.sort { ($0.model.name, -$0.model.specification.version) < ($1.model.name, -$1.model.specification.version) }
      state.labels = labels
      state.makeSnapshot()
      latest.store(state.snapshot.generation, ordering: .releasing)
      return state.observers
    }
    for observer in observers { observer() }
  }

  /// All models, served or not, by name and then version, the newest first.
  public var index: [Entry] { state.withLock { $0.entries } }

  /// Takes a model (all versions, or one) off, or puts it back. What is being scored is still answered.
  /// - Throws: NOT_FOUND when there is no such model at all.
  public func setServed(_ name: String, _ served: Bool, version: String = "") throws(RPCStatus) {
    let isKnown = state.withLock { state in
      var isKnown = false
      for index in state.entries.indices
      where state.entries[index].model.name == name && (version.isEmpty || state.entries[index].model.version == version) {
        state.entries[index].isServed = served
        isKnown = true
      }
      if isKnown {
        state.makeSnapshot()
        latest.store(state.snapshot.generation, ordering: .releasing)
      }
      return isKnown
    }
    guard isKnown else {
      let names = index.map { "\($0.model.name) (\($0.model.version))" }
      throw RPCStatus(
        .notFound,
        "there is no model \"\(clipped(name))\"\(version.isEmpty ? "" : " of version \"\(clipped(version))\""); known: \(names.prefix(20).joined(separator: ", "))")
    }
  }
}

/// Text from outside, short enough for a message.
func clipped(_ text: String) -> String { text.utf8.count <= 100 ? text : text.prefix(80) + "…" }
