import Foundation
import RPC
import Testing

/// Frames that cost us more than their sender are counted, and a connection that sends too many is cut off; others do not notice.
@Suite(.serialized) struct FloodTests {
  enum Flood: String, CaseIterable, Sendable {
    case resets, pings, settings, windowUpdates = "window-updates", emptyData = "empty-data", otherFrames = "other-frames"
  }

  @Test(arguments: Flood.allCases)
  func floodsAreCutOff(flood: Flood) async throws {
    try await TestServer.with({ settings in
      let few = FloodLimits.Allowance(burst: 100, perSecond: 1)
      settings.floods.resets = few
      settings.floods.pings = few
      settings.floods.settings = few
      settings.floods.windowUpdates = few
      settings.floods.emptyData = few
      settings.floods.others = few
    }) { server in
      let good = try RawClient(port: server.port)
      #expect(try good.call([], RawClient.message([1])).status == "0")
      let bad = try RawClient(port: server.port)
      let stream = try bad.open([(":path", "/test.Service/Stream")])
      var bytes: [UInt8] = []
      for _ in 0..<1000 {
        switch flood {
        case .resets:
          let stream = bad.takeStream()
          bytes += RawClient.headersFrame(stream, [(":path", "/test.Service/Wait")]) + RawClient.reset(stream)
        case .pings: bytes += RawClient.ping()
        case .settings: bytes += RawClient.frame(4)
        case .windowUpdates: bytes += RawClient.windowUpdate(0, 1)
        case .emptyData: bytes += RawClient.frame(0, stream: stream)
        case .otherFrames: bytes += RawClient.frame(2, stream: stream, [0, 0, 0, 0, 1])
        }
      }
      // The server may be gone before all of it is sent.
      try? bad.send(bytes)
      try bad.waitForClose()
      #expect(bad.goaways.last?.code == 11, "ENHANCE_YOUR_CALM, got \(bad.goaways)")
      #expect(server.metric("millrace_rpc_connections_cut_total", ["reason": flood.rawValue]) == 1)
      #expect(try good.call([], RawClient.message([1])).status == "0")
      try await server.eventually("the end of the call") { server.events.count("ended") >= 1 }
    }
  }

  @Test func continuationsWithoutEndAreCutOff() async throws {
    try await TestServer.with { server in
      let client = try RawClient(port: server.port)
      let block = RawClient.block(RawClient.headers([]))
      var bytes = RawClient.frame(1, stream: 1, block)
      for _ in 0..<5000 { bytes += RawClient.frame(9, stream: 1, RawClient.block([("x", "y")])) }
      try? client.send(bytes)
      try client.waitForClose()
      #expect(!client.goaways.isEmpty)
    }
  }

  @Test func whatCallsExplainIsNoFlood() async throws {
    try await TestServer.with({ settings in
      settings.floods.pings = .init(burst: 50, perSecond: 0)
      settings.floods.windowUpdates = .init(burst: 50, perSecond: 0)
      settings.floods.resets = .init(burst: 50, perSecond: 0)
    }) { server in
      let client = try RawClient(port: server.port)
      // A client that measures its bandwidth: a PING and window for every answer.
      for _ in 0..<300 {
        let answer = try client.call([], RawClient.message([1, 2, 3]))
        #expect(answer.status == "0")
        try client.roundTrip()
      }
      // Calls taken back after their answer are nobody's loss, and finished ones pay for some that were not.
      for _ in 0..<200 {
        let stream = try client.open([(":path", "/test.Service/Wait")])
        try client.send(RawClient.reset(stream))
        #expect(try client.call([], RawClient.message([1])).status == "0")
      }
      #expect(client.goaways.isEmpty)
    }
  }

  @Test func brokenFramesEndTheConnection() async throws {
    try await TestServer.with { server in
      let good = try RawClient(port: server.port)
      for (what, bytes) in [
        ("DATA on stream 0", RawClient.frame(0, stream: 0, [1])), ("an even stream", RawClient.headersFrame(2)),
        ("a frame too large", [0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]), ("SETTINGS of 5 bytes", RawClient.frame(4, [1, 2, 3, 4, 5])),
        ("headers that are none", RawClient.frame(1, flags: 4, stream: 1, [0x80, 0xff, 0xff])),
        ("a window beyond 2^31", RawClient.windowUpdate(0, 0x7fff_ffff)),
      ] {
        let client = try RawClient(port: server.port)
        try client.send(bytes)
        try client.waitForClose()
        #expect(client.goaways.last.map { $0.code != 0 } == true, "\(what): \(client.log)")
      }
      #expect(try good.call([], RawClient.message([1])).status == "0")
    }
  }

  @Test func http1IsToldWhatThisIs() async throws {
    try await TestServer.with { server in
      for request in ["GET / HTTP/1.1\r\nhost: x\r\n\r\n", "POST /x HTTP/1.1\r\n\r\n", "DELETE / HTTP/1.0\r\n\r\n"] {
        let client = try RawClient(port: server.port, handshake: false)
        try client.send(Array(request.utf8))
        let text = try client.readText()
        #expect(text.hasPrefix("HTTP/1.1 505") && text.contains("gRPC"), "\(text)")
      }
      // What is no HTTP at all is only closed.
      let other = try RawClient(port: server.port, handshake: false)
      try other.send([0x16, 3, 1, 0, 200, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
      _ = try other.readText()
    }
  }
}
