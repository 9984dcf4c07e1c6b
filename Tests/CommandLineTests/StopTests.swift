import Events
import Foundation
import Kafka
import Synchronization
import Testing

/// SIGTERM in the middle of work: what was acknowledged is answered, once.
@Suite(.serialized) struct StopTests {
  private static let model = """
    data_directory: data
    topics: {partitions: 2}
    models:
      - model: orders
        family: linear
        loss: logistic
        shards: 2
        features: {store: categorical}
        join: {window: 1d, on_expiry: drop}
    logging: {level: info}
    """

  @Test(.timeLimit(.minutes(3))) func aStopUnderLoadLosesNothingAndRepeatsNothing() throws {
    let instance = try RunningInstance(yaml: Self.model)
    let acknowledged = Acknowledged()
    for round in 0..<3 {
      try instance.start()
      let goal = acknowledged.count + 2_000
      let kafka = instance.kafka
      let load = OwnerThread(name: "load") { thread in
        do {
          try Self.produce(kafka, round, into: acknowledged, until: { thread.isStopRequested })
        } catch {
          acknowledged.fail("\(error)")
        }
      }
      try load.start()
      try eventually("\(goal) events acknowledged\n\(instance.tail)") {
        if let failure = acknowledged.failure { throw MillraceProcess.Failure(description: failure) }
        return acknowledged.count >= goal
      }
      // The load goes on while it stops.
      #expect(instance.stop() == 0, "\(instance.tail)")
      load.requestStop()
      load.join()
    }
    try instance.start()
    let client = TopicClient(kafka: instance.kafka)
    let ends = try client.ends("features")
    var answers: [TopicRecord] = []
    try eventually("\(ends) answered\n\(instance.tail)") {
      try client.ends("predictions").reduce(0, +) >= ends.reduce(0, +)
    }
    answers = try client.records("predictions")

    let reader = PredictionReader()
    var tilings = ends.map { _ in PredictionTiling(next: 0) }
    var ids: [Place: String] = [:]
    for answer in answers {
      let isRead = (answer.value ?? []).withUnsafeBytes { bytes in
        guard reader.read(bytes) else { return false }
        ids[Place(partition: answer.partition, offset: reader.prediction.from)] = String(decoding: reader.prediction.id, as: UTF8.self)
        return true
      }
      #expect(isRead, "predictions/\(answer.partition) at \(answer.offset)")
      let decision = tilings[Int(answer.partition)].decide(from: reader.prediction.from, to: reader.prediction.to)
      #expect(decision == .accept, "predictions/\(answer.partition) at \(answer.offset): after clean stops nothing is answered twice")
    }
    #expect(tilings.map { $0.next ?? 0 } == ends, "every event is answered")
    // What the producer was told is in the log is what was answered there.
    for (place, id) in acknowledged.places where ids[place] != id {
      Issue.record("features/\(place.partition) at \(place.offset) is \(id), answered was \(ids[place] ?? "nothing")")
    }
    #expect(instance.stop() == 0, "\(instance.tail)")
  }

  @Test(.timeLimit(.minutes(1))) func halfARequestDoesNotHoldAStop() throws {
    let instance = try RunningInstance(yaml: Self.model, grpc: "drain: 200ms")
    try instance.start()
    var sockets: [Int32] = []
    defer { for socket in sockets { close(socket) } }
    for (port, half) in [
      (instance.httpPort, "POST /v2/models/orders/infer HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n\r\n{"),
      (instance.httpPort, "POST /v2/models/orders/in"), (instance.adminPort, "GET /status HT"),
      (instance.grpcPort, "PRI * HTTP/2.0\r\n"), (instance.grpcPort, ""), (instance.controlPort, "GET / HTTP/1.1\r\n"),
    ] {
      let socket = try #require(connection(port: port))
      sockets.append(socket)
      #expect(send(half, to: socket))
    }
    // Whole requests are answered beside the halves.
    #expect(get("/v2/health/ready", port: instance.httpPort)?.status == 200)
    #expect(instance.stop() == 0, "\(instance.tail)")
  }

  private struct Place: Hashable {
    var partition: Int32
    var offset: Int64
  }

  /// Which events the broker has acknowledged, and where.
  private final class Acknowledged: Sendable {
    private struct State {
      var places: [Place: String] = [:]
      var failure: String?
    }
    private let state = Mutex(State())

    var count: Int { state.withLock { $0.places.count } }
    var places: [Place: String] { state.withLock { $0.places } }
    var failure: String? { state.withLock { $0.failure } }
    func add(_ id: String, at place: Place) { state.withLock { $0.places[place] = id } }
    func fail(_ failure: String) { state.withLock { $0.failure = failure } }
  }

  /// Events and their labels, some thousand a second, until told to stop; what is not acknowledged then is dropped.
  private static func produce(
    _ kafka: KafkaSettings, _ round: Int, into acknowledged: Acknowledged, until isStopRequested: () -> Bool
  ) throws {
    let producer = try KafkaProducer(kafka)
    defer { producer.close(flushMilliseconds: 0) }
    let features = try producer.topic("features")
    let labels = try producer.topic("labels")
    let isLabel: UInt = 1 << 40
    var number: UInt = 0
    while !isStopRequested() {
      if producer.outstandingCount < 2_000 && !producer.needsRecreation {
        for _ in 0..<20 {
          let id = "r\(round)e\(number)"
          let partition = Int32(number % 2)
          Array(#"{"id":"\#(id)","features":{"store":"s\#(number % 50)"}}"#.utf8).withUnsafeBytes {
            _ = producer.produce(features, partition: partition, value: $0, opaque: number)
          }
          Array(#"{"id":"\#(id)","label":\#(number % 3 == 0 ? 1 : 0)}"#.utf8).withUnsafeBytes {
            _ = producer.produce(labels, partition: partition, value: $0, opaque: number | isLabel)
          }
          number += 1
        }
      }
      producer.poll(timeoutMilliseconds: 5) { opaque, partition, offset, error in
        guard error == nil, opaque & isLabel == 0 else { return }
        acknowledged.add("r\(round)e\(opaque)", at: Place(partition: partition, offset: offset))
      }
    }
  }
}
