import Foundation
import Hummingbird
import HummingbirdTesting
import Logging
import NIOCore
import Telemetry
import Testing

@testable import Operations

@Suite struct AdminServerTests {
  struct Source: StatusSource {
    var snapshot = StatusSnapshot()
    func status() -> StatusSnapshot { snapshot }
  }

  let registry = Registry()
  let health = HealthRegistry()
  let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  private func server(_ snapshot: StatusSnapshot = StatusSnapshot(), port: Int = 0) -> AdminServer {
    AdminServer(
      address: ListenAddress(host: "127.0.0.1", port: port), registry: registry, health: health,
      status: Source(snapshot: snapshot), logger: logger)
  }

  private func get(
    _ path: String, _ snapshot: StatusSnapshot = StatusSnapshot(), method: HTTPRequest.Method = .get
  ) async throws -> TestResponse {
    try await Application(router: server(snapshot).router(), logger: logger).test(.router) { client in
      try await client.executeRequest(uri: path, method: method, headers: [:], body: nil)
    }
  }

  @Test func metricsAreTheRegistrysText() async throws {
    registry.counter("events_total", "Events.").add(3)
    let answer = try await get("/metrics")
    #expect(answer.status == .ok)
    #expect(answer.headers[.contentType] == "text/plain; version=0.0.4; charset=utf-8")
    #expect(String(buffer: answer.body) == registry.text())
  }

  @Test func healthIsOKWhileNotReady() async throws {
    _ = health.register("broker")
    #expect(try await get("/healthz").status == .ok)
  }

  @Test func readinessTellsEachComponentAndWhy() async throws {
    let broker = health.register("broker")
    let replica = health.register("replica flights")
    broker.ready()
    replica.notReady("12 records behind")
    let refused = try await get("/readyz")
    #expect(refused.status == .serviceUnavailable)
    let report = try JSONDecoder().decode(ReadinessReport.self, from: Data(String(buffer: refused.body).utf8))
    #expect(!report.ready)
    #expect(report.components.map(\.name) == ["broker", "replica flights"])
    #expect(report.components[1].detail == "12 records behind")
    replica.ready()
    #expect(try await get("/readyz").status == .ok)
  }

  @Test func statusIsTheSnapshotWithComponents() async throws {
    health.register("broker").ready()
    var snapshot = StatusSnapshot(version: "1.2.3", roles: ["broker"], kafka: "embedded", uptimeSeconds: 12)
    snapshot.models = [.init(name: "flights", version: 1, arm: "online", position: [3, 4], rows: 5, examples: 6, logLoss: 0.47)]
    let answer = try await get("/status", snapshot)
    #expect(answer.headers[.contentType] == "application/json")
    var decoded = try JSONDecoder().decode(StatusSnapshot.self, from: Data(String(buffer: answer.body).utf8))
    #expect(decoded.components == [ComponentHealth(name: "broker", ready: true, detail: "")])
    decoded.components = []
    #expect(decoded == snapshot)
  }

  @Test func aNumberThatIsNoneDoesNotBreakTheStatus() async throws {
    var snapshot = StatusSnapshot(uptimeSeconds: 1)
    snapshot.models = [.init(name: "m", version: 1, arm: "online", position: [], rows: 0, examples: 0, logLoss: .nan, auc: .infinity)]
    let answer = try await get("/status", snapshot)
    #expect(answer.status == .ok)
    #expect(try JSONSerialization.jsonObject(with: Data(String(buffer: answer.body).utf8)) is [String: Any])
  }

  @Test func thePageIsSelfContained() async throws {
    let answer = try await get("/")
    let html = String(buffer: answer.body)
    #expect(answer.headers[.contentType] == "text/html; charset=utf-8")
    #expect(html.hasPrefix("<!doctype html>"))
    for outside in ["src=", "@import", "url(", "<link", "https://", "//cdn"] { #expect(!html.contains(outside), "\(outside)") }
    // Everything from outside goes in as text.
    for unsafe in ["innerHTML", "insertAdjacentHTML", "document.write", "eval("] { #expect(!html.contains(unsafe), "\(unsafe)") }
    #expect(answer.headers[.contentSecurityPolicy]?.contains("default-src 'none'") == true)
  }

  @Test func headIsAnsweredAndOtherPathsAndMethodsAreNot() async throws {
    #expect(try await get("/healthz", method: .head).status == .ok)
    #expect(try await get("/nothing").status == .notFound)
    #expect(try await get("/healthz", method: .post).status != .ok)
  }

  @Test func itListensAnswersAndStops() async throws {
    let server = server()
    let port = try await server.start()
    let answer = try await request(port: port, "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n"))
    #expect(answer.hasSuffix("\r\n\r\nok\n"))
    // Garbage ends that connection and nothing else.
    _ = try await request(port: port, "\u{0}\u{1}garbage\r\n\r\n", reads: false)
    _ = try await request(port: port, "GET /" + String(repeating: "x", count: 200_000) + " HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", reads: false)
    #expect(try await request(port: port, "GET /healthz HTTP/1.0\r\nconnection: close\r\n\r\n").contains("200 OK"))
    await server.stop()
    await #expect(throws: (any Error).self) { try await request(port: port, "GET / HTTP/1.0\r\n\r\n") }
  }

  @Test func aPortInUseIsAnErrorThatSaysWhatToDo() async throws {
    let first = server()
    let port = try await first.start()
    let error = await #expect(throws: HTTPListenError.self) { try await server(port: port).start() }
    #expect(error?.description.contains("127.0.0.1:\(port)") == true)
    #expect(error?.description.contains("admin.listen") == true)
    await first.stop()
  }

  /// Sends `text` and reads until the server closes (unless not to read), on a thread that may block.
  private func request(port: Int, _ text: String, reads: Bool = true) async throws -> String {
    try await withCheckedThrowingContinuation { continuation in
      Thread.detachNewThread {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let connected = withUnsafePointer(to: &address) { pointer in
          pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
          }
        }
        guard connected == 0 else {
          continuation.resume(throwing: POSIXError(.ECONNREFUSED))
          return
        }
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let bytes = Array(text.utf8)
        _ = send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while reads {
          let count = recv(descriptor, &buffer, buffer.count, 0)
          if count <= 0 { break }
          answer.append(contentsOf: buffer[0..<count])
        }
        continuation.resume(returning: String(decoding: answer, as: UTF8.self))
      }
    }
  }
}
