import ChildProcesses
import Foundation
import Logging
import Telemetry
import Testing

@testable import RPC

/// Health and reflection over real sockets.
@Suite struct HealthServiceTests {
  private static let noPython: Comment =
    "no Python with grpcio, its health and its reflection: `make test` makes one in .build/venv, or name one in MILLRACE_PYTHON"

  private let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
  private let health = HealthService(["": .serving, "a": .notServing])
  private let watch = MethodPath(service: "grpc.health.v1.Health", method: "Watch")

  private func withServer(_ body: @Sendable (Int, RPCChannel) async throws -> Void) async throws {
    var settings = RPCServerSettings()
    settings.loops = 2
    let server = RPCServer(
      settings: settings, services: [health.service] + ReflectionService(services: [health.service]).services, registry: Registry(), logger: logger)
    let port = try await server.start()
    let channel = try RPCChannel(target: RPCTarget(host: "127.0.0.1", port: port))
    do {
      try await body(port, channel)
    } catch {
      await channel.close()
      await server.stop(graceMilliseconds: 0)
      throw error
    }
    await channel.close()
    await server.stop(graceMilliseconds: 0)
  }

  private func request(_ service: String) -> [UInt8] {
    var writer = ProtobufWriter()
    writer.text(1, service)
    return writer.bytes
  }

  private func check(_ channel: RPCChannel, _ service: String) async throws -> [UInt8] {
    try await channel.unary(MethodPath(service: "grpc.health.v1.Health", method: "Check"), request(service)).message
  }

  @Test func checkAnswersWhatWasSet() async throws {
    try await withServer { (_, channel) async throws in
      #expect(try await check(channel, "") == [8, 1])
      #expect(try await check(channel, "a") == [8, 2])
      health.set("a", .serving)
      #expect(try await check(channel, "a") == [8, 1])
      for service in ["b", String(repeating: "x", count: 1000)] {
        let unknown = await #expect(throws: RPCStatus.self) { try await check(channel, service) }
        #expect(unknown?.code == .notFound)
      }
      let long = await #expect(throws: RPCStatus.self) { try await check(channel, String(repeating: "x", count: 10_000)) }
      #expect(long?.code == .invalidArgument)
      health.remove("a")
      let removed = await #expect(throws: RPCStatus.self) { try await check(channel, "a") }
      #expect(removed?.code == .notFound)
    }
  }

  @Test(arguments: [true, false]) func watchersHearOfChanges(half: Bool) async throws {
    try await withServer { (_, channel) async throws in
      let stream = channel.stream(watch)
      try await stream.send(request("later"))
      if half { stream.finish() }
      var messages = stream.makeAsyncIterator()
      #expect(try await messages.next() == [8, 3], "not known yet")
      health.set("later", .serving)
      #expect(try await messages.next() == [8, 1])
      health.set("other", .serving)
      health.set("later", .serving)
      health.set("later", .notServing)
      #expect(try await messages.next() == [8, 2], "what changes nothing, and what others do, is not told")
      #expect(health.watchers == 1)
      stream.cancel()
      try await until { health.watchers == 0 }
    }
  }

  @Test func aStopIsToldAndEndsTheWatch() async throws {
    try await withServer { (_, channel) async throws in
      let stream = channel.stream(watch)
      try await stream.send(request(""))
      var messages = stream.makeAsyncIterator()
      #expect(try await messages.next() == [8, 1])
      health.stop()
      #expect(try await messages.next() == [8, 2])
      let ended = await #expect(throws: RPCStatus.self) { while try await messages.next() != nil {} }
      #expect(ended?.code == .unavailable)
      health.set("", .serving)
      #expect(try await check(channel, "") == [8, 2], "what is set after a stop does not count")
      #expect(health.watchers == 0)
    }
  }

  @Test func aWatchTakesOneMessage() async throws {
    try await withServer { (_, channel) async throws in
      let none = channel.stream(watch)
      none.finish()
      let missing = await #expect(throws: RPCStatus.self) { for try await _ in none {} }
      #expect(missing?.code == .internal)
      let two = channel.stream(watch)
      try await two.send(request(""))
      try await two.send(request("a"))
      let many = await #expect(throws: RPCStatus.self) { for try await _ in two {} }
      #expect(many?.code == .internal && health.watchers == 0)
      let broken = channel.stream(watch)
      try await broken.send([0xFF])
      let bad = await #expect(throws: RPCStatus.self) { for try await _ in broken {} }
      #expect(bad?.code == .invalidArgument)
    }
  }

  @Test func watchersAreBounded() async throws {
    for _ in 0..<HealthService.watchersMax { #expect(health.addWatcher()) }
    try await withServer { (_, channel) async throws in
      let stream = channel.stream(watch)
      try await stream.send(request(""))
      let refused = await #expect(throws: RPCStatus.self) { for try await _ in stream {} }
      #expect(refused?.code == .resourceExhausted)
      health.removeWatcher()
      let another = channel.stream(watch)
      try await another.send(request(""))
      var messages = another.makeAsyncIterator()
      #expect(try await messages.next() == [8, 1])
      another.cancel()
    }
  }

  @Test(.enabled(if: ChildProcess.python != nil, noPython)) func grpciosClientsWorkUnmodified() async throws {
    let python = try #require(ChildProcess.python)
    try await withServer { (port, _) async throws in
      let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Clients/health_reflection.py").path
      let child = try ChildProcess(python, [script, "127.0.0.1:\(port)"])
      try await child.until("it watches") { child.text.contains("watching") }
      health.set("a", .serving)
      #expect(try await child.wait() == 0, "\(child.text)")
      #expect(child.text.contains("ok"))
    }
  }

  private func until(_ condition: () -> Bool) async throws {
    let deadline = ContinuousClock.now.advanced(by: .seconds(30))
    while !condition(), ContinuousClock.now < deadline { try await Task.sleep(for: .milliseconds(2)) }
    #expect(condition())
  }
}
