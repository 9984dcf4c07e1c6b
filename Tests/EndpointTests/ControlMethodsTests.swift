import ChildProcesses
import Foundation
import Logging
import Operations
import RPC
import Telemetry
import Testing

@testable import Endpoint

/// The control calls over real sockets, as a public and a control listener serve them.
@Suite struct ControlMethodsTests {
  private static let noPython: Comment =
    "no Python with tritonclient and grpcio-reflection: `make test` makes one in .build/venv, or name one in MILLRACE_PYTHON"

  private let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  private func withListeners(_ body: @Sendable (_ open: Int, _ control: Int) async throws -> Void) async throws {
    let catalog = ModelCatalog([try ServedModels.model(), try ServedModels.named("other")])
    let control = ControlService(catalog: catalog, version: "1.2.3", isReady: { true }, levels: LogLevelSwitch(.info))
    func server(_ access: ControlService.Access) -> RPCServer {
      let service = RPCService(
        name: V2Service.name, methods: InferenceService.methods(catalog: catalog) + control.methods(access: access),
        fileDescriptors: [ProtoFile.inference.descriptor])
      var settings = RPCServerSettings()
      settings.loops = 1
      return RPCServer(settings: settings, services: [service] + ReflectionService(services: [service]).services, registry: Registry(), logger: logger)
    }
    let inner = server(.control)
    let innerPort = try await inner.start()
    let outer = server(.readOnly(controlListener: "127.0.0.1:\(innerPort)"))
    let outerPort = try await outer.start()
    let result: Result<Void, any Error>
    do {
      try await body(outerPort, innerPort)
      result = .success(())
    } catch {
      result = .failure(error)
    }
    await outer.stop(graceMilliseconds: 0)
    await inner.stop(graceMilliseconds: 0)
    try result.get()
  }

  @Test(.enabled(if: ChildProcess.python != nil, noPython)) func tritonclientAndReflectionWorkUnmodified() async throws {
    let python = try #require(ChildProcess.python)
    try await withListeners { (open, control) async throws in
      let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Clients/control.py").path
      #expect(try await ChildProcess.run(python, [script, "127.0.0.1:\(open)", "127.0.0.1:\(control)"]).contains("ok"))
    }
  }

  @Test func bytesThatAreNoRequestAreRefusedByName() async throws {
    try await withListeners { (_, control) async throws in
      let channel = try RPCChannel(target: RPCTarget(host: "127.0.0.1", port: control))
      let messages = [
        "ModelReady": "ModelReadyRequest", "ModelMetadata": "ModelMetadataRequest", "ModelConfig": "ModelConfigRequest",
        "ModelStatistics": "ModelStatisticsRequest", "RepositoryIndex": "RepositoryIndexRequest", "RepositoryModelLoad": "RepositoryModelLoadRequest",
        "RepositoryModelUnload": "RepositoryModelUnloadRequest", "TraceSetting": "TraceSettingRequest", "LogSettings": "LogSettingsRequest",
      ]
      for (method, message) in messages {
        for bytes: [UInt8] in [[0xFF], [0x0A, 0x7F], [0x0A, 0x01, 0xFF], [0x0B], [0x00], [0x08, 0x01]] {
          let answer: RPCStatus?
          do throws(RPCStatus) {
            _ = try await channel.unary(MethodPath(service: V2Service.name, method: method), bytes)
            answer = nil
          } catch {
            answer = error
          }
          #expect(answer?.code == .invalidArgument && answer?.message.hasPrefix(message) == true, "\(method) \(bytes): \(String(describing: answer))")
        }
      }
      await channel.close()
    }
  }
}
