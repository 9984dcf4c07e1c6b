import Events
import Foundation
import Kafka
import Testing

/// `millrace model quantize --calibrate topic:…` beside an instance that answers the same topic: what comes in calibrates the next version.
@Suite(.serialized) struct CalibrationTests {
  private static let perceptron = MillraceProcess.packageFolder.appendingPathComponent("Tests/ONNXTests/Clients/exports/mlp_opset17.onnx").path

  /// Twelve numbers from a fixed sequence, as many rows as asked for.
  private static func rows(_ count: Int) -> [[Double]] {
    var state: UInt64 = 7
    return (0..<count).map { _ in
      (0..<12).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Double(Int64(state >> 40) % 2001 - 1000) / 400
      }
    }
  }

  private static func event(_ id: String, _ row: [Double]) -> String { #"{"id":"\#(id)","key":"\#(id)","features":{"x":\#(row)}}"# }

  private static func run(_ instance: RunningInstance, _ arguments: String...) throws -> MillraceProcess.Result {
    try MillraceProcess.run(["model"] + arguments, folder: instance.folder.url)
  }

  @Test(.timeLimit(.minutes(3))) func eventsOfATopicCalibrateTheNextVersion() throws {
    let instance = try RunningInstance(
      yaml: """
        data_directory: data
        topics: {partitions: 2}
        models: [{bundle: models/mlp, versions: all, reload: 100ms}]
        logging: {level: warning}
        """)
    try FileManager.default.createDirectory(at: instance.folder.url.appendingPathComponent("models/mlp"), withIntermediateDirectories: true)
    let imported = try Self.run(instance, "import", Self.perceptron, "--name", "mlp", "-o", "models/mlp/1.millrace")
    #expect(imported.status == 0, "\(imported.output)\(imported.errors)")
    try instance.start()
    let bootstrap = "127.0.0.1:\(instance.brokerPort)"

    let rows = Self.rows(300)
    let lines = rows.enumerated().map { Self.event("e\($0)", $1) }.joined(separator: "\n") + "\n"
    func quantize(_ source: String, to output: String, _ more: String...) throws -> MillraceProcess.Result {
      try MillraceProcess.run(
        ["model", "quantize", "models/mlp/1.millrace", "-o", output, "--to", "int8", "--static", "--calibrate", source, "--seconds", "0", "--bootstrap", bootstrap] + more,
        folder: instance.folder.url, seconds: 60)
    }
    // Before there is anything to calibrate with.
    let empty = try quantize("topic:features", to: "none.millrace")
    #expect(empty.status == 1 && empty.errors.contains("topic features has no rows of the model"), "\(empty.output)\(empty.errors)")
    let unknown = try quantize("topic:nowhere", to: "none.millrace")
    #expect(unknown.status == 1 && unknown.errors.contains("there is no topic nowhere"), "\(unknown.errors)")
    let nobody = try freePort()
    let unreachable = try MillraceProcess.run(
      ["model", "quantize", "models/mlp/1.millrace", "-o", "none.millrace", "--to", "int8", "--static", "--calibrate", "topic:features", "--bootstrap", "127.0.0.1:\(nobody)"],
      folder: instance.folder.url, seconds: 60)
    #expect(unreachable.status == 1 && unreachable.errors.contains("No Kafka broker answers at 127.0.0.1:\(nobody)"), "\(unreachable.errors)")
    #expect(!FileManager.default.fileExists(atPath: instance.folder.url.appendingPathComponent("none.millrace").path))

    let produced = try instance.millrace("produce", "features", input: lines)
    #expect(produced.status == 0, "\(produced.errors)")
    // In other forms too; and what is no row of the model: no event, too few numbers, nothing at all.
    let client = TopicClient(kafka: instance.kafka)
    let writer = EventWriter(form: .protobuf)
    writer.begin(id: "p", key: "p")
    writer.numbers("x", rows[0])
    _ = try client.send("features", partition: 0, [Array(writer.finish())], contentType: "application/x-protobuf")
    _ = try client.send("features", partition: 1, [Array("{".utf8), Array(Self.event("short", [1, 2]).utf8), nil])

    let quantized = try quantize("topic:features", to: "topic.millrace", "--json")
    #expect(quantized.status == 0, "\(quantized.output)\(quantized.errors)")
    #expect(quantized.errors.contains("2 records of features are no rows of the model and left out; the first: features/1@"), "\(quantized.errors)")
    // The scales are those of the rows, wherever they come from: from a file they give the same model.
    _ = try instance.folder.write("rows.jsonl", lines)
    let fromFile = try quantize("rows.jsonl", to: "file.millrace", "--json")
    #expect(fromFile.status == 0, "\(fromFile.output)\(fromFile.errors)")
    let scores = try ["topic", "file"].map { try Self.run(instance, "score", "\($0).millrace", "--data", "rows.jsonl").output }
    #expect(scores[0] == scores[1] && scores[0].split(separator: "\n").count == 301, "\(scores[0].prefix(200))")
    // Fewer rows, other scales.
    let few = try quantize("topic:features", to: "few.millrace", "--rows", "3")
    #expect(few.status == 0, "\(few.errors)")
    #expect(try Self.run(instance, "score", "few.millrace", "--data", "rows.jsonl").output != scores[0])

    // And it is served: the next version answers what comes, close to the first one.
    try FileManager.default.moveItem(
      at: instance.folder.url.appendingPathComponent("topic.millrace"), to: instance.folder.url.appendingPathComponent("models/mlp/2.millrace"))
    try eventually("version 2\n\(instance.tail)") { get("/v2/models/mlp/versions/2/ready", port: instance.httpPort)?.status == 200 }
    let again = rows.prefix(50).enumerated().map { Self.event("again\($0)", $1) }.joined(separator: "\n") + "\n"
    #expect(try instance.millrace("produce", "features", input: again).status == 0)
    var answers: [String: [(version: Int, outputs: [String: [Double]])]] = [:]
    try eventually("answers of version 2\n\(instance.tail)") {
      answers = [:]
      for record in try instance.tail("predictions") {
        guard let value = record["value"] as? [String: Any] ?? Optional(record), let id = value["id"] as? String else { continue }
        let outputs = (value["outputs"] as? [String: Any] ?? [:]).mapValues { $0 as? [Double] ?? [($0 as? Double) ?? .nan] }
        answers[id, default: []].append((value["version"] as? Int ?? 0, outputs))
      }
      return (0..<50).allSatisfy { answers["again\($0)"] != nil }
    }
    var largest = 0.0
    for index in 0..<50 {
      let before = try #require(answers["e\(index)"]?.first)
      let after = try #require(answers["again\(index)"]?.first)
      #expect(before.version == 1 && after.version == 2)
      #expect(before.outputs.count == 2 && before.outputs.keys == after.outputs.keys, "both outputs, by their names: \(before.outputs)")
      for (name, values) in before.outputs {
        for (a, b) in zip(values, after.outputs[name] ?? []) { largest = max(largest, abs(a - b)) }
      }
    }
    #expect(largest > 0 && largest < 0.1, "int8 moved scores by \(largest)")
    #expect(instance.stop() == 0, "\(instance.tail)")
  }
}
