import Foundation
import RPC
import Testing

/// Windows in both directions: a slow reader bounds our memory, a paused call bounds what it is sent, and nobody's bytes are lost to a
/// connection's window.
@Suite(.serialized) struct FlowTests {
  private static let path = (":path", "/test.Service/Stream")

  @Test func bytesOfDeadCallsGoBackToTheConnection() async throws {
    try await TestServer.with({ $0.connectionWindowBytes = 100_000; $0.streamWindowBytes = 65_535; $0.streamsMax = 4 }) { server in
      let client = try RawClient(port: server.port)
      try client.roundTrip()
      let block = [UInt8](repeating: 1, count: 10_000)
      var sent = 0
      func settle() throws {
        try client.roundTrip()
        let owed = sent - (client.windows[0, default: 0] - 34_465)
        #expect(owed <= 50_000, "\(owed) of \(sent) bytes were not given back")
      }
      for round in 0..<10 {
        // Of a call that was answered with an error at once, of one that was reset, of one that was refused.
        let wrong = try client.open([(":path", "/none/None")])
        try client.sendData(wrong, block, endStream: true)
        let reset = try client.open([Self.path])
        try client.send(RawClient.reset(reset))
        try client.sendData(reset, block)
        sent += 20_000
        if round == 5 {
          let held = try (0..<4).map { _ in try client.open([(":path", "/test.Service/Wait")]) }
          for _ in 0..<5 {
            let refused = try client.open()
            try client.sendData(refused, block, endStream: true)
            sent += 10_000
            try settle()
          }
          for stream in held { try client.send(RawClient.reset(stream)) }
        }
        try settle()
      }
      #expect(try client.call([], RawClient.message(block)).messages == [block])
    }
  }

  @Test func aPausedCallIsNotSentMoreThanItsWindow() async throws {
    try await TestServer.with({ $0.streamWindowBytes = 65_535; $0.connectionWindowBytes = 1 << 20 }) { server in
      let client = try RawClient(port: server.port)
      let stream = try client.open([Self.path])
      try client.sendData(stream, RawClient.message(Array("pause".utf8)))
      try await server.eventually("the pause") { server.events.count("paused") == 1 }
      let before = client.windows[stream, default: 0]
      let block = [UInt8](repeating: 1, count: 995)
      for _ in 0..<60 { try client.sendData(stream, RawClient.message(block)) }
      try client.roundTrip()
      #expect(client.windows[stream, default: 0] == before, "no window while nothing is read")
      #expect(server.events.count("message 995") == 0)
      // Other calls of the connection go on.
      #expect(try client.call([], RawClient.message([1])).status == "0")
      let (loop, call) = try #require(server.events.waitingCalls.first)
      loop.execute { loop.resumeReading(call) }
      try client.read(until: "the echoes") { $0.answers[stream]?.messages.count == 60 }
      try client.read(until: "window") { $0.windows[stream, default: 0] > before + 30_000 }
      // Paused while the client ends: the end waits as well.
      try client.sendData(stream, RawClient.message(Array("pause".utf8)) + RawClient.message([4]), endStream: true)
      try await server.eventually("the pause") { server.events.count("paused") == 2 }
      try client.roundTrip()
      #expect(server.events.count("half closed") == 0 && server.events.count("message 1") == 0)
      loop.execute { loop.resumeReading(call) }
      let answer = try client.answer(stream)
      #expect(answer.messages.last == [4] && answer.status == "0")
    }
  }

  @Test func aSlowReaderIsWaitedFor() async throws {
    try await TestServer.with({ $0.pendingLowMarkBytes = 10_000 }) { server in
      let client = try RawClient(port: server.port)
      client.givesWindow = false
      let stream = try client.open([Self.path])
      try client.sendData(stream, RawClient.message(Array("burst 300".utf8)))
      try client.read(until: "a window's worth") { ($0.answers[stream]?.data.count ?? 0) == 65_535 }
      try client.roundTrip()
      #expect(server.events.all.last == "pending true")
      // The call's window and the connection's.
      try client.send(RawClient.windowUpdate(stream, 200_000))
      try client.roundTrip()
      #expect(client.answers[stream]?.data.count == 65_535)
      try client.send(RawClient.windowUpdate(0, 200_000))
      try client.read(until: "more") { ($0.answers[stream]?.data.count ?? 0) == 265_535 }
      try client.roundTrip()
      #expect(server.events.count("writable") == 0)
      try client.send(RawClient.windowUpdate(0, 100_000) + RawClient.windowUpdate(stream, 100_000))
      try client.read(until: "the rest") { ($0.answers[stream]?.data.count ?? 0) == 300 * 1005 }
      try await server.eventually("writable") { server.events.count("writable") == 1 }
      #expect(client.answers[stream]?.messages.count == 300)
    }
  }

  @Test func aCallThatIsNeverReadFailsAtItsBound() async throws {
    try await TestServer.with({ $0.pendingBytesMax = 200_000 }) { server in
      let client = try RawClient(port: server.port)
      client.givesWindow = false
      let stream = try client.open([Self.path])
      try client.sendData(stream, RawClient.message(Array("burst 1000".utf8)))
      let answer = try client.answer(stream)
      #expect(answer.reset == 8 && answer.status == nil, "no trailers after a message that was cut off")
      #expect(server.events.count("ended") == 1)
    }
  }

  @Test func unfinishedMessagesOfOneConnectionAreBounded() async throws {
    try await TestServer.with({ $0.heldBytesMax = 300_000; $0.messageBytesMax = 1 << 20 }) { server in
      let client = try RawClient(port: server.port)
      let head = [UInt8](arrayLiteral: 0) + RawClient.bytes(1 << 20) + [UInt8](repeating: 0, count: 100_000)
      let streams = try (0..<4).map { _ in
        let stream = try client.open()
        try client.sendData(stream, head)
        return stream
      }
      #expect(try client.answer(streams[2]).status == "8")
      #expect(try client.answer(streams[3]).status == "8")
      try client.send(RawClient.reset(streams[0]) + RawClient.reset(streams[1]))
      #expect(try client.call([], RawClient.message(Array(repeating: 1, count: 140_000))).status == "0")
    }
  }

  @Test func aPeerThatTakesNothingIsClosed() async throws {
    try await TestServer.with({ $0.stallMilliseconds = 200 }) { server in
      let client = try RawClient(port: server.port)
      try client.send(RawClient.windowUpdate(0, 1 << 30))
      let stream = try client.open([Self.path])
      try client.send(RawClient.windowUpdate(stream, 1 << 30))
      // More than the kernel's buffers take.
      try client.sendData(stream, RawClient.message(Array("burst 100000".utf8)))
      try await server.eventually("the end") { server.metric("millrace_rpc_connections_cut_total", ["reason": "stall"]) == 1 }
      try await server.eventually("the connection's end") { server.metric("millrace_rpc_connections") == 0 }
      #expect(server.events.count("ended") == 1)
    }
  }
}
