import Foundation
import Kafka
import Testing

/// Files that are damaged, and disks that are full.
@Suite(.serialized) struct DiskTests {
  private static let model = """
    data_directory: data
    topics: {partitions: 1}
    models:
      - model: orders
        family: linear
        loss: logistic
        shards: 2
        features: {store: categorical}
        learning: {alpha: 0.5}
        join: {window: 1d, on_expiry: drop}
    logging: {level: info}
    """

  /// Asks about the store under new names until the score is not `old` any more.
  private func learned(_ instance: RunningInstance, _ prefix: String, beyond old: Double) throws -> Double {
    var number = 0
    var score = old
    try eventually("a score other than \(old)\n\(instance.tail)") {
      number += 1
      score = try ask(instance, "\(prefix)\(number)")
      return score != old
    }
    return score
  }

  private func ask(_ instance: RunningInstance, _ id: String) throws -> Double {
    try instance.produce("features", #"{"id":"\#(id)","features":{"store":"harbour"}}"#)
    return try instance.score(of: id)
  }

  @Test(.timeLimit(.minutes(3))) func aTornCheckpointIsPassedOver() throws {
    let instance = try RunningInstance(yaml: Self.model)
    var score = 0.5
    // Each life learns one label and leaves a generation behind.
    for life in 1...3 {
      try instance.start()
      #expect(try ask(instance, "e\(life)") == score)
      try instance.produce("labels", #"{"id":"e\#(life)","label":1}"#)
      score = try learned(instance, "q\(life)-", beyond: score)
      #expect(instance.stop() == 0, "\(instance.tail)")
    }
    let directory = instance.folder.url.appendingPathComponent("data/checkpoints/orders.1")
    let generations = try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted()
    #expect(generations.count >= 2, "\(generations)")
    let newest = try #require(generations.last)
    let file = directory.appendingPathComponent(newest).appendingPathComponent("shard-0.rows")
    let bytes = try Data(contentsOf: file)
    try bytes.prefix(bytes.count / 2).write(to: file)

    try instance.start()
    #expect(instance.logText.contains("a checkpoint is passed over"), "\(instance.tail)")
    #expect(instance.logText.contains("shard-0.rows"), "it says which file\n\(instance.tail)")
    #expect(try ask(instance, "after") == score, "the same state from the generation before and the log\n\(instance.tail)")
    #expect(instance.stop() == 0, "\(instance.tail)")
  }

  /// Two models, each with checkpoints of its own, over several lives.
  @Test(.timeLimit(.minutes(3))) func modelsDoNotTouchEachOthersCheckpoints() throws {
    let second = """

        - model: returns
          family: linear
          loss: logistic
          features: {store: categorical}
          learning: {alpha: 0.2}
          join: {window: 1d, on_expiry: drop}
      logging:
      """
    let instance = try RunningInstance(yaml: Self.model.replacingOccurrences(of: "\nlogging:", with: second))
    var scores = ["orders": 0.5, "returns": 0.5]
    var number = 0
    func asked() throws -> [String: Double] {
      number += 1
      let id = "e\(number)"
      try instance.produce("features", #"{"id":"\#(id)","features":{"store":"harbour"}}"#)
      var answers: [String: Double] = [:]
      try eventually("two answers\n\(instance.tail)") {
        for record in try instance.tail("predictions") {
          let prediction = record["value"] as? [String: Any] ?? record
          guard prediction["id"] as? String == id, let model = prediction["model"] as? String else { continue }
          answers[model] = (prediction["score"] as? NSNumber)?.doubleValue
        }
        return answers.count == 2
      }
      return answers
    }
    for life in 1...3 {
      try instance.start()
      #expect(try asked() == scores, "life \(life)\n\(instance.tail)")
      try instance.produce("labels", #"{"id":"e\#(number)","label":1}"#)
      let old = scores
      try eventually("both have learned\n\(instance.tail)") {
        scores = try asked()
        return old.allSatisfy { scores[$0.key] != $0.value }
      }
      #expect(scores["orders"] != scores["returns"])
      #expect(instance.stop() == 0, "\(instance.tail)")
    }
    for model in ["orders.1", "returns.1"] {
      let path = instance.folder.url.appendingPathComponent("data/checkpoints/\(model)").path
      #expect(try FileManager.default.contentsOfDirectory(atPath: path).count >= 2, "\(model)")
    }
    #expect(!instance.logText.contains("passed over"), "\(instance.tail)")
  }

  @Test(.timeLimit(.minutes(3))) func aFullDiskIsSurvived() throws {
    let instance = try RunningInstance(
      yaml: Self.model.replacingOccurrences(of: "data_directory: data", with: "data_directory: small"))
    let disk = instance.folder.url.appendingPathComponent("small")
    try FileManager.default.createDirectory(at: disk, withIntermediateDirectories: true)
    guard run("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk.path) == 0 else {
      print("full disk: not tried, because this user may not mount a small file system")
      return
    }
    defer { _ = run("umount", "-l", disk.path) }
    try instance.start()
    #expect(try ask(instance, "before") == 0.5)

    // Fill it up with events until one is refused.
    var settings = instance.kafka
    settings.properties["message.timeout.ms"] = "3000"
    let padding = String(repeating: "x", count: 10_000)
    let events = (0..<50).map { Array(#"{"id":"fill\#($0)","features":{"store":"\#(padding)"}}"#.utf8) as [UInt8]? }
    var refusal: KafkaError?
    try eventually("a refusal\n\(instance.tail)") {
      do {
        _ = try TopicClient(kafka: settings).send("features", partition: 0, events)
      } catch let error as KafkaError {
        refusal = error
      }
      return refusal != nil
    }
    #expect(refusal?.message.isEmpty == false)
    try eventually("the reason in the log\n\(instance.tail)") { instance.logText.contains("No space left on device") }
    #expect(instance.isRunning, "\(instance.tail)")
    #expect(get("/healthz", port: instance.adminPort)?.status == 200)

    // Space comes back, and with it everything else, by itself.
    #expect(run("mount", "-o", "remount,size=64m", disk.path) == 0)
    var score: Double?
    try eventually("an event is taken again\n\(instance.tail)") {
      let sent = try instance.millrace("produce", "features", input: #"{"id":"after","features":{"store":"harbour"}}"# + "\n")
      return sent.status == 0
    }
    try eventually("an answer again\n\(instance.tail)") {
      score = try instance.scores(of: "after").first
      return score != nil
    }
    #expect(score == 0.5)
    try instance.waitUntilReady()
    let client = TopicClient(kafka: instance.kafka)
    #expect(try client.ends("features")[0] > 50)
    // What was taken while the disk filled up is answered as well.
    try eventually("every event answered\n\(instance.tail)") { try client.answered().next == client.ends("features") }
    try instance.produce("labels", #"{"id":"after","label":1}"#)
    #expect(try learned(instance, "learned", beyond: 0.5) > 0.5, "learning goes on, too\n\(instance.tail)")
    #expect(instance.stop() == 0, "\(instance.tail)")
  }

  private func run(_ arguments: String...) -> Int32 {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = arguments
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return -1 }
    process.waitUntilExit()
    return process.terminationStatus
  }
}
