import NIOCore
import RPC
import Testing

/// What the client makes of answers, good and bad, of a server whose every byte the test decides.
@Suite struct ClientAnswerTests {
  private func ask(
    settings: RPCChannelSettings = RPCChannelSettings(), options: CallOptions = CallOptions(timeoutMilliseconds: 20_000),
    serverSettings: [UInt8] = ScriptedServer.settings(), _ script: @escaping @Sendable (UInt32, Int) -> [UInt8]
  ) async throws -> Result<UnaryResponse, RPCStatus> {
    let server = try await ScriptedServer(settings: serverSettings, script: script)
    let channel = try RPCChannel(target: RPCTarget(host: "127.0.0.1", port: server.port), settings: settings)
    let result: Result<UnaryResponse, RPCStatus>
    do { result = .success(try await channel.unary(MethodPath(service: "test.Echo", method: "Unary"), [1, 2, 3], options)) } catch {
      result = .failure(error)
    }
    await channel.close()
    await server.stop()
    return result
  }

  private static func ok(_ stream: UInt32, _ fields: [(String, String)] = []) -> [UInt8] {
    ScriptedServer.headers(stream, [(":status", "200"), ("content-type", "application/grpc")] + fields, ends: false)
  }
  private static func trailers(_ stream: UInt32, _ fields: [(String, String)] = [("grpc-status", "0")]) -> [UInt8] {
    ScriptedServer.headers(stream, fields, ends: true)
  }

  @Test func takesAnAnswerInPieces() async throws {
    let result = try await ask { stream, _ in
      Self.ok(stream, [("x-start", "a")]) + ScriptedServer.data(stream, [0, 0]) + ScriptedServer.data(stream, [0, 0, 2, 7])
        + ScriptedServer.data(stream, []) + ScriptedServer.data(stream, [8]) + Self.trailers(stream, [("grpc-status", "0"), ("x-end-bin", "AQI")])
    }
    let response = try result.get()
    #expect(response.message == [7, 8] && response.metadata["x-start"] == "a" && response.trailers.binary("x-end-bin") == [1, 2])
  }

  @Test func inflatesGzip() async throws {
    // gzip of "hello hello hello hello".
    let zipped: [UInt8] = [
      0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x57, 0xc8, 0x40, 0x27, 1, 0xe3, 0x51, 0x3d, 0x8d, 23, 0, 0, 0,
    ]
    let result = try await ask { stream, _ in
      Self.ok(stream, [("grpc-encoding", "gzip")]) + ScriptedServer.data(stream, ScriptedServer.message(zipped, flag: 1)) + Self.trailers(stream)
    }
    #expect(try result.get().message == Array("hello hello hello hello".utf8))
    // A checksum that is not the text's, and more than is allowed.
    var broken = zipped
    broken[20] ^= 1
    let untrue = try await ask { [broken] stream, _ in
      Self.ok(stream, [("grpc-encoding", "gzip")]) + ScriptedServer.data(stream, ScriptedServer.message(broken, flag: 1)) + Self.trailers(stream)
    }
    #expect(throws: RPCStatus(.internal, "the answer cannot be inflated")) { try untrue.get() }
    var narrow = RPCChannelSettings()
    narrow.messageBytesMax = 22
    let tooLong = try await ask(settings: narrow) { stream, _ in
      Self.ok(stream, [("grpc-encoding", "gzip")]) + ScriptedServer.data(stream, ScriptedServer.message(zipped, flag: 1)) + Self.trailers(stream)
    }
    #expect(code(tooLong) == .resourceExhausted)
    let bomb = try await ask { stream, _ in
      Self.ok(stream) + ScriptedServer.data(stream, ScriptedServer.message(zipped, flag: 1)) + Self.trailers(stream)
    }
    #expect(throws: RPCStatus(.internal, "the answer is marked as compressed, and no encoding is named")) { try bomb.get() }
  }

  private func code(_ result: Result<UnaryResponse, RPCStatus>) -> RPCCode {
    switch result {
    case .success: .ok
    case .failure(let status): status.code
    }
  }

  @Test(arguments: [
    ("404", RPCCode.unimplemented), ("503", .unavailable), ("401", .unauthenticated), ("403", .permissionDenied), ("500", .unknown),
    ("400", .internal), ("429", .unavailable),
  ]) func mapsHTTPStatus(status: String, expected: RPCCode) async throws {
    let result = try await ask { stream, _ in ScriptedServer.headers(stream, [(":status", status), ("content-type", "text/html")], ends: true) }
    #expect(code(result) == expected)
    let withBody = try await ask { stream, _ in
      ScriptedServer.headers(stream, [(":status", status)], ends: false) + ScriptedServer.data(stream, [60, 104, 49, 62], ends: true)
    }
    #expect(code(withBody) == expected)
  }

  @Test(arguments: [
    (UInt32(0x8), RPCCode.cancelled), (0xb, .resourceExhausted), (0xc, .permissionDenied), (0x2, .internal), (0x1, .internal), (0, .internal),
  ]) func mapsResets(error: UInt32, expected: RPCCode) async throws {
    let result = try await ask { stream, _ in ScriptedServer.reset(stream, error) }
    #expect(code(result) == expected)
  }

  @Test func refusesWhatIsNoAnswer() async throws {
    typealias Script = @Sendable (UInt32, Int) -> [UInt8]
    let cases: [(String, RPCCode, Script)] = [
      ("no message", .internal, { stream, _ in Self.ok(stream) + Self.trailers(stream) }),
      ("two messages", .internal, { stream, _ in
        Self.ok(stream) + ScriptedServer.data(stream, ScriptedServer.message([1]) + ScriptedServer.message([2])) + Self.trailers(stream)
      }),
      ("ends within a message", .internal, { stream, _ in
        Self.ok(stream) + ScriptedServer.data(stream, [0, 0, 0, 0, 9, 1]) + Self.trailers(stream)
      }),
      ("no status", .unknown, { stream, _ in Self.ok(stream) + ScriptedServer.data(stream, ScriptedServer.message([1]), ends: true) }),
      ("a status that is no code", .unknown, { stream, _ in Self.ok(stream) + Self.trailers(stream, [("grpc-status", "99")]) }),
      ("not gRPC", .unknown, { stream, _ in
        ScriptedServer.headers(stream, [(":status", "200"), ("content-type", "text/html")], ends: false)
      }),
      ("too long", .resourceExhausted, { stream, _ in Self.ok(stream) + ScriptedServer.data(stream, [0, 0x7F, 0, 0, 0]) }),
      ("an encoding that was not offered", .internal, { stream, _ in Self.ok(stream, [("grpc-encoding", "zstd")]) }),
    ]
    for (what, expected, script) in cases {
      let result = try await ask(script)
      #expect(code(result) == expected, "\(what): \(result)")
    }
    let error = try await ask { stream, _ in
      ScriptedServer.headers(
        stream, [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "5"), ("grpc-message", "no Z%C3%BCrich")], ends: true)
    }
    #expect(throws: RPCStatus(.notFound, "no Zürich")) { try error.get() }
  }

  @Test func asksAgainWhenNobodyLooked() async throws {
    // Refused twice, then answered: the caller sees one answer.
    let refused = try await ask { stream, before in before < 2 ? ScriptedServer.reset(stream, 7) : ScriptedServer.answer(stream, [9]) }
    #expect(try refused.get().message == [9])
    // Beyond GOAWAY: on the next connection.
    let gone = try await ask { stream, before in before == 0 ? ScriptedServer.goAway(last: 0) : ScriptedServer.answer(stream, [8]) }
    #expect(try gone.get().message == [8])
    // A reset that may have been looked at is not asked again without leave…
    let broken = try await ask { stream, before in before == 0 ? ScriptedServer.reset(stream, 2) : ScriptedServer.answer(stream, [7]) }
    #expect(code(broken) == .internal)
    // …and with it, it is.
    let options = CallOptions(timeoutMilliseconds: 20_000, retry: RetryPolicy(initialMilliseconds: 1, codes: [.internal]))
    let retried = try await ask(options: options) { stream, before in
      before < 2 ? ScriptedServer.reset(stream, 2) : ScriptedServer.answer(stream, [7])
    }
    #expect(try retried.get().message == [7])
    // Not for ever.
    let never = try await ask { stream, _ in ScriptedServer.reset(stream, 7) }
    #expect(code(never) == .unavailable)
  }

  @Test func waitsForRoom() async throws {
    // One stream at a time: ten calls at once all get their answers.
    let server = try await ScriptedServer(settings: ScriptedServer.settings(streamsMax: 1)) { stream, before in
      ScriptedServer.answer(stream, [UInt8(before)])
    }
    let channel = try RPCChannel(target: RPCTarget(host: "127.0.0.1", port: server.port))
    let answers = try await withThrowingTaskGroup(of: [UInt8].self) { group in
      for _ in 0..<10 {
        group.addTask { try await channel.unary(MethodPath(service: "a.B", method: "C"), [1], CallOptions(timeoutMilliseconds: 20_000)).message }
      }
      return try await group.reduce(into: Set<UInt8>()) { $0.formUnion($1) }
    }
    #expect(answers.count == 10)
    await channel.close()
    await server.stop()
  }

  @Test func saysWhyThereIsNoConnection() async throws {
    // A port that nobody listens at: take one and let it go.
    let server = try await ScriptedServer { _, _ in [] }
    let port = server.port
    await server.stop()
    let channel = try RPCChannel(target: RPCTarget(host: "127.0.0.1", port: port))
    let method = MethodPath(service: "a.B", method: "C")
    let refused = await #expect(throws: RPCStatus.self) { try await channel.unary(method, []) }
    #expect(refused?.code == .unavailable && refused?.message.contains("nothing listens there") == true, "\(String(describing: refused))")
    let waited = await #expect(throws: RPCStatus.self) {
      try await channel.unary(method, [], CallOptions(timeoutMilliseconds: 50, waitsForReady: true))
    }
    #expect(waited?.code == .deadlineExceeded)
    await channel.close()
    let closed = await #expect(throws: RPCStatus.self) { try await channel.unary(method, []) }
    #expect(closed?.code == .unavailable)
    // Somebody who speaks HTTP/1.
    let old = try await ScriptedServer(settings: Array("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".utf8)) { _, _ in [] }
    let puzzled = try RPCChannel(target: RPCTarget(host: "127.0.0.1", port: old.port))
    let answer = await #expect(throws: RPCStatus.self) { try await puzzled.unary(method, []) }
    #expect(answer?.code == .unavailable && answer?.message.contains("HTTP/2") == true, "\(String(describing: answer))")
    await puzzled.close()
    await old.stop()
  }
}
