import Foundation
import Logging
import RPC
import Synchronization
import Telemetry

/// A server with methods that do what a test asks, and a log of what handlers were told.
final class TestServer: Sendable {
  let server: RPCServer
  let port: Int
  let registry: Registry
  let events: Events

  /// What handlers were told, in order.
  final class Events: Sendable {
    private let list = Mutex<[String]>([])
    /// Calls that wait for the test, by when they came.
    private let waiting = Mutex<[(ServerLoop, Call)]>([])

    func add(_ event: String) { list.withLock { $0.append(event) } }
    var all: [String] { list.withLock { $0 } }
    func count(_ event: String) -> Int { list.withLock { $0.filter { $0 == event }.count } }
    func wait(_ loop: ServerLoop, _ call: Call) { waiting.withLock { $0.append((loop, call)) } }
    var waitingCalls: [(ServerLoop, Call)] { waiting.withLock { $0 } }
  }

  static func start(_ change: (inout RPCServerSettings) -> Void = { _ in }) async throws -> TestServer {
    var settings = RPCServerSettings()
    settings.loops = 1
    change(&settings)
    let events = Events()
    let service = RPCService(
      name: "test.Service",
      methods: [
        RPCMethod("Echo", .unary) { Echo(loop: $0) },
        RPCMethod("Wait", .unary) { Waiting(loop: $0, events: events) },
        RPCMethod("Fail", .unary) { Failing(loop: $0) },
        RPCMethod("Loop", .unary) { LoopIndex(loop: $0) },
        RPCMethod("Quiet", .streaming) { Quiet(loop: $0) },
        RPCMethod("Stream", .streaming) { Streaming(loop: $0, events: events) },
        .asyncUnary("Async") { request, context in
          if request == Array("throw".utf8) { throw RPCStatus(.notFound, "nothing here") }
          if request == Array("sleep".utf8) {
            events.add("sleeping")
            do { try await Task.sleep(nanoseconds: 60_000_000_000) } catch { events.add("cancelled") }
          }
          return Array("\(context.metadata["x-name"] ?? "-") ".utf8) + request
        },
      ])
    let registry = Registry()
    let server = RPCServer(settings: settings, services: [service], registry: registry, logger: Logger(label: "test"))
    let port = try await server.start()
    return TestServer(server: server, port: port, registry: registry, events: events)
  }

  private init(server: RPCServer, port: Int, registry: Registry, events: Events) {
    self.server = server
    self.port = port
    self.registry = registry
    self.events = events
  }

  /// Starts a server, runs `body` and stops it whatever happens.
  static func with(_ change: (inout RPCServerSettings) -> Void = { _ in }, _ body: (TestServer) async throws -> Void) async throws {
    let server = try await start(change)
    do {
      try await body(server)
    } catch {
      await server.server.stop(graceMilliseconds: 0)
      throw error
    }
    await server.server.stop(graceMilliseconds: 0)
  }

  /// Polls until `done`, for up to a minute.
  func eventually(_ what: String, _ done: () -> Bool) async throws {
    let end = MonotonicClock.nanoseconds() + Int64(RawClient.patienceNanoseconds)
    while !done() {
      guard MonotonicClock.nanoseconds() < end else { throw RawClient.Failure(description: "waited too long for \(what): \(events.all)") }
      try await Task.sleep(nanoseconds: 1_000_000)
    }
  }

  /// The sum of a metric's series whose labels have all of `labels`.
  func metric(_ name: String, _ labels: [String: String] = [:]) -> Double {
    registry.readings(of: name).filter { reading in labels.allSatisfy { reading.label($0.key) == $0.value } }.reduce(0) { $0 + $1.value }
  }

  private final class Echo: MethodHandler {
    override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) { loop.reply(call, bytes) }
  }

  private final class LoopIndex: MethodHandler {
    override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {
      [UInt8(loop.index)].withUnsafeBytes { _ = loop.reply(call, $0) }
    }
  }

  /// Echoes a stream, and does nothing else.
  private final class Quiet: MethodHandler {
    override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) { loop.send(call, bytes) }
    override func halfClosed(_ call: Call) { loop.finish(call) }
  }

  /// Answers nothing: the test does.
  private final class Waiting: MethodHandler {
    let events: Events

    init(loop: ServerLoop, events: Events) {
      self.events = events
      super.init(loop: loop)
    }

    override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {
      events.add("message \(bytes.count)")
      events.wait(loop, call)
    }

    override func ended(_ call: Call) { events.add(loop.isLive(call) ? "ended, alive" : "ended") }

    override func flush() { events.add("flush") }
  }

  /// Fails with the status that the request names: code, message, details.
  private final class Failing: MethodHandler {
    override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {
      let code = RPCCode(rawValue: bytes.first ?? 2) ?? .unknown
      var trailers = RPCMetadata()
      trailers.add("x-text", "seen")
      trailers.add("x-bytes-bin", binary: [0, 255, 7])
      loop.finish(call, RPCStatus(code, String(decoding: bytes.dropFirst(), as: UTF8.self), details: [1, 2, 3, 4]), trailers: trailers)
    }
  }

  /// Echoes, and obeys: "pause", "later" (resumes after that many milliseconds), "burst N", "finish".
  private final class Streaming: MethodHandler {
    let events: Events

    init(loop: ServerLoop, events: Events) {
      self.events = events
      super.init(loop: loop)
    }

    override func opened(_ call: Call) { events.add("opened \(loop.metadata(call)["x-name"] ?? "")") }

    override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {
      let text = bytes.count < 100 ? String(decoding: bytes, as: UTF8.self) : ""
      if text.hasPrefix("burst "), let count = Int(text.dropFirst(6)) {
        let block = [UInt8](repeating: 7, count: 1000)
        for _ in 0..<count { block.withUnsafeBytes { _ = loop.send(call, $0) } }
        events.add("pending \(loop.pendingBytes(call) > 0)")
      } else if text == "pause" {
        loop.pauseReading(call)
        events.wait(loop, call)
        events.add("paused")
      } else if text == "finish" {
        loop.finish(call, RPCStatus(.aborted, "as asked"))
      } else if text == "headers" {
        loop.sendHeaders(call)
      } else {
        events.add("message \(bytes.count)")
        loop.send(call, bytes)
      }
    }

    override func halfClosed(_ call: Call) {
      events.add("half closed")
      loop.finish(call)
    }

    override func ended(_ call: Call) { events.add("ended") }

    override func writable(_ call: Call) { events.add("writable") }
  }
}
