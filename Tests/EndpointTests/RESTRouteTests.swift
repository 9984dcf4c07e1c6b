import RPC
import Testing

@testable import Endpoint

@Suite struct RESTRouteTests {
  @Test func pathsAndMethodsLeadToRoutes() throws {
    let routes: [(String, String, RESTRoute)] = [
      ("GET", "/v2", .serverMetadata), ("GET", "/v2/", .serverMetadata), ("HEAD", "/v2/health/live", .live), ("GET", "/v2/health/ready", .ready),
      ("GET", "/v2/models/m", .modelMetadata(name: "m", version: "")), ("GET", "/v2/models/m/versions/3", .modelMetadata(name: "m", version: "3")),
      ("GET", "/v2/models/m/ready", .modelReady(name: "m", version: "")),
      ("GET", "/v2/models/m/versions/3/config", .modelConfiguration(name: "m", version: "3")),
      ("GET", "/v2/models/m/stats", .statistics(name: "m", version: "")), ("GET", "/v2/models/stats", .statistics(name: "", version: "")),
      ("POST", "/v2/models/m/infer", .infer(name: "m", version: "")), ("POST", "/v2/models/a%20b%2Fc/infer", .infer(name: "a b/c", version: "")),
      ("POST", "/v2/repository/index", .repositoryIndex), ("POST", "/v2/repository/models/m/load", .load(model: "m")),
      ("POST", "/v2/repository/models/m/unload", .unload(model: "m")), ("GET", "/v2/logging", .logSettings), ("POST", "/v2/logging", .changeLogSettings),
      ("GET", "/v2/trace/setting", .traceSettings(model: "")), ("POST", "/v2/models/m/trace/setting", .changeTraceSettings(model: "m")),
      ("GET", "/v2/systemsharedmemory/status", .sharedMemory), ("POST", "/v2/cudasharedmemory/region/r/register", .sharedMemory),
    ]
    for (method, path, route) in routes { #expect(try RESTRoute(method: method, path: path) == route, "\(method) \(path)") }
  }

  private func problem(_ method: String, _ path: String) -> RESTProblem? {
    do {
      _ = try RESTRoute(method: method, path: path)
      return nil
    } catch {
      return error
    }
  }

  @Test func otherPathsAndMethodsAreRefused() {
    for path in ["/", "/v1/models/m", "/v2/models", "/v2/models/m/versions", "/v2/models/m/other", "/v2/models/m/infer/x", "/v2/health", "/v2/repository/models/m/delete"] {
      #expect(problem("GET", path)?.status == 404, "\(path)")
    }
    let wrong = problem("GET", "/v2/models/m/infer")
    #expect(wrong?.status == 405 && wrong?.allowed == ["POST"])
    let other = problem("DELETE", "/v2/models/m")
    #expect(other?.status == 405 && other?.allowed == ["GET", "HEAD"])
    #expect(problem("GET", "/v2/models/%zz")?.status == 400)
    #expect(problem("GET", "/" + String(repeating: "x", count: 10_000))?.message.utf8.count ?? .max < 300)
  }

  @Test func everyCodeHasAStatus() {
    for code in RPCCode.allCases {
      let status = RESTProblem(RPCStatus(code, "why")).status
      #expect((code == .ok) == (status == 200) && (200...599).contains(status))
    }
  }
}
