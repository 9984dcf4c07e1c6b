import CKernels
import Events
import Foundation
import Kafka
import Learning
import Model
import Serving
import Synchronization
import Testing
import UpdateLog

/// The whole process dies without warning, again and again, under load. Afterwards every event has exactly
/// one answer, and the count family has counted every example exactly once.
@Suite(.serialized) struct CrashTests {
  /// `MILLRACE_KILLS` asks for more than the few that every test run affords.
  static let kills = ProcessInfo.processInfo.environment["MILLRACE_KILLS"].flatMap { Int($0) } ?? 6

  static let model = """
    model: tally
    version: 1
    family: count
    shards: 2
    join: {window: 30d, on_expiry: drop}
    """

  @Test(.timeLimit(.minutes(10))) func killsLoseNothingAndCountNothingTwice() throws {
    let seed = UInt64(ProcessInfo.processInfo.environment["MILLRACE_SEED"] ?? "") ?? UInt64.random(in: 0..<1_000_000)
    print("crash test: seed \(seed), \(Self.kills) kills (MILLRACE_SEED, MILLRACE_KILLS)")
    let folder = try ScratchFolder()
    let brokerPort = try freePort()
    let adminPort = try freePort()
    _ = try folder.write("tally.yaml", Self.model)
    let configuration = try folder.write(
      "millrace.yaml",
      """
      data_directory: data
      kafka: {embedded: {listen: "127.0.0.1:\(brokerPort)"}}
      topics: {partitions: 2}
      models: [tally.yaml]
      training: {checkpoints: {every: 1s, trim: false}}
      admin: {listen: "127.0.0.1:\(adminPort)"}
      \(RunningInstance.noEndpoint)
      logging: {level: warning}
      """)
    let log = folder.url.appendingPathComponent("log")
    func start() throws -> MillraceProcess {
      let process = try MillraceProcess(["run", "--config", configuration.path], log: log, folder: folder.url)
      try eventually("ready\n\(process.tail)") {
        guard process.isRunning else { throw MillraceProcess.Failure(description: "ended early:\n\(process.tail)") }
        return get("/readyz", port: adminPort)?.status == 200
      }
      return process
    }

    var random = Numbers(state: seed)
    var process = try start()
    let load = try Load(port: brokerPort)
    for kill in 1...Self.kills {
      usleep(UInt32(random.next() % 800_000))
      #expect(process.isRunning, "before kill \(kill) the process ended by itself:\n\(process.tail)")
      process.kill()
      process = try start()
    }
    // Let the last life work under load, too.
    usleep(500_000)
    try load.finish()

    let kafka = KafkaSettings(bootstrapServers: "127.0.0.1:\(brokerPort)")
    let ends = try Log.ends(kafka, ["features", "labels"])
    #expect(ends["features"]?.reduce(0, +) ?? 0 > 100, "there was a load")
    try eventually("every event answered\n\(process.tail)", seconds: 120) {
      try Log.tilings(kafka) == ends["features"]
    }
    try eventually("every label joined\n\(process.tail)", seconds: 120) {
      try Log.examples(kafka).progress.map(\.labelsTo) == ends["labels"]
    }
    let examples = try Log.examples(kafka)
    let specification = try ModelSpecification.parse(yaml: Self.model, file: "tally.yaml")
    func counted() throws -> Int64 {
      let set = ReplicaSet(specification: specification)
      try UpdateLogReplay(specification: specification, kafka: kafka).run(set)
      return set.shards.reduce(0) { $0 + Int64($1.row(RowID.count).count) }
    }
    try eventually("every example counted (\(examples.entries) entries)\n\(process.tail)", seconds: 120) {
      try counted() >= Int64(examples.entries)
    }
    #expect(try counted() == Int64(examples.entries), "exactly once, seed \(seed)")
    #expect(examples.entries == load.distinctPairs, "each event with a label is one example, whatever was sent twice, seed \(seed)")
    #expect(process.terminate() == 0, "a clean stop:\n\(process.tail)")
  }
}

/// Produces events and their labels until told to stop, whatever happens to the broker. What may not have
/// arrived is sent again, so some of it arrives twice.
private final class Load: Sendable {
  private struct Outcome {
    var pairs = 0
    var problem: String?
  }

  private let thread: OwnerThread
  private let outcome: OutcomeBox

  private final class OutcomeBox: Sendable {
    let value = Mutex(Outcome())
  }

  /// Events sent with their labels, each counted once.
  var distinctPairs: Int { outcome.value.withLock { $0.pairs } }

  init(port: Int) throws {
    let outcome = OutcomeBox()
    self.outcome = outcome
    thread = OwnerThread(name: "load") { thread in
      do {
        let pairs = try Load.produce(port: port, until: { thread.isStopRequested })
        outcome.value.withLock { $0.pairs = pairs }
      } catch {
        outcome.value.withLock { $0.problem = "\(error)" }
      }
    }
    try thread.start()
  }

  /// Ends the load after the last record has arrived.
  func finish() throws {
    thread.requestStop()
    thread.join()
    if let problem = outcome.value.withLock({ $0.problem }) { throw MillraceProcess.Failure(description: problem) }
  }

  /// One record that has not been acknowledged.
  private struct Pending {
    var isLabel: Bool
    var number: Int
  }

  private static func produce(port: Int, until isStopRequested: () -> Bool) throws -> Int {
    let producer = try KafkaProducer(KafkaSettings(bootstrapServers: "127.0.0.1:\(port)"))
    defer { producer.close(flushMilliseconds: 100) }
    let features = try producer.topic("features")
    let labels = try producer.topic("labels")
    var again: [Pending] = []
    let report: (UInt, Int32, Int64, KafkaError?) -> Void = { opaque, _, _, error in
      if error != nil { again.append(Pending(isLabel: opaque & 1 == 1, number: Int(opaque >> 1))) }
    }
    func send(_ record: Pending) {
      let text =
        record.isLabel
        ? #"{"id":"e\#(record.number)","event_time":\#(1_000 + record.number),"label":1}"#
        : #"{"id":"e\#(record.number)","event_time":\#(record.number),"features":{}}"#
      let partition = Int32(record.number % 2)
      while true {
        let result = Array(text.utf8).withUnsafeBytes {
          producer.produce(
            record.isLabel ? labels : features, partition: partition, value: $0,
            opaque: UInt(record.number) << 1 | (record.isLabel ? 1 : 0))
        }
        switch result {
        case .queued: return
        case .queueFull: producer.poll(timeoutMilliseconds: 10, report)
        case .failed: return again.append(record)
        }
      }
    }
    var number = 0
    let deadline = Date().addingTimeInterval(600)
    while Date() < deadline {
      if producer.needsRecreation { try producer.recreate(report) }
      let stopping = isStopRequested()
      let repeated = again
      again.removeAll()
      for record in repeated { send(record) }
      // Half of what librdkafka's queue holds may wait while the broker is away.
      if !stopping && producer.outstandingCount < 50_000 {
        for _ in 0..<20 {
          send(Pending(isLabel: false, number: number))
          send(Pending(isLabel: true, number: number))
          number += 1
        }
      }
      producer.poll(timeoutMilliseconds: stopping ? 20 : 5, report)
      if stopping && producer.outstandingCount == 0 && again.isEmpty { return number }
    }
    throw MillraceProcess.Failure(description: "\(producer.outstandingCount) records were not delivered in time")
  }
}

/// What the topics say, read from their beginning.
private enum Log {
  /// End offsets of each topic's two partitions.
  static func ends(_ kafka: KafkaSettings, _ topics: [String]) throws -> [String: [Int64]] {
    let consumer = try KafkaConsumer(kafka)
    defer { consumer.close() }
    var ends: [String: [Int64]] = [:]
    for topic in topics {
      ends[topic] = try (0..<2).map {
        try consumer.watermarks(topic: topic, partition: Int32($0), timeoutMilliseconds: 20_000).high
      }
    }
    return ends
  }

  private static func read(
    _ kafka: KafkaSettings, _ topic: String, _ body: (_ partition: Int32, _ offset: Int64, _ value: UnsafeRawBufferPointer) -> Void
  ) throws {
    let ends = try ends(kafka, [topic])[topic] ?? []
    let consumer = try KafkaConsumer(kafka, isolation: .readUncommitted)
    defer { consumer.close() }
    try consumer.assign((0..<2).map { TopicPartitionOffset(topic: topic, partition: $0, offset: .beginning) })
    var next: [Int64] = [0, 0]
    let deadline = Date().addingTimeInterval(60)
    while zip(next, ends).contains(where: { $0 < $1 }) {
      guard Date() < deadline else { throw MillraceProcess.Failure(description: "\(topic) is not read in time: \(next) of \(ends)") }
      consumer.poll(timeoutMilliseconds: 100) { (batch: borrowing MessageBatch) in
        for index in 0..<batch.count {
          let message = batch[index]
          if let value = message.value { body(message.partition, message.offset, value) }
          next[Int(message.partition)] = message.offset + 1
        }
      }
    }
  }

  /// How far the predictions of each partition tile the features without a hole, duplicates dropped.
  static func tilings(_ kafka: KafkaSettings) throws -> [Int64] {
    let reader = PredictionReader()
    var tilings = [PredictionTiling(next: 0), PredictionTiling(next: 0)]
    var problem: String?
    try read(kafka, "predictions") { partition, offset, value in
      guard reader.read(value) else {
        problem = "predictions/\(partition) offset \(offset): \(reader.problem())"
        return
      }
      _ = tilings[Int(partition)].decide(from: reader.prediction.from, to: reader.prediction.to)
    }
    if let problem { throw MillraceProcess.Failure(description: problem) }
    return tilings.map { $0.next ?? 0 }
  }

  /// The entries of the accepted records of `examples`, and how far they cover features and labels.
  static func examples(_ kafka: KafkaSettings) throws -> (entries: Int, progress: [ExamplesReaderState]) {
    let reader = ExampleReader()
    var states = [ExamplesReaderState(), ExamplesReaderState()]
    var entries = 0
    var problem: String?
    try read(kafka, "examples") { partition, offset, value in
      guard reader.read(value) else {
        problem = "examples/\(partition) offset \(offset): \(reader.problem())"
        return
      }
      if states[Int(partition)].accept(reader.header.claim, at: offset) { entries += Int(reader.header.count) }
    }
    if let problem { throw MillraceProcess.Failure(description: problem) }
    return (entries, states)
  }
}

/// Deterministic numbers from a printed seed.
private struct Numbers {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
