// Hot: no allocation, existential, String, await or Foundation per record in the steady state.
import Events
import RPC
import Telemetry

/// The publish streams of one kind on one event loop, from request bytes to acks. Sans-IO: RPC and Kafka stand behind two classes;
/// the owner hands in what happens and calls `flush` after it. Owned by the loop's thread.
///
/// A record is checked, then offered to the sink, in the order of its stream. A stream whose record finds no room is blocked: what
/// arrives for it is held, nothing more is read from it, and `retry` goes on where it stopped. Reading also pauses while too many of a
/// stream's records are without an answer, or too many acks unread.
final class PublishStreams {
  private final class Stream {
    let call: Call
    let ledger: AckLedger.Index
    /// Requests that wait for room in the sink.
    let held = HeldRequests()
    var isPaused = false
    /// In `blocked`.
    var isBlocked = false
    /// In `touched`.
    var isTouched = false
    /// The client will send no more.
    var isHalfClosed = false
    /// No request is taken any more, and this is how the call ends after the acks of those that were.
    var ending: RPCStatus?
    var isGone = false
    /// It sent what is no request: nothing after that is looked at.
    var isBroken = false

    init(call: Call, ledger: AckLedger.Index) {
      self.call = call
      self.ledger = ledger
    }
  }

  private enum Progress { case done, blocked }

  let kind: PublishKind
  let ledger = AckLedger()
  private let limits: IngestLimits
  private let check: RecordCheck
  private let transport: PublishTransport
  private let sink: RecordSink
  private let metrics: IngestMetrics
  private let writer = PublishAckWriter()
  @exclusivity(unchecked) private var byCall: [Call: Stream] = [:]
  /// By the ledger's index.
  @exclusivity(unchecked) private var streams: [Stream?] = []
  /// Streams that wait for room in the sink, the longest waiting first.
  @exclusivity(unchecked) private var blocked: [Stream] = []
  /// Streams that may have something to say.
  @exclusivity(unchecked) private var touched: [Stream] = []
  @exclusivity(unchecked) private(set) var heldBytes = 0
  @exclusivity(unchecked) private var isDraining = false

  init(
    check: RecordCheck, limits: IngestLimits, transport: PublishTransport, sink: RecordSink, metrics: IngestMetrics
  ) {
    kind = check.kind
    self.check = check
    self.limits = limits
    self.transport = transport
    self.sink = sink
    self.metrics = metrics
  }

  var isBlocked: Bool { !blocked.isEmpty }
  var streamCount: Int { byCall.count }

  // MARK: What happens to a call

  func opened(_ call: Call) {
    guard !isDraining else { return transport.finish(call, Self.stopping) }
    let index = ledger.open()
    let stream = Stream(call: call, ledger: index)
    byCall[call] = stream
    while streams.count <= Int(index) { streams.append(nil) }
    streams[Int(index)] = stream
    metrics.streams.add(1)
  }

  func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {
    guard let stream = byCall[call], stream.ending == nil, !stream.isHalfClosed else { return }
    touch(stream)
    guard stream.held.isEmpty else { return hold(bytes, stream) }
    if take(bytes, stream) == .blocked { hold(bytes, stream) }
  }

  func halfClosed(_ call: Call) {
    guard let stream = byCall[call] else { return }
    stream.isHalfClosed = true
    touch(stream)
  }

  /// The client is gone: what it sent may still reach Kafka, and nobody is told.
  func ended(_ call: Call) {
    guard let stream = byCall[call] else { return }
    forget(stream)
  }

  /// The client has read acks.
  func writable(_ call: Call) {
    guard let stream = byCall[call] else { return }
    touch(stream)
  }

  // MARK: What Kafka says

  /// A record, or the dead letter of one that was refused, is in the log.
  func confirmed(_ record: AckLedger.Index, partition: Int32, offset: Int64) {
    if case .complete(let stream) = ledger.confirm(record, partition: partition, offset: offset) { touch(stream) }
  }

  /// Kafka did not confirm it.
  func failed(_ record: AckLedger.Index, _ problem: PublishProblem, isRetryable: Bool = true) {
    if ledger.isRefused(record) { metrics.deadLettersLost.add() } else { metrics.notDelivered.add() }
    if case .complete(let stream) = ledger.fail(record, problem, isRetryable: isRetryable) { touch(stream) }
  }

  /// There may be room in the sink again.
  func retry() {
    while let stream = blocked.first {
      if !stream.isGone, goOn(stream) == .blocked { return }
      stream.isBlocked = false
      blocked.removeFirst()
      touch(stream)
    }
  }

  // MARK: The end

  static let stopping = RPCStatus(
    .unavailable, "the server is stopping: what it accepted is acknowledged, send the rest to another or again")

  /// Takes no more requests. Each stream ends when what it sent before has been acknowledged.
  func beginDrain() {
    guard !isDraining else { return }
    isDraining = true
    for stream in byCall.values {
      if stream.ending == nil { stream.ending = Self.stopping }
      touch(stream)
    }
  }

  // MARK: Acks

  /// Sends the acks that are due, and starts or stops reading. To be called after anything happened.
  func flush() {
    guard !touched.isEmpty else { return }
    let now = MonotonicClock.nanoseconds()
    var index = 0
    while index < touched.count {
      let stream = touched[index]
      stream.isTouched = false
      if !stream.isGone { settle(stream, now) }
      index += 1
    }
    touched.removeAll(keepingCapacity: true)
  }

  private func settle(_ stream: Stream, _ now: Int64) {
    while let request = ledger.nextComplete(stream.ledger) {
      let records = ledger.recordCount(of: request)
      guard transport.send(stream.call, writer.write(request, of: ledger)) else {
        // Gone; or alive and so far behind that RPC keeps no more for it.
        transport.finish(stream.call, RPCStatus(.resourceExhausted, "acks are not read"))
        return forget(stream)
      }
      if stream.isGone { return }
      metrics.acks.add()
      metrics.ackTime.record(nanoseconds: now - ledger.startNanoseconds(of: request))
      metrics.answered.add(records)
      ledger.removeFirst(of: stream.ledger)
    }
    if (stream.isHalfClosed || stream.ending != nil) && ledger.isIdle(stream.ledger) && stream.held.isEmpty {
      transport.finish(stream.call, stream.ending ?? .ok)
      return forget(stream)
    }
    steer(stream)
  }

  /// Pauses or resumes reading. Between the marks nothing changes.
  private func steer(_ stream: Stream) {
    let records = ledger.records(of: stream.ledger)
    let bytes = ledger.bytes(of: stream.ledger)
    let unread = transport.pendingBytes(stream.call)
    if stream.isPaused {
      guard stream.held.isEmpty, records <= limits.streamRecordsMax / 2, bytes <= limits.streamBytesMax / 2,
        unread <= limits.unreadAckBytesMax / 2
      else { return }
      stream.isPaused = false
      transport.resumeReading(stream.call)
    } else if !stream.held.isEmpty || records >= limits.streamRecordsMax || bytes >= limits.streamBytesMax
      || unread >= limits.unreadAckBytesMax
    {
      pause(stream)
    }
  }

  private func pause(_ stream: Stream) {
    guard !stream.isPaused else { return }
    stream.isPaused = true
    metrics.pauses.add()
    transport.pauseReading(stream.call)
  }

  // MARK: Requests

  /// A request that finds the stream unblocked.
  private func take(_ bytes: UnsafeRawBufferPointer, _ stream: Stream) -> Progress {
    var reader = PublishRequestReader(bytes, recordsMax: limits.requestRecordsMax)
    if let problem = reader.problem {
      stream.isBroken = true
      if stream.ending == nil { stream.ending = RPCStatus(.invalidArgument, text(problem)) }
      return .done
    }
    let request = ledger.begin(
      stream.ledger, sequence: reader.sequence, bytes: bytes.count, nowNanoseconds: MonotonicClock.nanoseconds())
    stream.held.request = request
    return offer(&reader, request, nil, stream)
  }

  /// A request that was held.
  private func goOn(_ stream: Stream) -> Progress {
    while true {
      let progress = stream.held.withFirst { bytes -> Progress in
        guard let request = stream.held.request else { return take(bytes, stream) }
        var reader = PublishRequestReader(bytes, recordsMax: limits.requestRecordsMax)
        reader.goOn(at: stream.held.place)
        return offer(&reader, request, stream.held.record, stream)
      }
      guard let progress else { return .done }
      if progress == .blocked { return .blocked }
      if stream.isBroken { dropHeld(stream) } else { removeFirstHeld(stream) }
    }
  }

  /// Offers the request's records from the reader's place on. `entry`: that of the first of them, when it is in the ledger already.
  private func offer(
    _ reader: inout PublishRequestReader, _ request: AckLedger.Index, _ entry: AckLedger.Index?, _ stream: Stream
  ) -> Progress {
    let contentType: UnsafeRawBufferPointer? =
      reader.areRaw ? (reader.contentType.count > 0 ? reader.contentType : nil) : Self.protobufType
    var entry = entry
    var place = reader.place
    while let value = reader.next() {
      let record = entry ?? ledger.add(to: request)
      entry = nil
      guard offer(record, value, contentType) else {
        stream.held.place = place
        stream.held.record = record
        return .blocked
      }
      place = reader.place
    }
    ledger.seal(request)
    stream.held.request = nil
    return .done
  }

  /// False: there is no room.
  @inline(__always)
  private func offer(_ record: AckLedger.Index, _ value: UnsafeRawBufferPointer, _ contentType: UnsafeRawBufferPointer?) -> Bool {
    let outcome = check.check(value, contentType: contentType)
    guard outcome.ok else { return refuse(record, check.problem(), outcome.key, value, contentType) }
    switch sink.write(record, key: outcome.key, value: value, form: outcome.form) {
    case .taken: return true
    case .full: return false
    case .wrong(let problem): return refuse(record, problem, outcome.key, value, contentType)
    case .failed(let problem):
      failed(record, problem)
      return true
    }
  }

  /// Cold.
  private func refuse(
    _ record: AckLedger.Index, _ problem: PublishProblem, _ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer,
    _ contentType: UnsafeRawBufferPointer?
  ) -> Bool {
    let outcome = sink.writeDeadLetter(record, key: key, value: value, contentType: contentType, problem)
    if outcome == .full { return false }
    ledger.refuse(record, problem)
    metrics.refused(reason: problem.reason)
    if outcome != .taken { failed(record, problem) }
    return true
  }

  // MARK: Held requests

  private func hold(_ bytes: UnsafeRawBufferPointer, _ stream: Stream) {
    // What was begun and what was not taken stand in `held` already.
    stream.held.append(bytes)
    heldBytes += bytes.count
    metrics.heldBytes.add(Double(bytes.count))
    if !stream.isBlocked {
      stream.isBlocked = true
      blocked.append(stream)
    }
    pause(stream)
    guard heldBytes > limits.heldBytesMax else { return }
    transport.finish(
      stream.call,
      RPCStatus(.resourceExhausted, "Kafka takes no records now and too many wait: send again what was not acknowledged, later"))
    forget(stream)
  }

  private func removeFirstHeld(_ stream: Stream) {
    let before = stream.held.bytes
    stream.held.removeFirst()
    release(before - stream.held.bytes)
  }

  private func dropHeld(_ stream: Stream) {
    release(stream.held.bytes)
    stream.held.removeAll()
  }

  private func release(_ bytes: Int) {
    heldBytes -= bytes
    metrics.heldBytes.add(-Double(bytes))
  }

  // MARK: Streams

  @inline(__always)
  private func touch(_ stream: Stream) {
    if stream.isTouched { return }
    stream.isTouched = true
    touched.append(stream)
  }

  @inline(__always)
  private func touch(_ index: AckLedger.Index) {
    if let stream = streams[Int(index)] { touch(stream) }
  }

  private func forget(_ stream: Stream) {
    guard !stream.isGone else { return }
    stream.isGone = true
    // In the ledger, but never with Kafka: no report will settle it.
    if let record = stream.held.record { ledger.fail(record, .notDelivered("the call ended before Kafka had room"), isRetryable: true) }
    dropHeld(stream)
    ledger.close(stream.ledger)
    streams[Int(stream.ledger)] = nil
    byCall[stream.call] = nil
    metrics.streams.add(-1)
  }

  private func text(_ problem: PublishRequestReader.Problem) -> String {
    switch problem {
    case .malformed(let why, let field): "\(field): \(why)"
    case .bothForms: "records: records and \(kind.rawValue == 0 ? "events" : "labels") are both given; use one of them in a request"
    case .contentTypeTooLong: "content_type: longer than \(PublishRequestReader.contentTypeBytesMax) bytes"
    case .tooManyRecords: "a request holds at most \(limits.requestRecordsMax) records; send several requests"
    }
  }

  private static nonisolated(unsafe) let protobufType: UnsafeRawBufferPointer = {
    let type = EventForm.protobuf.contentType
    return UnsafeRawBufferPointer(start: type.utf8Start, count: type.utf8CodeUnitCount)
  }()
}
