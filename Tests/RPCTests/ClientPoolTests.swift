@testable import RPC
import Testing

@Suite struct ClientPoolTests {
  static func pool(
    connections: Int = 1, addresses: Int = 1, streamsMax: Int = 1000, callsMax: Int = 1000,
    backoff: ReconnectBackoff.Settings = .init(jitter: 0)
  ) -> CallPool {
    var settings = CallPool.Settings()
    settings.connections = connections
    settings.addresses = addresses
    settings.streamsMax = streamsMax
    settings.callsMax = callsMax
    settings.backoff = backoff
    return CallPool(settings, now: 0)
  }

  static func actions(_ pool: CallPool) -> [CallPool.Action] {
    var actions: [CallPool.Action] = []
    while let action = pool.nextAction() { actions.append(action) }
    return actions
  }

  private func start(_ pool: CallPool, deadline: Int64 = .max, waits: Bool = false) -> Int32 {
    pool.start(deadline: deadline, waitsForReady: waits, now: 0, preferred: -1)
  }

  @Test func firstCallConnectsAndWaitsForTheSettings() {
    let pool = Self.pool()
    let call = start(pool)
    #expect(pool.connection(of: call) == -1)
    #expect(Self.actions(pool) == [.connect(connection: 0, address: 0)])
    pool.settingsReceived(0, streamsMax: 100)
    #expect(Self.actions(pool) == [.submit(slot: call, connection: 0)])
    // The next one goes straight there.
    #expect(pool.connection(of: start(pool)) == 0)
    #expect(Self.actions(pool).isEmpty)
  }

  @Test func callsBeyondTheServersLimitWaitInOrder() {
    let pool = Self.pool()
    pool.connect()
    _ = Self.actions(pool)
    pool.settingsReceived(0, streamsMax: 2)
    let calls = (0..<5).map { _ in start(pool) }
    #expect(calls.map { pool.connection(of: $0) } == [0, 0, -1, -1, -1])
    pool.release(calls[0])
    pool.streamClosed(0, wasAnswered: true)
    #expect(Self.actions(pool) == [.submit(slot: calls[2], connection: 0)])
    // A higher limit lets the others in.
    pool.settingsReceived(0, streamsMax: 100)
    #expect(Self.actions(pool) == [.submit(slot: calls[3], connection: 0), .submit(slot: calls[4], connection: 0)])
    // Our own limit holds as well; a limit of none is obeyed.
    let narrow = Self.pool(streamsMax: 1)
    narrow.connect()
    _ = Self.actions(narrow)
    narrow.settingsReceived(0, streamsMax: .max)
    _ = start(narrow)
    #expect(narrow.connection(of: start(narrow)) == -1)
    narrow.settingsReceived(0, streamsMax: 0)
    #expect(Self.actions(narrow).isEmpty)
  }

  @Test func callsAreSpreadOverConnections() {
    let pool = Self.pool(connections: 4)
    pool.connect()
    _ = Self.actions(pool)
    for connection in 0..<4 { pool.settingsReceived(Int32(connection), streamsMax: 100) }
    var counts = [0, 0, 0, 0]
    for _ in 0..<40 { counts[Int(pool.connection(of: start(pool)))] += 1 }
    #expect(counts == [10, 10, 10, 10])
    // One whose output is flushed anyway is preferred, but not without bound.
    for _ in 0..<60 {
      let call = pool.start(deadline: .max, waitsForReady: false, now: 0, preferred: 2)
      counts[Int(pool.connection(of: call))] += 1
    }
    #expect(counts[2] > 25 && counts[2] < 60, "\(counts)")
  }

  @Test func goAwayMovesOnlyWhatTheServerWillNotLookAt() {
    let pool = Self.pool()
    pool.connect()
    _ = Self.actions(pool)
    pool.settingsReceived(0, streamsMax: 100)
    let seen = start(pool)
    let unseen = start(pool)
    pool.sent(seen)
    pool.sent(unseen)
    pool.departed(0, now: 10)
    pool.streamClosed(0, wasAnswered: false)
    pool.refused(unseen)
    #expect(pool.phase(seen) == .open && pool.phase(unseen) == .waiting)
    #expect(pool.isLive(seen, 0))
    let after = Self.actions(pool)
    #expect(!after.contains { if case .end(seen, _) = $0 { true } else { false } })
    // It had answered nothing: another connection at once, but only once.
    guard case .connect(let next, _)? = after.first else {
      Issue.record("no new connection: \(after)")
      return
    }
    pool.settingsReceived(next, streamsMax: 100)
    #expect(Self.actions(pool) == [.submit(slot: unseen, connection: next)])
    // The old connection closes when its last call is answered.
    pool.release(seen)
    pool.streamClosed(0, wasAnswered: true)
    #expect(Self.actions(pool) == [.close(connection: 0)])
  }

  @Test func aServerThatAnsweredIsAskedAgainAtOnceAfterGoAway() {
    let pool = Self.pool(addresses: 2)
    pool.connect()
    _ = Self.actions(pool)
    pool.settingsReceived(0, streamsMax: 100)
    let first = start(pool)
    pool.release(first)
    pool.streamClosed(0, wasAnswered: true)
    pool.departed(0, now: 10)
    _ = start(pool)
    #expect(Self.actions(pool) == [.close(connection: 0), .connect(connection: 1, address: 1)])
  }

  @Test func aRefusedCallIsSentAgainAndGivenUpAfterTheBound() {
    let pool = Self.pool()
    pool.connect()
    _ = Self.actions(pool)
    pool.settingsReceived(0, streamsMax: 100)
    let call = start(pool)
    for _ in 0..<Int(CallPool.transparentRetriesMax) {
      pool.sent(call)
      pool.streamClosed(0, wasAnswered: false)
      pool.refused(call)
      #expect(Self.actions(pool) == [.submit(slot: call, connection: 0)])
    }
    pool.sent(call)
    pool.streamClosed(0, wasAnswered: false)
    pool.refused(call)
    #expect(Self.actions(pool) == [.end(slot: call, .refused)])
  }

  @Test func aLostConnectionEndsWhatWasSentAndNothingElse() {
    let pool = Self.pool()
    pool.connect()
    _ = Self.actions(pool)
    pool.settingsReceived(0, streamsMax: 100)
    let sent = start(pool, waits: true)
    let unsent = start(pool, waits: true)
    pool.sent(sent)
    pool.lost(0, now: 0)
    let actions = Self.actions(pool)
    #expect(actions.contains(.end(slot: sent, .unavailable)))
    #expect(pool.phase(unsent) == .waiting)
  }

  @Test func failsFastOnlyWhenNothingComes() {
    let pool = Self.pool(addresses: 2)
    let fast = start(pool)
    let patient = start(pool, waits: true)
    #expect(Self.actions(pool) == [.connect(connection: 0, address: 0)])
    pool.lost(0, now: 0)
    // The other address is tried before anybody is told.
    guard case .connect(let second, 1)? = Self.actions(pool).first else {
      Issue.record("the second address was not tried")
      return
    }
    pool.lost(second, now: 0)
    #expect(Self.actions(pool) == [.end(slot: fast, .unavailable)])
    pool.release(fast)
    #expect(pool.phase(patient) == .waiting)
    // While it backs off, the next call of that kind is told at once.
    let next = start(pool)
    #expect(Self.actions(pool) == [.end(slot: next, .unavailable)])
    pool.woke(now: pool.nextWake())
    #expect(Self.actions(pool).contains { if case .connect = $0 { true } else { false } })
  }

  @Test func deadlinesEndCallsWhereverTheyAre() {
    let pool = Self.pool(streamsMax: 1)
    pool.connect()
    _ = Self.actions(pool)
    pool.settingsReceived(0, streamsMax: 100)
    let open = start(pool, deadline: 5_000_000)
    let waiting = start(pool, deadline: 7_000_000)
    let later = start(pool, deadline: 3_000_000_000)
    pool.woke(now: 4_000_000)
    #expect(Self.actions(pool).isEmpty)
    pool.woke(now: 10_000_000)
    #expect(Set(Self.actions(pool).map { "\($0)" }) == Set([open, waiting].map { "\(CallPool.Action.end(slot: $0, .deadlineExceeded))" }))
    #expect(pool.nextWake() < 3_100_000_000 && pool.phase(later) != .ending)
  }

  @Test func callsAreBounded() {
    let pool = Self.pool(callsMax: 300)
    let calls = (0..<300).map { _ in start(pool, waits: true) }
    #expect(calls.allSatisfy { $0 >= 0 } && Set(calls).count == 300)
    #expect(start(pool, waits: true) == -1)
    pool.cancel(calls[7])
    _ = Self.actions(pool)
    pool.release(calls[7])
    let generation = pool.generation(calls[7])
    #expect(start(pool, waits: true) == calls[7] && generation == 1)
  }

  @Test func closingEndsEverything() {
    let pool = Self.pool()
    pool.connect()
    _ = Self.actions(pool)
    pool.settingsReceived(0, streamsMax: 1)
    let calls = [start(pool), start(pool)]
    pool.close()
    #expect(Self.actions(pool) == calls.map { .end(slot: $0, .closed) } + [.close(connection: 0)])
    #expect(start(pool) == -1)
  }
}
