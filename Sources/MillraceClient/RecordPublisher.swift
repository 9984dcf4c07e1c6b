public import RPC
internal import Synchronization

/// Publishes events or labels to a server's ingest service, which writes them to Kafka. Any thread; one for a program and kind.
///
///     let publisher = RecordPublisher(channel: client.channel, kind: .events, contentType: "application/json")
///     let result = try await publisher.publish([Array(#"{"id":"o1","features":{"store":"harbour"}}"#.utf8)])
///     if let refusal = result.refusals.first { … }
///
/// All goes through one stream, which is opened by the first call and again after it ended. Several tasks may publish at a time: then
/// several requests are on the way, which is how to be fast.
public final class RecordPublisher: Sendable {
  public enum Kind: String, Sendable {
    case events = "PublishEvents"
    case labels = "PublishLabels"
  }

  public let kind: Kind
  public let contentType: String
  private let channel: RPCChannel
  private let state = Mutex(State())

  private struct State {
    var connection: Connection?
    var lastSequence: UInt64 = 0
  }

  /// One stream, and who waits for acks on it.
  private final class Connection: Sendable {
    let stream: ClientStream
    let waiting = Mutex<[UInt64: PendingPublish]>([:])

    init(_ stream: ClientStream) { self.stream = stream }
  }

  /// - Parameter contentType: of the records: `application/json`, `application/x-protobuf`, `application/vnd.kserve.v2+protobuf`; empty
  ///   lets the server look at each.
  public init(channel: RPCChannel, kind: Kind, contentType: String = "") {
    self.channel = channel
    self.kind = kind
    self.contentType = contentType
  }

  /// Publishes records (at most 1,024) in their order, and waits until each is written or refused.
  ///
  /// Throws how the stream ended when it did so before: whether these records were written is then not known. Publishing them again writes
  /// them at least once.
  public func publish(_ records: [[UInt8]]) async throws(RPCStatus) -> PublishResult {
    try await begin(records).result()
  }

  /// Sends records, and does not wait for what becomes of them: who calls it again after it returned has requests on the way in order.
  public func begin(_ records: [[UInt8]]) async throws(RPCStatus) -> PendingPublish {
    var writer = ProtobufWriter()
    let (connection, sequence) = connected()
    writer.varint(1, sequence)
    if !contentType.isEmpty { writer.text(2, contentType) }
    for record in records { writer.slice(4, record[...]) }
    let pending = PendingPublish()
    // A stream that ended meanwhile does not know of it, and then sending throws.
    connection.waiting.withLock { $0[sequence] = pending }
    do {
      try await connection.stream.send(writer.bytes)
    } catch {
      forget(connection)
      connection.waiting.withLock { $0[sequence] = nil }
      throw error
    }
    return pending
  }

  /// Sends no more on the open stream; what is on the way still gets its acks. Publishing again opens a new one.
  public func finish() {
    let connection = state.withLock { state in
      defer { state.connection = nil }
      return state.connection
    }
    connection?.stream.finish()
  }

  private func connected() -> (Connection, UInt64) {
    let (connection, sequence, isNew) = state.withLock { state in
      state.lastSequence += 1
      if let connection = state.connection { return (connection, state.lastSequence, false) }
      let stream = channel.stream(MethodPath(service: "millrace.Ingest", method: kind.rawValue))
      let connection = Connection(stream)
      state.connection = connection
      return (connection, state.lastSequence, true)
    }
    if isNew { Task { await self.read(connection) } }
    return (connection, sequence)
  }

  private func forget(_ connection: Connection) {
    state.withLock { if $0.connection === connection { $0.connection = nil } }
  }

  /// Hands acks to who waits for them, until the stream ends.
  private func read(_ connection: Connection) async {
    var status = RPCStatus(.unavailable, "the server ended the stream")
    do throws(RPCStatus) {
      var acks = connection.stream.makeAsyncIterator()
      while let message = try await acks.next() {
        let (sequence, result) = try PublishResult.read(message)
        connection.waiting.withLock { $0.removeValue(forKey: sequence) }?.settle(.success(result))
      }
    } catch {
      status = error
    }
    forget(connection)
    connection.stream.cancel()
    let left = connection.waiting.withLock { waiting in
      defer { waiting = [:] }
      return waiting
    }
    for pending in left.values { pending.settle(.failure(status)) }
  }
}

/// Records on their way to the log.
public final class PendingPublish: Sendable {
  private enum State {
    /// Nobody waits yet.
    case open
    case waiting(CheckedContinuation<Result<PublishResult, RPCStatus>, Never>)
    case done(Result<PublishResult, RPCStatus>)
  }

  private let state = Mutex(State.open)

  init() {}

  func settle(_ result: Result<PublishResult, RPCStatus>) {
    let continuation = state.withLock { state -> CheckedContinuation<Result<PublishResult, RPCStatus>, Never>? in
      defer { state = .done(result) }
      if case .waiting(let continuation) = state { return continuation }
      return nil
    }
    continuation?.resume(returning: result)
  }

  /// Waits until each record is written or refused. Asked by one task. Throws how the stream ended when it did so before: whether the
  /// records were written is then not known.
  public func result() async throws(RPCStatus) -> PublishResult {
    let result: Result<PublishResult, RPCStatus> = await withCheckedContinuation { continuation in
      let done = state.withLock { state -> Result<PublishResult, RPCStatus>? in
        if case .done(let result) = state { return result }
        state = .waiting(continuation)
        return nil
      }
      if let done { continuation.resume(returning: done) }
    }
    return try result.get()
  }
}
