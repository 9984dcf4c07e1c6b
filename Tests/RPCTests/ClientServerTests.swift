import AllocationThresholds
import Logging
import NIOCore
import RPC
import Synchronization
import Telemetry
import Testing

/// The client against our own server, over loopback.
@Suite(.serialized) struct ClientServerTests {
  private static let unary = MethodPath(service: "test.Echo", method: "Unary")
  private static let chat = MethodPath(service: "test.Echo", method: "Chat")
  private static let hang = MethodPath(service: "test.Echo", method: "Hang")
  private static let show = MethodPath(service: "test.Echo", method: "Show")

  private static func server(_ change: (inout RPCServerSettings) -> Void = { _ in }) -> RPCServer {
    var settings = RPCServerSettings()
    settings.loops = 1
    change(&settings)
    let echo = RPCService(
      name: "test.Echo",
      methods: [
        RPCMethod("Unary", .unary) { EchoHandler(loop: $0) }, RPCMethod("Chat", .streaming) { ChatHandler(loop: $0) },
        .asyncUnary("Hang") { _, _ in
          try await Task.sleep(nanoseconds: 60_000_000_000)
          return []
        },
        .asyncUnary("Show") { request, context in
          guard request.first != 1 else { throw RPCStatus(.notFound, "no “this”", details: [1, 2, 3]) }
          return Array((context.metadata["x-who"] ?? "nobody").utf8)
        },
      ])
    return RPCServer(settings: settings, services: [echo], registry: Registry(), logger: Logger(label: "test"))
  }

  @Test func unaryCallsAndErrors() async throws {
    let server = Self.server()
    let channel = try RPCChannel(target: RPCTarget(host: "127.0.0.1", port: try await server.start()))
    #expect(try await channel.unary(Self.unary, [1, 2, 3]).message == [1, 2, 3])
    #expect(try await channel.unary(Self.unary, []).message == [])
    let large = [UInt8](repeating: 5, count: 3 << 20)
    #expect(try await channel.unary(Self.unary, large).message == large)
    var options = CallOptions(timeoutMilliseconds: 20_000)
    options.metadata.add("x-who", "me")
    #expect(try await channel.unary(Self.show, [0], options).message == Array("me".utf8))
    await #expect(throws: RPCStatus(.notFound, "no “this”", details: [1, 2, 3])) { try await channel.unary(Self.show, [1]) }
    let unknown = await #expect(throws: RPCStatus.self) { try await channel.unary(MethodPath(service: "test.Echo", method: "None"), []) }
    #expect(unknown?.code == .unimplemented)
    await channel.close()
    await server.stop(graceMilliseconds: 0)
  }

  @Test func deadlinesAndCancellation() async throws {
    let server = Self.server()
    let channel = try RPCChannel(target: RPCTarget(host: "127.0.0.1", port: try await server.start()))
    let late = await #expect(throws: RPCStatus.self) { try await channel.unary(Self.hang, [], CallOptions(timeoutMilliseconds: 30)) }
    #expect(late?.code == .deadlineExceeded)
    let task = Task { try await channel.unary(Self.hang, []) }
    task.cancel()
    let cancelled = await #expect(throws: RPCStatus.self) { try await task.value }
    #expect(cancelled?.code == .cancelled)
    // The connection is as good as before.
    #expect(try await channel.unary(Self.unary, [1]).message == [1])
    await channel.close()
    await server.stop(graceMilliseconds: 0)
  }

  @Test func streamsBothWays() async throws {
    let server = Self.server()
    let channel = try RPCChannel(target: RPCTarget(host: "127.0.0.1", port: try await server.start()))
    let stream = channel.stream(Self.chat)
    // Far more than the windows and the marks hold.
    let sender = Task {
      for i in 0..<3000 { try await stream.send([UInt8](repeating: UInt8(i & 255), count: i)) }
      stream.finish()
    }
    var count = 0
    for try await message in stream {
      #expect(message.count == count && message.allSatisfy { $0 == UInt8(count & 255) })
      count += 1
    }
    try await sender.value
    #expect(count == 3000)
    // One that is given up, and one that is let go.
    let abandoned = channel.stream(Self.chat)
    try await abandoned.send([1])
    abandoned.cancel()
    let ended = await #expect(throws: RPCStatus.self) { for try await _ in abandoned {} }
    #expect(ended?.code == .cancelled)
    try await channel.stream(Self.chat).send([1])
    let reader = Task { for try await _ in channel.stream(Self.chat) {} }
    reader.cancel()
    let result = await reader.result
    #expect(throws: RPCStatus.self) { try result.get() }
    await channel.close()
    await server.stop(graceMilliseconds: 0)
  }

  /// Every call exactly one answer, its own, with many connections, few streams each, and a stream of streams.
  @Test func hotCallsGetTheirOwnAnswers() async throws {
    let server = Self.server { $0.streamsMax = 16 }
    var settings = RPCChannelSettings()
    settings.connections = 4
    settings.streamsMax = 8
    let channel = try RPCChannel(target: RPCTarget(host: "127.0.0.1", port: try await server.start()), settings: settings)
    let load = Load(calls: 20_000, atOnce: 100)
    await load.run(on: channel.loops[0], Self.unary)
    #expect(load.problems.isEmpty, "\(load.problems.prefix(5))")
    #expect(load.answered == 20_000)
    await channel.close()
    await server.stop(graceMilliseconds: 0)
  }

  @Test func hotStreamsAnswerInOrder() async throws {
    let server = Self.server()
    let channel = try RPCChannel(target: RPCTarget(host: "127.0.0.1", port: try await server.start()))
    let handler = Pipeline(messages: 20_000, atOnce: 64)
    await handler.run(on: channel.loops[0], Self.chat)
    #expect(handler.problem == nil && handler.answered == 20_000 && handler.status == .ok)
    await channel.close()
    await server.stop(graceMilliseconds: 0)
  }

  /// Two servers; one leaves while it is under load, then comes back, then the other leaves: no call fails.
  @Test func aServerThatDrainsFailsNoCall() async throws {
    let first = Self.server()
    let second = Self.server()
    let ports = [try await first.start(), try await second.start()]
    let target = try #require(RPCTarget(addresses: ports.map { .init(host: "127.0.0.1", port: $0) }))
    var settings = RPCChannelSettings()
    settings.connections = 2
    let channel = try RPCChannel(target: target, settings: settings)
    let load = Load(calls: .max, atOnce: 64)
    async let running: Void = load.run(on: channel.loops[0], Self.unary)
    await load.reached(3000)
    await first.stop(graceMilliseconds: 10_000)
    await load.reached(load.answered + 3000)
    let again = Self.server { $0.port = ports[0] }
    _ = try await again.start()
    await second.stop(graceMilliseconds: 10_000)
    await load.reached(load.answered + 3000)
    load.stop()
    await running
    #expect(load.problems.isEmpty, "\(load.problems.prefix(5)) of \(load.answered)")
    await channel.close()
    await again.stop(graceMilliseconds: 0)
  }

  /// A server that is gone at once: its calls end, and calls that wait go to the next one on the same port.
  @Test func reconnectsToAServerThatWasKilled() async throws {
    let first = Self.server()
    let port = try await first.start()
    let channel = try RPCChannel(target: RPCTarget(host: "127.0.0.1", port: port))
    #expect(try await channel.unary(Self.unary, [1]).message == [1])
    let hanging = Task { try await channel.unary(Self.hang, [], CallOptions(timeoutMilliseconds: 30_000)) }
    while await channel.loops[0].calls < 1 { await Task.yield() }
    await first.stop(graceMilliseconds: 0)
    let lost = await #expect(throws: RPCStatus.self) { try await hanging.value }
    #expect(lost?.code == .unavailable)
    let waiting = Task { try await channel.unary(Self.unary, [2], CallOptions(timeoutMilliseconds: 30_000, waitsForReady: true)) }
    let second = Self.server { $0.port = port }
    _ = try await second.start()
    #expect(try await waiting.value.message == [2])
    await channel.close()
    await second.stop(graceMilliseconds: 0)
  }
}

extension LoopClient {
  fileprivate var calls: Int {
    get async { (try? await eventLoop.submit { self.callCount }.get()) ?? 0 }
  }
}

private final class EchoHandler: MethodHandler {
  override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) { loop.reply(call, bytes) }
}

private final class ChatHandler: MethodHandler {
  override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {
    loop.send(call, bytes)
    if loop.pendingBytes(call) > 1 << 20 { loop.pauseReading(call) }
  }
  override func writable(_ call: Call) { loop.resumeReading(call) }
  override func halfClosed(_ call: Call) { loop.finish(call) }
}

/// A closed loop of calls on one loop's thread, each with its own bytes.
private final class Load: UnaryCompletion, @unchecked Sendable {
  private let calls: Int
  private let atOnce: Int
  private let shared = Mutex((answered: 0, problems: [String](), isStopping: false))
  // On the loop's thread:
  private var loop: LoopClient?
  private var method = MethodPath(service: "", method: "")
  private var prepared: PreparedMethod?
  private var started = 0
  private var inFlight = 0
  private var done = 0
  private var last: [UInt64: UInt64] = [:]
  private var finished: CheckedContinuation<Void, Never>?
  private var before = 0
  private(set) var allocations = 0
  var measureFrom = -1
  var measureTo = -1

  init(calls: Int, atOnce: Int) {
    self.calls = calls
    self.atOnce = atOnce
  }

  var answered: Int { shared.withLock { $0.answered } }
  var problems: [String] { shared.withLock { $0.problems } }
  func stop() { shared.withLock { $0.isStopping = true } }

  func reached(_ count: Int) async {
    while answered < count, problems.isEmpty { try? await Task.sleep(nanoseconds: 2_000_000) }
  }

  func run(on loop: LoopClient, _ method: MethodPath) async {
    await withCheckedContinuation { continuation in
      loop.execute { loop in
        self.finished = continuation
        self.loop = loop
        self.prepared = loop.prepare(method, timeoutMicroseconds: 60_000_000)
        for _ in 0..<self.atOnce { self.startOne(loop) }
      }
    }
  }

  private func startOne(_ loop: LoopClient) {
    guard let prepared, started < calls else { return }
    let value = UInt64(started)
    started += 1
    inFlight += 1
    withUnsafeBytes(of: value) { _ = loop.start(prepared, $0, token: value, completion: self) }
  }

  override func completed(token: UInt64, status: RPCCode, message: UnsafeRawBufferPointer) {
    guard let loop else { return }
    inFlight -= 1
    done += 1
    if done == measureFrom { before = AllocationThresholds.ofThisThread() }
    if done == measureTo { allocations = AllocationThresholds.ofThisThread() - before }
    let isRight = status == .ok && message.count == 8 && message.loadUnaligned(as: UInt64.self) == token
    let isStopping = shared.withLock { shared in
      shared.answered += 1
      if !isRight, shared.problems.count < 20 {
        shared.problems.append("call \(token): \(status) \(status == .ok ? "another's answer" : String(decoding: message, as: UTF8.self))")
      }
      return shared.isStopping
    }
    if !isStopping { startOne(loop) }
    if inFlight == 0 {
      finished?.resume()
      finished = nil
    }
  }
}

/// One stream with many messages on their way.
private final class Pipeline: StreamHandler, @unchecked Sendable {
  private let messages: UInt64
  private let atOnce: Int
  private var sent: UInt64 = 0
  private var loop: LoopClient?
  private var finished: CheckedContinuation<Void, Never>?
  private(set) var answered: UInt64 = 0
  private(set) var problem: String?
  private(set) var status: RPCCode?

  init(messages: UInt64, atOnce: Int) {
    self.messages = messages
    self.atOnce = atOnce
  }

  func run(on loop: LoopClient, _ method: MethodPath) async {
    await withCheckedContinuation { continuation in
      loop.execute { loop in
        self.finished = continuation
        self.loop = loop
        let call = loop.openStream(loop.prepare(method), token: 4, handler: self)
        for _ in 0..<self.atOnce { self.sendOne(loop, call) }
      }
    }
  }

  private func sendOne(_ loop: LoopClient, _ call: ClientCall) {
    guard sent < messages else { return }
    withUnsafeBytes(of: sent) { _ = loop.send(call, $0) }
    sent += 1
    if sent == messages { loop.finishSending(call) }
  }

  override func message(_ call: ClientCall, token: UInt64, index: UInt64, _ message: UnsafeRawBufferPointer) {
    if token != 4 || index != answered || message.count != 8 || message.loadUnaligned(as: UInt64.self) != index {
      problem = "message \(index) of \(message.count) bytes, expected \(answered)"
    }
    answered += 1
    if let loop { sendOne(loop, call) }
  }

  override func ended(_ call: ClientCall, token: UInt64, status: RPCCode, text: UnsafeRawBufferPointer) {
    self.status = status
    finished?.resume()
    finished = nil
  }
}
