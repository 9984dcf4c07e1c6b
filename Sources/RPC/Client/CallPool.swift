// Hot: `start`, `streamClosed` and `release` run for every call. No allocation in the steady state.

/// Why a call that had no answer ended.
enum CallEnd: UInt8, Equatable {
  /// Its connection broke, or none could be made.
  case unavailable
  case deadlineExceeded
  case cancelled
  /// The channel was closed.
  case closed
  /// Refused by the server more often than the bound.
  case refused
}

/// Which calls run on which connections of one loop. A pure state machine: calls, what connections do and the time come in; actions go
/// out. It holds that
///
/// - a connection never has more streams than its limit, and calls wait in the order they came;
/// - a call is sent again without being asked only if no server can have seen it (it was refused, beyond GOAWAY's last stream, or never sent);
/// - each call ends once; a call with a deadline ends by then whatever the connections do;
/// - calls, waiting and in flight, are bounded.
///
/// Slots are small numbers, reused; connections likewise. One thread.
final class CallPool {
  /// A call that servers refused so often is given up.
  static let transparentRetriesMax: UInt8 = 5
  static let none: Int32 = -1

  struct Settings {
    var connections = 1
    var addresses = 1
    var firstAddress = 0
    var streamsMax = 1000
    var callsMax = 65_536
    var backoff = ReconnectBackoff.Settings()
    var seed: UInt64 = 0
  }

  enum Action: Equatable {
    /// Open connection `connection` to the address of that index.
    case connect(connection: Int32, address: Int)
    /// The call has a place now: send it.
    case submit(slot: Int32, connection: Int32)
    /// The call is over; to be answered with `release`. When it has a stream, that is to be reset.
    case end(slot: Int32, CallEnd)
    /// The connection has drained: close it.
    case close(connection: Int32)
  }

  enum Phase: UInt8 { case free, waiting, open, ending }

  private struct Call {
    var phase = Phase.free
    var waitsForReady = false
    /// Bytes of its message were handed to the connection: a server may have seen it.
    var isSent = false
    var transparentRetries: UInt8 = 0
    var generation: UInt32 = 0
    var connection: Int32 = -1
    var next: Int32 = -1
    var previous: Int32 = -1
    var deadline = Int64.max
  }

  private enum ConnectionPhase: UInt8 { case gone, connecting, ready, draining }

  private struct Connection {
    var phase = ConnectionPhase.gone
    /// A stream was answered on it.
    var wasOfUse = false
    var place: Int32 = -1
    var streams: Int32 = 0
    var limit: Int32 = 0
    /// Its calls.
    var head: Int32 = -1

    var hasRoom: Bool { phase == .ready && streams < limit }
  }

  private struct Place {
    var life: ConnectionLife
    var connection: Int32 = -1
  }

  private let settings: Settings
  @exclusivity(unchecked) private var calls: UnsafeMutablePointer<Call>
  @exclusivity(unchecked) private(set) var callCapacity: Int
  @exclusivity(unchecked) private var freeHead = none
  /// Calls that are not free.
  @exclusivity(unchecked) private(set) var callCount = 0
  @exclusivity(unchecked) private var waitingHead = none
  @exclusivity(unchecked) private var waitingTail = none
  @exclusivity(unchecked) private(set) var waitingCount = 0
  @exclusivity(unchecked) private var connections: [Connection] = []
  @exclusivity(unchecked) private var places: [Place] = []
  @exclusivity(unchecked) private var readyPlaces = 0
  @exclusivity(unchecked) private var idlePlaces: Int
  /// Connections that have room.
  @exclusivity(unchecked) private var roomy = 0
  /// Streams of all ready connections.
  @exclusivity(unchecked) private var readyStreams: Int32 = 0
  @exclusivity(unchecked) private var cursor = 0
  @exclusivity(unchecked) private var isClosed = false
  private let deadlines: DeadlineWheel
  /// The earliest end of a back-off.
  @exclusivity(unchecked) private(set) var backoffsUntil = Int64.max
  @exclusivity(unchecked) private var actions: [Action] = []
  @exclusivity(unchecked) private var nextActionIndex = 0

  init(_ settings: Settings, now: Int64) {
    precondition(settings.connections > 0 && settings.addresses > 0 && settings.callsMax > 0, "\(settings)")
    self.settings = settings
    callCapacity = min(256, settings.callsMax)
    calls = .allocate(capacity: callCapacity)
    calls.initialize(repeating: Call(), count: callCapacity)
    deadlines = DeadlineWheel(capacity: callCapacity, now: now)
    idlePlaces = settings.connections
    actions.reserveCapacity(256)
    for slot in (0..<Int32(callCapacity)).reversed() { pushFree(slot) }
    for i in 0..<settings.connections {
      let backoff = ReconnectBackoff(settings.backoff, seed: settings.seed &+ UInt64(i))
      places.append(
        Place(
          life: ConnectionLife(
            addresses: settings.addresses, firstAddress: settings.firstAddress + i, backoff: backoff)))
    }
  }

  deinit { calls.deallocate() }

  // MARK: Actions

  var hasActions: Bool { nextActionIndex < actions.count }

  /// What is to be done now, in order. To be asked after every input until it has none.
  @inline(__always)
  func nextAction() -> Action? {
    guard nextActionIndex < actions.count else {
      if nextActionIndex > 0 {
        actions.removeAll(keepingCapacity: true)
        nextActionIndex = 0
      }
      return nil
    }
    nextActionIndex &+= 1
    return actions[nextActionIndex &- 1]
  }

  // MARK: Calls

  func phase(_ slot: Int32) -> Phase { calls[Int(slot)].phase }
  @inline(__always)
  func generation(_ slot: Int32) -> UInt32 { calls[Int(slot)].generation }
  @inline(__always)
  func connection(of slot: Int32) -> Int32 { calls[Int(slot)].connection }
  func deadline(of slot: Int32) -> Int64 { calls[Int(slot)].deadline }

  /// True while the call that has this slot and generation waits or is in flight.
  @inline(__always)
  func isLive(_ slot: Int32, _ generation: UInt32) -> Bool {
    guard slot >= 0, slot < callCapacity, calls[Int(slot)].generation == generation else { return false }
    let phase = calls[Int(slot)].phase
    return phase == .open || phase == .waiting
  }

  /// A new call: its slot, or -1 when there are too many. It is open (see `connection(of:)`, to be submitted there) or waits. `preferred`:
  /// a connection whose output is going to be flushed anyway, or -1.
  func start(deadline: Int64, waitsForReady: Bool, now: Int64, preferred: Int32) -> Int32 {
    let slot = popFree()
    guard slot >= 0 else { return Self.none }
    let call = calls + Int(slot)
    call.pointee.waitsForReady = waitsForReady
    call.pointee.isSent = false
    call.pointee.transparentRetries = 0
    call.pointee.deadline = deadline
    callCount &+= 1
    if deadline != .max { deadlines.insert(slot, deadline: deadline) }
    if idlePlaces > 0 { connectIdlePlaces() }
    if waitingCount == 0 {
      let connection = choose(preferred)
      if connection >= 0 {
        attach(slot, to: connection)
        return slot
      }
    }
    appendWaiting(slot)
    if !waitsForReady { failIfNothingComes() }
    return slot
  }

  /// Bytes of the call's message were handed to its connection.
  @inline(__always)
  func sent(_ slot: Int32) { calls[Int(slot)].isSent = true }

  func isSent(_ slot: Int32) -> Bool { calls[Int(slot)].isSent }

  /// The server refused the call's stream, or will never look at it: it is sent again, or ends when that happened too often.
  func refused(_ slot: Int32) {
    guard calls[Int(slot)].phase == .open else { return }
    if calls[Int(slot)].isSent {
      calls[Int(slot)].transparentRetries &+= 1
      if calls[Int(slot)].transparentRetries > Self.transparentRetriesMax { return end(slot, .refused) }
    }
    requeue(slot)
    pump()
  }

  /// The caller gave up.
  func cancel(_ slot: Int32) {
    let phase = calls[Int(slot)].phase
    guard phase == .waiting || phase == .open else { return }
    end(slot, .cancelled)
  }

  /// The call has its answer; its slot stays taken until `release`.
  @inline(__always)
  func detachEnded(_ slot: Int32) {
    let phase = calls[Int(slot)].phase
    guard phase == .waiting || phase == .open else { return }
    detach(slot)
    calls[Int(slot)].phase = .ending
  }

  /// The call has been completed, by its answer or after `.end`: the slot may be used again.
  @inline(__always)
  func release(_ slot: Int32) {
    let phase = calls[Int(slot)].phase
    guard phase != .free else { return }
    if phase == .waiting || phase == .open { detach(slot) }
    calls[Int(slot)].phase = .free
    calls[Int(slot)].generation &+= 1
    callCount &-= 1
    pushFree(slot)
  }

  // MARK: Connections

  /// The server's SETTINGS, the first or later ones: how many streams it allows.
  func settingsReceived(_ connection: Int32, streamsMax: UInt32) {
    guard isKnown(connection) else { return }
    let limit = Int32(clamping: min(UInt64(streamsMax), UInt64(max(0, settings.streamsMax))))
    let before = connections[Int(connection)].hasRoom
    connections[Int(connection)].limit = limit
    if connections[Int(connection)].phase == .connecting {
      connections[Int(connection)].phase = .ready
      readyPlaces += 1
      places[Int(connections[Int(connection)].place)].life.established()
    }
    roomChanged(before, connections[Int(connection)].hasRoom)
    pump()
  }

  /// The server sent GOAWAY, or stream numbers are used up: no new calls there. Calls that it will not look at are to be reported by
  /// `refused`; the others go on.
  func departed(_ connection: Int32, now: Int64) {
    guard isKnown(connection) else { return }
    let phase = connections[Int(connection)].phase
    guard phase == .ready || phase == .connecting else { return }
    leavePlace(connection, now)
    connections[Int(connection)].phase = .draining
    closeIfDrained(connection)
    pump()
  }

  /// The connection could not be made, broke, or was closed. Its calls end, but for those that were never sent.
  func lost(_ connection: Int32, now: Int64) {
    guard isKnown(connection) else { return }
    let phase = connections[Int(connection)].phase
    if phase == .ready || phase == .connecting { leavePlace(connection, now) }
    connections[Int(connection)].phase = .gone
    // From the back, since each goes to the front of those who wait.
    var slot = connections[Int(connection)].head
    while slot >= 0 {
      let next = calls[Int(slot)].next
      if calls[Int(slot)].isSent { end(slot, isClosed ? .closed : .unavailable) } else { requeue(slot) }
      slot = next
    }
    connections[Int(connection)].head = Self.none
    connections[Int(connection)].streams = 0
    pump()
    failIfNothingComes()
  }

  /// One of the connection's streams is gone, whether its call got an answer or was given up.
  @inline(__always)
  func streamClosed(_ connection: Int32, wasAnswered: Bool) {
    guard connection < connections.count else { return }
    let before = connections[Int(connection)].hasRoom
    guard connections[Int(connection)].streams > 0 else { return }
    connections[Int(connection)].streams &-= 1
    if wasAnswered { connections[Int(connection)].wasOfUse = true }
    switch connections[Int(connection)].phase {
    case .ready:
      readyStreams &-= 1
      roomChanged(before, connections[Int(connection)].hasRoom)
      if waitingCount > 0 { pump() }
    case .draining: closeIfDrained(connection)
    case .connecting, .gone: break
    }
  }

  /// Opens all connections before the first call.
  func connect() {
    if !isClosed { connectIdlePlaces() }
  }

  /// Places that are ready for calls.
  var readyCount: Int { readyPlaces }

  // MARK: Time

  /// Deadlines and back-offs that have passed.
  func woke(now: Int64) {
    while true {
      let slot = deadlines.popExpired(now: now)
      guard slot >= 0 else { break }
      end(slot, .deadlineExceeded)
    }
    guard now >= backoffsUntil else { return }
    for place in places.indices {
      perform(places[place].life.woke(now: now), place)
    }
  }

  /// When `woke` should be called; `Int64.max` for never.
  func nextWake() -> Int64 { min(deadlines.nextWake(), backoffsUntil) }

  // MARK: End

  /// No more calls; those in flight and waiting end.
  func close() {
    guard !isClosed else { return }
    isClosed = true
    for place in places.indices { places[place].life.close() }
    idlePlaces = 0
    backoffsUntil = .max
    for slot in 0..<Int32(callCapacity) {
      let phase = calls[Int(slot)].phase
      if phase == .waiting || phase == .open { end(slot, .closed) }
    }
    for connection in connections.indices where connections[connection].phase != .gone {
      actions.append(.close(connection: Int32(connection)))
    }
  }

  // MARK: Parts

  private func isKnown(_ connection: Int32) -> Bool {
    connection >= 0 && connection < connections.count && connections[Int(connection)].phase != .gone
  }

  private func end(_ slot: Int32, _ reason: CallEnd) {
    detach(slot)
    calls[Int(slot)].phase = .ending
    actions.append(.end(slot: slot, reason))
  }

  /// The connection with room that comes next, beginning with the preferred one unless it carries much more than its share.
  @inline(__always)
  private func choose(_ preferred: Int32) -> Int32 {
    guard roomy > 0 else { return Self.none }
    if preferred >= 0, connections[Int(preferred)].hasRoom {
      let share = Int(connections[Int(preferred)].streams) &* readyPlaces
      if share <= Int(readyStreams) &+ 8 &* readyPlaces { return preferred }
    }
    for _ in 0..<connections.count {
      cursor &+= 1
      if cursor >= connections.count { cursor = 0 }
      if connections[cursor].hasRoom { return Int32(truncatingIfNeeded: cursor) }
    }
    return Self.none
  }

  @inline(__always)
  private func attach(_ slot: Int32, to connection: Int32) {
    let call = calls + Int(slot)
    call.pointee.phase = .open
    call.pointee.connection = connection
    let head = connections[Int(connection)].head
    call.pointee.next = head
    call.pointee.previous = Self.none
    if head >= 0 { calls[Int(head)].previous = slot }
    connections[Int(connection)].head = slot
    connections[Int(connection)].streams &+= 1
    readyStreams &+= 1
    if !connections[Int(connection)].hasRoom { roomy &-= 1 }
  }

  /// Takes the call out of the list it is in and out of the wheel.
  @inline(__always)
  private func detach(_ slot: Int32) {
    let call = calls[Int(slot)]
    if call.deadline != .max { deadlines.remove(slot) }
    unlink(slot)
  }

  @inline(__always)
  private func unlink(_ slot: Int32) {
    let call = calls[Int(slot)]
    switch call.phase {
    case .waiting:
      if call.previous >= 0 { calls[Int(call.previous)].next = call.next } else { waitingHead = call.next }
      if call.next >= 0 { calls[Int(call.next)].previous = call.previous } else { waitingTail = call.previous }
      waitingCount &-= 1
    case .open:
      if call.previous >= 0 {
        calls[Int(call.previous)].next = call.next
      } else {
        connections[Int(call.connection)].head = call.next
      }
      if call.next >= 0 { calls[Int(call.next)].previous = call.previous }
    case .free, .ending: break
    }
  }

  private func appendWaiting(_ slot: Int32) {
    calls[Int(slot)].phase = .waiting
    calls[Int(slot)].connection = Self.none
    calls[Int(slot)].next = Self.none
    calls[Int(slot)].previous = waitingTail
    if waitingTail >= 0 { calls[Int(waitingTail)].next = slot } else { waitingHead = slot }
    waitingTail = slot
    waitingCount += 1
  }

  /// To the front: it waited before.
  private func requeue(_ slot: Int32) {
    unlink(slot)
    calls[Int(slot)].phase = .waiting
    calls[Int(slot)].isSent = false
    calls[Int(slot)].connection = Self.none
    calls[Int(slot)].previous = Self.none
    calls[Int(slot)].next = waitingHead
    if waitingHead >= 0 { calls[Int(waitingHead)].previous = slot } else { waitingTail = slot }
    waitingHead = slot
    waitingCount += 1
  }

  /// Those who wait get what room there is, in order.
  private func pump() {
    guard waitingCount > 0, !isClosed else { return }
    if idlePlaces > 0 { connectIdlePlaces() }
    while waitingCount > 0, roomy > 0 {
      let connection = choose(Self.none)
      guard connection >= 0 else { return }
      let slot = waitingHead
      unlink(slot)
      attach(slot, to: connection)
      actions.append(.submit(slot: slot, connection: connection))
    }
  }

  /// With no connection there or being made, calls that do not wait for one end: an error now is worth more than one later.
  private func failIfNothingComes() {
    guard waitingCount > 0, !isClosed else { return }
    for place in places {
      switch place.life.state {
      case .ready, .connecting, .idle: return
      case .backingOff, .closed: break
      }
    }
    var slot = waitingHead
    while slot >= 0 {
      let next = calls[Int(slot)].next
      if !calls[Int(slot)].waitsForReady { end(slot, .unavailable) }
      slot = next
    }
  }

  private func connectIdlePlaces() {
    guard !isClosed else { return }
    for place in places.indices where places[place].life.state == .idle {
      perform(places[place].life.wanted(), place)
    }
  }

  private func leavePlace(_ connection: Int32, _ now: Int64) {
    let place = Int(connections[Int(connection)].place)
    if connections[Int(connection)].phase == .ready {
      readyPlaces -= 1
      readyStreams &-= connections[Int(connection)].streams
    }
    roomChanged(connections[Int(connection)].hasRoom, false)
    places[place].connection = Self.none
    connections[Int(connection)].place = Self.none
    // Now: `hasRoom` must be false before calls are placed again.
    connections[Int(connection)].phase = .draining
    guard !isClosed else { return }
    perform(places[place].life.departed(wasOfUse: connections[Int(connection)].wasOfUse, now: now), place)
  }

  private func perform(_ action: ConnectionLife.Action, _ place: Int) {
    switch action {
    case .none: break
    case .connect(let address):
      let connection = newConnection(place)
      places[place].connection = connection
      actions.append(.connect(connection: connection, address: address))
    case .wait: break
    }
    countIdle()
  }

  private func countIdle() {
    idlePlaces = isClosed ? 0 : places.count { $0.life.state == .idle }
    backoffsUntil = .max
    for place in places {
      if case .backingOff(let until) = place.life.state { backoffsUntil = min(backoffsUntil, until) }
    }
  }

  private func newConnection(_ place: Int) -> Int32 {
    var connection = Connection()
    connection.phase = .connecting
    connection.place = Int32(place)
    if let free = connections.firstIndex(where: { $0.phase == .gone && $0.streams == 0 && $0.head < 0 }) {
      connections[free] = connection
      return Int32(free)
    }
    connections.append(connection)
    return Int32(connections.count - 1)
  }

  private func closeIfDrained(_ connection: Int32) {
    guard connections[Int(connection)].phase == .draining, connections[Int(connection)].streams == 0 else { return }
    actions.append(.close(connection: connection))
  }

  @inline(__always)
  private func roomChanged(_ before: Bool, _ after: Bool) {
    if before != after { roomy &+= after ? 1 : -1 }
  }

  @inline(__always)
  private func popFree() -> Int32 {
    if freeHead < 0 { grow() }
    guard freeHead >= 0, !isClosed else { return Self.none }
    let slot = freeHead
    freeHead = calls[Int(slot)].next
    return slot
  }

  @inline(__always)
  private func pushFree(_ slot: Int32) {
    calls[Int(slot)].next = freeHead
    freeHead = slot
  }

  private func grow() {
    let wanted = min(callCapacity * 2, settings.callsMax)
    guard wanted > callCapacity else { return }
    let grown = UnsafeMutablePointer<Call>.allocate(capacity: wanted)
    grown.moveInitialize(from: calls, count: callCapacity)
    (grown + callCapacity).initialize(repeating: Call(), count: wanted - callCapacity)
    calls.deallocate()
    calls = grown
    let from = Int32(callCapacity)
    callCapacity = wanted
    deadlines.reserve(wanted)
    for slot in (from..<Int32(wanted)).reversed() { pushFree(slot) }
  }
}
