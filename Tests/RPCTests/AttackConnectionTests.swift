import RPC
import Testing

/// HTTP/2 by hand: what is right gets its answer, however oddly it is cut; what is wrong costs its stream or its connection, as RFC 9113
/// says, and never another client's. A well-behaved client beside each.
@Suite struct AttackConnectionTests {
  private static let unary = "/attack.Echo/Unary"
  private static let hold = "/attack.Echo/Hold"

  // MARK: Right, but odd

  @Test func prefaceAndCallByteByByte() async throws {
    try await connected { connection in
      for byte in AttackWire.preface + AttackWire.settings() + AttackWire.unary(1, Self.unary, [1, 2, 3]) { connection.send([byte]) }
      try #require(try connection.answer(1).messages == [[1, 2, 3]])
    }
  }

  @Test func everythingInOneSegment() async throws {
    try await connected { connection in
      let calls = (0..<100).map { AttackWire.unary(UInt32($0 * 2 + 1), Self.unary, [UInt8($0)]) }
      connection.send(AttackWire.preface + AttackWire.settings() + calls.joined())
      for call in 0..<100 { try #require(try connection.answer(UInt32(call * 2 + 1)).messages == [[UInt8(call)]]) }
    }
  }

  @Test func paddingEverywhere() async throws {
    try await begun { connection in
      let block = AttackWire.block(AttackWire.request(Self.unary))
      let priority: [UInt8] = AttackWire.bytes(0) + [15]
      connection.send(
        AttackWire.frame(
          .headers, flags: AttackWire.endHeaders | AttackWire.padded | AttackWire.prioritized, stream: 1,
          [200] + priority + block + [UInt8](repeating: 0, count: 200)))
      for byte in AttackWire.message([9, 8, 7]) {
        connection.send(AttackWire.frame(.data, flags: AttackWire.padded, stream: 1, [255, byte] + [UInt8](repeating: 0, count: 255)))
      }
      connection.send(AttackWire.frame(.data, flags: AttackWire.padded | AttackWire.endStream, stream: 1, [0]))
      try #require(try connection.answer(1).messages == [[9, 8, 7]])
    }
  }

  @Test func trailersFromTheClient() async throws {
    try await begun { connection in
      connection.send(
        AttackWire.headers(1, AttackWire.request(Self.unary)) + AttackWire.data(1, AttackWire.message([5]))
          + AttackWire.headers(1, [("late", "news")], end: true))
      try #require(try connection.answer(1).messages == [[5]])
    }
  }

  @Test func headersOverManyFrames() async throws {
    try await begun { connection in
      let block = AttackWire.block(AttackWire.request(Self.unary))
      let cuts = [0, 1, 40, 41, block.count]
      connection.send(AttackWire.frame(.headers, stream: 1))
      for (from, to) in zip(cuts, cuts.dropFirst()) {
        connection.send(
          AttackWire.frame(.continuation, flags: to == block.count ? AttackWire.endHeaders : 0, stream: 1, Array(block[from..<to])))
      }
      connection.send(AttackWire.data(1, AttackWire.message([1]), end: true))
      try #require(try connection.answer(1).messages == [[1]])
    }
  }

  @Test func prioritiesAndUnknownFramesAreIgnored() async throws {
    try await begun { connection in
      for stream in stride(from: UInt32(1), to: 200, by: 2) {
        connection.send(AttackWire.frame(.priority, stream: stream, AttackWire.bytes(stream == 1 ? 0 : 0x8000_0001) + [7]))
      }
      connection.send(AttackWire.frame(rawKind: 0x42, flags: 0xff, stream: 3, [1, 2, 3]))
      connection.send(AttackWire.frame(rawKind: 0x10, flags: 0, stream: 0, AttackWire.bytes(201) + Array("u=1".utf8)))
      connection.send(AttackWire.unary(201, Self.unary, [1]))
      try #require(try connection.answer(201).messages == [[1]])
    }
  }

  @Test func theClientsGOAWAYLetsCallsFinish() async throws {
    try await begun { connection in
      connection.send(AttackWire.unary(1, "/attack.Echo/Later", [1, 2]))
      connection.send(AttackWire.frame(.goAway, AttackWire.bytes(0) + AttackWire.bytes(0)))
      try #require(try connection.answer(1).messages == [[1, 2]])
    }
  }

  @Test func aClientThatShutsItsSideGetsItsAnswer() async throws {
    try await begun { connection in
      connection.send(AttackWire.unary(1, Self.unary, [3]))
      connection.shutDownWriting()
      try #require(try connection.answer(1).messages == [[3]])
      try connection.read("the end") { _ in false }
      #expect(connection.isClosed)
    }
  }

  @Test func answersWaitForWindowsAndComeWhole() async throws {
    try await connected { connection in
      connection.opensWindows = false
      connection.begin([(id: 4, value: 0)])
      connection.send(AttackWire.unary(1, "/attack.Echo/Big", Array("1000".utf8)))
      try connection.read("headers") { $0.answers[1]?.headers.isEmpty == false }
      for _ in 0..<1_005 { connection.send(AttackWire.windowUpdate(1, 1)) }
      try #require(try connection.answer(1).messages?.first?.count == 1_000)
    }
  }

  @Test func aTableOfNoBytesAndOneOfManyAreTaken() async throws {
    for size: UInt32 in [0, 1, 4096, .max] {
      try await connected { connection in
        connection.begin([(id: 1, value: size)])
        for stream: UInt32 in [1, 3, 5] {
          connection.send(AttackWire.unary(stream, Self.unary, [1]))
          try #require(try connection.answer(stream).messages == [[1]])
        }
      }
    }
  }

  // MARK: Wrong: costs the stream

  @Test func malformedRequestsAreReset() async throws {
    let good = AttackWire.request(Self.unary)
    let cases: [(String, [(String, String)])] = [
      ("upper case", good + [("Upper", "x")]),
      ("connection", good + [("connection", "close")]),
      ("te", good.filter { $0.0 != "te" } + [("te", "gzip")]),
      ("no method", good.filter { $0.0 != ":method" }),
      ("no path", good.filter { $0.0 != ":path" }),
      ("no scheme", good.filter { $0.0 != ":scheme" }),
      ("two methods", [(":method", "POST")] + good),
      ("unknown pseudo", [(":what", "x")] + good),
      ("late pseudo", good.filter { $0.0 != ":path" } + [(":path", Self.unary)]),
      ("response pseudo", [(":status", "200")] + good),
      ("a line in a value", good + [("x", "a\r\nb: c")]),
      ("a null in a value", good + [("x", "a\0b")]),
    ]
    for (name, fields) in cases {
      try await begun { connection in
        connection.send(AttackWire.headers(1, fields) + AttackWire.data(1, AttackWire.message([1]), end: true))
        let answer = try? connection.answer(1)
        #expect(answer?.resetCode == 1 || connection.goAways.last?.code == 1, "\(name): \(answer as Any) \(connection.goAways)")
        guard connection.goAways.isEmpty else { return }
        connection.send(AttackWire.unary(3, Self.unary, [2]))
        try #require(try connection.answer(3).messages == [[2]], "\(name)")
      }
    }
  }

  @Test func aLengthThatIsNotTheBodysIsReset() async throws {
    try await begun { connection in
      let fields = AttackWire.request(Self.unary, [("content-length", "9")])
      connection.send(AttackWire.headers(1, fields) + AttackWire.data(1, AttackWire.message([1]), end: true))
      try #require(try connection.answer(1).resetCode == 1)
    }
  }

  @Test func windowsThatOverflow() async throws {
    try await begun { connection in
      connection.send(AttackWire.unary(1, Self.hold, []))
      connection.send(AttackWire.windowUpdate(1, 0x7fff_ffff))
      try #require(try connection.answer(1).resetCode == 3)
      connection.send(AttackWire.windowUpdate(0, 0x7fff_ffff))
      try connection.readToEnd()
      #expect(connection.goAways.last?.code == 3)
    }
  }

  @Test func streamsBeyondTheMaximumAreRefused() async throws {
    try await begun(settings: { $0.streamsMax = 10 }) { connection in
      for call in 0..<15 { connection.send(AttackWire.unary(UInt32(call * 2 + 1), Self.hold, [])) }
      for call in 10..<15 { try #require(try connection.answer(UInt32(call * 2 + 1)).resetCode == 7) }
      #expect(connection.settings[3] == 10)
      for call in 0..<10 { connection.send(AttackWire.reset(UInt32(call * 2 + 1))) }
      connection.send(AttackWire.unary(31, Self.unary, [1]))
      try #require(try connection.answer(31).messages == [[1]])
    }
  }

  @Test func dataOfRefusedAndResetStreamsGivesItsWindowBack() async throws {
    try await begun(settings: { $0.streamsMax = 4 }) { connection in
      for call in 0..<4 { connection.send(AttackWire.unary(UInt32(call * 2 + 1), Self.hold, [])) }
      // Much more than one window, in pieces that no refused stream takes.
      let piece = [UInt8](repeating: 0, count: 16_384)
      for call in 4..<40 {
        let stream = UInt32(call * 2 + 1)
        connection.send(AttackWire.headers(stream, AttackWire.request(Self.unary)))
        for _ in 0..<16 {
          try connection.read("window") { $0.windowLeft >= piece.count }
          connection.sendData(stream, piece)
        }
        connection.send(AttackWire.reset(stream))
      }
      try connection.read("all of the window", until: { $0.windowLeft >= 65_535 })
      #expect(!connection.isClosed && connection.goAways.isEmpty)
    }
  }

  // MARK: Wrong: costs the connection

  static let fatal: [(String, [UInt8], codes: Set<UInt32>)] = [
    ("DATA on stream 0", AttackWire.data(0, [1]), [1]),
    ("DATA on an idle stream", AttackWire.data(5, [1]), [1, 5]),
    ("HEADERS on stream 0", AttackWire.headers(0, AttackWire.request("/x")), [1]),
    ("an even stream", AttackWire.headers(2, AttackWire.request("/x"), end: true), [1]),
    ("PUSH_PROMISE", AttackWire.frame(.pushPromise, flags: 4, stream: 1, AttackWire.bytes(2)), [1]),
    ("CONTINUATION alone", AttackWire.frame(.continuation, flags: 4, stream: 1), [1]),
    ("another frame within a header block", AttackWire.frame(.headers, stream: 1) + AttackWire.ping(1), [1]),
    ("RST_STREAM of an idle stream", AttackWire.reset(9), [1]),
    ("a short RST_STREAM", AttackWire.frame(.reset, stream: 1, [0, 0]), [1, 6]),
    ("SETTINGS of 5 bytes", AttackWire.frame(.settings, [0, 1, 0, 0, 0]), [6]),
    ("SETTINGS acknowledgement with bytes", AttackWire.frame(.settings, flags: 1, [0, 1, 0, 0, 0, 0]), [6]),
    ("SETTINGS on a stream", AttackWire.frame(.settings, stream: 1), [1]),
    ("ENABLE_PUSH of 2", AttackWire.settings([(id: 2, value: 2)]), [1]),
    ("a window of 2^31", AttackWire.settings([(id: 4, value: 0x8000_0000)]), [3]),
    ("frames of 100 bytes", AttackWire.settings([(id: 5, value: 100)]), [1]),
    ("PING of 7 bytes", AttackWire.frame(.ping, [0, 0, 0, 0, 0, 0, 0]), [6]),
    ("PING on a stream", AttackWire.frame(.ping, stream: 1, [0, 0, 0, 0, 0, 0, 0, 0]), [1]),
    ("WINDOW_UPDATE of 0", AttackWire.windowUpdate(0, 0), [1]),
    ("WINDOW_UPDATE of an idle stream", AttackWire.windowUpdate(7, 1), [1]),
    ("WINDOW_UPDATE of 3 bytes", AttackWire.frame(.windowUpdate, [0, 0, 1]), [6]),
    ("GOAWAY on a stream", AttackWire.frame(.goAway, stream: 1, AttackWire.bytes(0) + AttackWire.bytes(0)), [1]),
    ("a frame longer than allowed", AttackWire.frame(.data, stream: 1, [], length: 0xff_ffff), [6]),
    ("padding longer than the frame", AttackWire.frame(.headers, flags: 12, stream: 1, [9, 0x82]), [1]),
    ("a header block of garbage", AttackWire.frame(.headers, flags: 5, stream: 1, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), [9]),
    ("index 0", AttackWire.frame(.headers, flags: 5, stream: 1, [0x80]), [9]),
    ("a table size beyond SETTINGS", AttackWire.frame(.headers, flags: 5, stream: 1, [0x3f, 0xe1, 0xff, 0x03]), [9]),
    ("garbage", [UInt8]((0..<255).map { 0xff &- $0 }), []),
  ]

  @Test(arguments: fatal.indices) func whatBreaksTheProtocolEndsTheConnection(index: Int) async throws {
    let (name, bytes, codes) = Self.fatal[index]
    try await begun { connection in
      connection.send(bytes)
      try connection.read("the end of the connection after \(name)") { $0.isClosed }
      #expect(connection.isClosed, "\(name)")
      if !codes.isEmpty { #expect(connection.goAways.last.map { codes.contains($0.code) } == true, "\(name): \(connection.goAways)") }
    }
  }

  static let noPreface: [(String, String)] = [
    ("HTTP/1", "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"),
    ("HTTP/1 that would upgrade", "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n"),
    ("TLS", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}\u{3}"),
    ("almost", "PRI * HTTP/2.0\r\n\r\nSM\r\n\rX"),
    ("zeros", String(repeating: "\0", count: 100)),
  ]

  @Test(arguments: noPreface.indices) func whatIsNoPrefaceIsCutOff(index: Int) async throws {
    try await connected { connection in
      connection.parsesFrames = false
      connection.send(Array(Self.noPreface[index].1.utf8))
      try connection.read("the end after \(Self.noPreface[index].0)") { $0.isClosed }
      #expect(connection.isClosed)
    }
  }

  /// Closed streams are forgotten: what comes for one is passed over, and its bytes are given back to the connection's window.
  @Test func dataOnClosedStreams() async throws {
    try await begun { connection in
      connection.send(AttackWire.unary(1, Self.unary, [1]))
      try #require(try connection.answer(1).messages == [[1]])
      let piece = [UInt8](repeating: 0, count: 16_384)
      for _ in 0..<600 {
        try connection.read("window") { $0.windowLeft >= piece.count || !$0.goAways.isEmpty }
        guard connection.goAways.isEmpty, connection.sendData(1, piece) else { break }
      }
      guard !connection.isClosed, connection.goAways.isEmpty else { return #expect(connection.goAways.first?.code == 5) }
      connection.send(AttackWire.headers(1, AttackWire.request(Self.unary)) + AttackWire.windowUpdate(1, 1) + AttackWire.reset(1))
      connection.send(AttackWire.unary(3, Self.unary, [2]))
      try connection.read("an answer") { !$0.goAways.isEmpty || $0.answers[3]?.isOver == true }
      #expect(connection.goAways.isEmpty || connection.goAways.first?.code == 1 || connection.goAways.first?.code == 5)
    }
  }

  @Test func moreThanTheWindow() async throws {
    try await begun(settings: { $0.streamWindowBytes = 65_535; $0.connectionWindowBytes = 65_535 }) { connection in
      // A call whose reading is paused takes no more than its window.
      connection.send(AttackWire.headers(1, AttackWire.request("/attack.Echo/Paused")))
      for _ in 0..<5 { connection.send(AttackWire.data(1, [UInt8](repeating: 0, count: 16_384))) }
      try connection.read("FLOW_CONTROL_ERROR") { $0.goAways.last?.code == 3 || $0.answers[1]?.resetCode == 3 }
      #expect(connection.goAways.last?.code == 3 || connection.answers[1]?.resetCode == 3)
    }
  }

  // MARK: -

  private func connected(
    settings: @escaping @Sendable (inout AttackedServer.Settings) -> Void = { _ in },
    _ body: @escaping @Sendable (AttackConnection) throws -> Void
  ) async throws {
    try await AttackedServer.with(settings) { server in
      try await server.attack { server in
        let connection = try AttackConnection(port: server.port)
        try body(connection)
      }
    }
  }

  private func begun(
    settings: @escaping @Sendable (inout AttackedServer.Settings) -> Void = { _ in },
    _ body: @escaping @Sendable (AttackConnection) throws -> Void
  ) async throws {
    try await connected(settings: settings) { connection in
      connection.begin()
      try body(connection)
    }
  }
}
