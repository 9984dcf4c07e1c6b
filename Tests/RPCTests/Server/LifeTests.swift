import Foundation
import Logging
import RPC
import Telemetry
import Testing

/// How connections and servers end.
@Suite(.serialized) struct LifeTests {
  @Test func drainLetsCallsInFlightFinish() async throws {
    let server = try await TestServer.start()
    let client = try RawClient(port: server.port)
    let stream = try client.open([(":path", "/test.Service/Wait")])
    try client.sendData(stream, RawClient.message([1]), endStream: true)
    try await server.eventually("the call") { server.events.waitingCalls.count == 1 }
    client.answersPings = false
    server.server.beginDrain()
    try client.read(until: "the first GOAWAY") { $0.goaways.count == 1 }
    #expect(client.goaways[0].last == 0x7fff_ffff && client.goaways[0].code == 0)
    // The client has not heard yet: a call on its way is still taken.
    let late = try client.call([], RawClient.message([7]))
    #expect(late.messages == [[7]])
    #expect(throws: (any Error).self) { _ = try RawClient(port: server.port) }
    // It has: the second one names the last call.
    let ping = try #require(client.log.last { $0.type == 6 && $0.flags & 1 == 0 })
    try client.send(RawClient.frame(6, flags: 1, ping.payload))
    try client.read(until: "the second GOAWAY") { $0.goaways.count == 2 }
    #expect(client.goaways[1].last == UInt32(stream) + 2 && client.goaways[1].code == 0)
    // Calls after that are not taken, and not answered.
    let ignored = try client.open()
    try client.sendData(ignored, RawClient.message([1]), endStream: true)
    let stopping = Task { await server.server.stop(graceMilliseconds: 20_000) }
    let (loop, call) = try #require(server.events.waitingCalls.first)
    loop.execute { [UInt8(9)].withUnsafeBytes { _ = loop.reply(call, $0) } }
    #expect(try client.answer(stream).messages == [[9]])
    try client.waitForClose()
    #expect(client.answers[ignored]?.headers.isEmpty ?? true)
    shutdown(client.socket, Int32(SHUT_RDWR))
    await stopping.value
    // The port is free.
    let again = try await TestServer.start { $0.port = server.port }
    await again.server.stop(graceMilliseconds: 0)
  }

  @Test func stopClosesWhatDoesNotEnd() async throws {
    let server = try await TestServer.start()
    let client = try RawClient(port: server.port)
    let stream = try client.open([(":path", "/test.Service/Wait")])
    try client.sendData(stream, RawClient.message([1]), endStream: true)
    try await server.eventually("the call") { server.events.waitingCalls.count == 1 }
    await server.server.stop(graceMilliseconds: 50)
    try client.waitForClose()
    #expect(server.events.count("ended") == 1)
    // Handles of calls that are gone with their server do no harm.
    await server.server.stop(graceMilliseconds: 50)
    server.server.beginDrain()
  }

  @Test func tooManyConnectionsAreClosedAtOnce() async throws {
    try await TestServer.with({ $0.connectionsMax = 2 }) { server in
      let first = try RawClient(port: server.port)
      let second = try RawClient(port: server.port)
      try first.roundTrip()
      try second.roundTrip()
      for _ in 0..<3 {
        let third = try RawClient(port: server.port, handshake: false)
        #expect(try third.readText().isEmpty)
      }
      #expect(server.metric("millrace_rpc_connections_refused_total") == 3)
      #expect(server.metric("millrace_rpc_connections") == 2)
      shutdown(first.socket, Int32(SHUT_RDWR))
      try await server.eventually("room") { server.metric("millrace_rpc_connections") == 1 }
      #expect(try RawClient(port: server.port).call([], RawClient.message([1])).status == "0")
    }
  }

  @Test func connectionsAreSpreadEvenly() async throws {
    try await TestServer.with({ $0.loops = 3 }) { server in
      let clients = try (0..<6).map { _ in try RawClient(port: server.port) }
      var counts: [UInt8: Int] = [:]
      for client in clients {
        let loop = try client.call([(":path", "/test.Service/Loop")], RawClient.message([1])).messages.first?.first ?? 99
        counts[loop, default: 0] += 1
      }
      #expect(counts == [0: 2, 1: 2, 2: 2])
    }
  }

  @Test func idleAndOldAndSilentConnectionsEnd() async throws {
    try await TestServer.with({ $0.idleMilliseconds = 100 }) { server in
      let client = try RawClient(port: server.port)
      #expect(try client.call([], RawClient.message([1])).status == "0")
      try client.waitForClose()
      #expect(client.goaways.map(\.code) == [0, 0] && server.metric("millrace_rpc_connections_cut_total", ["reason": "idle"]) == 1)
    }
    try await TestServer.with({ $0.ageMilliseconds = 100; $0.ageGraceMilliseconds = 100 }) { server in
      let client = try RawClient(port: server.port)
      let stream = try client.open([(":path", "/test.Service/Wait")])
      try client.waitForClose()
      #expect(client.goaways.map(\.code) == [0, 0] && client.answers[stream] == nil)
      try await server.eventually("the end") { server.metric("millrace_rpc_connections") == 0 }
    }
    try await TestServer.with({ $0.pingIntervalMilliseconds = 50; $0.pingTimeoutMilliseconds = 100 }) { server in
      let lively = try RawClient(port: server.port)
      let dead = try RawClient(port: server.port)
      dead.answersPings = false
      try lively.read(until: "a ping") { $0.log.contains { $0.type == 6 } }
      // The dead one reads nothing, which is what it is to be dead.
      while server.metric("millrace_rpc_connections_cut_total", ["reason": "silence"]) < 1 { try lively.readSome(timeoutMilliseconds: 20) }
      #expect(try lively.call([], RawClient.message([1])).status == "0")
      try dead.waitForClose()
    }
    try await TestServer.with({ $0.handshakeMilliseconds = 50 }) { server in
      let client = try RawClient(port: server.port, handshake: false)
      _ = try client.readText()
      #expect(server.metric("millrace_rpc_connections_cut_total", ["reason": "handshake"]) == 1)
    }
  }

  @Test func whatCannotStartSaysWhy() async throws {
    func error(_ change: (inout RPCServerSettings) -> Void) async -> RPCServerError? {
      var settings = RPCServerSettings()
      settings.loops = 1
      change(&settings)
      let server = RPCServer(settings: settings, services: [], registry: Registry(), logger: Logger(label: "test"))
      do {
        _ = try await server.start()
        await server.stop(graceMilliseconds: 0)
        return nil
      } catch {
        return error as? RPCServerError
      }
    }
    let streams = await error { $0.streamsMax = 0 }
    #expect(streams?.code == .setting && streams?.description.contains("streamsMax") == true)
    let host = await error { $0.host = "256.1.1.1" }
    #expect(host?.code == .listen && host?.description.contains("256.1.1.1") == true)
    let missing = await error { $0.tls = TLSServerSettings(certificateChainPath: "/nowhere/chain.pem", privateKeyPath: "/nowhere/key.pem") }
    #expect(missing?.code == .certificate && missing?.description.contains("certificateChainPath") == true)
    try await TestServer.with { server in
      let taken = await error { $0.port = server.port }
      #expect(taken?.code == .listen && taken?.description.contains("\(server.port)") == true)
    }
  }
}
