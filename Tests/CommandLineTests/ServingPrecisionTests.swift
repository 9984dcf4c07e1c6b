import Events
import Foundation
import Testing

/// `serving.precision: bf16` beside single precision on one log: answers that are close, and the same state to the bit.
@Suite(.serialized) struct ServingPrecisionTests {
  private static let model = """
    model: orders
    family: linear
    loss: logistic
    shards: 2
    features: {store: categorical, courier: categorical, distance: {type: numeric, divide: 10}}
    crosses: [[store, courier]]
    learning: {optimizer: ftrl, alpha: 0.5, beta: 1}
    join: {window: 1d, on_expiry: drop}
    """

  private static func configuration(_ predictions: String, _ rest: String) -> String {
    """
    data_directory: data
    topics: {partitions: 2, predictions: \(predictions)}
    models: [orders.yaml]
    logging: {level: warning}
    \(rest)
    """
  }

  private static func features(_ index: Int) -> String {
    #"{"store":"s\#(index % 23)","courier":"c\#(index * 7 % 11)","distance":\#(Double(index * 13 % 97) / 10)}"#
  }

  /// Scores by id, once each event is answered; `at` is where.
  private func scores(_ instance: RunningInstance, _ topic: String, _ count: Int) throws -> [String: Double] {
    var found: [String: Double] = [:]
    try eventually("\(count) answers in \(topic)\n\(instance.tail)") {
      let result = try instance.millrace("tail", "predictions", "--topic", topic, "--json")
      guard result.status == 0 else { throw MillraceProcess.Failure(description: "\(result.errors)") }
      found = [:]
      for line in result.output.split(separator: "\n") {
        guard let record = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] else { continue }
        let value = record["value"] as? [String: Any] ?? record
        guard let id = value["id"] as? String, id.hasPrefix("q"), let score = value["score"] as? Double else { continue }
        found[id] = score
      }
      return found.count >= count
    }
    return found
  }

  @Test(.timeLimit(.minutes(4))) func bf16AnswersAsSinglePrecisionAndLearnsTheSameBits() throws {
    let (events, questions) = (400, 120)
    // One learns; the other follows its log, and answers the same events for itself.
    let single = try RunningInstance(yaml: Self.configuration("predictions", "training: {beacon: 1m, checkpoints: {every: never, trim: false}}"))
    _ = try single.folder.write("orders.yaml", Self.model)
    try single.start()
    let half = try RunningInstance(
      yaml: Self.configuration(
        "predictions-bf16",
        """
        roles: [gateway, node]
        serving: {group: half, precision: bf16}
        training: {beacon: 1m, checkpoints: {every: never, trim: false}}
        """), bootstrap: single.brokerPort)
    _ = try half.folder.write("orders.yaml", Self.model)
    try half.start()
    func lines(_ text: (Int) -> String, _ count: Int) -> String { (0..<count).map(text).joined(separator: "\n") + "\n" }
    func produce(_ kind: String, _ text: String) throws {
      let result = try single.millrace("produce", kind, input: text)
      #expect(result.status == 0, "\(result.errors)\n\(single.tail)")
    }
    try produce("features", lines({ #"{"id":"e\#($0)","key":"k\#($0 % 5)","features":\#(Self.features($0))}"# }, events))
    try produce("labels", lines({ #"{"id":"e\#($0)","key":"k\#($0 % 5)","label":\#($0 % 23 % 3 == 0 || $0 % 4 == 0 ? 1 : 0)}"# }, events))

    let topics = TopicClient(kafka: single.kafka)
    /// What the log makes of the model: how far each shard at least has learned.
    func replayed() throws -> [Int64] {
      let result = try single.millrace("model", "inspect", "orders.1", "--json")
      guard result.status == 0, let object = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any],
        let progress = object["progress"] as? [[String: Any]]
      else { return [] }
      return progress.compactMap { ($0["examples"] as? NSNumber)?.int64Value }
    }
    try eventually("\(events) examples learned\n\(single.tail)") {
      let examples = try topics.records("examples").reduce(0) { count, record in
        let reader = ExampleReader()
        return (record.value ?? []).withUnsafeBytes { reader.read($0) } ? count + Int(reader.header.count) : count
      }
      let progress = try replayed()
      let ends = try topics.ends("examples")
      return examples == events && progress == ends
    }
    // Both stand where the log ends before they are asked.
    func positions(_ instance: RunningInstance) -> [Substring] {
      (get("/metrics", port: instance.adminPort)?.body ?? "").split(separator: "\n").filter { $0.hasPrefix("millrace_replica_position{") }.sorted()
    }
    let updates = try topics.ends("orders.1.updates")
    try eventually("both at \(updates)\n\(half.tail)") {
      [single, half].allSatisfy { instance in
        let read = positions(instance).compactMap { $0.split(separator: " ").last.flatMap { Double($0) } }
        return read.count == updates.count && zip(read, updates).allSatisfy { $0 >= Double($1) }
      }
    }

    try produce("features", lines({ #"{"id":"q\#($0)","key":"k\#($0 % 5)","features":\#(Self.features($0 + 3))}"# }, questions))
    let exact = try scores(single, "predictions", questions)
    let rounded = try scores(half, "predictions-bf16", questions)
    #expect(exact.count == questions && Set(exact.keys) == Set(rounded.keys))
    var largest = 0.0
    for (id, score) in exact { largest = max(largest, abs(score - (rounded[id] ?? .infinity))) }
    // Weights are off by at most a 256th, margins by that much of the sum of their magnitudes.
    #expect(largest > 0 && largest < 0.01, "bf16 moved scores by \(largest)")
    #expect(Set(exact.values.map { Int($0 * 10) }).count > 3, "the model tells events apart: \(exact.values.sorted())")

    // Requests are answered from the same rows as the stream.
    for index in stride(from: 0, to: questions, by: 40) {
      let answer = try MillraceProcess.run(
        ["predict", "--target", "127.0.0.1:\(half.grpcPort)", "--model", "orders", "--json", #"{"features":\#(Self.features(index + 3))}"#, "--output", "json"],
        folder: half.folder.url, seconds: 60)
      #expect(answer.status == 0, "\(answer.errors)\n\(half.tail)")
      let score = try #require(rounded["q\(index)"])
      #expect(answer.output.contains("\(Float(score))"), "\(score) in \(answer.output)")
    }

    /// Checkpoints beside what a replay of the log gives at their offsets: how many shards were compared.
    func verified(_ instance: RunningInstance) throws -> Int {
      let result = try MillraceProcess.run(
        ["model", "verify", "orders.1", "--bootstrap", "127.0.0.1:\(single.brokerPort)", "--checkpoints", "data/checkpoints/orders.1", "--json"],
        folder: instance.folder.url, seconds: 60)
      #expect(result.status == 0, "\(result.output)\(result.errors)")
      let object = try #require(try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
      return object["checkpoints_compared"] as? Int ?? 0
    }
    // Each writes a checkpoint at its stop. The one that follows stops first: the other has the broker.
    #expect(half.stop() == 0, "\(half.tail)")
    #expect(try verified(half) == 2)
    // It starts again from its checkpoint, and its rows in bf16 are there at once.
    try half.start()
    try produce("features", #"{"id":"q1000","key":"k0","features":\#(Self.features(3))}"# + "\n")
    #expect(try scores(half, "predictions-bf16", questions + 1)["q1000"] == rounded["q0"])
    #expect(half.stop() == 0, "\(half.tail)")
    #expect(single.stop() == 0, "\(single.tail)")
    try single.start()
    #expect(try verified(single) >= 2)
    #expect(try verified(half) >= 2)
    #expect(single.stop() == 0, "\(single.tail)")
  }

  @Test func whatLearnsHasNoRowsInInt8() throws {
    let folder = try ScratchFolder()
    let file = try folder.write("millrace.yaml", "serving: {precision: int8}\n")
    let result = try MillraceProcess.run(["run", "--config", file.path, "--check"], folder: folder.url, seconds: 30)
    #expect(result.status == 65)
    #expect(result.errors.contains("serving.precision") && result.errors.contains("float32") && result.errors.contains("bf16"), "\(result.errors)")
  }

  /// Bundles have rows in int8: the same machine twice in one instance, on one stream.
  @Test(.timeLimit(.minutes(2))) func rowsInInt8AnswerAsThoseInSinglePrecision() throws {
    let instance = try RunningInstance(
      yaml: """
        data_directory: data
        topics: {partitions: 1}
        models: [{bundle: clicks.millrace}, {bundle: small.millrace, name: small}]
        logging: {level: warning}
        """)
    try ModelFileCommandTests.safetensors(instance.folder)
    for arguments in [
      ["import", "clicks.safetensors", "--specification", "clicks.yaml"],
      ["quantize", "clicks.millrace", "-o", "small.millrace", "--to", "int8-rows", "--seconds", "0"],
    ] {
      let result = try MillraceProcess.run(["model"] + arguments, folder: instance.folder.url)
      #expect(result.status == 0, "\(result.output)\(result.errors)")
    }
    try instance.start()
    let events = (0..<60).map { #"{"id":"e\#($0)","key":"k","features":{"user":"u\#($0 % 7)","item":"i\#($0 % 11)","price":\#($0 % 5)}}"# }
    #expect(try instance.millrace("produce", "features", input: events.joined(separator: "\n") + "\n").status == 0)
    var scores: [String: [String: Double]] = [:]
    try eventually("answers of both\n\(instance.tail)") {
      scores = [:]
      for record in try instance.tail("predictions") {
        let value = record["value"] as? [String: Any] ?? record
        guard let model = value["model"] as? String, let id = value["id"] as? String, let score = value["score"] as? Double else { continue }
        scores[model, default: [:]][id] = score
      }
      return scores["clicks"]?.count == 60 && scores["small"]?.count == 60
    }
    let moved = (scores["clicks"] ?? [:]).map { abs($1 - (scores["small"]?[$0] ?? .infinity)) }.max() ?? .infinity
    #expect(moved > 0 && moved < 0.01, "int8 rows moved scores by \(moved)")
    #expect(instance.stop() == 0, "\(instance.tail)")
  }
}
