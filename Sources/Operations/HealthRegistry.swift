import Synchronization

/// Whether one component can do its work now, and if not, why.
public struct ComponentHealth: Sendable, Equatable, Codable {
  public var name: String
  public var ready: Bool
  /// Why it is not ready, or a word about its state when it is; may be empty.
  public var detail: String

  public init(name: String, ready: Bool, detail: String) {
    self.name = name
    self.ready = ready
    self.detail = detail
  }
}

/// The readiness of all components of this process. `/readyz` answers from it: ready when every
/// component is. Any thread may register, report and read.
public final class HealthRegistry: Sendable {
  enum Entry {
    case reported(Readiness)
    case asked(@Sendable () -> (ready: Bool, detail: String))
  }

  private struct State {
    var names: [String] = []
    var entries: [String: Entry] = [:]
    var stopping = false
  }

  private let state = Mutex(State())

  public init() {}

  /// Registers a component that reports for itself. It is not ready until it says so. Registering a
  /// name again replaces the component: it was restarted.
  public func register(_ name: String) -> Readiness {
    let readiness = Readiness()
    insert(name, .reported(readiness))
    return readiness
  }

  /// Registers a component that is asked each time; `check` must be quick and must not block.
  public func register(_ name: String, check: @escaping @Sendable () -> (ready: Bool, detail: String)) {
    insert(name, .asked(check))
  }

  public func remove(_ name: String) {
    state.withLock {
      $0.entries[name] = nil
      $0.names.removeAll { $0 == name }
    }
  }

  /// From now on the process is not ready, whatever its components say: it is stopping, and whoever
  /// sends it work should stop.
  public func beginStopping() {
    state.withLock { $0.stopping = true }
  }

  /// Every component in the order of registration.
  public func components() -> [ComponentHealth] {
    // Checks run outside the lock: they belong to others.
    let (names, entries, stopping) = state.withLock { ($0.names, $0.entries, $0.stopping) }
    var components = names.compactMap { name in
      switch entries[name] {
      case .reported(let readiness):
        let current = readiness.current
        return ComponentHealth(name: name, ready: current.ready, detail: current.detail)
      case .asked(let check):
        let answer = check()
        return ComponentHealth(name: name, ready: answer.ready, detail: answer.detail)
      case nil: return nil
      }
    }
    if stopping { components.append(ComponentHealth(name: "process", ready: false, detail: "stopping")) }
    return components
  }

  /// Ready when every component is; a process without components is ready.
  public var isReady: Bool { components().allSatisfy(\.ready) }

  private func insert(_ name: String, _ entry: Entry) {
    state.withLock {
      if $0.entries.updateValue(entry, forKey: name) == nil { $0.names.append(name) }
    }
  }
}

/// One component's own word on its readiness. Any thread; setting takes a short lock and may allocate,
/// so report changes, not every record.
public final class Readiness: Sendable {
  private let state = Mutex((ready: false, detail: "starting"))

  init() {}

  public func ready(_ detail: String = "") {
    state.withLock { $0 = (true, detail) }
  }

  /// `reason` is for a person: what is missing and, if known, for how long.
  public func notReady(_ reason: String) {
    state.withLock { $0 = (false, reason) }
  }

  public var current: (ready: Bool, detail: String) { state.withLock { $0 } }
}
