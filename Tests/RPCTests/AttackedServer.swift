import Foundation
import Logging
import RPC
import Synchronization
import Telemetry
import Testing

/// An echo server to attack, with a well-behaved client beside whoever attacks it.
final class AttackedServer: Sendable {
  typealias Settings = RPCServerSettings

  let port: Int
  let held: AttackEcho.HeldCalls
  let registry: Registry
  let settings: RPCServerSettings
  private let server: RPCServer

  /// Runs `body` against a server of its own with one loop, so that whoever attacks and whoever behaves share it.
  static func with(
    _ change: (inout RPCServerSettings) -> Void = { _ in }, _ body: (AttackedServer) async throws -> Void
  ) async throws {
    var settings = RPCServerSettings()
    settings.host = "127.0.0.1"
    settings.port = 0
    settings.loops = 1
    change(&settings)
    let attacked = try await AttackedServer(settings)
    do {
      try await body(attacked)
    } catch {
      await attacked.server.stop(graceMilliseconds: 0)
      throw error
    }
    await attacked.server.stop(graceMilliseconds: 0)
  }

  private init(_ settings: RPCServerSettings) async throws {
    held = AttackEcho.HeldCalls()
    registry = Registry()
    self.settings = settings
    server = RPCServer(
      settings: settings, services: [AttackEcho.service(held)], registry: registry,
      logger: Logger(label: "attacked", factory: { _ in SwiftLogNoOpLogHandler() }))
    port = try await server.start()
  }

  func beginDrain() { server.beginDrain() }

  /// Attacks while a well-behaved client on a connection of its own makes calls, all of which must succeed; afterwards the server must
  /// hold nothing but that client's connection.
  func attack(
    sourceLocation: SourceLocation = #_sourceLocation, _ attack: @escaping @Sendable (AttackedServer) throws -> Void
  ) async throws {
    let neighbour = try Neighbour(port: port)
    neighbour.start()
    do {
      try await onThread {
        try waitUntil("the neighbour's first call") { neighbour.calls > 0 }
        try attack(self)
      }
      // What the attacker's connections held is given back.
      try await onThread {
        try waitUntil("the attacker's connections and calls are gone: \(self.resources)") {
          self.held.count.load(ordering: .relaxed) == 0 && self.resources.connections <= 1 && self.resources.calls <= 1
        }
      }
    } catch {
      _ = await neighbour.stop(more: 0)
      throw error
    }
    let outcome = await neighbour.stop(more: 20)
    #expect(outcome.failure == nil, "a well-behaved client noticed", sourceLocation: sourceLocation)
    #expect(outcome.calls >= 20, sourceLocation: sourceLocation)
  }

  /// What the server holds, by its own metrics.
  var resources: (connections: Int, calls: Int, bytes: Int) {
    (
      reading("millrace_rpc_connections"), reading("millrace_rpc_calls_in_flight"), reading("millrace_rpc_held_bytes")
    )
  }

  func reading(_ name: String) -> Int { Int(registry.readings(of: name).reduce(0) { $0 + $1.value }) }
}

/// Polls until the condition holds; a generous deadline.
func waitUntil(_ what: @autoclosure () -> String, seconds: Double = 30, _ condition: () throws -> Bool) throws {
  let deadline = MonotonicClock.nanoseconds() + Int64(seconds * 1e9)
  while try !condition() {
    guard MonotonicClock.nanoseconds() < deadline else { throw AttackConnection.Failure(description: "not within \(seconds) s: \(what())") }
    usleep(1_000)
  }
}

/// A client that asks one thing after the other and checks each answer.
final class Neighbour: Sendable {
  struct Outcome: Sendable { var calls = 0, failure: String? }

  private let port: Int
  private let callsWanted = Atomic<Int>(.max)
  private let callsMade = Atomic<Int>(0)
  private let outcome = Mutex<Outcome?>(nil)

  init(port: Int) throws { self.port = port }

  /// Calls that were answered so far.
  var calls: Int { callsMade.load(ordering: .relaxed) }

  func start() {
    let thread = Thread { [self] in
      let result = Outcome(calls: 0, failure: run())
      outcome.withLock { $0 = Outcome(calls: callsMade.load(ordering: .relaxed), failure: result.failure) }
    }
    thread.start()
  }

  /// Ends after `more` further calls.
  func stop(more: Int) async -> Outcome {
    callsWanted.store(callsMade.load(ordering: .relaxed) + more, ordering: .relaxed)
    while true {
      if let done = outcome.withLock({ $0 }) { return done }
      try? await Task.sleep(for: .milliseconds(1))
    }
  }

  private func run() -> String? {
    do {
      let connection = try AttackConnection(port: port)
      connection.begin()
      var stream: UInt32 = 1
      while callsMade.load(ordering: .relaxed) < callsWanted.load(ordering: .relaxed) {
        let message = [UInt8](repeating: UInt8(stream & 0x7f), count: Int(stream % 512))
        connection.send(AttackWire.unary(stream, "/attack.Echo/Unary", message))
        let answer = try connection.answer(stream, seconds: 30)
        guard answer.status == 0, answer.messages == [message] else { return "call \(stream): \(answer)" }
        connection.forget(stream)
        callsMade.add(1, ordering: .relaxed)
        stream += 2
        // Leaves the processor to others, which an attack's own work needs too.
        usleep(200)
      }
      return connection.goAways.isEmpty ? nil : "GOAWAY \(connection.goAways)"
    } catch {
      return "\(error)"
    }
  }
}
