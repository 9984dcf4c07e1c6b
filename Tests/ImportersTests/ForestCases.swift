import ChildProcesses
import Foundation
import Testing

@testable import Importers

/// Models that `Clients/forests.py` trained, with rows and what the library itself predicts for them.
struct ForestCase {
  let name: String
  /// "lightgbm/binary", "xgboost/softprob", …
  let kind: String
  let file: URL
  let rows: [[Double]]
  let raw: [[Double]]
  let answers: [[Double]]
  /// Inputs are doubles that floats do not hold.
  let needsDouble: Bool

  var bytes: [UInt8] { get throws { Array(try Data(contentsOf: file)) } }

  /// The model, by its library's importer.
  func imported() throws -> ImportedModel { try Self.imported(try bytes, kind) }

  static func imported(_ bytes: [UInt8], _ kind: String) throws(ImportError) -> ImportedModel {
    let result = bytes.withUnsafeBytes { bytes in
      Result { () throws(ImportError) in
        kind.hasPrefix("lightgbm") ? try LightGBMModel.read(bytes) : try XGBoostModel.read(bytes)
      }
    }
    return try result.get()
  }

  /// Trains anew into a folder of its own and calls with what came out; the folder is gone afterwards.
  static func with(_ arguments: [String], seconds: Double = 3_000, _ body: ([ForestCase]) throws -> Void) async throws {
    let python = try #require(ChildProcess.python)
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("forests-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    let child = try ChildProcess(python, [script, folder.path] + arguments)
    let status = try await child.wait(seconds: seconds)
    try #require(status == 0, "forests.py ended with \(status):\n\(child.text.suffix(4_000))")
    let list = try String(contentsOf: folder.appendingPathComponent("cases.txt"), encoding: .utf8)
    try body(try list.split(separator: "\n").map { try ForestCase(line: $0, folder: folder) })
  }

  static let noPython: Comment =
    "no Python with lightgbm and xgboost: `make test` makes one in .build/venv, or name one in MILLRACE_PYTHON"

  private static let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Clients/forests.py").path

  private init(line: Substring, folder: URL) throws {
    let words = line.split(separator: " ").map(String.init)
    let counts = try words[3..<7].map { try #require(Int($0)) }
    func matrix(_ suffix: String, _ width: Int) throws -> [[Double]] {
      let data = try Data(contentsOf: folder.appendingPathComponent("\(words[0]).\(suffix)"))
      try #require(data.count == 8 * width * counts[0])
      return data.withUnsafeBytes { bytes in
        (0..<counts[0]).map { row in
          (0..<width).map { bytes.loadUnaligned(fromByteOffset: 8 * (row * width + $0), as: Double.self) }
        }
      }
    }
    name = words[0]
    kind = words[1]
    file = folder.appendingPathComponent(words[2])
    rows = try matrix("rows", counts[1])
    raw = try matrix("raw", counts[2])
    answers = try matrix("answers", counts[3])
    needsDouble = words[7] == "double"
  }
}
