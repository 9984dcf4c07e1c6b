import Foundation
import RPC
import Testing

/// What a gRPC server must do by its specification, asked by hand-made frames.
@Suite(.serialized) struct ServerRulesTests {
  private static func zeros(_ count: Int) -> [UInt8] { [UInt8](repeating: 0, count: count) }

  @Test func messagesMayBeSplitAndMergedAtAnyByte() async throws {
    try await TestServer.with { server in
      let client = try RawClient(port: server.port)
      let body = (0..<300).map { UInt8($0 & 255) }
      for size in [1, 2, 5, 6, 7, 299, 16_384] {
        let answer = try client.call([], RawClient.message(body), size: size)
        #expect(answer.messages == [body] && answer.status == "0" && answer.header(":status") == "200", "frames of \(size)")
        #expect(answer.header("content-type") == "application/grpc")
      }
      // The end in a frame of its own, and padding.
      let stream = try client.open()
      try client.sendData(stream, RawClient.message(body))
      try client.sendData(stream, [], endStream: true)
      #expect(try client.answer(stream).messages == [body])
      let padded = try client.open()
      try client.send(RawClient.frame(0, flags: 1 | 8, stream: padded, [10] + RawClient.message(body) + Self.zeros(10)))
      #expect(try client.answer(padded).messages == [body])
      #expect(try client.call([], RawClient.message([])).messages == [[]])
      // Larger than a frame and than a window.
      let large = [UInt8](repeating: 1, count: 900_000) + [UInt8](repeating: 2, count: 900_001)
      #expect(try client.call([], RawClient.message(large)).messages == [large])
      // Many calls in one write.
      var bytes: [UInt8] = []
      var streams: [Int32] = []
      for _ in 0..<200 {
        let stream = client.takeStream()
        streams.append(stream)
        bytes += RawClient.headersFrame(stream) + RawClient.dataFrames(stream, RawClient.message(body), endStream: true)
      }
      try client.send(bytes)
      for stream in streams { #expect(try client.answer(stream).messages == [body]) }
      #expect(server.metric("millrace_rpc_calls_total", ["code": "OK", "method": "test.Service/Echo"]) == 211)
    }
  }

  @Test func aUnaryCallTakesOneMessage() async throws {
    try await TestServer.with { server in
      let client = try RawClient(port: server.port)
      let one = RawClient.message([1, 2, 3])
      for body in [[], one + one] {
        let answer = try client.call([], body)
        #expect(answer.status == "12" && answer.messages.isEmpty, "\(body.count) bytes")
      }
      for cut in [1, 4, 5, 7] {
        #expect(try client.call([], Array(one.prefix(cut))).status == "13", "\(cut) bytes of a message")
      }
      let noData = try client.open([], endStream: true)
      let answer = try client.answer(noData)
      #expect(answer.status == "12" && answer.trailers.isEmpty, "an error without messages is one block of headers")
      #expect(answer.trailer("grpc-message")?.contains("one message") == true)
    }
  }

  @Test func methodAndContentTypeAreLookedAt() async throws {
    try await TestServer.with { server in
      let client = try RawClient(port: server.port)
      let one = RawClient.message([1])
      for type in ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8", "application/grpc+json"] {
        #expect(try client.call([("content-type", type)], one).status == "0", "\(type)")
      }
      for type in ["application/json", "application/grpcx", "application/grp", "text/plain", ""] {
        let answer = try client.call([("content-type", type)], one)
        #expect(answer.header(":status") == "415" && answer.data.isEmpty, "\(type)")
      }
      for method in ["GET", "PUT", "POSTS", "post"] {
        let answer = try client.call([(":method", method)], one)
        #expect(answer.header(":status") == "405" && answer.header("allow") == "POST", "\(method)")
      }
    }
  }

  @Test func whatIsNotThereIsUnimplemented() async throws {
    try await TestServer.with { server in
      let client = try RawClient(port: server.port)
      for (path, words) in [
        ("/test.Service/Nope", "unknown method /test.Service/Nope"), ("/other.Service/Echo", "unknown service other.Service"),
        ("/", "/service/method"), ("/test.Service", "/service/method"), ("/test.Service/Echo/", "unknown method"),
        ("/test.service/Echo", "unknown service"), ("/test.Service/" + String(repeating: "x", count: 3000), "unknown method"),
      ] {
        let answer = try client.call([(":path", path)], RawClient.message([1]))
        #expect(answer.status == "12" && answer.header(":status") == "200", "\(path)")
        #expect(answer.trailer("grpc-message")?.contains(words) == true, "\(path): \(answer)")
      }
      // The connection's memory of the last path does not mislead it.
      #expect(try client.call([], RawClient.message([1])).status == "0")
      #expect(server.metric("millrace_rpc_calls_total", ["code": "UNIMPLEMENTED", "method": "unknown"]) == 7)
    }
  }

  @Test func compressedMessages() async throws {
    try await TestServer.with({ $0.messageBytesMax = 100_000 }) { server in
      let client = try RawClient(port: server.port)
      let body = (0..<5000).map { UInt8(truncatingIfNeeded: $0 / 7) }
      func packed(_ bytes: [UInt8], _ encoding: MessageEncoding) -> [UInt8] {
        var queue = ByteQueue()
        defer { queue.deallocate() }
        #expect(bytes.withUnsafeBytes { MessageDeflater(encoding).deflate($0, into: &queue) })
        return Array(queue.bytes)
      }
      for (name, encoding) in [("gzip", MessageEncoding.gzip), ("deflate", .deflate)] {
        let answer = try client.call([("grpc-encoding", name)], RawClient.message(packed(body, encoding), flag: 1))
        #expect(answer.messages == [body] && answer.status == "0", "\(name)")
        // A call that may compress need not.
        #expect(try client.call([("grpc-encoding", name)], RawClient.message(body)).messages == [body])
      }
      #expect(try client.call([("grpc-encoding", "identity")], RawClient.message(body)).messages == [body])
      let unknown = try client.call([("grpc-encoding", "snappy")], RawClient.message(body, flag: 1))
      #expect(unknown.status == "12" && unknown.trailer("grpc-accept-encoding") == "identity,gzip,deflate")
      #expect(try client.call([], RawClient.message(body, flag: 1)).status == "13", "a flag without an encoding")
      #expect(try client.call([("grpc-encoding", "identity")], RawClient.message(body, flag: 1)).status == "13")
      #expect(try client.call([("grpc-encoding", "gzip")], RawClient.message(packed(body, .gzip), flag: 2)).status == "13", "flag 2")
      #expect(try client.call([("grpc-encoding", "gzip")], RawClient.message(body, flag: 1)).status == "13", "not gzip")
      #expect(try client.call([("grpc-encoding", "gzip")], RawClient.message(Array(packed(body, .gzip).dropLast(9)), flag: 1)).status == "13")
      #expect(try client.call([("grpc-encoding", "gzip")], RawClient.message(packed(body, .gzip) + [0], flag: 1)).status == "13")
      let bomb = packed(Self.zeros(50_000_000), .gzip)
      #expect(bomb.count < 100_000 * 3)
      if bomb.count <= 100_000 {
        #expect(try client.call([("grpc-encoding", "gzip")], RawClient.message(bomb, flag: 1)).status == "8", "a bomb")
      }
      let slightly = packed(Self.zeros(100_001), .gzip)
      #expect(try client.call([("grpc-encoding", "gzip")], RawClient.message(slightly, flag: 1)).status == "8")
      #expect(try client.call([("grpc-encoding", "gzip")], RawClient.message(packed(Self.zeros(100_000), .gzip), flag: 1)).status == "0")
    }
  }

  @Test func sizesAreBounded() async throws {
    try await TestServer.with({ $0.messageBytesMax = 1000; $0.headerBytesMax = 2000 }) { server in
      let client = try RawClient(port: server.port)
      #expect(try client.call([], RawClient.message(Self.zeros(1000))).status == "0")
      // The length alone decides, before the bytes come; and the client is told to stop.
      for length in [1001, 1 << 20, UInt32.max] {
        let stream = try client.open()
        try client.sendData(stream, [0] + RawClient.bytes(UInt32(length)))
        let answer = try client.answer(stream)
        #expect(answer.status == "8" && answer.trailer("grpc-message")?.contains("1000 are allowed") == true, "\(length)")
        try client.read(until: "the reset") { $0.answers[stream]?.reset != nil }
        #expect(client.answers[stream]?.reset == 0)
      }
      #expect(try client.call([("x-long", String(repeating: "x", count: 1000))], RawClient.message([1])).status == "0")
      #expect(try client.call([("x-long", String(repeating: "x", count: 1900))], RawClient.message([1])).status == "8")
      #expect(try client.call((0..<60).map { ("x-\($0)", "y") }, RawClient.message([1])).status == "8", "many small ones")
      #expect(client.serverSettings[6] == 2000, "the limit is announced")
    }
  }

  @Test func deadlines() async throws {
    try await TestServer.with { server in
      let client = try RawClient(port: server.port)
      let wait = (":path", "/test.Service/Wait")
      let past = try client.call([wait, ("grpc-timeout", "0n")], RawClient.message([1]))
      #expect(past.status == "4" && server.events.all.isEmpty, "the handler does not hear of a call that is too late")
      let soon = try client.call([wait, ("grpc-timeout", "30m")], RawClient.message([1, 2]))
      #expect(soon.status == "4")
      #expect(server.events.all.filter { $0 != "flush" } == ["message 2", "ended"])
      // Many at once, in any order.
      let timeouts = [40, 10, 30, 20, 50, 15, 5, 45, 25, 35]
      let streams = try timeouts.map { timeout in
        let stream = try client.open([wait, ("grpc-timeout", "\(timeout)m")])
        try client.sendData(stream, RawClient.message([1]), endStream: true)
        return stream
      }
      for stream in streams { #expect(try client.answer(stream).status == "4") }
      for bad in ["", "1", "m", "1x", "123456789m", "-1m", "1 m", "1.5S"] where !bad.isEmpty {
        #expect(try client.call([("grpc-timeout", bad)], RawClient.message([1])).status == "13", "\(bad)")
      }
      for good in ["99999999H", "1H", "10S", "60000m", "60000000u", "99999999n"] {
        #expect(try client.call([("grpc-timeout", good)], RawClient.message([1])).status == "0", "\(good)")
      }
      // A call that streams its answer when the time comes.
      let stream = try client.open([(":path", "/test.Service/Stream"), ("grpc-timeout", "30m")])
      try client.sendData(stream, RawClient.message([1, 2, 3]))
      let answer = try client.answer(stream)
      #expect(answer.messages == [[1, 2, 3]] && answer.status == "4")
    }
  }

  @Test func aResetCallEndsItsWork() async throws {
    try await TestServer.with { server in
      let client = try RawClient(port: server.port)
      let stream = try client.open([(":path", "/test.Service/Wait")])
      try client.sendData(stream, RawClient.message([1]), endStream: true)
      try await server.eventually("the call") { server.events.waitingCalls.count == 1 }
      let (loop, call) = try #require(server.events.waitingCalls.first)
      try client.send(RawClient.reset(stream))
      try await server.eventually("the end") { server.events.count("ended") == 1 }
      // A late answer does nothing.
      loop.execute {
        server.events.add("late \([UInt8(1)].withUnsafeBytes { loop.reply(call, $0) }) \(loop.isLive(call))")
        loop.finish(call, RPCStatus(.internal, "late"))
      }
      try await server.eventually("the late answer") { server.events.count("late false false") == 1 }
      // So does the loss of the connection.
      let other = try RawClient(port: server.port)
      let lost = try other.open([(":path", "/test.Service/Wait")])
      try other.sendData(lost, RawClient.message([1]), endStream: true)
      try await server.eventually("the call") { server.events.waitingCalls.count == 2 }
      shutdown(other.socket, Int32(SHUT_RDWR))
      try await server.eventually("the end") { server.events.count("ended") == 2 }
      // The place of a dead call is used again, by calls with other handles.
      #expect(try client.call([], RawClient.message([5])).messages == [[5]])
      #expect(server.metric("millrace_rpc_calls_total", ["code": "CANCELLED"]) == 2)
    }
  }

  @Test func callsBeyondTheLimitAreRefused() async throws {
    try await TestServer.with({ $0.streamsMax = 3 }) { server in
      let client = try RawClient(port: server.port)
      try client.roundTrip()
      #expect(client.serverSettings[3] == 3, "the limit is announced")
      let streams = try (0..<3).map { _ in try client.open([(":path", "/test.Service/Wait")]) }
      for _ in 0..<5 {
        let refused = try client.open()
        try client.sendData(refused, RawClient.message([1]), endStream: true)
        #expect(try client.answer(refused).reset == 7, "REFUSED_STREAM")
      }
      for stream in streams { try client.send(RawClient.reset(stream)) }
      #expect(try client.call([], RawClient.message([1])).status == "0", "and then there is room again")
      #expect(server.metric("millrace_rpc_streams_refused_total") == 5)
    }
  }

  @Test func errorsCarryMessagesDetailsAndMetadata() async throws {
    try await TestServer.with { server in
      let client = try RawClient(port: server.port)
      let text = "50 % of ünïcode\nand a line"
      let answer = try client.call([(":path", "/test.Service/Fail")], RawClient.message([3] + Array(text.utf8)))
      #expect(answer.status == "3" && answer.trailers.isEmpty)
      let message = try #require(answer.trailer("grpc-message"))
      #expect(message.utf8.allSatisfy { $0 >= 0x20 && $0 <= 0x7e } && message.hasPrefix("50 %25 of %C3%BC"))
      #expect(Array(message.utf8).withUnsafeBytes { PercentEncoding.decode($0) } == text)
      #expect(answer.trailer("grpc-status-details-bin") == "AQIDBA")
      #expect(answer.trailer("x-text") == "seen" && answer.trailer("x-bytes-bin") == "AP8H")
      let long = try client.call([(":path", "/test.Service/Fail")], RawClient.message([5] + Array(repeating: 0xff, count: 100_000)))
      #expect(long.status == "5" && (long.trailer("grpc-message")?.utf8.count ?? .max) <= 2048, "a long message is cut off")
      for code in RPCCode.allCases {
        let answer = try client.call([(":path", "/test.Service/Fail")], RawClient.message([code.rawValue]))
        if code == .ok {
          #expect(answer.status == "13", "OK without a message")
        } else {
          #expect(answer.status == "\(code.rawValue)" && answer.trailer("grpc-message") == nil)
        }
      }
    }
  }

  @Test func asynchronousMethods() async throws {
    try await TestServer.with { server in
      let client = try RawClient(port: server.port)
      let path = (":path", "/test.Service/Async")
      let answer = try client.call([path, ("x-name", "me")], RawClient.message(Array("hello".utf8)))
      #expect(answer.messages == [Array("me hello".utf8)])
      let thrown = try client.call([path], RawClient.message(Array("throw".utf8)))
      #expect(thrown.status == "5" && thrown.trailer("grpc-message") == "nothing here")
      let stream = try client.open([path])
      try client.sendData(stream, RawClient.message(Array("sleep".utf8)), endStream: true)
      try await server.eventually("the task") { server.events.count("sleeping") == 1 }
      try client.send(RawClient.reset(stream))
      try await server.eventually("its cancellation") { server.events.count("cancelled") == 1 }
    }
  }

  @Test func streamsInBothDirections() async throws {
    try await TestServer.with { server in
      let client = try RawClient(port: server.port)
      let path = (":path", "/test.Service/Stream")
      let stream = try client.open([path, ("x-name", "n1")])
      let messages: [[UInt8]] = [[1], [], Self.zeros(40_000), [2, 3]]
      try client.sendData(stream, messages.flatMap { RawClient.message($0) }, size: 7000)
      try client.read(until: "the echoes") { $0.answers[stream]?.messages.count == 4 }
      #expect(client.answers[stream]?.messages == messages)
      try client.sendData(stream, [], endStream: true)
      #expect(try client.answer(stream).status == "0")
      #expect(server.events.all == ["opened n1", "message 1", "message 0", "message 40000", "message 2", "half closed"])
      // Headers before any message; an end by the server while the client is still sending.
      let early = try client.open([path])
      try client.sendData(early, RawClient.message(Array("headers".utf8)))
      try client.read(until: "the headers") { $0.answers[early]?.headers.isEmpty == false }
      try client.sendData(early, RawClient.message([9]) + RawClient.message(Array("finish".utf8)) + RawClient.message([8]))
      let answer = try client.answer(early)
      #expect(answer.messages == [[9]] && answer.status == "10" && answer.trailer("grpc-message") == "as asked")
      try client.read(until: "the reset") { $0.answers[early]?.reset == 0 }
      // No message at all, and an end within one.
      #expect(try client.call([path], []).status == "0")
      #expect(try client.call([path], [0, 0, 0]).status == "13")
    }
  }
}
