import Demo
import EmbeddedBroker
import Events
import Foundation
import Kafka
import Logging
import Synchronization

/// A system that answers every question without a model, on the embedded broker: what a replay sees of the real one.
///
/// The "online" arm knows the stream's labels and scores 0.9 or 0.1, the others 0.6 or 0.4; `labels_through` is the greatest landing time of
/// the labels read so far.
final class FakeSystem: Sendable {
  enum Behaviour: Sendable { case sound, seesTheFuture, refuses, silent, answersTwice }

  let instance: DemoInstance
  private let broker: EmbeddedBroker
  private let worker: OwnerThread
  private let directory: String
  static let partitions = 3

  static func start(_ stream: ReplayStream, _ behaviour: Behaviour = .sound) async throws -> FakeSystem {
    let directory = NSTemporaryDirectory() + "millrace-demo-\(UUID().uuidString)"
    var logger = Logger(label: "broker")
    logger.logLevel = .error
    let broker = EmbeddedBroker(settings: BrokerSettings(dataDirectory: directory), logger: logger)
    let port = try await broker.start()
    let kafka = KafkaSettings(bootstrapServers: "127.0.0.1:\(port)", clientID: "demo-test")
    try KafkaAdmin(kafka).ensureTopics(["features", "labels", "predictions"].map { TopicSpec(name: $0, partitions: partitions) })
    return try FakeSystem(stream, behaviour, kafka, broker, directory)
  }

  private init(_ stream: ReplayStream, _ behaviour: Behaviour, _ kafka: KafkaSettings, _ broker: EmbeddedBroker, _ directory: String) throws {
    self.broker = broker
    self.directory = directory
    let arms = ["frozen", "nightly", "online"]
    let applied = Applied()
    worker = OwnerThread(name: "fake") { thread in
      do {
        try Self.serve(stream, behaviour, kafka, arms, applied, thread)
      } catch {
        applied.fail("\(error)")
      }
    }
    instance = DemoInstance(
      kafka: kafka, model: "fake", arms: arms, waitUntilLabelsApplied: { offsets in try applied.wait(offsets) })
    try worker.start()
  }

  func stop() async {
    worker.requestStop()
    worker.join()
    await broker.stop()
    try? FileManager.default.removeItem(atPath: directory)
  }

  private static func serve(
    _ stream: ReplayStream, _ behaviour: Behaviour, _ kafka: KafkaSettings, _ arms: [String], _ applied: Applied, _ thread: OwnerThread
  ) throws {
    let consumer = try KafkaConsumer(kafka)
    let producer = try KafkaProducer(kafka)
    thread.setWakeUp { consumer.wakeUp() }
    defer {
      thread.setWakeUp(nil)
      consumer.close()
      producer.close { _, _, _, _ in }
    }
    try consumer.assign((0..<Int32(partitions)).flatMap { partition in
      ["features", "labels"].map { TopicPartitionOffset(topic: $0, partition: partition, offset: .beginning) }
    })
    let features = try consumer.topicIndex("features")
    let topic = try producer.topic("predictions")
    let encoders = arms.map { PredictionEncoder(model: "fake", version: 1, arm: $0) }
    let labels = LabelDecoder()
    let output = OutputBuffer()
    var labelsThrough = Int64.min
    while !thread.isStopRequested {
      consumer.poll(timeoutMilliseconds: 50) { batch in
        batch.forEach { message in
          guard let value = message.value, let key = message.key else { return }
          if message.topic != features {
            let label = labels.decode(value, contentType: message.header("content-type"))
            if !label.ok { applied.fail("\(labels.problem())") }
            labelsThrough = max(labelsThrough, label.eventTimeMilliseconds)
            applied.advance(Int(message.partition), message.offset + 1)
            return
          }
          guard behaviour != .silent else { return }
          let question = Int(String(decoding: key, as: UTF8.self)) ?? 0
          let form: EventForm = value.first == UInt8(ascii: "{") ? .json : .protobuf
          for (arm, encoder) in encoders.enumerated() {
            let surety: Float = arms[arm] == "online" ? 0.9 : 0.6
            let score = stream.labels[question] > 0.5 ? surety : 1 - surety
            let through = behaviour == .seesTheFuture && question == 7 ? stream.asks[question] + 1 : labelsThrough
            output.removeAll()
            if behaviour == .refuses && question == 7 {
              encoder.error(
                form: form, from: message.offset, to: message.offset + 1,
                EventProblem(reason: .numberOutOfRange, field: "load", message: "load is too much"), into: output)
            } else {
              withUnsafePointer(to: score) { score in
                encoder.score(
                  form: form, id: key, from: message.offset, to: message.offset + 1, scores: UnsafeBufferPointer(start: score, count: 1),
                  position: UnsafeBufferPointer(start: nil, count: 0), labelsThrough: through, into: output)
              }
            }
            for _ in 0..<(behaviour == .answersTwice ? 2 : 1) {
              _ = producer.produce(topic, partition: message.partition, key: key, value: output.bytes)
            }
          }
        }
      }
      producer.poll(timeoutMilliseconds: 0) { _, _, _, _ in }
    }
  }
}

/// How far the labels have been read, with a wait that has a deadline.
private final class Applied: @unchecked Sendable {
  private let condition = NSCondition()
  private var offsets = [Int64](repeating: 0, count: FakeSystem.partitions)
  private var failure: String?

  func advance(_ partition: Int, _ next: Int64) {
    condition.withLock { offsets[partition] = max(offsets[partition], next) }
    condition.broadcast()
  }

  func fail(_ text: String) {
    condition.withLock { failure = text }
    condition.broadcast()
  }

  func wait(_ targets: [Int64]) throws {
    let deadline = Date(timeIntervalSinceNow: 60)
    condition.lock()
    defer { condition.unlock() }
    while zip(offsets, targets).contains(where: { $0 < $1 }) {
      if let failure { throw ReplayError.refused(failure) }
      guard condition.wait(until: deadline) else { throw ReplayError.stalled("labels \(offsets) of \(targets)") }
    }
  }
}

/// Runs blocking work on a thread of its own.
func onThread<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
  await withCheckedContinuation { continuation in
    Thread { continuation.resume(returning: body()) }.start()
  }
}
