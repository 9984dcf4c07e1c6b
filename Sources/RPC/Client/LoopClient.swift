// Hot: `start` and completions run for every call. No allocation of ours in the steady state.
internal import CNGHTTP2
internal import Logging
public import NIOCore
internal import NIOPosix
internal import NIOSSL
internal import Telemetry

// Nothing here may be referred to weakly: an object with weak references counts its strong ones out of line, several times slower.

/// One event loop's client side, callback based: what load generators use. Everything here on that loop's thread, except `execute`.
///
///     loop.execute { loop in
///       let method = loop.prepare(path, timeoutMicroseconds: 1_000_000)
///       for token in 0..<256 { loop.start(method, bytes, token: token, completion: completion) }
///     }                                   // flushed once, when the closure returns
public final class LoopClient: @unchecked Sendable {
  public let index: Int
  public let eventLoop: any EventLoop
  public let target: RPCTarget
  public let settings: RPCChannelSettings
  private let logger: Logger
  let pool: CallPool
  @exclusivity(unchecked) private(set) var records: UnsafeMutablePointer<CallRecord>
  @exclusivity(unchecked) private var recordCapacity: Int
  @exclusivity(unchecked) private var blocks: [HeaderBlock?] = []
  @exclusivity(unchecked) private var methods: [Method] = []
  @exclusivity(unchecked) private var freeBlocks: [Int32] = []
  @exclusivity(unchecked) private var connections: [ClientConnection?] = []
  /// Connections that have output.
  @exclusivity(unchecked) var dirty: [ClientConnection] = []
  /// Calls of nghttp2's that we are inside of: no session may be called, and no record freed, while it is above 0.
  @exclusivity(unchecked) var depth = 0
  /// All connections write through it, one after the other, and read through the other.
  @exclusivity(unchecked) var output = ByteBuffer()
  let readBuffer = SharedReadBuffer(byteCount: 128 << 10)
  /// What nghttp2's sessions of this loop stand in; without it they use malloc.
  private let memory: OpaquePointer?
  let memoryFunctions: UnsafeMutablePointer<nghttp2_mem>?
  @exclusivity(unchecked) private var isTurning = false
  /// The connection whose input is being looked at.
  @exclusivity(unchecked) private var current: Int32 = -1
  @exclusivity(unchecked) private var overflow: [(UInt64, Unmanaged<UnaryCompletion>?, Unmanaged<StreamHandler>?)] = []
  @exclusivity(unchecked) private var timer: Scheduled<Void>?
  @exclusivity(unchecked) private var timerAt = Int64.max
  @exclusivity(unchecked) private var inflater: MessageInflater?
  @exclusivity(unchecked) private var inflated = ByteQueue()
  /// Why the last connection failed, for the text of UNAVAILABLE.
  @exclusivity(unchecked) private var lastProblem: String?
  @exclusivity(unchecked) private(set) var isClosed = false
  @exclusivity(unchecked) private var whenClosed: [EventLoopPromise<Void>] = []
  private let tls: (context: NIOSSLContext, name: String?)?

  private struct Method {
    let path: MethodPath
    let timeoutNanoseconds: Int64
    let waitsForReady: Bool
  }

  init(
    index: Int, loops: Int, eventLoop: any EventLoop, target: RPCTarget, settings: RPCChannelSettings, tls: (context: NIOSSLContext, name: String?)?,
    logger: Logger
  ) {
    self.index = index
    self.eventLoop = eventLoop
    self.target = target
    self.settings = settings
    self.tls = tls
    self.logger = logger
    var poolSettings = CallPool.Settings()
    poolSettings.connections = max(1, settings.connections)
    poolSettings.addresses = target.addresses.count
    poolSettings.firstAddress = index * max(1, settings.connections)
    poolSettings.streamsMax = max(1, settings.streamsMax)
    poolSettings.callsMax = max(1, settings.callsMax)
    poolSettings.backoff = settings.backoff
    poolSettings.seed = .random(in: 0 ... .max)
    pool = CallPool(poolSettings, now: MonotonicClock.nanoseconds())
    recordCapacity = pool.callCapacity
    records = .allocate(capacity: recordCapacity)
    records.initialize(repeating: CallRecord(), count: recordCapacity)
    dirty.reserveCapacity(64)
    memory = mr_memory_create()
    memoryFunctions = memory.map { mr_memory_functions($0) }
  }

  deinit {
    for i in 0..<recordCapacity {
      records[i].outgoing.deallocate()
      records[i].incoming.deallocate()
    }
    records.deallocate()
    inflated.deallocate()
    // Every session is gone: its connection holds this loop.
    if let memory { mr_memory_destroy(memory) }
  }

  // MARK: Any thread

  /// Runs on the loop, then flushes. From the loop itself: at once.
  public func execute(_ work: @escaping @Sendable (LoopClient) -> Void) {
    if eventLoop.inEventLoop {
      work(self)
      turn()
    } else {
      eventLoop.execute {
        work(self)
        self.turn()
      }
    }
  }

  // MARK: Calls

  /// Makes a method's header block. `timeoutMicroseconds`: from `start` on; 0 for none. `waitsForReady`: the call waits while there is no
  /// connection, instead of ending with UNAVAILABLE. What is prepared stays for the loop's life.
  public func prepare(
    _ method: MethodPath, timeoutMicroseconds: Int = 0, waitsForReady: Bool = false, metadata: RPCMetadata = RPCMetadata()
  ) -> PreparedMethod {
    addBlock(method, timeoutNanoseconds: nanoseconds(timeoutMicroseconds), waitsForReady, metadata, isKept: true)
  }

  /// Starts a unary call; the message is copied. Sent by the next `flush`, or when the event that is being handled has been: completions
  /// and `execute` flush by themselves. `completion` is told exactly once, never from within `start`.
  @discardableResult
  public func start(_ method: PreparedMethod, _ message: UnsafeRawBufferPointer, token: UInt64, completion: UnaryCompletion) -> ClientCall {
    let slot = begin(method)
    guard slot >= 0 else {
      overflow.append((token, .passRetained(completion), nil))
      return .none
    }
    let record = records + Int(slot)
    record.pointee.token = token
    record.pointee.unary = .passRetained(completion)
    record.pointee.isFinished = true
    if completion.collectsMetadata { record.pointee.metadata = .passRetained(CallMetadata()) }
    frame(message, record)
    submitIfOpen(slot)
    return ClientCall(slot: slot, generation: pool.generation(slot))
  }

  /// Opens a stream, which the client sends on and the server, in both directions at once. `handler` is told when it ends, exactly once.
  @discardableResult
  public func openStream(_ method: PreparedMethod, token: UInt64, handler: StreamHandler) -> ClientCall {
    let slot = begin(method)
    guard slot >= 0 else {
      overflow.append((token, nil, .passRetained(handler)))
      return .none
    }
    let record = records + Int(slot)
    record.pointee.token = token
    record.pointee.stream = .passRetained(handler)
    record.pointee.isFinished = false
    if handler.collectsMetadata { record.pointee.metadata = .passRetained(CallMetadata()) }
    submitIfOpen(slot)
    return ClientCall(slot: slot, generation: pool.generation(slot))
  }

  /// Sends a message on a stream; it is copied. False for one that is over or whose sending was finished. Also before the stream has a
  /// connection: it waits then.
  @discardableResult
  public func send(_ call: ClientCall, _ message: UnsafeRawBufferPointer) -> Bool {
    guard isLive(call), records[Int(call.slot)].stream != nil, !records[Int(call.slot)].isFinished else { return false }
    let record = records + Int(call.slot)
    frame(message, record)
    if record.pointee.outgoing.count > Self.highMarkBytes { record.pointee.isAboveHighMark = true }
    wake(call.slot)
    return true
  }

  /// The client's side of the stream ends after what was sent.
  public func finishSending(_ call: ClientCall) {
    guard isLive(call), records[Int(call.slot)].stream != nil, !records[Int(call.slot)].isFinished else { return }
    records[Int(call.slot)].isFinished = true
    wake(call.slot)
  }

  /// Bytes that were sent on a stream and not yet handed to the socket: senders stop above a bound of theirs and go on by `writable`, which
  /// is called when they fell below 64 KiB after they had been above 256 KiB.
  public func pendingBytes(_ call: ClientCall) -> Int { isLive(call) ? records[Int(call.slot)].outgoing.count : 0 }

  static let highMarkBytes = 256 << 10
  static let lowMarkBytes = 64 << 10

  /// Stops returning the stream's window: the server can send no more than `streamWindowBytes` then.
  public func pauseReading(_ call: ClientCall) {
    if isLive(call) { records[Int(call.slot)].isPaused = true }
  }

  public func resumeReading(_ call: ClientCall) {
    guard isLive(call) else { return }
    let record = records + Int(call.slot)
    record.pointee.isPaused = false
    let count = record.pointee.unreturned
    record.pointee.unreturned = 0
    connection(of: call.slot)?.returnWindow(record.pointee.streamID, count)
  }

  /// Gives a call up: RST_STREAM, and CANCELLED for its completion. Nothing for one that is over.
  public func cancel(_ call: ClientCall) {
    guard isLive(call) else { return }
    pool.cancel(call.slot)
    settleSoon()
  }

  /// Sends what was started. Once for many calls.
  public func flush() { turn() }

  /// False once the call ended.
  public func isLive(_ call: ClientCall) -> Bool { isOpen(call.slot, call.generation) }

  /// Calls in flight and waiting.
  public var callCount: Int { pool.callCount }
  /// Those that wait for a connection or for room on one.
  public var waitingCount: Int { pool.waitingCount }
  /// Connections that take calls.
  public var readyConnections: Int { pool.readyCount }

  /// Opens the loop's connections without waiting for a call.
  public func connect() {
    pool.connect()
    settleSoon()
  }

  // MARK: Async calls of the channel

  /// A header block for one call.
  func prepareOnce(_ method: MethodPath, timeoutNanoseconds: Int64, waitsForReady: Bool, metadata: RPCMetadata) -> PreparedMethod {
    addBlock(method, timeoutNanoseconds: timeoutNanoseconds, waitsForReady, metadata, isKept: false)
  }

  func close() -> EventLoopFuture<Void> {
    let promise = eventLoop.makePromise(of: Void.self)
    if isClosed, connections.allSatisfy({ $0 == nil }) {
      promise.succeed(())
      return promise.futureResult
    }
    whenClosed.append(promise)
    isClosed = true
    pool.close()
    turn()
    finishClosing()
    return promise.futureResult
  }

  // MARK: Turning

  /// Does what the pool decided, then hands all output to the sockets.
  func turn() {
    guard depth == 0, !isTurning else { return }
    isTurning = true
    while true {
      while let action = pool.nextAction() { perform(action) }
      if !overflow.isEmpty { refuseOverflow() }
      guard let connection = dirty.popLast() else {
        if pool.hasActions || !overflow.isEmpty { continue }
        break
      }
      connection.isDirty = false
      connection.flushOutput()
    }
    current = -1
    isTurning = false
    arm(pool.backoffsUntil)
  }

  /// For inputs that come from outside of a turn, and are rare.
  private func settleSoon() {
    if depth == 0, !isTurning { turn() }
  }

  private func perform(_ action: CallPool.Action) {
    switch action {
    case .connect(let connection, let address): open(connection, target.addresses[address])
    case .submit(let slot, _): if pool.phase(slot) == .open { submitIfOpen(slot) }
    case .end(let slot, let reason): end(slot, reason)
    case .close(let connection):
      guard connection < connections.count else { return }
      connections[Int(connection)]?.close(isClosed ? "the channel was closed" : "it has drained")
    }
  }

  // MARK: What connections report

  @inline(__always)
  func slot(of key: UInt) -> Int32 {
    let slot = Int32(truncatingIfNeeded: key & 0xFFFF_FFFF) &- 1
    return isOpen(slot, UInt32(truncatingIfNeeded: key >> 32)) ? slot : -1
  }

  @inline(__always)
  private func isOpen(_ slot: Int32, _ generation: UInt32) -> Bool { pool.isLive(slot, generation) }

  func arrived(_ connection: ClientConnection) {
    if settings.keepalive != nil { connection.lastReadNanoseconds = MonotonicClock.nanoseconds() }
  }

  func connectionSettings(_ connection: ClientConnection, _ streamsMax: UInt32) {
    if !connection.wasReady {
      connection.wasReady = true
      connection.connectTimer?.cancel()
      lastProblem = nil
      logger.debug("connected", metadata: ["address": "\(connection.address)"])
    }
    pool.settingsReceived(connection.id, streamsMax: streamsMax)
  }

  func connectionDeparted(_ connection: ClientConnection, _ problem: String) {
    logger.debug("connection drains", metadata: ["address": "\(connection.address)", "reason": "\(problem)"])
    if connection.problem == nil { connection.problem = problem }
    pool.departed(connection.id, now: MonotonicClock.nanoseconds())
  }

  func connectionLost(_ connection: ClientConnection) {
    let id = Int(connection.id)
    guard id < connections.count, connections[id] === connection else { return }
    connections[id] = nil
    connection.connectTimer?.cancel()
    connection.watchTimer?.cancel()
    let problem = connection.problem ?? "the connection broke"
    lastProblem = "\(connection.address): \(problem)"
    logger.debug("connection ended", metadata: ["address": "\(connection.address)", "reason": "\(problem)"])
    pool.lost(connection.id, now: MonotonicClock.nanoseconds())
    finishClosing()
  }

  /// Part of a unary answer.
  func append(_ slot: Int32, _ bytes: UnsafeRawBufferPointer) {
    let record = records + Int(slot)
    record.pointee.incoming.append(bytes)
    let count = record.pointee.incoming.count
    guard count >= MessagePrefix.byteCount, let prefix = MessagePrefix(record.pointee.incoming.bytes) else { return }
    if prefix.length > settings.messageBytesMax {
      fail(slot, .resourceExhausted, "the answer has \(prefix.length) bytes, more than the \(settings.messageBytesMax) allowed")
    } else if count > MessagePrefix.byteCount &+ prefix.length {
      fail(slot, .internal, "the answer to a unary call has more than one message")
    }
  }

  /// Part of a stream: whole messages go to the handler, straight from the input when they can.
  func deliver(_ slot: Int32, _ bytes: UnsafeRawBufferPointer) {
    let generation = pool.generation(slot)
    if records[Int(slot)].incoming.isEmpty {
      var rest = bytes
      while let prefix = MessagePrefix(rest), check(slot, prefix) {
        let end = MessagePrefix.byteCount &+ prefix.length
        guard rest.count >= end else { break }
        hand(slot, prefix, UnsafeRawBufferPointer(rebasing: rest[MessagePrefix.byteCount..<end]))
        guard isOpen(slot, generation) else { return }
        rest = UnsafeRawBufferPointer(rebasing: rest[end...])
      }
      if isOpen(slot, generation) { records[Int(slot)].incoming.append(rest) }
      return
    }
    records[Int(slot)].incoming.append(bytes)
    while let prefix = MessagePrefix(records[Int(slot)].incoming.bytes), check(slot, prefix) {
      let held = records[Int(slot)].incoming.bytes
      let end = MessagePrefix.byteCount &+ prefix.length
      guard held.count >= end else { return }
      hand(slot, prefix, UnsafeRawBufferPointer(rebasing: held[MessagePrefix.byteCount..<end]))
      guard isOpen(slot, generation) else { return }
      records[Int(slot)].incoming.removeFirst(end)
    }
  }

  /// The stream's data were written: the sender may go on.
  func streamSent(_ slot: Int32) {
    let record = records + Int(slot)
    guard record.pointee.isAboveHighMark, record.pointee.outgoing.count < Self.lowMarkBytes else { return }
    record.pointee.isAboveHighMark = false
    let token = record.pointee.token
    record.pointee.stream?._withUnsafeGuaranteedRef { $0.writable(handle(slot), token: token) }
  }

  func collect(_ slot: Int32, _ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
    guard let metadata = records[Int(slot)].metadata else { return }
    let isTrailing = records[Int(slot)].hasHeaders
    metadata._withUnsafeGuaranteedRef { metadata in
      if name.isEqual("grpc-status-details-bin") {
        metadata.details = Base64.decode(value) ?? []
      } else if name.isEqual("grpc-retry-pushback-ms") {
        metadata.pushbackMilliseconds = Int(String(decoding: value, as: UTF8.self)) ?? -1
      } else if isTrailing {
        metadata.trailing.addFromWire(name: name, value: value)
      } else {
        metadata.initial.addFromWire(name: name, value: value)
      }
    }
  }

  func initialMetadata(_ slot: Int32) {
    guard let stream = records[Int(slot)].stream, let metadata = records[Int(slot)].metadata else { return }
    let token = records[Int(slot)].token
    stream._withUnsafeGuaranteedRef { $0.receivedInitial(token: token, metadata._withUnsafeGuaranteedRef { $0.initial }) }
  }

  /// The server ended the stream with OK.
  func succeed(_ slot: Int32) {
    let record = records + Int(slot)
    if record.pointee.stream != nil {
      guard record.pointee.incoming.isEmpty else { return fail(slot, .internal, "the stream ended within a message") }
      return complete(slot, .ok, UnsafeRawBufferPointer(start: nil, count: 0))
    }
    let bytes = record.pointee.incoming.bytes
    guard let prefix = MessagePrefix(bytes), bytes.count == MessagePrefix.byteCount &+ prefix.length else {
      return fail(slot, .internal, bytes.isEmpty ? "OK without a message" : "the answer ended within its message")
    }
    let message = UnsafeRawBufferPointer(rebasing: bytes[MessagePrefix.byteCount...])
    if prefix.flag == 0 { return complete(slot, .ok, message) }
    guard let message = inflate(slot, prefix, message) else { return }
    complete(slot, .ok, message)
  }

  /// The call ends with an error of this side's or of the server's.
  func fail(_ slot: Int32, _ code: RPCCode, _ text: String) {
    var text = text
    text.withUTF8 { complete(slot, code, UnsafeRawBufferPointer($0)) }
  }

  /// The stream was reset, or never looked at.
  func streamBroke(_ slot: Int32, _ code: UInt32) {
    if code == NGHTTP2_REFUSED_STREAM.rawValue, records[Int(slot)].stream == nil || !pool.isSent(slot) {
      records[Int(slot)].streamID = 0
      pool.refused(slot)
      return
    }
    records[Int(slot)].streamID = 0
    fail(slot, RPCCode(http2Error: code), "the server reset the stream (\(String(cString: nghttp2_http2_strerror(code))))")
  }

  // MARK: Parts

  private func begin(_ method: PreparedMethod) -> Int32 {
    let prepared = methods[Int(method.index)]
    var deadline = Int64.max
    var now: Int64 = 0
    if prepared.timeoutNanoseconds != .max {
      now = MonotonicClock.nanoseconds()
      deadline = now &+ prepared.timeoutNanoseconds
    }
    let slot = pool.start(deadline: deadline, waitsForReady: prepared.waitsForReady, now: now, preferred: current)
    guard slot >= 0 else { return -1 }
    if pool.callCapacity > recordCapacity { growRecords() }
    let record = records + Int(slot)
    record.pointee.prepareForAnswer()
    record.pointee.outgoing.removeAll(keeping: CallRecord.keptBytesMax)
    record.pointee.prepared = method.index
    record.pointee.streamID = 0
    record.pointee.isAboveHighMark = false
    if deadline < timerAt { arm(deadline) }
    return slot
  }

  @inline(__always)
  private func frame(_ message: UnsafeRawBufferPointer, _ record: UnsafeMutablePointer<CallRecord>) {
    precondition(message.count <= Int(UInt32.max), "a message of \(message.count) bytes")
    let place = record.pointee.outgoing.reserve(MessagePrefix.byteCount &+ message.count)
    MessagePrefix(length: message.count).write(to: place)
    if let base = message.baseAddress { (place + MessagePrefix.byteCount).copyMemory(from: base, byteCount: message.count) }
    record.pointee.outgoing.advance(by: MessagePrefix.byteCount &+ message.count)
  }

  @inline(__always)
  private func submitIfOpen(_ slot: Int32) {
    let id = pool.connection(of: slot)
    guard id >= 0, pool.phase(slot) == .open else { return }
    let record = records + Int(slot)
    record.pointee.prepareForAnswer()
    let key = UInt(pool.generation(slot)) << 32 | UInt(UInt32(bitPattern: slot &+ 1))
    if let connection = connections[Int(id)], let block = blocks[Int(record.pointee.prepared)],
      connection.submit(slot, key, record, block)
    {
      if let stream = record.pointee.stream {
        let token = record.pointee.token
        stream._withUnsafeGuaranteedRef { $0.opened(handle(slot), token: token) }
      }
      return
    }
    // The connection is going: the call finds another.
    pool.streamClosed(id, wasAnswered: false)
    pool.departed(id, now: MonotonicClock.nanoseconds())
    pool.refused(slot)
  }

  private func handle(_ slot: Int32) -> ClientCall { ClientCall(slot: slot, generation: pool.generation(slot)) }

  private func connection(of slot: Int32) -> ClientConnection? {
    let id = pool.connection(of: slot)
    return id >= 0 && id < connections.count ? connections[Int(id)] : nil
  }

  private func wake(_ slot: Int32) {
    guard records[Int(slot)].isDeferred else { return }
    records[Int(slot)].isDeferred = false
    connection(of: slot)?.resume(records[Int(slot)].streamID)
  }

  private func check(_ slot: Int32, _ prefix: MessagePrefix) -> Bool {
    guard prefix.length > settings.messageBytesMax else { return true }
    fail(slot, .resourceExhausted, "a message of \(prefix.length) bytes, more than the \(settings.messageBytesMax) allowed")
    return false
  }

  private func hand(_ slot: Int32, _ prefix: MessagePrefix, _ message: UnsafeRawBufferPointer) {
    var message = message
    if prefix.flag != 0 {
      guard let plain = inflate(slot, prefix, message) else { return }
      message = plain
    }
    let index = records[Int(slot)].messages
    records[Int(slot)].messages = index &+ 1
    let token = records[Int(slot)].token
    records[Int(slot)].stream?._withUnsafeGuaranteedRef { $0.message(handle(slot), token: token, index: index, message) }
  }

  /// Nil: the call was failed.
  private func inflate(_ slot: Int32, _ prefix: MessagePrefix, _ message: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
    guard prefix.flag == 1, records[Int(slot)].encoding != .identity else {
      fail(slot, .internal, "the answer is marked as compressed, and no encoding is named")
      return nil
    }
    let inflater = self.inflater ?? MessageInflater()
    self.inflater = inflater
    inflated.removeAll(keeping: 1 << 20)
    switch inflater.inflate(message, into: &inflated, countMax: settings.messageBytesMax) {
    case .inflated: return inflated.bytes
    case .invalid: fail(slot, .internal, "the answer cannot be inflated")
    case .tooLarge: fail(slot, .resourceExhausted, "the answer inflates to more than the \(settings.messageBytesMax) bytes allowed")
    }
    return nil
  }

  /// Tells whoever waits, and gives the slot back.
  private func complete(_ slot: Int32, _ code: RPCCode, _ message: UnsafeRawBufferPointer) {
    var record = records + Int(slot)
    // A stream that both sides have ended needs no reset.
    if record.pointee.streamID > 0, !(record.pointee.isAnswered && record.pointee.isEndFramed) {
      connection(of: slot)?.reset(record.pointee.streamID, NGHTTP2_CANCEL)
    }
    let unary = record.pointee.unary
    let stream = record.pointee.stream
    let metadata = record.pointee.metadata
    let token = record.pointee.token
    record.pointee.unary = nil
    record.pointee.stream = nil
    record.pointee.metadata = nil
    // Before the handler is told: what it starts may take this one's place on the connection, but not its slot.
    pool.detachEnded(slot)
    if let unary {
      unary._withUnsafeGuaranteedRef { completion in
        if let metadata { metadata._withUnsafeGuaranteedRef { completion.collected(token: token, $0) } }
        completion.completed(token: token, status: code, message: message)
      }
      unary.release()
    } else if let stream {
      stream._withUnsafeGuaranteedRef { handler in
        if let metadata { metadata._withUnsafeGuaranteedRef { handler.collected(token: token, $0) } }
        handler.ended(handle(slot), token: token, status: code, text: message)
      }
      stream.release()
    }
    metadata?.release()
    record = records + Int(slot)
    let prepared = Int(record.pointee.prepared)
    if blocks[prepared]?.isKept == false {
      blocks[prepared] = nil
      freeBlocks.append(Int32(prepared))
    }
    pool.release(slot)
  }

  /// The pool ended the call.
  private func end(_ slot: Int32, _ reason: CallEnd) {
    guard pool.phase(slot) == .ending else { return }
    switch reason {
    case .unavailable, .refused:
      let at = target.addresses.count == 1 ? "\(target)" : "any of \(target)"
      let text = reason == .refused ? "the server refused the call \(CallPool.transparentRetriesMax + 1) times" : lastProblem ?? "no connection to \(at)"
      fail(slot, .unavailable, text)
    case .deadlineExceeded:
      let milliseconds = methods[Int(records[Int(slot)].prepared)].timeoutNanoseconds / 1_000_000
      let isWaiting = records[Int(slot)].streamID == 0
      fail(
        slot, .deadlineExceeded,
        "no answer within \(milliseconds) ms" + (isWaiting ? " (not sent: \(lastProblem ?? "no connection had room"))" : ""))
    case .cancelled: fail(slot, .cancelled, "cancelled by the caller")
    case .closed: fail(slot, .unavailable, "the channel was closed")
    }
  }

  private func refuseOverflow() {
    let refused = overflow
    overflow.removeAll(keepingCapacity: true)
    var text = isClosed ? "the channel is closed" : "more than \(settings.callsMax) calls at once"
    let code: RPCCode = isClosed ? .unavailable : .resourceExhausted
    text.withUTF8 { text in
      for (token, unary, stream) in refused {
        if let unary { unary.takeRetainedValue().completed(token: token, status: code, message: UnsafeRawBufferPointer(text)) }
        if let stream { stream.takeRetainedValue().ended(.none, token: token, status: code, text: UnsafeRawBufferPointer(text)) }
      }
    }
  }

  private func growRecords() {
    let capacity = pool.callCapacity
    let grown = UnsafeMutablePointer<CallRecord>.allocate(capacity: capacity)
    grown.moveInitialize(from: records, count: recordCapacity)
    (grown + recordCapacity).initialize(repeating: CallRecord(), count: capacity - recordCapacity)
    records.deallocate()
    records = grown
    recordCapacity = capacity
  }

  private func nanoseconds(_ microseconds: Int) -> Int64 {
    guard microseconds > 0 else { return .max }
    let (product, overflow) = Int64(microseconds).multipliedReportingOverflow(by: 1000)
    return overflow ? .max : min(product, .max / 4)
  }

  private func addBlock(
    _ method: MethodPath, timeoutNanoseconds: Int64, _ waitsForReady: Bool, _ metadata: RPCMetadata, isKept: Bool
  ) -> PreparedMethod {
    let block = HeaderBlock(
      path: method.path, authority: target.authority, isSecure: tls != nil, userAgent: settings.userAgent,
      timeoutNanoseconds: timeoutNanoseconds == .max ? nil : timeoutNanoseconds, metadata: metadata, isKept: isKept)
    let prepared = Method(path: method, timeoutNanoseconds: timeoutNanoseconds, waitsForReady: waitsForReady)
    if let free = freeBlocks.popLast() {
      blocks[Int(free)] = block
      methods[Int(free)] = prepared
      return PreparedMethod(index: free)
    }
    blocks.append(block)
    methods.append(prepared)
    return PreparedMethod(index: Int32(blocks.count - 1))
  }

  // MARK: Connecting

  private func open(_ id: Int32, _ address: RPCTarget.Address) {
    while connections.count <= Int(id) { connections.append(nil) }
    let connection = ClientConnection(id: id, address: address, loop: self, isSecure: tls != nil)
    connections[Int(id)] = connection
    let tls = tls
    let timeout = TimeAmount.milliseconds(Int64(max(1, settings.connectTimeoutMilliseconds)))
    let serverName = tls?.name
    let bound = NIOLoopBound(connection, eventLoop: eventLoop)
    ClientBootstrap(group: eventLoop)
      .connectTimeout(timeout)
      .channelOption(.socketOption(.tcp_nodelay), value: 1)
      .channelOption(.recvAllocator, value: SharedReadBufferAllocator(readBuffer))
      .channelOption(.writeBufferWaterMark, value: .init(low: 128 << 10, high: 512 << 10))
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          if let tls {
            try channel.pipeline.syncOperations.addHandler(NIOSSLClientHandler(context: tls.context, serverHostname: serverName))
          }
          try channel.pipeline.syncOperations.addHandler(bound.value)
        }
      }
      .connect(host: address.host, port: address.port)
      .assumeIsolated()
      .whenFailure { error in
        let connection = bound.value
        if connection.problem == nil { connection.problem = Self.connectText(error) }
        self.connectionLost(connection)
        self.turn()
      }
    connection.connectTimer = eventLoop.assumeIsolated().scheduleTask(in: timeout) {
      guard !connection.wasReady, self.isCurrent(connection) else { return }
      connection.close("the server sent no SETTINGS within \(self.settings.connectTimeoutMilliseconds) ms")
    }
    if let keepalive = settings.keepalive { watch(connection, KeepaliveWatch(keepalive, now: MonotonicClock.nanoseconds())) }
  }

  private func isCurrent(_ connection: ClientConnection) -> Bool {
    Int(connection.id) < connections.count && connections[Int(connection.id)] === connection
  }

  private static func connectText(_ error: any Error) -> String {
    switch error {
    case let error as NIOConnectionError:
      if let single = error.connectionErrors.last { return connectText(single.error) }
      return "the name cannot be resolved"
    case let error as ChannelError:
      if case .connectTimeout(let time) = error { return "no answer within \(time.nanoseconds / 1_000_000) ms" }
      return "\(error)"
    case let error as IOError:
      return error.errnoCode == ECONNREFUSED ? "connection refused: nothing listens there" : "\(error)"
    default: return ClientConnection.text(of: error)
    }
  }

  /// Pings as long as the connection lives.
  private func watch(_ connection: ClientConnection, _ watch: KeepaliveWatch) {
    var watch = watch
    let now = MonotonicClock.nanoseconds()
    if connection.wasReady {
      switch watch.next(now: now, lastRead: connection.lastReadNanoseconds, hasCalls: pool.callCount > 0) {
      case .wait: break
      case .ping: connection.ping()
      case .close: return connection.close("no answer to a keepalive ping within \(watch.settings.timeoutMilliseconds) ms")
      }
      turn()
    }
    let after = TimeAmount.nanoseconds(max(1_000_000, watch.wakeNanoseconds(now: now, lastRead: connection.lastReadNanoseconds) - now))
    let next = watch
    connection.watchTimer = eventLoop.assumeIsolated().scheduleTask(in: after) {
      if self.isCurrent(connection) { self.watch(connection, next) }
    }
  }

  // MARK: Time

  private func arm(_ at: Int64) {
    guard at < timerAt else { return }
    timer?.cancel()
    timerAt = at
    let after = max(0, at &- MonotonicClock.nanoseconds())
    timer = eventLoop.assumeIsolated().scheduleTask(in: .nanoseconds(after)) { self.fired() }
  }

  private func fired() {
    timer = nil
    timerAt = .max
    pool.woke(now: MonotonicClock.nanoseconds())
    turn()
    arm(pool.nextWake())
  }

  private func finishClosing() {
    guard isClosed, connections.allSatisfy({ $0 == nil }) else { return }
    timer?.cancel()
    timer = nil
    let promises = whenClosed
    whenClosed = []
    for promise in promises { promise.succeed(()) }
  }
}
