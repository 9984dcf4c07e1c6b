internal import Synchronization
internal import Telemetry

/// What a server counts, for all its loops. Described in docs/operations.md.
final class ServerMetrics: Sendable {
  let received: Counter
  let sent: Counter
  let streamsRefused: Counter
  let connectionsAccepted: Counter
  let connectionsRefused: Counter
  let connectionCount = Atomic<Int>(0)
  private let cuts: [Counter]
  private let registry: Registry
  private let listener: String
  private let loads = LoopLoads()
  /// By method and code; made when first counted.
  private let calls = Mutex<[Int: Counter]>([:])

  init(_ registry: Registry, listener: String) {
    self.registry = registry
    self.listener = listener
    let labels = [("listener", listener)]
    received = registry.counter("millrace_rpc_received_bytes_total", "Bytes that gRPC connections received.", labels: labels)
    sent = registry.counter("millrace_rpc_sent_bytes_total", "Bytes that gRPC connections sent.", labels: labels)
    streamsRefused = registry.counter(
      "millrace_rpc_streams_refused_total", "Calls beyond what one connection may have at a time.", labels: labels)
    connectionsAccepted = registry.counter("millrace_rpc_connections_total", "gRPC connections accepted.", labels: labels)
    connectionsRefused = registry.counter(
      "millrace_rpc_connections_refused_total", "gRPC connections closed at once because there were too many.", labels: labels)
    cuts = CutReason.allCases.map {
      registry.counter(
        "millrace_rpc_connections_cut_total", "gRPC connections that the server ended, by reason.",
        labels: labels + [("reason", $0.name)])
    }
    let loads = loads
    registry.gaugeReading("millrace_rpc_calls_in_flight", "gRPC calls that are not over.", labels: labels) {
      Double(loads.sum { $0.calls.load(ordering: .relaxed) })
    }
    registry.gaugeReading("millrace_rpc_held_bytes", "Bytes of messages that wait, coming in or going out.", labels: labels) {
      Double(loads.sum { $0.heldBytes.load(ordering: .relaxed) })
    }
    let count = WeakCount(self)
    registry.gaugeReading("millrace_rpc_connections", "gRPC connections open now.", labels: labels) { count.read() }
  }

  func add(_ load: LoopLoad) { loads.add(load) }

  func cut(_ reason: CutReason) { cuts[reason.rawValue].add() }

  func connectionClosed() { connectionCount.wrappingSubtract(1, ordering: .relaxed) }

  /// The counter of one method and code; `method` is -1 for calls of methods that do not exist. Takes a lock: once for each turn.
  func calls(_ method: Int32, _ name: String, _ code: RPCCode) -> Counter {
    let key = Int(method) << 8 | Int(code.rawValue)
    return calls.withLock { calls in
      if let known = calls[key] { return known }
      let made = registry.counter(
        "millrace_rpc_calls_total", "gRPC calls that ended, by method and code.",
        labels: [("listener", listener), ("method", name), ("code", code.name)])
      calls[key] = made
      return made
    }
  }

  private struct WeakCount: Sendable {
    private final class Box: Sendable {
      let of: Mutex<Weak>
      init(_ of: ServerMetrics) { self.of = Mutex(Weak(of)) }
    }

    private struct Weak {
      weak var metrics: ServerMetrics?
      init(_ metrics: ServerMetrics) { self.metrics = metrics }
    }

    private let box: Box

    init(_ metrics: ServerMetrics) { box = Box(metrics) }

    func read() -> Double { box.of.withLock { Double($0.metrics?.connectionCount.load(ordering: .relaxed) ?? 0) } }
  }
}
