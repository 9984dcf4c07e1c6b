import Events
import Model
import RPC
import Telemetry
import Testing

@testable import Endpoint

@Suite struct PublishStreamsTests {
  /// Each request of a client that stayed is answered exactly once, in order, with the truth about each record; and what the ack says
  /// is in the log is there.
  @Test(arguments: [1, 2, 3, 4, 5, 6, 7, 8] + [UInt64.random(in: 100...UInt64.max)])
  func answersEachRequestOnceAndInOrder(seed: UInt64) {
    let simulation = PublishSimulation(seed: seed)
    simulation.run(steps: 3_000)
    let context = "seed \(seed)"
    #expect(simulation.transport.broken.isEmpty, "\(context): \(simulation.transport.broken.prefix(3))")
    #expect(simulation.streams.streamCount == 0, "\(context)")
    #expect(simulation.streams.ledger.recordCount == 0 && simulation.streams.ledger.requestCount == 0, "\(context): all is forgotten")
    #expect(simulation.streams.ledger.streamCount == 0 && simulation.streams.ledger.strayReports == 0, "\(context)")
    #expect(simulation.streams.heldBytes == 0, "\(context)")
    var acknowledged = 0
    for client in simulation.clients where !client.isGone {
      #expect(client.status != nil, "\(context): each call ends")
      #expect(client.acks.map(\.sequence) == client.sent.prefix(client.acks.count).map(\.sequence), "\(context)")
      #expect(client.acks.count == client.sent.count, "\(context): a drain answers what came before it, too")
      for (ack, sent) in zip(client.acks, client.sent) {
        #expect(ack.partitions.count == sent.good.count && ack.offsets.count == sent.good.count, "\(context)")
        let refused = Dictionary(ack.refusals.map { ($0.index, $0) }, uniquingKeysWith: { first, _ in first })
        #expect(refused.count == ack.refusals.count, "\(context): one refusal for a record")
        for (index, isGood) in sent.good.enumerated() {
          if let refusal = refused[index] {
            #expect(ack.partitions[index] == -1 && ack.offsets[index] == -1, "\(context)")
            #expect(refusal.isRetryable == isGood, "\(context)")
            #expect(refusal.reason == (isGood ? "not_delivered" : "missing_id"), "\(context)")
          } else {
            #expect(isGood, "\(context): a bad record is refused")
            acknowledged += 1
            let log = simulation.sink.logs[Int(ack.partitions[index])]
            #expect(Int(ack.offsets[index]) < log.count && log[Int(ack.offsets[index])] == sent.records[index], "\(context)")
          }
        }
      }
    }
    #expect(acknowledged > 0 && simulation.lost > 0 && simulation.sink.deadLetters.count > 0, "\(context): the run met everything")
    // Bounded by what the sink takes and what is in a request: nothing piles up in the ledger.
    #expect(simulation.acceptedMax <= simulation.sink.queueMax + 8 * (simulation.limits.streamRecordsMax + 2 * 30), "\(context)")
  }

  @Test func holdsWhileKafkaTakesNothingAndEndsStreamsBeyondTheBound() throws {
    var limits = IngestLimits()
    limits.heldBytesMax = 10_000
    let fixture = Fixture(limits: limits, queueMax: 0)
    let patient = fixture.connect()
    let greedy = fixture.connect()
    fixture.send(patient, PublishRequest(sequence: 1, messages: [SampleRecords.event("a")]))
    #expect(patient.isPaused && patient.acks.isEmpty)
    for n in 0..<1_000 where greedy.status == nil { fixture.send(greedy, PublishRequest(sequence: UInt64(n), messages: [SampleRecords.event("b\(n)")])) }
    #expect(greedy.status?.code == .resourceExhausted)
    #expect(patient.status == nil && fixture.streams.heldBytes < 200)
    // Room again: the patient one goes on.
    fixture.sink.room = 100
    fixture.streams.retry()
    fixture.confirmAll()
    #expect(patient.acks.map(\.sequence) == [1] && !patient.isPaused)
    #expect(fixture.sink.written.count == 1, "what was refused for lack of room was not written")
  }

  @Test func oneBrokenRequestEndsTheStreamAfterItsAcks() {
    let fixture = Fixture(queueMax: 100)
    for (bytes, field) in [
      (Array("no protobuf at all".utf8), "request"), ([0x08], "request"), ([0x0A, 0x01, 0x01], "sequence"), ([0x10, 0x01], "content_type"),
      ([0x18, 0x01], "events or labels"), ([0x20, 0x01], "records"),
      (PublishRequest(messages: [SampleRecords.event("a")], records: [SampleRecords.event("b")]).bytes, "records"),
      (PublishRequest(contentType: String(repeating: "x", count: 300)).bytes, "content_type"),
      (PublishRequest(messages: Array(repeating: [], count: 1_025)).bytes, "1024"),
    ] as [([UInt8], String)] {
      let client = fixture.connect()
      fixture.send(client, PublishRequest(sequence: 7, messages: [SampleRecords.event("good")]))
      fixture.send(client, bytes)
      fixture.send(client, PublishRequest(sequence: 8, messages: [SampleRecords.event("late")]))
      #expect(client.status == nil, "first the ack of what was accepted")
      fixture.confirmAll()
      #expect(client.acks.map(\.sequence) == [7])
      #expect(client.status?.code == .invalidArgument && client.status?.message.contains(field) == true, "\(String(describing: client.status))")
    }
    #expect(fixture.streams.streamCount == 0 && fixture.sink.written.count == 9)
  }

  @Test func badRecordsAreRefusedWithTheFieldAndGoToTheDeadLetters() {
    let fixture = Fixture(queueMax: 100)
    let client = fixture.connect()
    let records: [([UInt8], String, String)] = [
      ([], "empty_payload", ""), (Array("{\"id\":\"x\"".utf8), "invalid_json", ""),
      (SampleRecords.event(String(repeating: "i", count: 1_025)), "text_too_long", "id"),
      (Array("{\"features\":{}}".utf8), "missing_id", "id"), (Array("{\"id\":\"x\",\"features\":{\"temp\":\"warm\"}}".utf8), "wrong_type", "temp"),
      (SampleRecords.event("x", label: 7), "label_out_of_range", "label"),
      ([UInt8](repeating: 0x20, count: (1 << 20) + 1), "payload_too_large", ""),
    ]
    fixture.send(client, PublishRequest(sequence: 1, records: records.map(\.0) + [SampleRecords.event("fine")]))
    fixture.confirmAll()
    #expect(client.acks.count == 1)
    let refusals = client.acks.first?.refusals ?? []
    #expect(refusals.map(\.index) == Array(records.indices))
    for (refusal, record) in zip(refusals, records) {
      #expect(refusal.reason == record.1 || record.1 == "invalid_json", "\(refusal)")
      #expect(refusal.field == record.2 && !refusal.message.isEmpty && !refusal.isRetryable, "\(refusal)")
    }
    #expect(fixture.sink.deadLetters.map(\.value) == records.map(\.0))
    #expect(fixture.sink.written.map(\.value) == [SampleRecords.event("fine")])
  }

  @Test func formsAreFoundByContentTypeOrByTheBytes() {
    let fixture = Fixture(queueMax: 100)
    let client = fixture.connect()
    let forms = EventForm.allCases
    fixture.send(client, PublishRequest(sequence: 1, records: forms.map { SampleRecords.event("e", form: $0) }))
    for form in forms {
      fixture.send(client, PublishRequest(sequence: 2, contentType: "\(form.contentType)", records: [SampleRecords.event("e", form: form)]))
    }
    fixture.send(client, PublishRequest(sequence: 3, contentType: "text/csv", records: [SampleRecords.event("e")]))
    fixture.confirmAll()
    #expect(fixture.sink.written.map(\.form) == forms + forms)
    #expect(client.acks.last?.refusals.map(\.reason) == ["unknown_content_type"])
  }

  @Test func labelsAreCheckedAgainstTheModel() {
    let fixture = Fixture(kind: .labels, queueMax: 100)
    let client = fixture.connect()
    fixture.send(client, PublishRequest(sequence: 1, messages: [SampleRecords.label("a"), SampleRecords.label("b", 2)]))
    fixture.send(client, PublishRequest(sequence: 2, records: [SampleRecords.label("c", 0, form: .json), Array("{\"id\":\"d\"}".utf8)]))
    fixture.confirmAll()
    #expect(client.acks.map { $0.refusals.map(\.reason) } == [["label_out_of_range"], ["missing_label"]])
    #expect(client.acks.map { $0.refusals.map(\.field) } == [["label"], ["label"]])
    #expect(fixture.sink.written.count == 2 && fixture.sink.deadLetters.count == 2)
  }

  @Test func aClientThatReadsNoAcksIsNotReadFrom() {
    var limits = IngestLimits()
    limits.unreadAckBytesMax = 1_000
    let fixture = Fixture(limits: limits, queueMax: 1_000_000)
    let client = fixture.connect()
    var sent = 0
    while !client.isPaused && sent < 10_000 {
      sent += 1
      fixture.send(client, PublishRequest(sequence: UInt64(sent), messages: [SampleRecords.event("e\(sent)")]))
      fixture.confirmAll()
    }
    #expect(client.isPaused && client.unreadBytes < 1_100)
    client.unreadBytes = 0
    fixture.streams.writable(client.call)
    fixture.streams.flush()
    #expect(!client.isPaused)
  }

  @Test func withoutModelsFormAndIDAreChecked() {
    let fixture = Fixture(models: [], queueMax: 100)
    let client = fixture.connect()
    fixture.send(client, PublishRequest(sequence: 1, messages: [SampleRecords.event("a"), SampleRecords.event("")]))
    fixture.confirmAll()
    #expect(client.acks.first?.refusals.map(\.reason) == ["missing_id"] && fixture.sink.written.count == 1)
  }

  @Test func twoModelsTakeWhatOneOfThemTakes() {
    let other = ModelSpecification(
      name: "other", family: .linear(loss: .squared), features: [.numeric("city")])
    let fixture = Fixture(models: [SampleRecords.model, other], queueMax: 100)
    let client = fixture.connect()
    let texts = ["{\"id\":\"a\",\"features\":{\"city\":\"Oslo\"}}", "{\"id\":\"b\",\"features\":{\"city\":2.5}}", "{\"id\":\"c\",\"features\":{\"city\":{}}}"]
    fixture.send(client, PublishRequest(sequence: 1, records: texts.map { (text: String) -> [UInt8] in Array(text.utf8) }))
    fixture.confirmAll()
    #expect(client.acks.first?.refusals.map(\.index) == [2])
    #expect(client.acks.first?.refusals.first?.field == "city")
  }
}

/// Streams with a sink that keeps what it got.
final class Fixture {
  final class Sink: RecordSink {
    var room: Int
    var waiting: [(record: AckLedger.Index, isDeadLetter: Bool)] = []
    var written: [(value: [UInt8], form: EventForm)] = []
    var deadLetters: [(value: [UInt8], problem: PublishProblem)] = []
    init(room: Int) { self.room = room }

    override func write(
      _ record: AckLedger.Index, key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, form: EventForm
    ) -> Outcome {
      guard waiting.count < room else { return .full }
      written.append((Array(value), form))
      waiting.append((record, false))
      return .taken
    }
    override func writeDeadLetter(
      _ record: AckLedger.Index, key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, contentType: UnsafeRawBufferPointer?,
      _ problem: PublishProblem
    ) -> Outcome {
      guard waiting.count < room else { return .full }
      deadLetters.append((Array(value), problem))
      waiting.append((record, true))
      return .taken
    }
  }

  let transport = PublishSimulation.Transport()
  let sink: Sink
  let streams: PublishStreams
  private var nextSlot: UInt32 = 0
  private var offset: Int64 = 0

  init(
    kind: PublishKind = .events, models: [ModelSpecification] = [SampleRecords.model], limits: IngestLimits = IngestLimits(),
    queueMax: Int
  ) {
    sink = Sink(room: queueMax)
    streams = PublishStreams(
      check: RecordCheck(kind: kind, models: models, limits: limits.events), limits: limits, transport: transport, sink: sink,
      metrics: IngestMetrics(registry: Registry(), kind: kind))
  }

  func connect() -> PublishSimulation.Client {
    let client = PublishSimulation.Client(Call(token: UInt64(nextSlot) << 32 | 1))
    nextSlot += 1
    transport.clients[client.call] = client
    streams.opened(client.call)
    return client
  }

  func send(_ client: PublishSimulation.Client, _ request: PublishRequest) { send(client, request.bytes) }
  func send(_ client: PublishSimulation.Client, _ bytes: [UInt8]) {
    bytes.withUnsafeBytes { streams.message(client.call, $0) }
    streams.flush()
  }

  func confirmAll() {
    while let next = sink.waiting.first {
      sink.waiting.removeFirst()
      streams.confirmed(next.record, partition: 0, offset: offset)
      offset += 1
    }
    streams.flush()
  }
}
