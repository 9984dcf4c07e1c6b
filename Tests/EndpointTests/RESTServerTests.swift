import ChildProcesses
import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Logging
import NIOCore
import Operations
import RPC
import Telemetry
import Testing

@testable import Endpoint

@Suite struct RESTServerTests {
  private static let noPython: Comment =
    "no Python with tritonclient: `make test` makes one in .build/venv, or name one in MILLRACE_PYTHON"

  let registry = Registry()
  let readiness = ServedModels.Readiness()
  let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  private func control() throws -> ControlService {
    ControlService(
      catalog: ModelCatalog([try ServedModels.model(readiness: readiness, registry: registry)]), version: "1",
      isReady: { [readiness] in readiness.isReady }, levels: LogLevelSwitch(.info))
  }

  /// Runs `body` with a client of a server in this process, over a socket.
  private func withServer(
    access: ControlService.Access = .readOnly(controlListener: "127.0.0.1:8003"), _ configure: (inout RESTServer.Settings) -> Void = { _ in },
    _ body: @Sendable (any TestClientProtocol) async throws -> Void
  ) async throws {
    var settings = RESTServer.Settings(address: ListenAddress(host: "127.0.0.1", port: 0))
    configure(&settings)
    let responder = RESTResponder(
      service: RESTService(control: try control(), access: access, sink: nil), settings: settings,
      budget: BodyBudget(bytesMax: settings.bodiesBytesMax), registry: registry)
    try await Application(responder: responder, logger: logger).test(.live) { client in try await body(client) }
  }

  private func error(_ response: TestResponse) -> String {
    let read = try? JSONSerialization.jsonObject(with: Data(String(buffer: response.body).utf8)) as? [String: String]
    return read?["error"] ?? "no error: \(String(buffer: response.body))"
  }

  private static let inferPath = "/v2/models/clicks/infer"
  private static let request = #"{"id":"e1","inputs":[{"name":"city","datatype":"BYTES","shape":[2,1],"data":[["Oslo"],["Rome"]]}]}"#

  @Test(.enabled(if: ChildProcess.python != nil, noPython)) func tritonclientWorksUnmodified() async throws {
    let python = try #require(ChildProcess.python)
    let server = RESTServer(
      settings: RESTServer.Settings(address: ListenAddress(host: "127.0.0.1", port: 0)), control: try control(), access: .control,
      registry: registry, logger: logger)
    let port = try await server.start()
    do {
      let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Clients/rest.py").path
      #expect(try await ChildProcess.run(python, [script, "127.0.0.1:\(port)"]).contains("ok"))
    } catch {
      await server.stop()
      throw error
    }
    await server.stop()
  }

  @Test func aPersonAsksInJSON() async throws {
    try await withServer { client in
      let response = try await client.executeRequest(uri: Self.inferPath, method: .post, headers: [:], body: ByteBuffer(string: Self.request))
      #expect(response.status == .ok && response.headers[.contentType] == "application/json")
      let read = try JSONSerialization.jsonObject(with: Data(String(buffer: response.body).utf8)) as? [String: Any]
      let output = try #require((read?["outputs"] as? [[String: Any]])?.first)
      #expect(output["name"] as? String == "score" && output["shape"] as? [Int] == [2, 1] && output["data"] as? [Double] == [0.5, 0.5])
      #expect(read?["id"] as? String == "e1" && (read?["parameters"] as? [String: Any])?["position"] is String)
    }
    #expect(registry.text().contains("millrace_http_requests_total{status=\"200\"} 1"))
  }

  @Test func readinessIsAStatus() async throws {
    try await withServer { client in
      for path in ["/v2/health/live", "/v2/health/ready", "/v2/models/clicks/ready"] {
        let response = try await client.executeRequest(uri: path, method: .get, headers: [:], body: nil)
        #expect(response.status == .ok && response.body.readableBytes == 0)
      }
      readiness.isReady = false
      for (path, status) in [("/v2/health/live", HTTPResponse.Status.ok), ("/v2/health/ready", .serviceUnavailable), ("/v2/models/clicks/ready", .serviceUnavailable)] {
        #expect(try await client.executeRequest(uri: path, method: .get, headers: [:], body: nil).status == status)
      }
      let refused = try await client.executeRequest(uri: Self.inferPath, method: .post, headers: [:], body: ByteBuffer(string: Self.request))
      #expect(refused.status == .serviceUnavailable)
      #expect(try await client.executeRequest(uri: "/v2/models/none/ready", method: .get, headers: [:], body: nil).status == .notFound)
    }
  }

  @Test func whatHTTPRefusesHasItsStatus() async throws {
    try await withServer { $0.bodyBytesMax = 1000 } _: { client in
      func ask(_ method: HTTPRequest.Method, _ path: String, _ headers: HTTPFields = [:], _ body: String = "") async throws -> TestResponse {
        try await client.executeRequest(uri: path, method: method, headers: headers, body: body.isEmpty ? nil : ByteBuffer(string: body))
      }
      let large = try await ask(.post, Self.inferPath, [:], String(repeating: " ", count: 1001))
      #expect(large.status == .contentTooLarge && error(large).contains("1000"))
      let zipped = try await ask(.post, Self.inferPath, [.contentEncoding: "gzip"], Self.request)
      #expect(zipped.status == .unsupportedMediaType && error(zipped).contains("gzip"))
      let method = try await ask(.get, Self.inferPath)
      #expect(method.status == .methodNotAllowed && method.headers[.allow] == "POST")
      #expect(try await ask(.get, "/v3").status == .notFound)
      let head = try await ask(.head, "/v2")
      #expect(head.status == .ok && head.body.readableBytes == 0)
      let name = try #require(HTTPField.Name(RESTInferRequest.jsonBytesHeader))
      for length in ["-1", "x", "99999999999999999999", "1e3", "999"] {
        let response = try await ask(.post, Self.inferPath, [name: length], Self.request)
        #expect(response.status == .badRequest && error(response).contains("Inference-Header-Content-Length"), "\(length): \(error(response))")
      }
    }
  }

  @Test func wrongRequestsNameTheField() async throws {
    let wrong: [(String, HTTPResponse.Status, String)] = [
      ("{", .badRequest, "JSON"), ("{}", .badRequest, "inputs"), (#"{"inputs":[]}"#, .badRequest, "inputs"),
      (#"{"inputs":[{"name":"colour","datatype":"BYTES","shape":[1,1],"data":["red"]}]}"#, .badRequest, "colour"),
      (#"{"inputs":[{"name":"city","datatype":"BYTES","shape":[2,1],"data":["red"]}]}"#, .badRequest, "city"),
      (#"{"inputs":[{"name":"city","datatype":"BYTES","shape":[-1,1],"data":["red"]}]}"#, .badRequest, "city"),
      (#"{"inputs":[{"name":"city","datatype":"BYTES","shape":[9223372036854775807,9223372036854775807],"data":["red"]}]}"#, .badRequest, "city"),
      (#"{"inputs":[{"name":"price","datatype":"BYTES","shape":[1,1],"data":["red"]}]}"#, .badRequest, "price"),
      (#"{"inputs":[{"name":"price","datatype":"FP32","shape":[1,1],"data":[1e400]}]}"#, .badRequest, "price"),
      (#"{"parameters":{"max_staleness_ms":"x"},"inputs":[{"name":"price","datatype":"FP32","shape":[1,1],"data":[1]}]}"#, .badRequest, "max_staleness_ms"),
      (#"{"outputs":[{"name":"logit"}],"inputs":[{"name":"price","datatype":"FP32","shape":[1,1],"data":[1]}]}"#, .badRequest, "logit"),
    ]
    try await withServer { client in
      for (body, status, word) in wrong {
        let response = try await client.executeRequest(uri: Self.inferPath, method: .post, headers: [:], body: ByteBuffer(string: body))
        #expect(response.status == status && error(response).contains(word), "\(body): \(response.status) \(error(response))")
      }
      let version = try await client.executeRequest(
        uri: "/v2/models/clicks/versions/x/infer", method: .post, headers: [:], body: ByteBuffer(string: Self.request))
      #expect(version.status == .notFound)
    }
  }

  @Test func changesAreForTheControlListener() async throws {
    try await withServer { client in
      for path in ["/v2/repository/models/clicks/unload", "/v2/repository/models/clicks/load", "/v2/logging", "/v2/trace/setting"] {
        let response = try await client.executeRequest(uri: path, method: .post, headers: [:], body: nil)
        #expect(response.status == .forbidden && error(response).contains("127.0.0.1:8003"), "\(path): \(error(response))")
      }
      #expect(try await client.executeRequest(uri: "/v2/logging", method: .get, headers: [:], body: nil).status == .ok)
    }
  }

  @Test func bodiesTogetherAreBounded() async throws {
    let budget = BodyBudget(bytesMax: 100)
    #expect(budget.take(60) && !budget.take(60) && budget.take(40) && !budget.take(1))
    budget.give(60)
    #expect(budget.take(60) && budget.bytes == 100)
    try await withServer { $0.bodiesBytesMax = 50 } _: { client in
      let response = try await client.executeRequest(uri: Self.inferPath, method: .post, headers: [:], body: ByteBuffer(string: Self.request))
      #expect(response.status == .serviceUnavailable && error(response).contains("try again"))
      #expect(try await client.executeRequest(uri: "/v2", method: .get, headers: [:], body: nil).status == .ok)
    }
  }

  @Test func manyAtOnceAreAnsweredWithTheirOwnRows() async throws {
    try await withServer { client in
      try await withThrowingTaskGroup(of: Void.self) { group in
        for index in 0..<64 {
          group.addTask {
            let rows = index % 7 + 1
            let data = Array(repeating: "[\"Oslo\"]", count: rows).joined(separator: ",")
            let body = #"{"id":"e\#(index)","inputs":[{"name":"city","datatype":"BYTES","shape":[\#(rows),1],"data":[\#(data)]}]}"#
            let response = try await client.executeRequest(uri: Self.inferPath, method: .post, headers: [:], body: ByteBuffer(string: body))
            let text = String(buffer: response.body)
            #expect(text.contains("\"id\":\"e\(index)\"") && text.contains("\"shape\":[\(rows),1]"), "\(text)")
          }
        }
        try await group.waitForAll()
      }
    }
  }

  @Test func aPortThatIsTakenIsAnError() async throws {
    func server(_ port: Int) throws -> RESTServer {
      RESTServer(
        settings: RESTServer.Settings(address: ListenAddress(host: "127.0.0.1", port: port)), control: try control(), access: .control,
        registry: registry, logger: logger)
    }
    let first = try server(0)
    let port = try await first.start()
    await #expect(throws: HTTPListenError.self) { try await server(port).start() }
    await first.stop()
  }
}
