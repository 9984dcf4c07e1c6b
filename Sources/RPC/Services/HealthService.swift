import Synchronization

/// What a service says of itself. Source: grpc.health.v1 (protos/grpc/health).
public enum ServingStatus: UInt8, Sendable {
  case unknown = 0, serving, notServing
  /// Answered by Watch for a name that is not known (yet).
  case serviceUnknown
}

/// `grpc.health.v1.Health`: what load balancers and orchestrators ask. Statuses are set from any thread; whoever watches hears of changes.
///
/// The empty name stands for the server as a whole. A watcher that is slow to read gets the latest status when it reads again, not
/// each one between.
public final class HealthService: Sendable {
  /// Watch calls open at a time, over all connections; further ones are RESOURCE_EXHAUSTED.
  public static let watchersMax = 4096
  /// Bytes of a service's name in a request.
  public static let nameBytesMax = 1024

  private struct State {
    var statuses: [String: ServingStatus]
    var isStopped = false
    var watchers = 0
    var loops: [LoopWatchers] = []
  }

  /// The loop owns the handler. Both are held while a change is handed over, and only then.
  private struct LoopWatchers {
    weak var loop: ServerLoop?
    weak var handler: HealthWatchHandler?
  }

  private let state: Mutex<State>

  public init(_ statuses: [String: ServingStatus] = ["": .notServing]) {
    state = Mutex(State(statuses: statuses))
  }

  /// Nil when there is no service of that name.
  public func status(of service: String) -> ServingStatus? { state.withLock { $0.statuses[service] } }

  /// Sets the status of a service, which becomes known by it. Any thread.
  public func set(_ service: String, _ status: ServingStatus) { set(service, to: status) }

  /// Forgets a service: it is not known any more.
  public func remove(_ service: String) { set(service, to: nil) }

  /// For a server that begins to drain: every known service is NOT_SERVING from now on, whatever is set, and Watch calls end after they
  /// have heard it, since a drain waits for calls.
  public func stop() {
    for (loop, handler) in change({ state in
      state.isStopped = true
      for name in state.statuses.keys { state.statuses[name] = .notServing }
    }) {
      loop.execute { withExtendedLifetime(loop) { handler.stop() } }
    }
  }

  /// The service, to be served beside those it speaks of. All servers of a process may share it.
  public var service: RPCService {
    RPCService(
      name: "grpc.health.v1.Health",
      methods: [
        RPCMethod("Check", .unary) { HealthCheckHandler(health: self, loop: $0) },
        RPCMethod("Watch", .streaming) { loop in
          let handler = HealthWatchHandler(health: self, loop: loop)
          self.state.withLock { state in
            state.loops.removeAll { $0.loop == nil }
            state.loops.append(LoopWatchers(loop: loop, handler: handler))
          }
          return handler
        },
      ],
      fileDescriptors: [ProtoFile.health.descriptor])
  }

  private func set(_ service: String, to status: ServingStatus?) {
    for (loop, handler) in change({ state in if !state.isStopped { state.statuses[service] = status } }) {
      loop.execute { withExtendedLifetime(loop) { handler.push() } }
    }
  }

  /// Who is to hear of the change.
  private func change(_ change: (inout State) -> Void) -> [(ServerLoop, HealthWatchHandler)] {
    state.withLock { state in
      let before = (state.statuses, state.isStopped)
      change(&state)
      guard (state.statuses, state.isStopped) != before else { return [] }
      return state.loops.compactMap { watchers in
        guard let loop = watchers.loop, let handler = watchers.handler else { return nil }
        return (loop, handler)
      }
    }
  }

  // MARK: For the handlers

  func addWatcher() -> Bool {
    state.withLock { state in
      guard state.watchers < Self.watchersMax else { return false }
      state.watchers += 1
      return true
    }
  }

  func removeWatcher() { state.withLock { $0.watchers -= 1 } }

  var isStopped: Bool { state.withLock { $0.isStopped } }

  /// Watch calls open now.
  var watchers: Int { state.withLock { $0.watchers } }

  static func name(of request: UnsafeRawBufferPointer) throws(RPCStatus) -> String {
    // The name and its tag, and some room for fields of later versions.
    guard request.count <= nameBytesMax + 64 else { throw RPCStatus(.invalidArgument, "HealthCheckRequest.service: longer than \(nameBytesMax) bytes") }
    var name = ""
    var reader = ProtobufReader(Array(request), of: "HealthCheckRequest")
    while let (number, value) = try reader.next() {
      if number == 1 { name = try reader.text(value, "service") }
    }
    return name
  }

  static func response(_ status: ServingStatus) -> [UInt8] { [1 << 3, status.rawValue] }
}

private final class HealthCheckHandler: MethodHandler {
  private let health: HealthService

  init(health: HealthService, loop: ServerLoop) {
    self.health = health
    super.init(loop: loop)
  }

  override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {
    do throws(RPCStatus) {
      let name = try HealthService.name(of: bytes)
      guard let status = health.status(of: name) else { throw RPCStatus(.notFound, "no service \"\(name)\" here") }
      HealthService.response(status).withUnsafeBytes { _ = loop.reply(call, $0) }
    } catch {
      loop.finish(call, error)
    }
  }
}

/// The Watch calls of one loop. Touched on that loop's thread only, which makes it safe to name from others.
final class HealthWatchHandler: MethodHandler, @unchecked Sendable {
  private struct Watcher {
    var name: String
    var sent: ServingStatus
  }

  /// Statuses are two bytes. One that waits for more than this many is not read.
  private static let pendingBytesMax = 1024

  private let health: HealthService
  private var watchers: [Call: Watcher] = [:]

  init(health: HealthService, loop: ServerLoop) {
    self.health = health
    super.init(loop: loop)
  }

  override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {
    do throws(RPCStatus) {
      guard watchers[call] == nil else {
        stopWatching(call)
        throw RPCStatus(.internal, "Watch takes one message")
      }
      let name = try HealthService.name(of: bytes)
      guard health.addWatcher() else { throw RPCStatus(.resourceExhausted, "\(HealthService.watchersMax) calls watch already") }
      let status = health.status(of: name) ?? .serviceUnknown
      watchers[call] = Watcher(name: name, sent: status)
      send(call, status)
      if health.isStopped { end(call) }
    } catch {
      loop.finish(call, error)
    }
  }

  override func halfClosed(_ call: Call) {
    if watchers[call] == nil { loop.finish(call, RPCStatus(.internal, "Watch takes one message")) }
  }

  override func ended(_ call: Call) { stopWatching(call) }

  override func writable(_ call: Call) { update(call) }

  func push() {
    for call in Array(watchers.keys) { update(call) }
  }

  func stop() {
    push()
    for call in Array(watchers.keys) { end(call) }
  }

  private func end(_ call: Call) {
    stopWatching(call)
    loop.finish(call, RPCStatus(.unavailable, "the server stops"))
  }

  private func update(_ call: Call) {
    guard let watcher = watchers[call], loop.pendingBytes(call) <= Self.pendingBytesMax else { return }
    let status = health.status(of: watcher.name) ?? .serviceUnknown
    guard status != watcher.sent else { return }
    watchers[call]?.sent = status
    send(call, status)
  }

  private func send(_ call: Call, _ status: ServingStatus) {
    HealthService.response(status).withUnsafeBytes { _ = loop.send(call, $0) }
  }

  private func stopWatching(_ call: Call) {
    if watchers.removeValue(forKey: call) != nil { health.removeWatcher() }
  }
}
