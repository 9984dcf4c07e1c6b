import Logging
import RPC
import Telemetry
import Testing

/// TLS with ALPN, certificates of clients, and what is wrong with files, said at start.
@Suite(.serialized) struct TLSTests {
  private final class Who: MethodHandler {
    override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {
      let subject = loop.peerCertificateSubject(call) ?? "nobody"
      Array(subject.utf8).withUnsafeBytes { _ = loop.reply(call, $0) }
    }
  }

  private final class Echo: MethodHandler {
    override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) { loop.reply(call, bytes) }
  }

  private static func server(_ tls: TLSServerSettings) -> RPCServer {
    var settings = RPCServerSettings()
    settings.loops = 1
    settings.tls = tls
    let service = RPCService(
      name: "test.TLS", methods: [RPCMethod("Who", .unary) { Who(loop: $0) }, RPCMethod("Echo", .unary) { Echo(loop: $0) }])
    return RPCServer(settings: settings, services: [service], registry: Registry(), logger: Logger(label: "test"))
  }

  private static func channel(_ port: Int, _ tls: TLSClientSettings?) throws -> RPCChannel {
    var settings = RPCChannelSettings()
    settings.tls = tls
    return try RPCChannel(target: RPCTarget(host: "127.0.0.1", port: port), settings: settings)
  }

  private static let who = MethodPath(service: "test.TLS", method: "Who")
  private static let echo = MethodPath(service: "test.TLS", method: "Echo")

  @Test func callsOverTLS() async throws {
    let files = try TestCertificates()
    let server = Self.server(
      TLSServerSettings(certificateChainPath: files.path("server.pem"), privateKeyPath: files.path("server.key")))
    let port = try await server.start()
    let channel = try Self.channel(port, TLSClientSettings(certificateAuthorityPath: files.path("ca.pem"), serverName: "localhost"))
    #expect(try await channel.unary(Self.who, [1]).message == Array("nobody".utf8))
    let large = [UInt8](repeating: 9, count: 3 << 20)
    #expect(try await channel.unary(Self.echo, large).message == large)
    await channel.close()
    // Plain text, and a client that does not know the authority: no answer, and nobody else notices.
    for tls in [nil, TLSClientSettings(serverName: "localhost")] {
      let stranger = try Self.channel(port, tls)
      await #expect(throws: RPCStatus.self) { try await stranger.unary(Self.who, [1], CallOptions(timeoutMilliseconds: 300)) }
      await stranger.close()
    }
    await server.stop(graceMilliseconds: 0)
  }

  @Test func clientsShowTheirCertificates() async throws {
    let files = try TestCertificates()
    let server = Self.server(
      TLSServerSettings(
        certificateChainPath: files.path("server.pem"), privateKeyPath: files.path("server.key"),
        clientCertificateAuthorityPath: files.path("ca.pem")))
    let port = try await server.start()
    let known = try Self.channel(
      port,
      TLSClientSettings(
        certificateAuthorityPath: files.path("ca.pem"), certificateChainPath: files.path("client.pem"),
        privateKeyPath: files.path("client.key"), serverName: "localhost"))
    #expect(try await known.unary(Self.who, [1]).message == Array("CN=client one".utf8))
    await known.close()
    let unknown = try Self.channel(port, TLSClientSettings(certificateAuthorityPath: files.path("ca.pem"), serverName: "localhost"))
    await #expect(throws: RPCStatus.self) { try await unknown.unary(Self.who, [1], CallOptions(timeoutMilliseconds: 300)) }
    await unknown.close()
    await server.stop(graceMilliseconds: 0)
  }

  @Test func wrongFilesAreNamed() async throws {
    let files = try TestCertificates()
    func error(_ chain: String, _ key: String, _ authority: String? = nil) async -> RPCServerError? {
      await #expect(throws: RPCServerError.self) {
        _ = try await Self.server(
          TLSServerSettings(
            certificateChainPath: files.path(chain), privateKeyPath: files.path(key), clientCertificateAuthorityPath: authority.map(files.path))
        ).start()
      }
    }
    let chain = await error("broken.pem", "server.key")
    #expect(chain?.description.hasPrefix("certificateChainPath: ") == true)
    let key = await error("server.pem", "broken.pem")
    #expect(key?.description.hasPrefix("privateKeyPath: ") == true)
    let authority = await error("server.pem", "server.key", "none.pem")
    #expect(authority?.description.hasPrefix("clientCertificateAuthorityPath: ") == true)
    let other = await error("server.pem", "client.key")
    #expect(other?.code == .certificate)
  }
}
