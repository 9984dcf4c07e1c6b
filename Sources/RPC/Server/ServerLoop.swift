// Hot: every call passes here. No allocation, existential, String or closure for each call in the steady state.
internal import CNGHTTP2
public import NIOCore
internal import Synchronization
internal import Telemetry

/// One event loop's calls: what handlers answer through. Everything here is for that loop's thread only, except `execute`.
///
/// Work happens in turns: a read of one connection, a timer, or what `execute` was given. At the end of a turn handlers that got
/// messages are flushed, and then each connection with something to send writes once.
public final class ServerLoop: @unchecked Sendable {
  /// 0 up to the number of loops.
  public let index: Int
  public let eventLoop: any EventLoop

  let settings: RPCServerSettings
  let metrics: ServerMetrics
  let calls = CallTable()
  let deadlines = DeadlineHeap()
  let memory: OpaquePointer
  /// One read buffer for all connections: taken for a read, given back when its bytes were handled.
  let readBuffer: SharedReadBuffer
  @exclusivity(unchecked) private(set) var methods: MethodTable?
  /// What goes out in one write. Connections take turns; a write that the kernel did not take at once keeps the memory, and the next
  /// one gets its own.
  @exclusivity(unchecked) var output: ByteBuffer
  /// Where a compressed message is inflated to, and handed over from.
  @exclusivity(unchecked) var inflated = ByteQueue()
  let inflater = MessageInflater()
  let nameValues: ResponseHeaders

  /// The time when this turn began: deadlines are counted from it, so that a call costs no look at the clock.
  @exclusivity(unchecked) private(set) var nowNanoseconds: Int64 = 0
  @exclusivity(unchecked) private(set) var connections: [ServerConnection] = []
  @exclusivity(unchecked) private(set) var isDraining = false
  /// Bytes of messages that the calls of all connections hold.
  @exclusivity(unchecked) var heldBytes = 0
  /// This loop's shares of the server's bounds.
  let heldBytesMax: Int
  let callsMax: Int
  let load = LoopLoad()

  @exclusivity(unchecked) private var isInTurn = false
  @exclusivity(unchecked) private var isEndingTurn = false
  @exclusivity(unchecked) private var isTurnScheduled = false
  /// No thread runs this loop any more.
  private let isStopped = Atomic<Bool>(false)
  @exclusivity(unchecked) private var touched: [Unmanaged<MethodHandler>] = []
  @exclusivity(unchecked) private var flushing: [Unmanaged<MethodHandler>] = []
  @exclusivity(unchecked) private var dirty: [ServerConnection] = []
  @exclusivity(unchecked) private var draining: [ServerConnection] = []
  @exclusivity(unchecked) private var resumed: [UInt32] = []
  @exclusivity(unchecked) private var roomy: [UInt32] = []
  @exclusivity(unchecked) private var deadlineTimer: Scheduled<Void>?
  @exclusivity(unchecked) private var deadlineTimerNanoseconds: Int64 = .max
  @exclusivity(unchecked) private var tickTask: RepeatedTask?
  @exclusivity(unchecked) private var lastTickNanoseconds: Int64 = 0
  @exclusivity(unchecked) private var countedMethod: Int32 = -2
  @exclusivity(unchecked) private var countedOK = 0

  init?(index: Int, eventLoop: any EventLoop, settings: RPCServerSettings, metrics: ServerMetrics) {
    guard let memory = mr_memory_create() else { return nil }
    self.index = index
    self.eventLoop = eventLoop
    self.settings = settings
    self.metrics = metrics
    self.memory = memory
    let loops = max(1, settings.loops > 0 ? settings.loops : System.coreCount)
    heldBytesMax = settings.heldBytesTotalMax / loops
    callsMax = max(1, settings.callsMax / loops)
    metrics.add(load)
    output = ByteBufferAllocator().buffer(capacity: ServerConnection.outputBytes)
    readBuffer = SharedReadBuffer(byteCount: settings.readBytesMax)
    nameValues = ResponseHeaders()
  }

  deinit {
    inflated.deallocate()
    methods = nil
    mr_memory_destroy(memory)
  }

  /// Makes the handlers. On the loop's thread, once.
  func start(_ services: [RPCService]) {
    eventLoop.preconditionInEventLoop()
    nowNanoseconds = MonotonicClock.nanoseconds()
    lastTickNanoseconds = nowNanoseconds
    let table = MethodTable(services, loop: self)
    methods = table
    for list in [table.entries.count, 16] {
      touched.reserveCapacity(list)
      flushing.reserveCapacity(list)
    }
    dirty.reserveCapacity(64)
    draining.reserveCapacity(64)
    let period = TimeAmount.milliseconds(Int64(settings.tickMilliseconds))
    tickTask = eventLoop.scheduleRepeatedTask(initialDelay: period, delay: period) { _ in self.tick() }
  }

  /// The last thing on this loop: no timer is left, and `execute` does nothing from here on. On the loop's thread.
  func stop() {
    isStopped.store(true, ordering: .relaxed)
    tickTask?.cancel()
    tickTask = nil
    deadlineTimer?.cancel()
    deadlineTimer = nil
  }

  /// Lets go of the handlers, which hold their loop. When no thread runs this loop any more: a connection that takes its time to close
  /// still tells them of its calls.
  func releaseHandlers() { methods = nil }

  // MARK: For handlers

  /// Runs `work` on the loop, then sends what it answered. From any thread. Does nothing once the server has stopped: no call is left.
  public func execute(_ work: @escaping @Sendable () -> Void) {
    if isStopped.load(ordering: .relaxed) { return }
    eventLoop.execute {
      let outermost = self.beginTurn()
      work()
      if outermost { self.endTurn() }
    }
  }

  /// Whether a call still waits for its answer or the rest of it.
  public func isLive(_ call: Call) -> Bool { calls.live(call) != nil }

  /// Answers a unary call: one message and OK. Copies the bytes. False for a dead call.
  @discardableResult
  public func reply(_ call: Call, _ message: UnsafeRawBufferPointer) -> Bool {
    guard let slot = calls.live(call), let connection = slot.pointee.connection else { return false }
    return connection._withUnsafeGuaranteedRef { connection in
      guard connection.append(slot, message) else { return false }
      connection.finish(slot, .ok)
      return true
    }
  }

  /// Answers a unary call with a message that stands in two places, so that it need not be gathered first.
  @discardableResult
  public func reply(_ call: Call, _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer) -> Bool {
    guard let room = reserveMessage(call, first.count + second.count) else { return false }
    if let base = first.baseAddress { room.copyMemory(from: base, byteCount: first.count) }
    if let base = second.baseAddress { (room + first.count).copyMemory(from: base, byteCount: second.count) }
    commitMessage(call, first.count + second.count)
    finish(call)
    return true
  }

  /// Room for a message of at most `byteCount` bytes, to be written in place; nil for a dead call or one with too much pending. Follow
  /// at once with `commitMessage`.
  public func reserveMessage(_ call: Call, _ byteCount: Int) -> UnsafeMutableRawPointer? {
    guard let slot = calls.live(call), let connection = slot.pointee.connection else { return nil }
    guard connection._withUnsafeGuaranteedRef({ $0.hasRoom(slot, byteCount) }) else { return nil }
    return slot.pointee.output.reserve(MessagePrefix.byteCount + byteCount) + MessagePrefix.byteCount
  }

  /// Sends the message of `byteCount` bytes that was written where `reserveMessage` said. A unary call still needs its `finish`.
  public func commitMessage(_ call: Call, _ byteCount: Int) {
    guard let slot = calls.live(call), let connection = slot.pointee.connection else { return }
    let prefix = slot.pointee.output.reserve(MessagePrefix.byteCount + byteCount)
    MessagePrefix(length: byteCount).write(to: prefix)
    slot.pointee.output.advance(by: MessagePrefix.byteCount + byteCount)
    connection._withUnsafeGuaranteedRef { $0.appended(slot, MessagePrefix.byteCount + byteCount) }
  }

  /// Sends one message of a streaming call. Copies the bytes. False for a dead call.
  @discardableResult
  public func send(_ call: Call, _ message: UnsafeRawBufferPointer) -> Bool {
    guard let slot = calls.live(call), let connection = slot.pointee.connection else { return false }
    return connection._withUnsafeGuaranteedRef { $0.append(slot, message) }
  }

  /// Sends the response's headers now, before the first message. For streaming methods whose first message may take long.
  public func sendHeaders(_ call: Call) {
    guard let slot = calls.live(call), let connection = slot.pointee.connection else { return }
    connection._withUnsafeGuaranteedRef { $0.submitHeaders(slot) }
  }

  /// Ends a call with OK, after the messages that were sent.
  public func finish(_ call: Call) {
    guard let slot = calls.live(call), let connection = slot.pointee.connection else { return }
    connection._withUnsafeGuaranteedRef { $0.finish(slot, .ok) }
  }

  /// Ends a call, after the messages that were sent. A unary call that has no message and is OK is answered with INTERNAL.
  public func finish(_ call: Call, _ status: RPCStatus, trailers: RPCMetadata? = nil) {
    guard let slot = calls.live(call), let connection = slot.pointee.connection else { return }
    TrailerWriter.write(status, trailers, to: &slot.pointee.trailers)
    connection._withUnsafeGuaranteedRef { $0.finish(slot, status.code) }
  }

  /// Ends a call with an error whose text is known when the program is built. Allocates nothing.
  public func fail(_ call: Call, _ code: RPCCode, _ message: StaticString) {
    fail(call, code, UnsafeRawBufferPointer(start: message.utf8Start, count: message.utf8CodeUnitCount))
  }

  /// Ends a call with an error whose text is UTF-8 in a buffer. Allocates nothing beyond the call's reused memory.
  public func fail(_ call: Call, _ code: RPCCode, _ message: UnsafeRawBufferPointer) {
    guard let slot = calls.live(call), let connection = slot.pointee.connection else { return }
    TrailerWriter.write(message: message, to: &slot.pointee.trailers)
    connection._withUnsafeGuaranteedRef { $0.finish(slot, code) }
  }

  /// Bytes that were sent but not yet taken by the peer: stop making more above a bound of yours, until `writable`. 0 for a dead call.
  public func pendingBytes(_ call: Call) -> Int { calls.live(call)?.pointee.output.count ?? 0 }

  /// Stops taking messages of a call: the client may send until the call's flow control window is full, and no more.
  public func pauseReading(_ call: Call) { calls.live(call)?.pointee.state.insert(.readingPaused) }

  /// Takes messages of a call again. Those that wait are handed over at the end of the turn, not within this call.
  public func resumeReading(_ call: Call) {
    guard let slot = calls.live(call), slot.pointee.state.contains(.readingPaused) else { return }
    slot.pointee.state.remove(.readingPaused)
    guard !slot.pointee.state.contains(.resumeQueued) else { return }
    slot.pointee.state.insert(.resumeQueued)
    resumed.append(slot.pointee.place)
    ensureTurn()
  }

  /// When the client gives up, by `MonotonicClock`; `.max` when it never said, or for a dead call.
  public func deadlineNanoseconds(_ call: Call) -> Int64 { calls.live(call)?.pointee.deadlineNanoseconds ?? .max }

  /// The metadata that the client sent with its headers. Cold. Empty for a dead call.
  public func metadata(_ call: Call) -> RPCMetadata {
    guard let slot = calls.live(call) else { return RPCMetadata() }
    return HeaderStore.metadata(slot.pointee.metadata.bytes)
  }

  /// The client's address. Cold. Empty for a dead call.
  public func peer(_ call: Call) -> String {
    calls.live(call)?.pointee.connection?.takeUnretainedValue().peer ?? ""
  }

  /// The subject of the certificate that the client showed, as text; nil without mTLS. Cold.
  public func peerCertificateSubject(_ call: Call) -> String? {
    calls.live(call)?.pointee.connection?.takeUnretainedValue().peerCertificateSubject
  }

  // MARK: Turns

  /// True when this began a turn that the caller must end.
  @discardableResult @inline(__always)
  func beginTurn() -> Bool {
    if isInTurn { return false }
    isInTurn = true
    nowNanoseconds = MonotonicClock.nanoseconds()
    return true
  }

  /// Hands over what was resumed, flushes handlers, sends, and tells handlers of room; again while that leads to more.
  func endTurn() {
    // A connection that ends within the end of a turn changes nothing about it.
    if isEndingTurn { return }
    isEndingTurn = true
    var rounds = 0
    while rounds < Self.roundsMax, !(touched.isEmpty && dirty.isEmpty && resumed.isEmpty && roomy.isEmpty) {
      rounds += 1
      deliverResumed()
      flushTouched()
      // Before the answers leave: who has an answer finds it counted.
      if countedOK > 0 { publishCounts() }
      drainDirty()
      tellRoomy()
    }
    if countedOK > 0 { publishCounts() }
    load.calls.store(calls.occupied, ordering: .relaxed)
    load.heldBytes.store(heldBytes, ordering: .relaxed)
    armDeadlineTimer()
    isEndingTurn = false
    isInTurn = false
    if rounds == Self.roundsMax { ensureTurn() }
  }

  private static let roundsMax = 8

  /// Somebody on the loop's thread, outside a turn, left something to do.
  func ensureTurn() {
    if isInTurn || isTurnScheduled { return }
    isTurnScheduled = true
    eventLoop.execute {
      self.isTurnScheduled = false
      if self.beginTurn() { self.endTurn() }
    }
  }

  @inline(__always)
  func touch(_ handler: Unmanaged<MethodHandler>) {
    handler._withUnsafeGuaranteedRef { if !$0.isTouched { note(handler, $0) } }
  }

  private func note(_ handler: Unmanaged<MethodHandler>, _ of: MethodHandler) {
    of.isTouched = true
    touched.append(handler)
  }

  func markDirty(_ connection: ServerConnection) {
    if connection.isDirty { return }
    connection.isDirty = true
    dirty.append(connection)
    ensureTurn()
  }

  func queueRoomy(_ slot: UnsafeMutablePointer<CallSlot>) {
    slot.pointee.state.insert(.writableQueued)
    roomy.append(slot.pointee.place)
  }

  private func deliverResumed() {
    var next = 0
    while next < resumed.count {
      if let slot = calls.slot(resumed[next]), slot.pointee.state.contains(.resumeQueued) {
        slot.pointee.state.remove(.resumeQueued)
        if slot.pointee.state.contains(.live), let connection = slot.pointee.connection {
          connection._withUnsafeGuaranteedRef { $0.resume(slot) }
        }
      }
      next += 1
    }
    resumed.removeAll(keepingCapacity: true)
  }

  private func flushTouched() {
    if touched.isEmpty { return }
    swap(&touched, &flushing)
    for handler in flushing {
      handler._withUnsafeGuaranteedRef {
        $0.isTouched = false
        $0.flush()
      }
    }
    flushing.removeAll(keepingCapacity: true)
  }

  private func drainDirty() {
    if dirty.isEmpty { return }
    swap(&dirty, &draining)
    for connection in draining {
      connection.isDirty = false
      connection.drain()
    }
    draining.removeAll(keepingCapacity: true)
  }

  private func tellRoomy() {
    var next = 0
    while next < roomy.count {
      if let slot = calls.slot(roomy[next]), slot.pointee.state.contains(.writableQueued) {
        slot.pointee.state.remove(.writableQueued)
        if slot.pointee.state.contains(.live), let handler = slot.pointee.handler {
          touch(handler)
          let call = slot.pointee.call
          handler._withUnsafeGuaranteedRef { $0.writable(call) }
        }
      }
      next += 1
    }
    roomy.removeAll(keepingCapacity: true)
  }

  // MARK: Counting

  /// One call of a method ended with a code. OKs of one method in a row are counted together, once for each turn.
  @inline(__always)
  func countCall(_ method: Int32, _ code: RPCCode) {
    if code == .ok, method == countedMethod {
      countedOK &+= 1
    } else {
      countOther(method, code)
    }
  }

  private func countOther(_ method: Int32, _ code: RPCCode) {
    guard code == .ok else {
      let name: String? = method >= 0 ? methods?.entries[Int(method)].name : nil
      metrics.calls(method, name ?? "unknown", code).add()
      return
    }
    publishCounts()
    countedMethod = method
    countedOK = 1
  }

  private func publishCounts() {
    if countedOK > 0, countedMethod >= 0, let methods {
      metrics.calls(countedMethod, methods.entries[Int(countedMethod)].name, .ok).add(countedOK)
    }
    countedOK = 0
  }

  // MARK: Deadlines

  private func armDeadlineTimer() {
    guard let first = deadlines.first else { return }
    let due = first.pointee.deadlineNanoseconds
    // A timer that is set for earlier finds nothing to do and sets the next one.
    guard due < deadlineTimerNanoseconds else { return }
    deadlineTimer?.cancel()
    deadlineTimerNanoseconds = due
    // Timers of the loop count in their own time; a millisecond at least, so that deadlines close together share one.
    let delay = max(due &- MonotonicClock.nanoseconds(), 1_000_000)
    deadlineTimer = eventLoop.scheduleTask(in: .nanoseconds(delay)) { self.deadlinesDue() }
  }

  private func deadlinesDue() {
    deadlineTimer = nil
    deadlineTimerNanoseconds = .max
    let outermost = beginTurn()
    expireDeadlines()
    if outermost { endTurn() }
  }

  private func expireDeadlines() {
    while let first = deadlines.first, first.pointee.deadlineNanoseconds <= nowNanoseconds {
      deadlines.remove(first)
      if let connection = first.pointee.connection { connection._withUnsafeGuaranteedRef { $0.expire(first) } }
    }
  }

  // MARK: Connections

  func add(_ connection: ServerConnection) {
    connection.place = connections.count
    connections.append(connection)
  }

  func remove(_ connection: ServerConnection) {
    guard connection.place >= 0, connection.place < connections.count, connections[connection.place] === connection else { return }
    let last = connections.removeLast()
    if last !== connection {
      connections[connection.place] = last
      last.place = connection.place
    }
    connection.place = -1
  }

  /// Tells all connections, and those that come, that this server is going. On the loop's thread.
  func beginDrain() {
    let outermost = beginTurn()
    isDraining = true
    for connection in connections { connection.beginDrain() }
    if outermost { endTurn() }
  }

  /// Closes all connections, whatever they do. On the loop's thread.
  func closeAll() {
    let outermost = beginTurn()
    for connection in connections { connection.closeNow() }
    if outermost { endTurn() }
  }

  private func tick() {
    let outermost = beginTurn()
    let elapsed = nowNanoseconds &- lastTickNanoseconds
    lastTickNanoseconds = nowNanoseconds
    // From the end: a connection that closes leaves its place to one that was looked at.
    var place = connections.count - 1
    while place >= 0 {
      if place < connections.count { connections[place].tick(elapsedNanoseconds: elapsed) }
      place -= 1
    }
    if outermost { endTurn() }
  }
}
