import Events
import Model
import RPC
import Telemetry

@testable import Endpoint

/// Streams, Kafka and clients from one seed: requests of random sizes with bad records among them; a producer with a small queue that
/// confirms out of order across partitions, fails some, and stands still for a while; clients that read late, half-close or vanish.
final class PublishSimulation {
  /// The client's side of a call.
  final class Client {
    let call: Call
    /// Sequence number and what each of its records should become: true for a good one.
    var sent: [(sequence: UInt64, good: [Bool], records: [[UInt8]])] = []
    var acks: [PublishAck] = []
    var unreadBytes = 0
    var status: RPCStatus?
    var isGone = false
    var isPaused = false
    var hasHalfClosed = false
    init(_ call: Call) { self.call = call }
  }

  final class Transport: PublishTransport {
    var clients: [Call: Client] = [:]
    var broken: [String] = []

    override func send(_ call: Call, _ message: UnsafeRawBufferPointer) -> Bool {
      guard let client = clients[call], !client.isGone else { return false }
      if client.status != nil { broken.append("a message after the end of \(call)") }
      guard let ack = PublishAck(Array(message)) else {
        broken.append("no ack: \(Array(message))")
        return true
      }
      client.acks.append(ack)
      client.unreadBytes += message.count
      return true
    }
    override func finish(_ call: Call, _ status: RPCStatus) {
      guard let client = clients[call], !client.isGone else { return }
      if client.status != nil { broken.append("\(call) ended twice") }
      client.status = status
    }
    override func pauseReading(_ call: Call) {
      guard let client = clients[call] else { return }
      if client.isPaused { broken.append("\(call) paused twice") }
      client.isPaused = true
    }
    override func resumeReading(_ call: Call) {
      guard let client = clients[call] else { return }
      if !client.isPaused { broken.append("\(call) resumed twice") }
      client.isPaused = false
    }
    override func pendingBytes(_ call: Call) -> Int { clients[call]?.unreadBytes ?? 0 }
  }

  /// A producer with partitions that confirm in order each.
  final class Sink: RecordSink {
    struct Waiting {
      var record: AckLedger.Index
      var value: [UInt8]
      var isDeadLetter: Bool
    }
    let queueMax: Int
    var isStuck = false
    var partitions: [[Waiting]]
    var logs: [[[UInt8]]]
    var deadLetters: [[UInt8]] = []
    var queued = 0

    init(queueMax: Int, partitions: Int) {
      self.queueMax = queueMax
      self.partitions = Array(repeating: [], count: partitions)
      logs = Array(repeating: [], count: partitions)
    }

    override func write(
      _ record: AckLedger.Index, key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, form: EventForm
    ) -> Outcome {
      guard queued < queueMax else { return .full }
      queued += 1
      partitions[Model.partition(forKey: key, count: partitions.count)].append(Waiting(record: record, value: Array(value), isDeadLetter: false))
      return .taken
    }
    override func writeDeadLetter(
      _ record: AckLedger.Index, key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, contentType: UnsafeRawBufferPointer?,
      _ problem: PublishProblem
    ) -> Outcome {
      guard queued < queueMax else { return .full }
      queued += 1
      partitions[0].append(Waiting(record: record, value: Array(value), isDeadLetter: true))
      return .taken
    }
  }

  var random: SplitMix
  let transport = Transport()
  let sink: Sink
  let streams: PublishStreams
  let limits: IngestLimits
  var clients: [Client] = []
  var nextID = 0
  var nextSlot: UInt32 = 0
  /// What Kafka did not confirm: the record's bytes, since a client is told of it.
  var lost = 0
  var acceptedMax = 0

  init(seed: UInt64) {
    random = SplitMix(state: seed)
    var limits = IngestLimits()
    limits.streamRecordsMax = 20 + Int(random.next() % 100)
    limits.unreadAckBytesMax = 200 + Int(random.next() % 2000)
    limits.requestRecordsMax = 64
    self.limits = limits
    sink = Sink(queueMax: 10 + Int(random.next() % 100), partitions: 1 + Int(random.next() % 4))
    streams = PublishStreams(
      check: RecordCheck(kind: .events, models: [SampleRecords.model], limits: EventLimits()), limits: limits, transport: transport, sink: sink,
      metrics: IngestMetrics(registry: Registry(), kind: .events))
  }

  func run(steps: Int) {
    for _ in 0..<steps { step() }
    // The end: Kafka answers again, everybody reads, and the server drains.
    sink.isStuck = false
    if random.next() % 2 == 0 { streams.beginDrain() }
    for client in clients where client.status == nil && !client.isGone && !client.hasHalfClosed { halfClose(client) }
    streams.flush()
    for _ in 0..<10_000 where streams.streamCount > 0 || sink.queued > 0 {
      report(of: Int(random.next() % 50) + 1)
      for client in clients { read(client) }
    }
  }

  private func step() {
    switch random.next() % 100 {
    case 0..<3: connect()
    case 3..<45: if let client = anyone() { send(client) }
    case 45..<80: report(of: Int(random.next() % 40))
    case 80..<90: if let client = anyone() { read(client) }
    case 90..<92: if let client = anyone() { halfClose(client) }
    case 92..<93: if let client = anyone() { vanish(client) }
    case 93..<95: sink.isStuck.toggle()
    default: break
    }
    acceptedMax = max(acceptedMax, streams.ledger.recordCount)
  }

  private func anyone() -> Client? {
    let live = clients.filter { !$0.isGone && $0.status == nil }
    return live.isEmpty ? nil : live[Int(random.next() % UInt64(live.count))]
  }

  private func connect() {
    guard clients.filter({ !$0.isGone && $0.status == nil }).count < 8 else { return }
    let client = Client(Call(token: UInt64(nextSlot) << 32 | 1))
    nextSlot += 1
    clients.append(client)
    transport.clients[client.call] = client
    streams.opened(client.call)
    streams.flush()
  }

  private func send(_ client: Client) {
    // Flow control is not instant: a few requests still arrive while reading is paused.
    guard !client.hasHalfClosed, !client.isPaused || random.next() % 4 == 0 else { return }
    var request = PublishRequest(sequence: UInt64(client.sent.count + 1))
    var good: [Bool] = []
    for _ in 0..<Int(random.next() % 30) {
      nextID += 1
      let isGood = random.next() % 10 != 0
      good.append(isGood)
      request.messages.append(isGood ? SampleRecords.event("e\(nextID)") : SampleRecords.event(""))
    }
    client.sent.append((request.sequence, good, request.messages))
    request.bytes.withUnsafeBytes { streams.message(client.call, $0) }
    streams.flush()
  }

  private func halfClose(_ client: Client) {
    guard !client.hasHalfClosed else { return }
    client.hasHalfClosed = true
    streams.halfClosed(client.call)
    streams.flush()
  }

  private func vanish(_ client: Client) {
    client.isGone = true
    streams.ended(client.call)
    streams.flush()
  }

  private func read(_ client: Client) {
    guard client.unreadBytes > 0, !client.isGone else { return }
    client.unreadBytes = 0
    streams.writable(client.call)
    streams.flush()
  }

  /// Kafka reports on some records: each partition in order, partitions in any.
  private func report(of count: Int) {
    guard !sink.isStuck else { return }
    for _ in 0..<count {
      let open = sink.partitions.indices.filter { !sink.partitions[$0].isEmpty }
      guard !open.isEmpty else { break }
      let partition = open[Int(random.next() % UInt64(open.count))]
      let waiting = sink.partitions[partition].removeFirst()
      sink.queued -= 1
      if random.next() % 20 == 0 {
        lost += 1
        streams.failed(waiting.record, .notDelivered("the broker is gone"))
      } else if waiting.isDeadLetter {
        sink.deadLetters.append(waiting.value)
        streams.confirmed(waiting.record, partition: 0, offset: Int64(sink.deadLetters.count - 1))
      } else {
        sink.logs[partition].append(waiting.value)
        streams.confirmed(waiting.record, partition: Int32(partition), offset: Int64(sink.logs[partition].count - 1))
      }
    }
    streams.retry()
    streams.flush()
  }
}

/// Small, and the same everywhere.
struct SplitMix: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
