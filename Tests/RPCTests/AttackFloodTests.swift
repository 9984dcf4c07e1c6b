import Foundation
import RPC
import Synchronization
import Testing

/// Clients that ask for much and give little: each is cut off or held within the server's limits, while a well-behaved client on the
/// same event loop goes on, and what the attacker held is given back.
@Suite struct AttackFloodTests {
  private static let calm: UInt32 = 11
  private static let unary = "/attack.Echo/Unary"
  private static let hold = "/attack.Echo/Hold"
  private static let big = "/attack.Echo/Big"

  // MARK: Frames that cost more than they weigh

  /// Sends pieces until the peer cuts the connection off; how many were sent.
  private static func flood(
    _ connection: AttackConnection, piecesMax: Int, reads: Bool = true, _ piece: (Int) -> [UInt8]
  ) throws -> Int {
    for index in 0..<piecesMax {
      guard connection.send(piece(index), seconds: 5) else { return index }
      if reads, index % 16 == 0 { try connection.readOnce(milliseconds: 0) }
      if connection.isClosed || connection.goAways.contains(where: { $0.code != 0 }) { return index }
    }
    return piecesMax
  }

  struct Flood: Sendable, CustomTestStringConvertible {
    let testDescription: String
    /// Frames of which the server may take so many.
    var framesMax = 20_000
    /// Cost no more than the bytes they are: they may go on, if nobody notices.
    var isHarmless = false
    var before: [UInt8] = []
    let piece: @Sendable (Int) -> [UInt8]
  }

  static let floods: [Flood] = [
    Flood(testDescription: "SETTINGS") { _ in AttackWire.settings([(id: 3, value: 100)]) },
    Flood(testDescription: "PING") { AttackWire.ping(UInt32($0)) },
    Flood(testDescription: "rapid reset") { index in
      let stream = UInt32(index * 2 + 1)
      return AttackWire.unary(stream, hold, []) + AttackWire.reset(stream)
    },
    Flood(testDescription: "rapid reset of unfinished calls") { index in
      let stream = UInt32(index * 2 + 1)
      return AttackWire.headers(stream, AttackWire.request(hold)) + AttackWire.reset(stream)
    },
    Flood(testDescription: "streams that make the server reset them") { index in
      let stream = UInt32(index * 2 + 1)
      return AttackWire.unary(stream, hold, []) + AttackWire.windowUpdate(stream, 0x7fff_ffff)
    },
    Flood(testDescription: "malformed requests") { index in
      AttackWire.headers(UInt32(index * 2 + 1), [(":method", "POST"), ("connection", "x")], end: true)
    },
    Flood(testDescription: "calls beyond the maximum") { AttackWire.unary(UInt32($0 * 2 + 1), hold, []) },
    Flood(
      testDescription: "empty DATA", before: AttackWire.headers(1, AttackWire.request("/attack.Echo/Sum"))
    ) { _ in AttackWire.data(1, []) },
    Flood(
      testDescription: "DATA of padding", isHarmless: true, before: AttackWire.headers(1, AttackWire.request("/attack.Echo/Sum"))
    ) { _ in AttackWire.frame(.data, flags: AttackWire.padded, stream: 1, [0]) },
    Flood(
      testDescription: "CONTINUATION without bytes", before: AttackWire.frame(.headers, stream: 1, AttackWire.block(AttackWire.request(unary)))
    ) { _ in AttackWire.frame(.continuation, stream: 1) },
    Flood(
      testDescription: "CONTINUATION with one header each",
      before: AttackWire.frame(.headers, stream: 1, AttackWire.block(AttackWire.request(unary)))
    ) { AttackWire.frame(.continuation, stream: 1, AttackWire.block([("x-\($0)", "y")])) },
    Flood(testDescription: "PRIORITY") { AttackWire.frame(.priority, stream: UInt32($0 * 2 + 1), AttackWire.bytes(0) + [1]) },
    Flood(testDescription: "unknown frames", isHarmless: true) { _ in AttackWire.frame(rawKind: 0x77, flags: 0, stream: 0, []) },
    Flood(
      testDescription: "WINDOW_UPDATE", before: AttackWire.unary(1, hold, [])
    ) { _ in AttackWire.windowUpdate(1, 1) },
    Flood(testDescription: "RST_STREAM of a closed stream", isHarmless: true, before: AttackWire.unary(1, hold, [])) { _ in AttackWire.reset(1) },
  ]

  @Test(arguments: floods) func floodsAreCutOff(flood: Flood) async throws {
    try await AttackedServer.with({ $0.streamsMax = 100 }) { server in
      try await server.attack { server in
        let connection = try AttackConnection(port: server.port)
        connection.begin()
        connection.send(flood.before)
        let sent = try Self.flood(connection, piecesMax: flood.framesMax * 4, flood.piece)
        if flood.isHarmless { return }
        #expect(sent < flood.framesMax * 4, "\(flood.testDescription): \(sent) pieces were sent")
        if !connection.isClosed, connection.goAways.isEmpty { try connection.readToEnd() }
        #expect(connection.isClosed || connection.goAways.contains { $0.code != 0 })
      }
    }
  }

  /// The answers to PING and SETTINGS pile up when nobody reads them.
  @Test(arguments: ["PING", "SETTINGS"]) func floodsWithoutReading(kind: String) async throws {
    try await AttackedServer.with { server in
      try await server.attack { server in
        let connection = try AttackConnection(port: server.port, receiveBufferBytes: 4096)
        connection.begin()
        let piece = kind == "PING" ? AttackWire.ping(1) : AttackWire.settings()
        let sent = try Self.flood(connection, piecesMax: 2_000_000, reads: false) { _ in piece }
        #expect(sent < 2_000_000)
        try connection.readToEnd()
      }
    }
  }

  // MARK: Headers

  @Test func hugeHeadersAreRefusedAndTheConnectionGoesOn() async throws {
    for fields in [
      [("x", String(repeating: "y", count: 30_000))], (0..<1_000).map { ("x-\($0)", "y") }, (0..<700).map { _ in ("a", "") },
    ] {
      try await AttackedServer.with { server in
        try await server.attack { server in
          let connection = try AttackConnection(port: server.port)
          connection.begin()
          let block = AttackWire.block(AttackWire.request(Self.unary, fields))
          connection.send(Self.split(block, stream: 1) + AttackWire.data(1, AttackWire.message([]), end: true))
          let answer = try? connection.answer(1)
          guard !connection.isClosed, connection.goAways.isEmpty else { return }
          #expect(answer?.status == 8 || answer?[":status"] == "431" || answer?.resetCode != nil, "\(answer as Any)")
          connection.send(AttackWire.unary(3, Self.unary, [1]))
          try #require(try connection.answer(3).messages == [[1]])
        }
      }
    }
  }

  /// One large header in the table, named by one byte again and again: a frame of 16 KiB stands for 64 MB of headers.
  @Test func aHeaderBlockThatInflates() async throws {
    try await AttackedServer.with { server in
      try await server.attack { server in
        let connection = try AttackConnection(port: server.port)
        connection.begin()
        let large: [UInt8] = [0x40, 1, UInt8(ascii: "x"), 0x7f, 0xa1, 0x1e] + [UInt8](repeating: UInt8(ascii: "y"), count: 4_000)
        let block = AttackWire.block(AttackWire.request(Self.unary)) + large
        connection.send(AttackWire.frame(.headers, flags: AttackWire.endHeaders | AttackWire.endStream, stream: 1, block))
        for stream in stride(from: UInt32(3), to: 200, by: 2) {
          let references = [UInt8](repeating: 0xbe, count: 16_000)
          let block = AttackWire.block(AttackWire.request(Self.unary)) + references
          guard connection.send(AttackWire.frame(.headers, flags: AttackWire.endHeaders | AttackWire.endStream, stream: stream, block)) else { break }
        }
        try connection.read("an answer to the last", until: { !$0.goAways.isEmpty || $0.answers[199]?.isOver == true })
        if let answer = connection.answers[199] { #expect(answer.status != 0) }
      }
    }
  }

  /// A block over as many frames as it needs.
  private static func split(_ block: [UInt8], stream: UInt32) -> [UInt8] {
    var frames: [UInt8] = []
    var at = 0
    while at < block.count {
      let end = min(at + 16_384, block.count)
      let flags = end == block.count ? AttackWire.endHeaders : 0
      frames += AttackWire.frame(at == 0 ? .headers : .continuation, flags: flags, stream: stream, Array(block[at..<end]))
      at = end
    }
    return frames
  }

  // MARK: Clients that stand still

  @Test func whoSaysNothingIsCutOff() async throws {
    let beginnings: [[UInt8]] = [[], Array(AttackWire.preface.prefix(10)), AttackWire.preface]
    try await AttackedServer.with({ $0.handshakeMilliseconds = 200 }) { server in
      try await server.attack { server in
        let connections = try beginnings.map { bytes in
          let connection = try AttackConnection(port: server.port)
          connection.send(bytes)
          return connection
        }
        for connection in connections { try connection.readToEnd() }
      }
    }
  }

  @Test func whoIsIdleIsToldToGo() async throws {
    try await AttackedServer.with({ $0.idleMilliseconds = 200 }) { server in
      try await server.attack { server in
        let connection = try AttackConnection(port: server.port)
        connection.begin()
        connection.send(AttackWire.unary(1, Self.unary, [1]))
        try #require(try connection.answer(1).messages == [[1]])
        try connection.read("the end") { $0.isClosed }
        #expect(connection.goAways.contains { $0.code == 0 })
      }
    }
  }

  /// A header block that never ends, byte by byte.
  @Test func slowHeadersAreCutOff() async throws {
    try await AttackedServer.with({ $0.handshakeMilliseconds = 200; $0.idleMilliseconds = 400 }) { server in
      try await server.attack { server in
        let connection = try AttackConnection(port: server.port)
        connection.begin()
        connection.send(AttackWire.frame(.headers, stream: 1, AttackWire.block(AttackWire.request(Self.unary))))
        var more = AttackWire.frame(.continuation, stream: 1, [UInt8](repeating: 0, count: 16_000))[...]
        try connection.read("the end", until: { connection in
          if let byte = more.popFirst() { connection.send([byte]) }
          usleep(5_000)
          return connection.goAways.contains { $0.code != 0 } || connection.isClosed
        })
      }
    }
  }

  /// Answers that nobody reads: what is held for them is bounded, and the connection is cut off when nothing moves.
  @Test func answersThatNobodyReads() async throws {
    try await AttackedServer.with({ $0.stallMilliseconds = 1_000; $0.heldBytesMax = 32 << 20 }) { server in
      try await server.attack { server in
        let connection = try AttackConnection(port: server.port, receiveBufferBytes: 4096)
        connection.begin([(id: 4, value: 0x7fff_ffff)])
        connection.send(AttackWire.windowUpdate(0, 0x7fff_0000))
        for call in 0..<300 {
          guard connection.send(AttackWire.unary(UInt32(call * 2 + 1), Self.big, Array("1000000".utf8))) else { break }
        }
        var most = 0
        try waitUntil("the connection is gone") {
          most = max(most, server.resources.bytes)
          return server.resources.connections <= 1
        }
        #expect(most < 64 << 20, "\(most) bytes were held")
      }
    }
  }

  /// Windows of 0 for ever: the answers wait, within the bound.
  @Test func windowsThatNeverOpen() async throws {
    try await AttackedServer.with({ $0.stallMilliseconds = 1_000; $0.heldBytesMax = 32 << 20 }) { server in
      try await server.attack { server in
        let connection = try AttackConnection(port: server.port)
        connection.begin([(id: 4, value: 0)])
        for call in 0..<300 { connection.send(AttackWire.unary(UInt32(call * 2 + 1), Self.big, Array("1000000".utf8))) }
        var most = 0
        try waitUntil("the connection is gone") {
          try connection.readOnce(milliseconds: 0)
          most = max(most, server.resources.bytes)
          return server.resources.connections <= 1
        }
        #expect(most < 64 << 20, "\(most) bytes were held")
      }
    }
  }

  /// Messages that claim to be large, begun on many streams and never finished.
  @Test func halfMessagesOnEveryStream() async throws {
    try await AttackedServer.with({ $0.heldBytesMax = 32 << 20 }) { server in
      try await server.attack { server in
        let connection = try AttackConnection(port: server.port)
        connection.begin()
        var most = 0
        let piece = [UInt8](repeating: 0, count: 16_384)
        streams: for call in 0..<200 {
          let stream = UInt32(call * 2 + 1)
          connection.send(AttackWire.headers(stream, AttackWire.request(Self.unary)))
          connection.sendData(stream, AttackWire.message([], length: 60 << 20))
          for number in 0..<60 {
            // The server takes no more, or refuses: both are a bound.
            let deadline = Date(timeIntervalSinceNow: 0.5)
            while connection.windowLeft < piece.count || connection.streamWindow(stream) < (number + 1) * piece.count + 5 {
              if connection.answers[stream]?.isOver == true { continue streams }
              if Date() > deadline || connection.isClosed { break streams }
              try connection.readOnce(milliseconds: 20)
            }
            guard connection.sendData(stream, piece) else { break streams }
            most = max(most, server.resources.bytes)
          }
        }
        #expect(most < 64 << 20, "\(most) bytes were held")
      }
    }
  }

  // MARK: Many connections

  @Test func connectionsBeyondTheMaximumAreClosed() async throws {
    try await AttackedServer.with({ $0.connectionsMax = 100 }) { server in
      try await server.attack { server in
        var connections: [AttackConnection] = []
        for _ in 0..<150 { connections.append(try AttackConnection(port: server.port)) }
        connections.forEach { $0.begin() }
        try waitUntil("51 are closed") {
          for connection in connections where !connection.isClosed { try connection.readOnce(milliseconds: 0) }
          return connections.filter(\.isClosed).count == 51
        }
        for connection in connections where !connection.isClosed {
          connection.send(AttackWire.unary(1, Self.unary, [1]))
          try #require(try connection.answer(1).messages == [[1]])
        }
        // Places that became free are given out again.
        connections.removeAll()
        try waitUntil("they are gone") { server.resources.connections <= 1 }
        let again = try AttackConnection(port: server.port)
        again.begin()
        again.send(AttackWire.unary(1, Self.unary, [2]))
        try #require(try again.answer(1).messages == [[2]])
      }
    }
  }

  @Test func connectionsThatAreLostWithCallsOnThem() async throws {
    try await AttackedServer.with { server in
      try await server.attack { server in
        for round in 0..<40 {
          let connection = try AttackConnection(port: server.port)
          connection.begin()
          for call in 0..<50 { connection.send(AttackWire.unary(UInt32(call * 2 + 1), Self.hold, [])) }
          let wanted = (round + 1) * 50
          try waitUntil("the calls are there") { server.held.seen.load(ordering: .relaxed) >= wanted }
        }
      }
      #expect(server.held.seen.load(ordering: .relaxed) == 40 * 50)
    }
  }

  /// Every stream is reset when its answer is on the way.
  @Test func callsThatAreResetInTheMiddleOfTheirAnswers() async throws {
    try await AttackedServer.with { server in
      try await server.attack { server in
        let connection = try AttackConnection(port: server.port)
        connection.begin()
        for call in 0..<500 {
          let stream = UInt32(call * 2 + 1)
          connection.send(AttackWire.headers(stream, AttackWire.request("/attack.Echo/Count")))
          connection.send(AttackWire.data(stream, AttackWire.message(Array("1000000 1000".utf8)), end: true))
          try connection.read("some of the answer") { ($0.answers[stream]?.data.count ?? 0) > 0 }
          connection.send(AttackWire.reset(stream))
          connection.forget(stream)
        }
        connection.send(AttackWire.unary(1_001, Self.unary, [1]))
        try #require(try connection.answer(1_001).messages == [[1]])
      }
    }
  }
}
