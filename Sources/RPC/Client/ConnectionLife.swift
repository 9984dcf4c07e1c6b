/// One place for a connection: when to connect, to which address, and how long to wait after a failure. A pure state machine: times come
/// in (nanoseconds of the monotonic clock), actions go out.
///
///     idle ──wanted──▶ connecting ──SETTINGS──▶ ready ──GOAWAY or lost──▶ idle
///       ▲                 │ every address failed          │ lost before it was of use
///       └── (after it) ── backingOff ◀────────────────────┘
///
/// A connection that drains after GOAWAY has left its place: the place is free for the next one.
struct ConnectionLife {
  enum State: Equatable {
    case idle
    case connecting
    case ready
    case backingOff(until: Int64)
    case closed
  }

  enum Action: Equatable {
    case none
    /// To the address of this index.
    case connect(address: Int)
    case wait(until: Int64)
  }

  private(set) var state = State.idle
  private var backoff: ReconnectBackoff
  private let addresses: Int
  /// The address of the next attempt.
  private var address: Int
  /// Attempts since the last connection that was of use; after each round of all addresses there is a wait.
  private var failures = 0
  /// A connection that was made and then turned away was followed by another one at once.
  private var hasHurried = false

  init(addresses: Int, firstAddress: Int, backoff: ReconnectBackoff) {
    precondition(addresses > 0, "\(addresses) addresses")
    self.addresses = addresses
    address = firstAddress % addresses
    self.backoff = backoff
  }

  /// A call needs a connection.
  mutating func wanted() -> Action {
    guard state == .idle else { return .none }
    return connect()
  }

  /// The server's SETTINGS are here.
  mutating func established() {
    guard state == .connecting else { return }
    state = .ready
  }

  /// The server sent GOAWAY, or the connection's stream numbers are used up: it drains elsewhere, and this place is free. One that was of no
  /// use counts as a failure (the second time), or a server that turns everybody away at once would be asked without a pause.
  mutating func departed(wasOfUse: Bool, now: Int64) -> Action {
    guard state == .ready || state == .connecting else { return .none }
    if wasOfUse { return succeeded() }
    // Once: a server may have been about to leave when we came.
    if state == .ready, !hasHurried {
      hasHurried = true
      address = (address + 1) % addresses
      return connect()
    }
    return failed(now)
  }

  /// Connecting failed or the connection broke.
  mutating func lost(wasOfUse: Bool, now: Int64) -> Action { departed(wasOfUse: wasOfUse, now: now) }

  /// Time has passed.
  mutating func woke(now: Int64) -> Action {
    guard case .backingOff(let until) = state, now >= until else { return .none }
    return connect()
  }

  mutating func close() { state = .closed }

  private mutating func connect() -> Action {
    state = .connecting
    return .connect(address: address)
  }

  private mutating func succeeded() -> Action {
    failures = 0
    hasHurried = false
    backoff.reset()
    state = .idle
    // The server that leaves is the one to leave: with others there, the next one first.
    address = (address + 1) % addresses
    return .none
  }

  private mutating func failed(_ now: Int64) -> Action {
    failures += 1
    address = (address + 1) % addresses
    if failures % addresses != 0 { return connect() }
    let until = now &+ backoff.next()
    state = .backingOff(until: until)
    return .wait(until: until)
  }
}
