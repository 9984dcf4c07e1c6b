import Foundation
import Testing

/// `millrace bench kernels` on small sizes, so that the benchmarks go on working.
@Suite struct BenchKernelsTests {
  private struct Answer: Decodable {
    var ns_per_row: Double
    var scores: [Float]
  }

  /// What the command answers to two lines, after it said that it is ready.
  private func answers(_ arguments: String...) throws -> [Answer] {
    let lines = "{\"batch\": 3, \"seconds\": 0.001}\n{\"batch\": 1, \"seconds\": 0.001}\n"
    let result = try MillraceProcess.run(["bench", "kernels"] + arguments, input: lines)
    #expect(result.status == 0, "\(result.errors)")
    let text = result.output.split(separator: "\n").map(String.init)
    #expect(text.first?.contains("\"ready\"") == true, "\(text)")
    return try text.dropFirst().map { try JSONDecoder().decode(Answer.self, from: Data($0.utf8)) }
  }

  @Test(arguments: ["float32", "bfloat16", "int8"]) func embeddingRows(element: String) throws {
    let answers = try answers("embedding", "--element", element, "--rows", "500", "--width", "5", "--lookups", "7")
    #expect(answers.map(\.scores.count) == [15, 5])
    for answer in answers {
      #expect(answer.ns_per_row > 0)
      #expect(answer.scores.allSatisfy { abs($0) <= 0.71 } && answer.scores.contains { $0 != 0 })
    }
  }

  @Test func factorizationMachines() throws {
    let answers = try answers("fm", "--rows", "500", "--factors", "3", "--features", "4")
    #expect(answers.map(\.scores.count) == [3, 1])
    #expect(answers.allSatisfy { $0.ns_per_row > 0 && $0.scores.allSatisfy { (0...1).contains($0) } })
  }

  @Test func limitsOfTheMachine() throws {
    let result = try MillraceProcess.run(["bench", "kernels", "limits", "--table-mib", "1", "--json"])
    #expect(result.status == 0)
    let limits = try #require(JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
    #expect((limits["float32GFLOPS"] as? Double ?? 0) > 0)
  }

  @Test func badSizesAreRefused() throws {
    let result = try MillraceProcess.run(["bench", "kernels", "embedding", "--rows", "0", "--batch", "1"])
    #expect(result.status != 0)
    #expect(result.errors.contains("no such table"))
  }
}
