import ChildProcesses
import Foundation
import RPC
import Telemetry
import Testing

/// Other people's gRPC against the echo server.
@Suite struct AttackInteropTests {
  private static let noPython: Comment =
    "no Python with grpcio: `make test` makes one in .build/venv, or name one in MILLRACE_PYTHON"

  static let cases = ["unary", "statuses", "metadata", "deadlines", "cancellation", "streams", "compression", "large", "crowd", "keepalive"]

  @Test(.enabled(if: ChildProcess.python != nil, noPython)) func grpcioCallsOfEveryKind() async throws {
    let python = try #require(ChildProcess.python)
    try await AttackedServer.with({ $0.loops = 2 }) { server in
      let output = try await ChildProcess.run(python, [Self.script("interop.py"), "127.0.0.1:\(server.port)"])
      for name in Self.cases { #expect(output.contains("ok \(name) "), "\(output)") }
      try await onThread {
        try waitUntil("nothing is left: \(server.resources)") { server.resources.connections == 0 && server.resources.calls == 0 }
      }
    }
  }

  /// A server for tools that are run by hand: `MILLRACE_ATTACK_PORT=8080 swift test --filter servesUntilKilled`.
  @Test(.enabled(if: ProcessInfo.processInfo.environment["MILLRACE_ATTACK_PORT"] != nil)) func servesUntilKilled() async throws {
    let environment = ProcessInfo.processInfo.environment
    let port = try #require(environment["MILLRACE_ATTACK_PORT"].flatMap { Int($0) })
    let loops = environment["MILLRACE_ATTACK_LOOPS"].flatMap { Int($0) } ?? 2
    try await AttackedServer.with({
      $0.port = port
      $0.loops = loops
    }) { server in
      print("serving at \(server.port)")
      while true {
        try await Task.sleep(for: .seconds(5))
        let cuts = server.registry.readings(of: "millrace_rpc_connections_cut_total").filter { $0.value > 0 }
        print("held: \(server.resources), cut off: \(cuts.map { "\($0.label("reason") ?? "") \($0.value)" })")
      }
    }
  }

  private static func script(_ name: String) -> String {
    URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Clients/\(name)").path
  }
}
