internal import Foundation
internal import Hummingbird
public import Logging
internal import NIOCore
public import Telemetry

/// The HTTP server for operators: metrics, health and a status page. Read-only. It runs on the shared
/// event loops and takes no part in any data path.
///
/// | path | answer |
/// |---|---|
/// | `/metrics` | Prometheus text 0.0.4 |
/// | `/healthz` | 200 while the process answers at all |
/// | `/readyz` | 200 when every component is ready, else 503; JSON with each component's reason |
/// | `/status` | JSON of `StatusSnapshot` |
/// | `/` | a page for a person, fed by `/status` |
public final class AdminServer: Sendable {
  private let address: ListenAddress
  private let registry: Registry
  private let health: HealthRegistry
  private let source: any StatusSource
  private let logger: Logger
  private let listener: HTTPListener

  public init(
    address: ListenAddress, registry: Registry, health: HealthRegistry, status: any StatusSource, logger: Logger
  ) {
    self.address = address
    self.registry = registry
    self.health = health
    source = status
    self.logger = logger
    listener = HTTPListener(address: address, purpose: "the admin page", key: "admin.listen", logger: logger)
  }

  /// Starts listening and returns the port.
  public func start() async throws(HTTPListenError) -> Int {
    let port = try await listener.start { onRunning, logger in
      Application(
        router: router(), server: .http1(configuration: .init(idleTimeout: .seconds(60))),
        configuration: ApplicationConfiguration(address: .hostname(address.host, port: address.port), serverName: "millrace"),
        onServerRunning: onRunning, logger: logger)
    }
    logger.info("admin page and metrics at http://\(ListenAddress(host: address.host, port: port))/")
    if !address.isLoopback {
      logger.warning("the admin server is open to other machines and asks for no password", metadata: ["listen": "\(address)"])
    }
    return port
  }

  /// Stops listening; returns when open requests have been answered.
  public func stop() async { await listener.stop() }

  // MARK: Routes

  func router() -> Router<BasicRequestContext> {
    let router = Router(options: [.autoGenerateHeadEndpoints])
    router.get("/metrics") { [registry] _, _ in
      Self.response(registry.text(), type: "text/plain; version=0.0.4; charset=utf-8")
    }
    router.get("/healthz") { _, _ in
      Self.response("ok\n", type: "text/plain; charset=utf-8")
    }
    router.get("/readyz") { [health] _, _ in
      let components = health.components()
      let report = ReadinessReport(ready: components.allSatisfy(\.ready), components: components)
      return try Self.json(report, status: report.ready ? .ok : .serviceUnavailable)
    }
    router.get("/status") { [health, source] _, _ in
      var status = source.status()
      status.components = health.components()
      return try Self.json(status, status: .ok)
    }
    router.get("/") { _, _ in
      Self.response(StatusPage.html, type: "text/html; charset=utf-8")
    }
    return router
  }

  private static func json(_ value: some Encodable, status: HTTPResponse.Status) throws -> Response {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    // A loss over no examples is not a number, and a page must show the rest all the same.
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: "+Inf", negativeInfinity: "-Inf", nan: "NaN")
    let text = String(decoding: try encoder.encode(value), as: UTF8.self) + "\n"
    return response(text, type: "application/json", status: status)
  }

  private static func response(_ text: String, type: String, status: HTTPResponse.Status = .ok) -> Response {
    var response = Response(status: status, body: .init(byteBuffer: ByteBuffer(string: text)))
    response.headers[.contentType] = type
    response.headers[.cacheControl] = "no-store"
    response.headers[.xContentTypeOptions] = "nosniff"
    response.headers[.contentSecurityPolicy] =
      "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'"
    return response
  }
}

struct ReadinessReport: Codable {
  var ready: Bool
  var components: [ComponentHealth]
}
