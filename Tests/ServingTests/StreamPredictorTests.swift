import EmbeddedBroker
import Events
import Foundation
import Kafka
import Logging
import Model
import Synchronization
import Telemetry
import Testing
import UpdateLog

@testable import Serving

/// Events in, predictions out, through a real log and the real client.
@Suite(.serialized) struct StreamPredictorTests {
  static let model = """
    model: clicks
    version: 1
    family: linear
    loss: logistic
    shards: 2
    features:
      city: categorical
      price: numeric
    """

  @Test func everyOffsetIsAnsweredAndBadRecordsAreDeadLetters() async throws {
    try await withBroker { kafka in
      try createTopics(kafka, partitions: 2)
      let good = #"{"id":"a","event_time":1,"features":{"city":"Oslo","price":3.5}}"#
      let bad = #"{"id":"b","features":{"price":"free"}}"#
      try produce(kafka, "features", [(0, good), (0, bad), (1, good), (0, "{"), (0, good)])
      let answers = try answer(kafka, arms: ["online", "held"], until: 10)

      for arm in ["online", "held"] {
        let ofArm = answers.filter { $0.arm == arm }
        #expect(ofArm.filter { $0.partition == 0 }.map(\.from) == [0, 1, 2, 3], "arm \(arm)")
        #expect(ofArm.filter { $0.partition == 0 }.map(\.to) == [1, 2, 3, 4])
        #expect(ofArm.filter { $0.partition == 1 }.map(\.from) == [0])
        #expect(ofArm.filter { $0.partition == 0 }.map(\.isError) == [false, true, true, false])
        #expect(ofArm.filter { !$0.isError }.allSatisfy { $0.score == 0.5 && $0.id == "a" }, "an untrained model says one half")
      }
      let letters = try read(kafka, "features.dead-letter", count: 2)
      #expect(letters.map(\.value) == [bad, "{"])
      #expect(letters.map { $0.headers["millrace-source-offset"] } == ["1", "2"])
      #expect(letters[0].headers["millrace-field"]?.contains("price") == true)
      #expect(letters.allSatisfy { $0.headers["millrace-reason"]?.isEmpty == false })
    }
  }

  @Test func aSecondRunGoesOnWhereTheFirstOneStopped() async throws {
    try await withBroker { kafka in
      try createTopics(kafka, partitions: 1)
      let event = #"{"id":"a","features":{"city":"Oslo"}}"#
      try produce(kafka, "features", Array(repeating: (0, event), count: 40))
      #expect(try answer(kafka, arms: ["online"], until: 40).count == 40)
      try produce(kafka, "features", Array(repeating: (0, event), count: 10))
      let all = try answer(kafka, arms: ["online"], until: 50)
      #expect(all.map(\.from) == Array(0..<50), "a clean stop committed what was answered")
    }
  }

  @Test func differingPartitionCountsAreNamed() async throws {
    try await withBroker { kafka in
      let admin = try KafkaAdmin(kafka)
      try admin.ensureTopics([
        TopicSpec(name: "features", partitions: 3), TopicSpec(name: "predictions", partitions: 2),
        TopicSpec(name: "features.dead-letter", partitions: 1),
      ])
      let predictor = try makePredictor(kafka, arms: ["online"])
      try predictor.start()
      defer { predictor.stop() }
      try wait("the reason is told") {
        predictor.unreadyReason?.contains("predictions has 2 partitions and features has 3") == true
      }
    }
  }

  // MARK: Steps

  func withBroker(_ body: (KafkaSettings) async throws -> Void) async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("millrace-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    var logger = Logger(label: "test")
    logger.logLevel = .error
    let broker = EmbeddedBroker(settings: BrokerSettings(dataDirectory: folder.path), logger: logger)
    let port = try await broker.start()
    do { try await body(KafkaSettings(bootstrapServers: "127.0.0.1:\(port)")) } catch {
      await broker.stop()
      throw error
    }
    await broker.stop()
  }

  func createTopics(_ kafka: KafkaSettings, partitions: Int) throws {
    try KafkaAdmin(kafka).ensureTopics(
      ["features", "predictions", "features.dead-letter"].map { TopicSpec(name: $0, partitions: partitions) })
  }

  func produce(_ kafka: KafkaSettings, _ topic: String, _ records: [(Int32, String)]) throws {
    let producer = try KafkaProducer(kafka)
    defer { producer.close() }
    let handle = try producer.topic(topic)
    for (partition, text) in records {
      let result = Array(text.utf8).withUnsafeBytes { producer.produce(handle, partition: partition, value: $0) }
      #expect(result == .queued)
    }
    var failures = 0
    let flushed = producer.flush(timeoutMilliseconds: 20_000) { _, _, _, error in failures += error == nil ? 0 : 1 }
    #expect(flushed && failures == 0)
  }

  private func makePredictor(_ kafka: KafkaSettings, arms: [String]) throws -> StreamPredictor {
    let specification = try ModelSpecification.parse(yaml: Self.model, file: "clicks.yaml")
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    return StreamPredictor(
      specification: specification,
      arms: arms.map { Arm(name: $0, set: ReplicaSet(specification: specification), isReady: { true }) },
      kafka: kafka, settings: StreamPredictorSettings(group: "serving"), registry: Registry(), logger: logger)
  }

  private struct Answer {
    var partition: Int32
    var arm: String
    var from: Int64
    var to: Int64
    var id: String
    var score: Float?
    var isError: Bool
  }

  /// Runs a predictor until the predictions topic holds `count` records, then stops it.
  private func answer(_ kafka: KafkaSettings, arms: [String], until count: Int) throws -> [Answer] {
    let predictor = try makePredictor(kafka, arms: arms)
    try predictor.start()
    defer { predictor.stop() }
    let reader = PredictionReader()
    return try read(kafka, "predictions", count: count).map { record in
      try Array(record.value.utf8).withUnsafeBytes { bytes in
        try #require(reader.read(bytes), "\(record.value)")
        let view = reader.prediction
        return Answer(
          partition: record.partition, arm: String(decoding: view.arm, as: UTF8.self), from: view.from, to: view.to,
          id: String(decoding: view.id, as: UTF8.self), score: view.scores.first, isError: view.kind == .error)
      }
    }.sorted { ($0.partition, $0.from) < ($1.partition, $1.from) }
  }

  struct Record {
    var partition: Int32
    var value: String
    var headers: [String: String]
  }

  func read(_ kafka: KafkaSettings, _ topic: String, count: Int) throws -> [Record] {
    let consumer = try KafkaConsumer(kafka)
    defer { consumer.close() }
    let partitions = try KafkaAdmin(kafka).partitionCount(topic) ?? 1
    try consumer.assign((0..<Int32(partitions)).map {
      TopicPartitionOffset(topic: topic, partition: $0, offset: .beginning)
    })
    var records: [Record] = []
    let deadline = Date().addingTimeInterval(60)
    while records.count < count && Date() < deadline {
      consumer.poll(timeoutMilliseconds: 200) { (batch: borrowing MessageBatch) in
        for index in 0..<batch.count {
          let message = batch[index]
          var headers: [String: String] = [:]
          for (name, value) in message.headers { headers[name] = value.map { String(decoding: $0, as: UTF8.self) } }
          records.append(
            Record(
              partition: message.partition, value: message.value.map { String(decoding: $0, as: UTF8.self) } ?? "",
              headers: headers))
        }
      }
    }
    #expect(records.count == count, "records of \(topic)")
    return records
  }

  private func wait(_ what: String, _ condition: () -> Bool) throws {
    let deadline = Date().addingTimeInterval(60)
    while !condition() {
      try #require(Date() < deadline, "not in time: \(what)")
      usleep(10_000)
    }
  }
}
