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

    init(models: [ServedModel], generation: Int) {
      self.models = models.sorted { ($0.name, -$0.specification.version) < ($1.name, -$1.specification.version) }
      self.generation = generation
    }

    /// The model of this name; an empty `version` means the newest. Cold.
    /// - Throws: NOT_FOUND with what there is.
    public func find(name: String, version: String = "") throws(RPCStatus) -> ServedModel {
      let named = models.filter { $0.name == name }
      guard !named.isEmpty else { throw RPCStatus(.notFound, unknownModel(name)) }
      if version.isEmpty { return named[0] }
      if let found = named.first(where: { $0.version == version }) { return found }
      throw RPCStatus(
        .notFound,
        "model \"\(name)\" has no version \"\(clipped(version))\"; served: \(named.map(\.version).joined(separator: ", "))")
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
        let generation = state.snapshot.generation &+ 1
        state.snapshot = Snapshot(models: state.entries.filter(\.isServed).map(\.model), generation: generation)
        latest.store(generation, ordering: .releasing)
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
