import ChildProcesses
import Foundation
import Kernels
import Model
import Testing

/// `loadtest/models/hashing.py`, with which people train, has the rows that the server has.
@Suite struct HashingExampleTests {
  @Test(.enabled(if: ChildProcess.python != nil, "no Python: `make test` makes one in .build/venv, or name one in MILLRACE_PYTHON"))
  func pythonHasTheSameRows() async throws {
    let python = try #require(ChildProcess.python)
    let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../loadtest/models/hashing.py").standardizedFileURL
    let child = try ChildProcess(python, [script.path])
    let status = try await child.wait()
    #expect(status == 0, "\(child.text.suffix(2_000))")
    let names = ["carrier", "a", "", "origin and destination", "é", String(repeating: "x", count: 40)]
    let values = ["AA", "", "1545", "-7", "true", "zürich", "0123456789abcdef", "0123456789abcdef0", "the quick brown fox jumps over"]
    func hex(_ id: UInt64) -> String { String(repeating: "0", count: 16 - String(id, radix: 16).count) + String(id, radix: 16) }
    func categorical(_ text: String, _ seed: UInt64) -> UInt64 {
      var text = text
      return text.withUTF8 { RowID.categorical(UnsafeRawBufferPointer($0), seed: seed) }
    }
    var lines: [String] = []
    for name in names {
      let seed = RowID.seed(feature: name)
      let ids = values.map { categorical($0, seed) }
      for id in ids {
        lines.append("\(hex(id)) \(EmbeddingTable.row(of: id, rowCount: 1000)) \(EmbeddingTable.row(of: id, rowCount: 4_294_967_295))")
      }
      let cross = ids.dropFirst().reduce(ids[0]) { RowID.combine($0, $1) }
      lines.append(
        [RowID.numeric(seed: seed), categorical("3", seed), RowID.place(7, seed: seed), RowID.combine(ids[0], ids[1]), cross].map(hex)
          .joined(separator: " "))
    }
    #expect(child.text.split(separator: "\n").map(String.init) == lines)
  }
}
