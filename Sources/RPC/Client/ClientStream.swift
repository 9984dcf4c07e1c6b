internal import NIOCore
internal import Synchronization

extension RPCChannel {
  /// Opens a stream: the client sends messages and reads the server's, in both directions at once. Errors come from reading it.
  ///
  ///     let stream = channel.stream(method)
  ///     try await stream.send(request)
  ///     stream.finish()
  ///     for try await message in stream { … }
  public func stream(_ method: MethodPath, _ options: CallOptions = CallOptions()) -> ClientStream {
    let loop = nextLoop
    let inbox = StreamInbox(loop: loop)
    if isClosed {
      inbox.ended(RPCStatus(.unavailable, "the channel is closed"))
      return ClientStream(inbox)
    }
    loop.execute { loop in
      guard !inbox.isAbandoned else { return }
      let prepared = loop.prepareOnce(
        method, timeoutNanoseconds: options.timeoutNanoseconds, waitsForReady: options.waitsForReady, metadata: options.metadata)
      inbox.call = loop.openStream(prepared, token: 0, handler: inbox.handler)
    }
    return ClientStream(inbox)
  }
}

/// A streaming call for programs in async style. One task reads it; any sends. A stream that is let go is cancelled.
public final class ClientStream: AsyncSequence, Sendable {
  public typealias Element = [UInt8]
  public typealias Failure = RPCStatus

  private let inbox: StreamInbox

  fileprivate init(_ inbox: StreamInbox) { self.inbox = inbox }

  deinit { inbox.abandon() }

  /// Sends a message; waits while more than 256 KiB wait for the server. Throws how the stream ended when it is over.
  public func send(_ message: [UInt8]) async throws(RPCStatus) {
    let inbox = inbox
    if let status = inbox.shared.withLock({ $0.status }) { throw status }
    let status: RPCStatus? = await withCheckedContinuation { continuation in
      inbox.loop.execute { loop in
        let isSent = message.withUnsafeBytes { loop.send(inbox.call, $0) }
        if !isSent {
          continuation.resume(returning: inbox.status ?? RPCStatus(.failedPrecondition, "sending on this stream was finished"))
        } else if loop.pendingBytes(inbox.call) > LoopClient.highMarkBytes {
          inbox.senders.append(continuation)
        } else {
          continuation.resume(returning: nil)
        }
      }
    }
    if let status { throw status }
  }

  /// The client sends no more.
  public func finish() {
    let inbox = inbox
    inbox.loop.execute { $0.finishSending(inbox.call) }
  }

  /// Gives the stream up; reading it throws CANCELLED.
  public func cancel() { inbox.abandon() }

  /// Header fields after the last message; empty before the end.
  public var trailers: RPCMetadata { inbox.shared.withLock { $0.trailers } }

  public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(inbox: inbox, stream: self) }

  public struct AsyncIterator: AsyncIteratorProtocol {
    fileprivate let inbox: StreamInbox
    /// Kept: a stream that nobody holds is cancelled.
    fileprivate let stream: ClientStream

    /// The next message; nil when the server ended the stream with OK. Throws the status otherwise; CANCELLED when the task is cancelled.
    public mutating func next() async throws(RPCStatus) -> [UInt8]? { try await inbox.next() }
    public mutating func next(isolation actor: isolated (any Actor)?) async throws(RPCStatus) -> [UInt8]? { try await inbox.next() }
  }
}

/// Messages between the loop's thread and the task that reads.
private final class StreamInbox: @unchecked Sendable {
  /// Messages that nobody has read, in bytes; above it the server is slowed down.
  static let heldBytesMax = 1 << 20

  struct Shared {
    var messages: [[UInt8]] = []
    var first = 0
    var heldBytes = 0
    var isPaused = false
    var status: RPCStatus?
    var trailers = RPCMetadata()
    var reader: CheckedContinuation<Void, Never>?
  }

  let loop: LoopClient
  let shared = Mutex(Shared())
  // On the loop's thread:
  var call = ClientCall.none
  var isAbandoned = false
  var status: RPCStatus?
  var senders: [CheckedContinuation<RPCStatus?, Never>] = []
  lazy var handler: StreamHandler = Handler(self)

  init(loop: LoopClient) { self.loop = loop }

  func abandon() {
    // A stream that is over needs nothing of its loop, which may be gone.
    if shared.withLock({ $0.status != nil }) { return }
    loop.execute { loop in
      guard !self.isAbandoned else { return }
      self.isAbandoned = true
      if loop.isLive(self.call) {
        loop.cancel(self.call)
      } else if self.status == nil {
        self.ended(RPCStatus(.cancelled, "cancelled by the caller"))
      }
    }
  }

  func next() async throws(RPCStatus) -> [UInt8]? {
    while true {
      let taken: (message: [UInt8]?, status: RPCStatus?, resumes: Bool) = shared.withLock { shared in
        guard shared.first < shared.messages.count else { return (nil, shared.status, false) }
        let message = shared.messages[shared.first]
        shared.messages[shared.first] = []
        shared.first += 1
        shared.heldBytes -= message.count
        if shared.first == shared.messages.count {
          shared.messages.removeAll(keepingCapacity: true)
          shared.first = 0
        }
        let resumes = shared.isPaused && shared.heldBytes < Self.heldBytesMax / 2
        if resumes { shared.isPaused = false }
        return (message, nil, resumes)
      }
      if taken.resumes { loop.execute { $0.resumeReading(self.call) } }
      if let message = taken.message { return message }
      if let status = taken.status {
        if status.code == .ok { return nil }
        throw status
      }
      await withTaskCancellationHandler {
        await withCheckedContinuation { continuation in
          let isReady = shared.withLock { shared in
            precondition(shared.reader == nil, "a stream is read by one task")
            if shared.first < shared.messages.count || shared.status != nil { return true }
            shared.reader = continuation
            return false
          }
          if isReady { continuation.resume() }
        }
      } onCancel: {
        abandon()
      }
    }
  }

  private func arrived(_ loop: LoopClient, _ message: UnsafeRawBufferPointer) {
    let (reader, pauses) = shared.withLock { shared in
      shared.messages.append(Array(message))
      shared.heldBytes += message.count
      let pauses = !shared.isPaused && shared.heldBytes > Self.heldBytesMax
      if pauses { shared.isPaused = true }
      let reader = shared.reader
      shared.reader = nil
      return (reader, pauses)
    }
    if pauses { loop.pauseReading(call) }
    reader?.resume()
  }

  private func drained() {
    let waiting = senders
    senders = []
    for sender in waiting { sender.resume(returning: status) }
  }

  func ended(_ status: RPCStatus, trailers: RPCMetadata = RPCMetadata()) {
    self.status = status
    let reader = shared.withLock { shared in
      shared.status = status
      shared.trailers = trailers
      let reader = shared.reader
      shared.reader = nil
      return reader
    }
    drained()
    reader?.resume()
    // Each holds the other until here.
    handler = StreamHandler()
  }

  private final class Handler: StreamHandler {
    private let inbox: StreamInbox
    private var metadata: CallMetadata?

    init(_ inbox: StreamInbox) { self.inbox = inbox }

    override var collectsMetadata: Bool { true }
    override func collected(token: UInt64, _ metadata: CallMetadata) { self.metadata = metadata }
    override func message(_ call: ClientCall, token: UInt64, index: UInt64, _ message: UnsafeRawBufferPointer) {
      inbox.arrived(inbox.loop, message)
    }
    override func writable(_ call: ClientCall, token: UInt64) { inbox.drained() }
    override func ended(_ call: ClientCall, token: UInt64, status: RPCCode, text: UnsafeRawBufferPointer) {
      inbox.ended(
        RPCStatus(status, String(decoding: text, as: UTF8.self), details: metadata?.details ?? []),
        trailers: metadata?.trailing ?? RPCMetadata())
    }
  }
}
