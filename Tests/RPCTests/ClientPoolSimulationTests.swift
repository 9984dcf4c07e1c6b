@testable import RPC
import Testing

/// The pool against servers that come, go, refuse and fall silent, from one seed: whatever happens, its promises hold.
@Suite struct ClientPoolSimulationTests {
  @Test(arguments: 0..<40) func promisesHold(seed: Int) {
    var simulation = PoolSimulation(seed: UInt64(seed))
    for _ in 0..<4000 { simulation.step() }
    simulation.finish()
    #expect(simulation.problems.isEmpty, "seed \(seed): \(simulation.problems.prefix(5))")
    #expect(simulation.answered > 100, "seed \(seed): only \(simulation.answered) answers; the simulation shows nothing")
  }

  /// The simulation can notice: a server that had looked at a call before refusing it is a call seen twice.
  @Test func noticesACallThatIsSeenTwice() {
    var simulation = PoolSimulation(seed: 1)
    simulation.refusesWhatItSaw = true
    for _ in 0..<4000 { simulation.step() }
    #expect(simulation.problems.contains { $0.contains("twice") })
  }
}

struct PoolSimulation {
  private struct Stream {
    var call: Int
    var isSeen = false
  }

  private struct Server {
    var isReady = false
    var limit: UInt32 = 0
    var streams: [Int32: Stream] = [:]
    var isLeaving = false
  }

  private struct Call {
    var deadline: Int64
    var slot: Int32
    var ends = 0
    var timesSeen = 0
    var started: Int64
  }

  private var random: SeededGenerator
  private let pool: CallPool
  private var now: Int64 = 0
  private var calls: [Call] = []
  private var bySlot: [Int32: Int] = [:]
  /// Connections that live, by the pool's number.
  private var servers: [Int32: Server] = [:]
  private var lastFailure: [Int64] = []
  private let callsMax = 200
  private let streamsMax = 12
  private(set) var answered = 0
  private(set) var problems: [String] = []
  var refusesWhatItSaw = false

  init(seed: UInt64) {
    random = SeededGenerator(seed: seed)
    var settings = CallPool.Settings()
    settings.connections = 1 + Int(seed % 3)
    settings.addresses = 1 + Int(seed % 2)
    settings.streamsMax = streamsMax
    settings.callsMax = callsMax
    settings.seed = seed
    settings.backoff = ReconnectBackoff.Settings(initialMilliseconds: 5, millisecondsMax: 50)
    pool = CallPool(settings, now: 0)
  }

  private mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }

  mutating func step() {
    now += Int64.random(in: 0...3_000_000, using: &random)
    switch Int.random(in: 0..<100, using: &random) {
    case 0..<45: startCall()
    case 45..<70: answerOne()
    case 70..<74: refuseOne()
    case 74..<77: leave()
    case 77..<79: lose()
    case 79..<82: changeLimit()
    case 82..<85: cancelOne()
    default: establishOrFail()
    }
    if now >= pool.nextWake() { pool.woke(now: now) }
    drain()
    check()
  }

  mutating func finish() {
    // Everybody gets time.
    now += 60_000_000_000
    pool.woke(now: now)
    drain()
    for (i, call) in calls.enumerated() where call.deadline != .max && call.ends == 0 { problems.append("call \(i) outlived its deadline") }
    pool.close()
    drain()
    for (i, call) in calls.enumerated() where call.ends != 1 { problems.append("call \(i) ended \(call.ends) times") }
    if pool.callCount != 0 { problems.append("\(pool.callCount) calls left") }
  }

  private mutating func startCall() {
    let deadline = chance(30) ? Int64.max : now + Int64.random(in: 1_000_000...80_000_000, using: &random)
    let preferred = servers.keys.sorted().first { servers[$0]?.isReady == true && servers[$0]?.isLeaving == false }
    let slot = pool.start(deadline: deadline, waitsForReady: chance(50), now: now, preferred: chance(50) ? preferred ?? -1 : -1)
    guard slot >= 0 else {
      if pool.callCount < callsMax { problems.append("refused a call with \(pool.callCount) there") }
      return
    }
    bySlot[slot] = calls.count
    calls.append(Call(deadline: deadline, slot: slot, started: now))
    if pool.phase(slot) == .open { submit(slot, pool.connection(of: slot)) }
  }

  private mutating func submit(_ slot: Int32, _ connection: Int32) {
    guard let call = bySlot[slot], pool.phase(slot) == .open else { return }
    guard let server = servers[connection], server.isReady, !server.isLeaving else {
      problems.append("a call was sent on a connection that takes none")
      return
    }
    servers[connection]?.streams[slot] = Stream(call: call)
    if server.streams.count + 1 > min(Int(server.limit), streamsMax) { problems.append("more streams than \(server.limit)") }
    if chance(90) { pool.sent(slot) }
  }

  private mutating func pick() -> (Int32, Int32, Stream)? {
    let all = servers.flatMap { connection, server in server.streams.map { (connection, $0.key, $0.value) } }
      .sorted { ($0.0, $0.1) < ($1.0, $1.1) }
    return all.randomElement(using: &random)
  }

  private mutating func see(_ call: Int) {
    calls[call].timesSeen += 1
    if calls[call].timesSeen > 1 { problems.append("call \(call) was seen twice") }
  }

  private mutating func answerOne() {
    guard let (connection, slot, stream) = pick(), pool.isSent(slot), bySlot[slot] == stream.call, pool.phase(slot) == .open else { return }
    see(stream.call)
    answered += 1
    calls[stream.call].ends += 1
    servers[connection]?.streams[slot] = nil
    bySlot[slot] = nil
    pool.release(slot)
    pool.streamClosed(connection, wasAnswered: true)
  }

  private mutating func refuseOne() {
    guard let (connection, slot, stream) = pick(), bySlot[slot] == stream.call, pool.phase(slot) == .open else { return }
    if refusesWhatItSaw { see(stream.call) }
    servers[connection]?.streams[slot] = nil
    pool.streamClosed(connection, wasAnswered: false)
    pool.refused(slot)
  }

  /// GOAWAY: the last streams are not looked at.
  private mutating func leave() {
    guard let connection = servers.keys.sorted().filter({ servers[$0]?.isReady == true && servers[$0]?.isLeaving == false }).randomElement(using: &random)
    else { return }
    servers[connection]?.isLeaving = true
    pool.departed(connection, now: now)
    let streams = servers[connection]?.streams.sorted { $0.key < $1.key } ?? []
    for (slot, stream) in streams where chance(40) {
      servers[connection]?.streams[slot] = nil
      pool.streamClosed(connection, wasAnswered: false)
      if bySlot[slot] == stream.call, pool.phase(slot) == .open { pool.refused(slot) }
    }
  }

  private mutating func lose() {
    guard let connection = servers.keys.sorted().randomElement(using: &random), let server = servers.removeValue(forKey: connection) else { return }
    // What it got, it may have looked at.
    for (slot, stream) in server.streams where bySlot[slot] == stream.call && pool.isSent(slot) && chance(50) { see(stream.call) }
    pool.lost(connection, now: now)
  }

  private mutating func changeLimit() {
    guard let connection = servers.keys.sorted().filter({ servers[$0]?.isReady == true }).randomElement(using: &random) else { return }
    let limit = UInt32.random(in: 0...20, using: &random)
    // A lower limit leaves the streams that are there alone.
    let kept = max(limit, UInt32(servers[connection]?.streams.count ?? 0))
    servers[connection]?.limit = kept
    pool.settingsReceived(connection, streamsMax: kept)
  }

  private mutating func cancelOne() {
    guard let call = calls.indices.filter({ calls[$0].ends == 0 }).randomElement(using: &random) else { return }
    pool.cancel(calls[call].slot)
  }

  private mutating func establishOrFail() {
    guard let connection = servers.keys.sorted().filter({ servers[$0]?.isReady == false }).randomElement(using: &random) else { return }
    if chance(70) {
      servers[connection]?.isReady = true
      servers[connection]?.limit = UInt32.random(in: 1...20, using: &random)
      pool.settingsReceived(connection, streamsMax: servers[connection]?.limit ?? 0)
    } else {
      servers[connection] = nil
      pool.lost(connection, now: now)
    }
  }

  private mutating func drain() {
    while let action = pool.nextAction() {
      switch action {
      case .connect(let connection, _):
        if servers[connection] != nil { problems.append("connection \(connection) was opened twice") }
        servers[connection] = Server()
      case .submit(let slot, let connection): submit(slot, connection)
      case .end(let slot, let reason):
        guard let call = bySlot[slot] else {
          problems.append("an end for no call")
          continue
        }
        if reason == .deadlineExceeded, now < calls[call].deadline { problems.append("call \(call) ended before its deadline") }
        calls[call].ends += 1
        bySlot[slot] = nil
        // The stream is reset.
        for connection in servers.keys where servers[connection]?.streams[slot]?.call == call {
          servers[connection]?.streams[slot] = nil
          pool.streamClosed(connection, wasAnswered: false)
        }
        pool.release(slot)
      case .close(let connection):
        guard let server = servers.removeValue(forKey: connection) else { continue }
        if server.streams.contains(where: { bySlot[$0.key] == $0.value.call }) { problems.append("closed a connection with live calls") }
        pool.lost(connection, now: now)
      }
    }
  }

  private mutating func check() {
    for (connection, server) in servers where server.isReady {
      if server.streams.count > streamsMax { problems.append("\(server.streams.count) streams on connection \(connection)") }
    }
    if pool.callCount > callsMax { problems.append("\(pool.callCount) calls") }
    for call in calls.suffix(400) where call.ends > 1 { problems.append("a call ended \(call.ends) times") }
    // Deadlines: within one tick and the step after which the pool was asked.
    if pool.nextWake() <= now { problems.append("a deadline was passed over") }
  }
}
