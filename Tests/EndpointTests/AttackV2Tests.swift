import ChildProcesses
import Foundation
import Logging
import Operations
import RPC
import Telemetry
import Testing

@testable import Endpoint

/// Bad requests of every kind, by other people's clients, against the services as a process puts them together.
@Suite struct AttackV2Tests {
  private static let noPython: Comment =
    "no Python with tritonclient: `make test` makes one in .build/venv, or name one in MILLRACE_PYTHON"

  private static let dense = """
    model: dense
    version: 1
    family: linear
    loss: logistic
    shards: 1
    features:
      embedding: {type: vector, size: 16}
    """

  @Test(.enabled(if: ChildProcess.python != nil, noPython), .timeLimit(.minutes(3)))
  func badRequestsAreRefusedByName() async throws {
    let python = try #require(ChildProcess.python)
    let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    let registry = Registry()
    let catalog = ModelCatalog([try ServedModels.model(), try ServedModels.model(Self.dense)])
    let control = ControlService(catalog: catalog, version: "1", isReady: { true }, levels: LogLevelSwitch(.info))
    var settings = RPCServerSettings()
    settings.loops = 2
    let services = EndpointServices(catalog: catalog, control: control, health: HealthService())
    let server = RPCServer(
      settings: settings, services: services.forEverybody(controlListener: "127.0.0.1:8003"), registry: registry, logger: logger)
    let rest = RESTServer(
      settings: RESTServer.Settings(address: ListenAddress(host: "127.0.0.1", port: 0)), control: control,
      access: .readOnly(controlListener: "127.0.0.1:8003"), registry: registry, logger: logger)
    let port = try await server.start()
    let restPort = try await rest.start()
    let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Clients/hostile.py").path
    do {
      let output = try await ChildProcess.run(python, [script, "127.0.0.1:\(port)", "clicks", "dense", "--rest", "127.0.0.1:\(restPort)"])
      #expect(output.contains(" cases, 0 failed"), "\(output)")
      // Nothing of all that is left.
      for name in ["millrace_rpc_calls_in_flight", "millrace_rpc_held_bytes", "millrace_rpc_connections"] {
        let deadline = MonotonicClock.nanoseconds() + 30_000_000_000
        func value() -> Double { registry.readings(of: name).reduce(0) { $0 + $1.value } }
        while value() != 0, MonotonicClock.nanoseconds() < deadline { try await Task.sleep(for: .milliseconds(5)) }
        #expect(value() == 0, "\(name)")
      }
    } catch {
      Issue.record("\(error)")
    }
    await rest.stop()
    await server.stop(graceMilliseconds: 0)
  }
}
