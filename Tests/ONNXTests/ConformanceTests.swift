import ChildProcesses
import Foundation
import Testing

@testable import ONNX

/// The `onnx` package's node tests, and the operators at older opsets beside onnxruntime.
@Suite struct ConformanceTests {
  static let noPython: Comment = "no Python with onnx: `make test` makes one in .build/venv, or name one in MILLRACE_PYTHON"

  static func script(_ name: String) -> String {
    URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Clients/\(name)").path
  }

  /// What a script of Clients writes, and what it prints.
  static func cases(_ name: String, _ arguments: [String] = []) async throws -> (cases: [ModelCase], text: String) {
    let python = try #require(ChildProcess.python)
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("millrace-\(name)-\(UUID().uuidString).cases").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    let text = try await ChildProcess.run(python, [script(name), path] + arguments)
    return (try ModelCase.read(path), text)
  }

  @Test(.enabled(if: ChildProcess.python != nil, noPython)) func nodeTestsOfTheONNXPackage() async throws {
    let (cases, text) = try await Self.cases("node_cases.py")
    print(text, terminator: "")
    var tally = CaseTally()
    for modelCase in cases { tally.run(modelCase, comparesShapes: true) }
    print(tally.report("node tests"))
    #expect(tally.failures.isEmpty, "\(tally.failures.prefix(20).map { "\($0.name): \($0.reason)" }.joined(separator: "\n"))")
    #expect(tally.passedCount > 500)
  }

  @Test(.enabled(if: ChildProcess.python != nil, noPython)) func operatorsAtEachOpsetAnswerAsONNXRuntime() async throws {
    let seed = ProcessInfo.processInfo.environment["MILLRACE_SEED"] ?? "1"
    let (cases, text) = try await Self.cases("operator_cases.py", [seed])
    print(text, terminator: "")
    var tally = CaseTally()
    for modelCase in cases { tally.run(modelCase, comparesShapes: true) }
    print(tally.report("operators"))
    #expect(tally.failures.isEmpty, "\(tally.failures.prefix(20).map { "\($0.name): \($0.reason)" }.joined(separator: "\n"))")
    #expect(tally.passedCount > 3000)
  }
}
