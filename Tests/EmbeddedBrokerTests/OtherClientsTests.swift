import ChildProcesses
import Foundation
import Testing

@testable import EmbeddedBroker

/// Other people's clients against the broker.
@Suite struct OtherClientsTests {
  private static let noPython: Comment =
    "no Python with confluent-kafka and kafka-python: `make test` makes one in .build/venv, or name one in MILLRACE_PYTHON"

  @Test(.enabled(if: Tool.python != nil, noPython), arguments: ["confluent", "kafka-python"])
  func pythonClientsRoundTrip(client: String) async throws {
    let python = try #require(Tool.python)
    try await withBroker { port in
      let output = try await ChildProcess.run(python, [Tool.script("roundtrip.py"), "127.0.0.1:\(port)", client])
      #expect(output.contains("ok"))
    }
  }

  @Test(.enabled(if: Tool.python != nil, noPython), arguments: ["confluent", "kafka-python"])
  func aKilledConsumersPartitionsAreTakenOver(client: String) async throws {
    let python = try #require(Tool.python)
    try await withBroker { port in
      let output = try await ChildProcess.run(python, [Tool.script("takeover.py"), "127.0.0.1:\(port)", client])
      #expect(output.contains("ok"))
    }
  }

  @Test(.enabled(if: Tool.kcat != nil, "no kcat on this machine")) func kcatRoundTrips() async throws {
    let kcat = try #require(Tool.kcat)
    try await withBroker { port in
      let broker = "127.0.0.1:\(port)"
      let directory = try TemporaryDirectory()
      let lines = (0..<20_000).map { "line \($0)\n" }.joined()
      let file = directory.path + "/lines"
      try Data(lines.utf8).write(to: URL(fileURLWithPath: file))
      for (topic, options) in [("plain", []), ("zipped", ["-z", "gzip"]), ("idempotent", ["-X", "enable.idempotence=true"])] {
        let input = try #require(FileHandle(forReadingAtPath: file))
        try await ChildProcess.run(kcat, ["-b", broker, "-P", "-t", topic] + options, input: input)
        #expect(try await ChildProcess.run(kcat, ["-b", broker, "-C", "-t", topic, "-e", "-q"]) == lines)
        #expect(try await ChildProcess.run(kcat, ["-b", broker, "-C", "-t", topic, "-e", "-q", "-o", "-2"]) == "line 19998\nline 19999\n")
      }
      #expect(try await ChildProcess.run(kcat, ["-b", broker, "-L"]).contains("topic \"plain\" with 1 partitions"))
    }
  }
}
