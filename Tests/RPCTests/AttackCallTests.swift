import Foundation
import RPC
import Synchronization
import Testing

/// What gRPC says about one call, right and wrong, over a connection made by hand; the connection goes on after each.
@Suite struct AttackCallTests {
  private static let unary = "/attack.Echo/Unary"

  struct Case: Sendable, CustomTestStringConvertible {
    let testDescription: String
    var path = AttackCallTests.unary
    /// In place of the usual fields of those names.
    var fields: [(String, String)] = []
    var without: String?
    /// The bodies of the DATA frames; the last ends the stream. None: the headers end it.
    var data: [[UInt8]] = [AttackWire.message([1, 2, 3])]
    /// False: the client keeps its side open.
    var ends = true
    /// What may come back.
    var http: String? = "200"
    var codes: Set<RPCCode> = [.ok]
    /// In the error's message.
    var says = ""
    var messages: [[UInt8]] = []
  }

  static let contentTypes: [Case] =
    ["application/grpc", "application/grpc+proto", "application/grpc+json", "application/grpc;charset=utf-8"].map {
      Case(testDescription: $0, fields: [("content-type", $0)], messages: [[1, 2, 3]])
    }
    + ["text/plain", "application/json", "application/grpc-web", "application/grpcx", "application/grp", ""].map {
      Case(testDescription: "content-type \"\($0)\"", fields: [("content-type", $0)], http: "415", codes: [.unknown, .internal, .invalidArgument])
    } + [
      Case(testDescription: "no content-type", without: "content-type", http: "415", codes: [.unknown, .internal, .invalidArgument]),
      Case(testDescription: "GET", fields: [(":method", "GET")], http: "405", codes: [.unknown, .internal, .unimplemented]),
      Case(testDescription: "PUT", fields: [(":method", "PUT")], http: "405", codes: [.unknown, .internal, .unimplemented]),
      Case(testDescription: "GET without a body", fields: [(":method", "GET")], data: [], http: "405", codes: [.unknown, .internal, .unimplemented]),
    ]

  static let paths: [Case] = [
    "/", "//", "/attack.Echo", "/attack.Echo/", "/attack.Echo/Nothing", "/attack.Echo/Unary/", "/attack.Echo/Unary?x=1", "/attack.echo/Unary",
    "/ttack.Echo/Unary", "/attack.Echo/unary", "/attack.Echo//Unary", "/\u{e9}/x", "/" + String(repeating: "a", count: 8_000) + "/b",
  ].map { Case(testDescription: "path \($0.prefix(40))", path: $0, codes: [.unimplemented]) }

  static let timeouts: [Case] =
    ["", "1", "S", "123456789S", "1x", "-1S", "+1S", "1 S", "1.5S", "1SS", "0x1S", "99999999999999999999S"].map {
      Case(testDescription: "timeout \"\($0)\"", fields: [("grpc-timeout", $0)], codes: [.internal, .invalidArgument], says: "grpc-timeout")
    }
    + ["99999999H", "99999999S", "60S", "1H", "10M", "60000m", "99999999u", "00000060S"].map {
      Case(testDescription: "timeout \($0)", fields: [("grpc-timeout", $0)], messages: [[1, 2, 3]])
    }
    + ["0S", "0n", "1n", "00000000H"].map {
      Case(testDescription: "timeout \($0)", path: "/attack.Echo/Hold", fields: [("grpc-timeout", $0)], codes: [.deadlineExceeded])
    }
    + ["20m", "20000u", "20000000n"].map {
      Case(testDescription: "held for \($0)", path: "/attack.Echo/Hold", fields: [("grpc-timeout", $0)], codes: [.deadlineExceeded])
    }
    + ["/attack.Echo/Sum", "/attack.Echo/Paused"].map {
      Case(testDescription: "\($0) for 20 ms", path: $0, fields: [("grpc-timeout", "20m")], data: [[0, 0]], ends: false, codes: [.deadlineExceeded])
    }

  static let lengths: [Case] = {
    let whole = AttackWire.message([1, 2, 3])
    let broken: Set<RPCCode> = [.internal]
    let number: Set<RPCCode> = [.internal, .unimplemented, .invalidArgument]
    return [
      Case(testDescription: "no message", data: [[]], codes: number),
      Case(testDescription: "no DATA", data: [], codes: number),
      Case(testDescription: "two messages", data: [whole + whole], codes: number),
      Case(testDescription: "two messages in two frames", data: [whole, whole], codes: number),
      Case(testDescription: "a message and one empty", data: [whole + AttackWire.message([])], codes: number),
      Case(testDescription: "an empty message", data: [AttackWire.message([])], messages: [[]]),
      Case(testDescription: "one byte of a prefix", data: [[0]], codes: broken),
      Case(testDescription: "four bytes of a prefix", data: [[0, 0, 0, 0]], codes: broken),
      Case(testDescription: "a prefix alone", data: [[0, 0, 0, 0, 1]], codes: broken),
      Case(testDescription: "a message cut off", data: [AttackWire.message([1, 2], length: 3)], codes: broken),
      Case(testDescription: "a byte after the message", data: [whole + [0]], codes: number),
      Case(testDescription: "a byte too many", data: [AttackWire.message([1, 2, 3], length: 2)], codes: number),
      Case(testDescription: "2^32 - 1 bytes", data: [AttackWire.message([], length: .max)], codes: [.resourceExhausted], says: "1048576"),
      Case(testDescription: "2^31 bytes", data: [AttackWire.message([], length: 1 << 31)], codes: [.resourceExhausted], says: "1048576"),
      Case(testDescription: "one byte too large", data: [AttackWire.message([], length: 1_048_577)], codes: [.resourceExhausted], says: "1048576"),
      Case(testDescription: "empty frames between", data: [[], Array(whole.prefix(2)), [], [], Array(whole.dropFirst(2)), []], messages: [[1, 2, 3]]),
      Case(
        testDescription: "as large as allowed", data: stride(from: 0, to: 1_048_581, by: 16_384).map { at in
          let whole = AttackWire.message([UInt8](repeating: 3, count: 1_048_576))
          return Array(whole[at..<min(at + 16_384, whole.count)])
        }, messages: [[UInt8](repeating: 3, count: 1_048_576)]),
    ] + whole.indices.map { cut in
      Case(testDescription: "cut at \(cut)", data: [Array(whole[..<cut]), Array(whole[cut...])], messages: [[1, 2, 3]])
    }
  }()

  static let compressions: [Case] = {
    let gzip = [("grpc-encoding", "gzip")]
    let text = Array("abcabcabcabcabcabc".utf8)
    let zipped = compressed(text)
    let internalOnly: Set<RPCCode> = [.internal]
    return [
      Case(testDescription: "gzip", fields: gzip, data: [AttackWire.message(zipped, compressed: 1)], messages: [text]),
      Case(testDescription: "gzip, not compressed", fields: gzip, data: [AttackWire.message(text)], messages: [text]),
      Case(testDescription: "identity", fields: [("grpc-encoding", "identity")], messages: [[1, 2, 3]]),
      Case(testDescription: "unknown encoding", fields: [("grpc-encoding", "snappy")], codes: [.unimplemented], says: "snappy"),
      Case(testDescription: "empty encoding", fields: [("grpc-encoding", "")], codes: [.unimplemented]),
      Case(testDescription: "compressed without encoding", data: [AttackWire.message(zipped, compressed: 1)], codes: internalOnly),
      Case(
        testDescription: "compressed as identity", fields: [("grpc-encoding", "identity")], data: [AttackWire.message(zipped, compressed: 1)],
        codes: internalOnly),
      Case(testDescription: "flag 2", data: [AttackWire.message(text, compressed: 2)], codes: internalOnly),
      Case(testDescription: "flag 255", fields: gzip, data: [AttackWire.message(zipped, compressed: 255)], codes: internalOnly),
      Case(testDescription: "no gzip", fields: gzip, data: [AttackWire.message(text, compressed: 1)], codes: internalOnly),
      Case(testDescription: "gzip of nothing", fields: gzip, data: [AttackWire.message([], compressed: 1)], codes: [.internal, .ok]),
      Case(testDescription: "gzip with more behind", fields: gzip, data: [AttackWire.message(zipped + [0], compressed: 1)], codes: internalOnly),
      Case(
        testDescription: "a bomb", fields: gzip, data: [AttackWire.message(compressed([UInt8](repeating: 0, count: 3 << 20)), compressed: 1)],
        codes: [.resourceExhausted], says: "1048576"),
    ] + zipped.indices.dropFirst().map { cut in
      Case(
        testDescription: "gzip cut at \(cut)", fields: gzip, data: [AttackWire.message(Array(zipped[..<cut]), compressed: 1)],
        codes: internalOnly)
    }
  }()

  private static func compressed(_ bytes: [UInt8]) -> [UInt8] {
    var queue = ByteQueue()
    defer { queue.deallocate() }
    let done = bytes.withUnsafeBytes { MessageDeflater(.gzip).deflate($0, into: &queue) }
    return done ? Array(queue.bytes) : []
  }

  @Test func everyRuleOfOneCall() async throws {
    try await AttackedServer.with({ $0.messageBytesMax = 1 << 20 }) { server in
      try await server.attack { server in
        let connection = try AttackConnection(port: server.port)
        connection.begin()
        var stream: UInt32 = 1
        for one in Self.contentTypes + Self.paths + Self.timeouts + Self.lengths + Self.compressions {
          try Self.check(one, connection, stream)
          stream += 2
        }
        #expect(connection.goAways.isEmpty)
      }
    }
  }

  private static func check(_ one: Case, _ connection: AttackConnection, _ stream: UInt32) throws {
    let replaced = Set(one.fields.map(\.0) + [one.without ?? ""])
    let usual = AttackWire.request(one.path).filter { !replaced.contains($0.0) }
    let pseudo = one.fields.filter { $0.0.hasPrefix(":") }
    connection.send(AttackWire.headers(stream, pseudo + usual + one.fields.filter { !$0.0.hasPrefix(":") }, end: one.data.isEmpty))
    var sent = 0
    for (index, bytes) in one.data.enumerated() {
      // The windows count for us too.
      try connection.read("window for \(one.testDescription)") {
        $0.answers[stream]?.isOver == true
          || (sent + bytes.count <= $0.streamWindow(stream) && $0.windowLeft >= bytes.count)
      }
      if connection.answers[stream]?.isOver == true { break }
      connection.sendData(stream, bytes, end: one.ends && index == one.data.count - 1)
      sent += bytes.count
    }
    let answer: AttackConnection.Answer
    do {
      answer = try connection.answer(stream)
    } catch {
      throw AttackConnection.Failure(description: "\(one.testDescription): \(error)")
    }
    let code = answer.status.flatMap { RPCCode(rawValue: UInt8(clamping: $0)) }
    #expect(answer[":status"] == one.http, "\(one.testDescription): \(answer)")
    if one.http == "200" || code != nil {
      #expect(code.map(one.codes.contains) == true, "\(one.testDescription): \(answer)")
    }
    if code == .ok {
      #expect(one.codes != [.ok] || answer.messages == one.messages, "\(one.testDescription)")
    } else {
      let message = answer["grpc-message"] ?? ""
      #expect(one.http != "200" || !message.isEmpty, "\(one.testDescription): an error without a message")
      #expect(one.says.isEmpty || message.contains(one.says), "\(one.testDescription): \(message)")
    }
    if code == .unimplemented, one.fields.contains(where: { $0.0 == "grpc-encoding" }) {
      #expect(answer["grpc-accept-encoding"]?.contains("gzip") == true, "\(one.testDescription): \(answer)")
    }
    connection.forget(stream)
  }

  /// All ways to cut the bytes of two messages in two frames, and one way to give each byte its own.
  @Test func streamedMessagesCutAnywhere() async throws {
    try await AttackedServer.with { server in
      try await server.attack { server in
        let connection = try AttackConnection(port: server.port)
        connection.begin()
        let messages: [[UInt8]] = [[1], [], [2, 3, 4], [UInt8](repeating: 9, count: 20)]
        let bytes = Array(messages.map { AttackWire.message($0) }.joined())
        var stream: UInt32 = 1
        for cut in 0...bytes.count {
          connection.send(
            AttackWire.headers(stream, AttackWire.request("/attack.Echo/Chat")) + AttackWire.data(stream, Array(bytes[..<cut]))
              + AttackWire.data(stream, Array(bytes[cut...]), end: true))
          try #require(try connection.answer(stream).messages == messages, "cut at \(cut)")
          stream += 2
        }
        connection.send(AttackWire.headers(stream, AttackWire.request("/attack.Echo/Chat")))
        for byte in bytes { connection.send(AttackWire.data(stream, [byte])) }
        connection.send(AttackWire.data(stream, [], end: true))
        try #require(try connection.answer(stream).messages == messages)
        // The answer to what is whole comes before the rest.
        stream += 2
        connection.send(AttackWire.headers(stream, AttackWire.request("/attack.Echo/Chat")))
        connection.send(AttackWire.data(stream, AttackWire.message([1]) + [0, 0]))
        try connection.read("the first answer") { ($0.answers[stream]?.data.count ?? 0) >= 6 }
        // A stream that ends within a message is an error, after the messages before it.
        connection.send(AttackWire.data(stream, [0], end: true))
        let answer = try connection.answer(stream)
        #expect(answer.messages == [[1]] && answer.status == 13, "\(answer)")
      }
    }
  }

  @Test func metadataComesBack() async throws {
    try await AttackedServer.with { server in
      try await server.attack { server in
        let connection = try AttackConnection(port: server.port)
        connection.begin()
        let cases: [(sent: [(String, String)], back: [(String, String)])] = [
          ([("a-bin", "AQI")], [("a-bin", "AQI")]), ([("a-bin", "AQI=")], [("a-bin", "AQI")]), ([("a-bin", "")], [("a-bin", "")]),
          ([("a-bin", "AQ,Ag==,Aw")], [("a-bin", "AQ"), ("a-bin", "Ag"), ("a-bin", "Aw")]), ([("b", "x"), ("b", "y, z")], [("b", "x"), ("b", "y, z")]),
        ]
        var stream: UInt32 = 1
        for (sent, back) in cases {
          connection.send(AttackWire.unary(stream, "/attack.Echo/Trailers", [], sent))
          let answer = try connection.answer(stream)
          #expect(answer.status == 0, "\(sent): \(answer)")
          for (name, value) in back { #expect(answer.trailers.contains { $0 == (name, value) }, "\(sent): \(answer.trailers)") }
          stream += 2
        }
        // What is no base64, and names that belong to gRPC, break nothing.
        for odd in [("a-bin", "!"), ("a-bin", "A"), ("a-bin", "===="), ("grpc-what", "x"), ("grpc-status", "5"), ("grpc-message", "%"), ("-bin", "AQ")] {
          connection.send(AttackWire.unary(stream, Self.unary, [7], [odd]))
          let answer = try connection.answer(stream)
          #expect(answer.status != nil && (answer.status != 0 || answer.messages == [[7]]), "\(odd): \(answer)")
          stream += 2
        }
      }
    }
  }

  @Test func errorsAreTrailersOnlyAndPercentEncoded() async throws {
    try await AttackedServer.with { server in
      try await server.attack { server in
        let connection = try AttackConnection(port: server.port)
        connection.begin()
        connection.send(AttackWire.unary(1, "/attack.Echo/Fail", Array("3 100 % caf\u{e9}\n\u{1f9ca}".utf8)))
        let answer = try connection.answer(1)
        #expect(answer.data.isEmpty && answer.trailers.isEmpty && answer.status == 3, "\(answer)")
        #expect(answer["grpc-message"] == "100 %25 caf%C3%A9%0A%F0%9F%A7%8A")
        #expect(answer["grpc-status-details-bin"] == "AAH/Aw")
        // A message of any length arrives, maybe cut, and breaks no bound of headers.
        connection.send(AttackWire.unary(3, "/attack.Echo/Fail", Array("9 ".utf8) + [UInt8](repeating: 0xff, count: 16_000)))
        let long = try connection.answer(3)
        #expect(long.status == 9 && (long["grpc-message"]?.utf8.count ?? 0) > 100 && (long["grpc-message"]?.utf8.count ?? 0) < 16_384)
      }
    }
  }

  @Test func cancelledInTheMiddle() async throws {
    try await AttackedServer.with { server in
      try await server.attack { server in
        let connection = try AttackConnection(port: server.port)
        connection.begin()
        let whole = AttackWire.headers(1, AttackWire.request("/attack.Echo/Hold")) + AttackWire.data(1, AttackWire.message([1, 2, 3]), end: true)
        // After each frame, and in the middle of the message.
        let header = AttackWire.headers(1, AttackWire.request("/attack.Echo/Hold")).count
        var stream: UInt32 = 1
        for length in [header, header + 9 + 2, header + 9 + 6, whole.count] {
          let body = AttackWire.message([1, 2, 3])
          let sent = length - header - 9
          var bytes = AttackWire.headers(stream, AttackWire.request("/attack.Echo/Hold"))
          if sent > 0 { bytes += AttackWire.data(stream, Array(body.prefix(sent)), end: sent >= body.count) }
          connection.send(bytes)
          connection.send(AttackWire.reset(stream))
          stream += 2
        }
        connection.send(AttackWire.unary(stream, Self.unary, [1]))
        try #require(try connection.answer(stream).messages == [[1]])
        try waitUntil("no call is held") { server.held.count.load(ordering: .relaxed) == 0 }
      }
    }
  }
}
