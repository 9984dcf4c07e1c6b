public import Logging
internal import Bundles
internal import Dispatch
internal import Families
internal import Foundation
internal import Glibc
internal import Model
internal import Synchronization
public import Telemetry

/// The models of an instance that come from bundles: loaded when it starts, and again when their files change.
///
/// One thread of its own, of low priority, looks at the files, loads, verifies and warms, and lets go of what nobody uses any more. Others
/// see its work as snapshots: `snapshot()`, and `observe` for who must know of each. A version that is being loaded is in none of them; a
/// file that cannot be loaded changes none but for the reason.
public final class ModelStore: @unchecked Sendable {
  /// What the store calls after a change, on its thread.
  public typealias Observer = @Sendable (StoreSnapshot) -> Void

  /// Processors of this machine.
  public static var coreCount: Int { ProcessInfo.processInfo.activeProcessorCount }

  public let sources: [ModelSource]
  private let scorersWarm: Int
  private let reservedNames: Set<String>
  private let metrics: StoreMetrics
  private let logger: Logger
  private let state = Mutex(State())
  private let changes = Atomic<Int>(0)
  private let wake = DispatchSemaphore(value: 0)
  private let stopped = DispatchSemaphore(value: 0)

  private struct State {
    var snapshot = StoreSnapshot()
    var observers: [Observer] = []
    var wishes: [Wish] = []
    var isStarted = false
    var isStopping = false
  }

  /// What somebody asked for by name.
  private struct Wish {
    var name: String
    var unloads: Bool
    /// Called on the store's thread with what is wrong; nil: done.
    var completion: @Sendable (String?) -> Void
  }

  // Of the store's thread.
  private var places: [StorePlace]
  private var retired: [LoadedVersion] = []
  /// Nil while the models of the start are loaded: nobody is to be given way to.
  private var background: BackgroundThread?

  /// - Parameters:
  ///   - scorersWarm: scorers made and warmed for each version: one for each thread that will score.
  ///   - reservedNames: names of models that do not come from bundles.
  public init(
    sources: [ModelSource], scorersWarm: Int, reservedNames: Set<String> = [], registry: Registry, logger: Logger
  ) {
    self.sources = sources
    self.scorersWarm = max(1, scorersWarm)
    self.reservedNames = reservedNames
    metrics = StoreMetrics(registry: registry)
    self.logger = logger
    places = sources.map { StorePlace(source: $0) }
  }

  // MARK: Any thread

  public func snapshot() -> StoreSnapshot { state.withLock { $0.snapshot } }

  /// Changes when `snapshot()` does: one atomic load.
  public var generation: Int { changes.load(ordering: .acquiring) }

  /// `observer` is called after each change from now on. Before `start`, so that it misses none.
  public func observe(_ observer: @escaping Observer) { state.withLock { $0.observers.append(observer) } }

  /// Starts the thread, and returns when every source was tried once. What cannot be loaded is no error: it may be mended while the
  /// server runs.
  public func start() {
    let first = DispatchSemaphore(value: 0)
    let isFirst = state.withLock { state in
      defer { state.isStarted = true }
      return !state.isStarted
    }
    precondition(isFirst, "a store starts once")
    let thread = Thread { [self] in run(started: first) }
    thread.name = "models"
    thread.start()
    first.wait()
  }

  /// Ends the thread. What is loaded stays with those who hold it.
  public func stop() {
    let isRunning = state.withLock { state in
      defer { state.isStopping = true }
      return state.isStarted && !state.isStopping
    }
    guard isRunning else { return }
    wake.signal()
    stopped.wait()
  }

  /// Looks at the files of model `name` now, tries again what could not be loaded before, and serves what `unload` took off. `completion`
  /// is called on the store's thread with what is wrong, or nil.
  public func load(_ name: String, completion: @escaping @Sendable (String?) -> Void) { wish(name, unloads: false, completion) }

  /// Takes all versions of model `name` off; their memory goes when their last requests have ended.
  public func unload(_ name: String, completion: @escaping @Sendable (String?) -> Void) { wish(name, unloads: true, completion) }

  /// Whether a source of the store has this name, loaded or not.
  public func knows(_ name: String) -> Bool { state.withLock { $0.snapshot.models.contains { $0.name == name } } }

  private func wish(_ name: String, unloads: Bool, _ completion: @escaping @Sendable (String?) -> Void) {
    let isTaken = state.withLock { state in
      guard state.isStarted, !state.isStopping else { return false }
      state.wishes.append(Wish(name: name, unloads: unloads, completion: completion))
      return true
    }
    if isTaken { wake.signal() } else { completion("the server is stopping") }
  }

  // MARK: The thread

  /// How often versions that are on their way out are looked at.
  private static let retiredNanoseconds: Int64 = 20_000_000

  private func run(started: DispatchSemaphore) {
    let thread = BackgroundThread()
    for index in places.indices { refresh(index, isForced: true) }
    publish()
    // From here on requests are answered beside.
    background = thread
    started.signal()
    while true {
      let (wishes, isStopping) = state.withLock { state in
        defer { state.wishes = [] }
        return (state.wishes, state.isStopping)
      }
      for wish in wishes { wish.completion(isStopping ? "the server is stopping" : fulfil(wish)) }
      if isStopping { break }
      var next = Int64.max
      for index in places.indices {
        guard let every = places[index].source.reloadMilliseconds, !places[index].isUnloaded else { continue }
        if places[index].lookedNanoseconds + Int64(every) * 1_000_000 <= MonotonicClock.nanoseconds() {
          if refresh(index, isForced: false) { publish() }
        }
        next = min(next, places[index].lookedNanoseconds + Int64(every) * 1_000_000)
      }
      release()
      if !retired.isEmpty { next = min(next, MonotonicClock.nanoseconds() + Self.retiredNanoseconds) }
      if next == .max {
        wake.wait()
      } else {
        let rest = max(1_000_000, next - MonotonicClock.nanoseconds())
        _ = wake.wait(timeout: .now() + .nanoseconds(Int(clamping: rest)))
      }
    }
    places.removeAll()
    retired.removeAll()
    stopped.signal()
  }

  private func fulfil(_ wish: Wish) -> String? {
    guard let index = places.firstIndex(where: { $0.name == wish.name }) else { return "there is no model \"\(wish.name)\"" }
    if wish.unloads {
      places[index].isUnloaded = true
      retired += places[index].loaded.map(\.version)
      places[index].loaded = []
      logger.info("model unloaded", metadata: ["model": "\(wish.name)"])
      publish()
      return nil
    }
    places[index].isUnloaded = false
    refresh(index, isForced: true)
    publish()
    return places[index].absent.first?.reason
  }

  /// Lets go of what nobody else holds: memory is given back and files are unmapped here, and nowhere else.
  private func release() {
    guard !retired.isEmpty else { return }
    for index in retired.indices.reversed() where isKnownUniquelyReferenced(&retired[index]) {
      logger.info("model version gone", metadata: ["model": "\(retired[index].name)", "version": "\(retired[index].version)"])
      yielding { _ = retired.remove(at: index) }
    }
    metrics.retired(retired.count)
    for place in places {
      // Nothing comes after it that would need it.
      if place.isUnloaded { place.dropSpare() }
      metrics.spare(place.name, bytes: place.spareBytes)
    }
  }

  private func yielding<Value>(_ body: () throws -> Value) rethrows -> Value {
    guard let background else { return try body() }
    return try background.yielding(body)
  }

  /// Looks at the files of a source and loads what is new.
  /// - Returns: whether anything changed.
  @discardableResult
  private func refresh(_ index: Int, isForced: Bool) -> Bool {
    places[index].lookedNanoseconds = MonotonicClock.nanoseconds()
    if isForced { places[index].bad = [] }
    let before = places[index].absent
    let folder = ModelFolder(path: places[index].source.path)
    guard !folder.files.isEmpty else {
      places[index].folderProblem = folder.problem
      if places[index].absent != before { logger.error("model not found", metadata: ["model": "\(places[index].name)", "reason": "\(folder.problem)"]) }
      return places[index].absent != before
    }
    places[index].folderProblem = ""
    places[index].forget(filesNotIn: folder.files)
    var changed = false
    while let file = places[index].nextToLoad(folder.files) {
      changed = true
      let began = MonotonicClock.nanoseconds()
      do {
        let version = try yielding { try load(file, index) }
        places[index].take(version, file, retiring: &retired)
        let taken = MonotonicClock.nanoseconds() - began
        metrics.loaded(version.name, seconds: taken)
        logger.info("model loaded", metadata: [
          "model": "\(version.name)", "version": "\(version.version)", "family": "\(version.model.family)", "bytes": "\(version.byteCount)",
          "milliseconds": "\(taken / 1_000_000)", "path": "\(file.path)",
        ])
      } catch {
        places[index].bad.append(.init(file: file, reason: "\(error)"))
        metrics.failed(places[index].name)
        logger.error(
          "model cannot be loaded; what was served before is served on",
          metadata: ["model": "\(places[index].name)", "path": "\(file.path)", "reason": "\(error)"])
      }
    }
    if places[index].dropUnwanted(folder.files, retiring: &retired) { changed = true }
    return changed || places[index].absent != before
  }

  private func load(_ file: ModelFolder.File, _ index: Int) throws -> LoadedVersion {
    let place = places[index]
    let bundle = try ModelBundle.open(path: file.path, verifying: .asRead)
    let name = place.source.name ?? (place.isNamed ? place.name : bundle.manifest.name)
    guard !reservedNames.contains(name), !places.enumerated().contains(where: { $0.offset != index && $0.element.name == name && $0.element.isNamed }) else {
      throw BundleError(place: file.path, reason: "the name \"\(name)\" is another model's: give this one a name of its own in the configuration")
    }
    let model = try Self.load(bundle, tables: place.residence)
    // Sections that this build has no use for belong to the file all the same: it is whole, or it is refused.
    try Self.naming(bundle) { try bundle.verify() }
    let version = try LoadedVersion(
      bundle: bundle, model: model, name: name, version: file.version == 0 ? bundle.manifest.version : file.version,
      maxBatchSize: place.source.maxBatchSize)
    if place.source.warms {
      let rows = RowBatch(for: version.specification, rowCapacity: RecentRows.rowsMax)
      if let current = place.loaded.last?.version, current.specification.features == version.specification.features {
        current.recent.copy(to: rows)
      }
      if rows.rowCount == 0 { WarmupRows.fill(rows, for: version.specification) }
      version.warm(scorers: scorersWarm, with: rows)
    }
    return version
  }

  private func publish() {
    var snapshot = StoreSnapshot()
    for (index, place) in places.enumerated() {
      snapshot.models.append(place.snapshot(source: index))
      let versions = place.loaded.map(\.version)
      metrics.holds(
        place.name, versions: versions.count, mappedBytes: versions.reduce(0) { $0 + ($1.isMapped ? $1.byteCount : 0) },
        copiedBytes: versions.reduce(0) { $0 + ($1.isMapped ? 0 : $1.byteCount) })
    }
    let observers = state.withLock { state in
      state.snapshot = snapshot
      return state.observers
    }
    changes.wrappingAdd(1, ordering: .releasing)
    for observer in observers { observer(snapshot) }
    metrics.retired(retired.count)
  }
}
