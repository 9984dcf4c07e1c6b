import ChildProcesses
import Foundation
import Testing

/// Models that were trained from data frames are imported, scored, served and asked by the names of categories; each answer is what LightGBM
/// or XGBoost predicts from the frame.
@Suite(.serialized) struct CategoryNamesTests {
  private static let noPython: Comment =
    "no Python with lightgbm, xgboost, pandas and tritonclient: `make test` makes one in .build/venv, or name one in MILLRACE_PYTHON"
  private static let script = MillraceProcess.packageFolder.appendingPathComponent("Tests/CommandLineTests/Clients/categories.py").path

  private func numbers(_ path: URL) throws -> [Double] {
    try String(contentsOf: path, encoding: .utf8).split(separator: "\n").map { try #require(Double($0)) }
  }

  private func expectEqual(_ found: [Double], _ expected: [Double], _ what: String) {
    guard found.count == expected.count, !found.isEmpty else {
      Issue.record("\(what): \(found.count) answers, the library has \(expected.count)")
      return
    }
    for (row, (a, b)) in zip(found, expected).enumerated() where !(abs(a - b) <= 1e-5 * max(1, abs(b))) {
      Issue.record("\(what), row \(row): \(a), the library says \(b)")
    }
  }

  @Test(.enabled(if: ChildProcess.python != nil, noPython), .timeLimit(.minutes(3)))
  func answersAreThoseOfTheLibraryFromTheDataFrame() async throws {
    let python = try #require(ChildProcess.python)
    let seed = Int.random(in: 0..<1_000_000)
    let scratch = try ScratchFolder()
    let trained = try ChildProcess(python, [Self.script, "train", scratch.url.path, "\(seed)"])
    try #require(try await trained.wait() == 0, "\(trained.text)")
    let names = try String(contentsOf: scratch.url.appendingPathComponent("models.txt"), encoding: .utf8).split(separator: "\n").map(String.init)
    try #require(names.count == 5)

    // Files: events by names, and tables.
    for name in names {
      let source = name.hasPrefix("xgboost") ? "\(name).ubj" : "\(name).txt"
      let imported = try MillraceProcess.run(["model", "import", source], folder: scratch.url)
      try #require(imported.status == 0, "\(imported.output)\(imported.errors)")
      #expect(imported.output.contains("names in"), "\(imported.output)")
      let inspected = try MillraceProcess.run(["model", "inspect", "\(name).millrace"], folder: scratch.url)
      #expect(inspected.output.contains("categories of") && inspected.output.contains("0 to 3") && inspected.output.contains("\"AA\" \"B6\""), "\(inspected.output)")
      for (data, answers) in [("jsonl", "answers"), ("csv", "csv.answers")] {
        let scored = try MillraceProcess.run(["model", "score", "\(name).millrace", "--data", "\(name).\(data)"], folder: scratch.url)
        try #require(scored.status == 0, "\(scored.errors)")
        let found = scored.output.split(separator: "\n").dropFirst().compactMap { Double($0) }
        expectEqual(found, try numbers(scratch.url.appendingPathComponent("\(name).\(answers)")), "seed \(seed), \(name).\(data)")
      }
    }

    // A server: tritonclient, our own client, and the features topic.
    let models = names.map { "  - {bundle: \(scratch.url.path)/\($0).millrace, stream: \($0 == names[1])}" }.joined(separator: "\n")
    let instance = try RunningInstance(yaml: "data_directory: state\nmodels:\n\(models)\n")
    try instance.start()
    let asked = try ChildProcess(
      python, [Self.script, "ask", scratch.url.path, "127.0.0.1:\(instance.grpcPort)", "127.0.0.1:\(instance.httpPort)"])
    #expect(try await asked.wait() == 0, "seed \(seed): \(asked.text)\n\(instance.tail)")
    for name in names {
      let told = try MillraceProcess.run(
        ["predict", "--target", "127.0.0.1:\(instance.grpcPort)", "--model", name, "--file", "\(name).jsonl", "--output", "json"], folder: scratch.url)
      try #require(told.status == 0, "\(told.errors)")
      var found: [Int: Double] = [:]
      for line in told.output.split(separator: "\n") {
        let object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any], "\(line)")
        let id = try #require((object["id"] as? String).flatMap { Int($0) }, "\(line)")
        let outputs = object["outputs"] as? [String: Any]
        found[id] = ((outputs?["output"] as? [NSNumber])?.first ?? outputs?["output"] as? NSNumber ?? object["score"] as? NSNumber)?.doubleValue
      }
      let expected = try numbers(scratch.url.appendingPathComponent("\(name).answers"))
      expectEqual((0..<expected.count).compactMap { found[$0] }, expected, "seed \(seed), predict --file \(name).jsonl")
    }
    let events = try String(contentsOf: scratch.url.appendingPathComponent("\(names[1]).jsonl"), encoding: .utf8)
    #expect(try instance.millrace("produce", "features", input: events).status == 0)
    let expected = try numbers(scratch.url.appendingPathComponent("\(names[1]).answers"))
    var streamed: [Int: Double] = [:]
    try eventually("predictions\n\(instance.tail)") {
      for record in try instance.tail("predictions") {
        let prediction = record["value"] as? [String: Any] ?? record
        guard let id = (prediction["id"] as? String).flatMap({ Int($0) }) else { continue }
        streamed[id] = (prediction["score"] as? NSNumber)?.doubleValue
      }
      return streamed.count == expected.count
    }
    expectEqual((0..<expected.count).compactMap { streamed[$0] }, expected, "seed \(seed), the features topic")
    #expect(instance.stop() == 0, "\(instance.tail)")
  }
}
