@testable import RPC
import Testing

@Suite struct ClientMachineTests {
  // MARK: Connecting

  private func life(addresses: Int = 1, first: Int = 0) -> ConnectionLife {
    ConnectionLife(
      addresses: addresses, firstAddress: first,
      backoff: ReconnectBackoff(.init(initialMilliseconds: 100, multiplier: 2, millisecondsMax: 1000, jitter: 0), seed: 1))
  }

  @Test func connectsWhenWantedAndWaitsLongerAfterEachFailure() {
    var life = life()
    #expect(life.wanted() == .connect(address: 0))
    #expect(life.wanted() == .none)
    var now: Int64 = 0
    for milliseconds: Int64 in [100, 200, 400, 800, 1000, 1000] {
      let until = now + milliseconds * 1_000_000
      #expect(life.lost(wasOfUse: false, now: now) == .wait(until: until))
      #expect(life.woke(now: until - 1) == .none)
      #expect(life.woke(now: until) == .connect(address: 0))
      now = until
    }
    // One that was of use begins anew, and connects when it is next wanted.
    life.established()
    #expect(life.state == .ready)
    #expect(life.lost(wasOfUse: true, now: now) == .none)
    #expect(life.state == .idle && life.wanted() == .connect(address: 0))
    #expect(life.lost(wasOfUse: false, now: now) == .wait(until: now + 100_000_000))
  }

  @Test func triesEveryAddressBeforeItWaits() {
    var life = life(addresses: 3, first: 2)
    #expect(life.wanted() == .connect(address: 2))
    #expect(life.lost(wasOfUse: false, now: 0) == .connect(address: 0))
    #expect(life.lost(wasOfUse: false, now: 0) == .connect(address: 1))
    #expect(life.lost(wasOfUse: false, now: 0) == .wait(until: 100_000_000))
    #expect(life.woke(now: 100_000_000) == .connect(address: 2))
  }

  @Test func aServerThatSaysGoodbyeIsFollowedByTheNextAddress() {
    var life = life(addresses: 2)
    _ = life.wanted()
    life.established()
    #expect(life.departed(wasOfUse: true, now: 5) == .none)
    #expect(life.wanted() == .connect(address: 1))
    // One that turns everybody away is followed at once, and then waited for.
    life.established()
    #expect(life.departed(wasOfUse: false, now: 5) == .connect(address: 0))
    life.established()
    #expect(life.departed(wasOfUse: false, now: 5) == .connect(address: 1))
    life.established()
    #expect(life.departed(wasOfUse: false, now: 5) == .wait(until: 100_000_005))
    // A place that is closed stays so.
    life.close()
    #expect(life.wanted() == .none && life.woke(now: .max) == .none && life.lost(wasOfUse: true, now: 1) == .none)
  }

  @Test(arguments: [1, 7, 42] as [UInt64]) func jitterStaysWithinItsBounds(seed: UInt64) {
    var backoff = ReconnectBackoff(.init(initialMilliseconds: 100, multiplier: 1.6, millisecondsMax: 5000, jitter: 0.2), seed: seed)
    var length = 100.0
    var lengths: Set<Int64> = []
    for _ in 0..<50 {
      let wait = backoff.next()
      #expect(Double(wait) >= length * 0.8 * 1e6 - 1 && Double(wait) <= length * 1.2 * 1e6 + 1, "seed \(seed)")
      lengths.insert(wait)
      length = min(length * 1.6, 5000)
    }
    #expect(lengths.count > 40, "seed \(seed): hardly any jitter")
  }

  // MARK: Retries

  @Test func theBudgetStopsRetriesAndComesBackSlowly() {
    var budget = RetryBudget(.init(tokensMax: 10, tokensPerSuccess: 0.5))
    var allowed = 0
    for _ in 0..<20 where budget.failed() { allowed += 1 }
    #expect(allowed == 4 && budget.tokens == 0)
    for _ in 0..<13 { budget.succeeded() }
    let last = (budget.failed(), budget.failed())
    #expect(last == (true, false))
    for _ in 0..<1000 { budget.succeeded() }
    #expect(budget.tokens == 10)
  }

  @Test func retriesWhatThePolicySaysAndNoMore() {
    var generator = SeededGenerator(seed: 3)
    var budget = RetryBudget()
    var state = RetryState(RetryPolicy(attemptsMax: 3, initialMilliseconds: 100, multiplier: 2, millisecondsMax: 1000))
    func next(_ code: RPCCode, pushback: Int? = nil, left: Int64 = .max) -> Int64? {
      state.next(after: code, pushbackMilliseconds: pushback, left: left, budget: &budget, using: &generator)
    }
    let first = next(.unavailable)
    #expect(first.map { (80_000_000...120_000_000).contains($0) } == true)
    let second = next(.unavailable)
    #expect(second.map { (160_000_000...240_000_000).contains($0) } == true)
    #expect(next(.unavailable) == nil)
    state = RetryState(RetryPolicy())
    #expect(next(.internal) == nil)
    #expect(next(.unavailable, pushback: 7) == 7_000_000)
    #expect(next(.unavailable, pushback: -1) == nil)
    #expect(next(.unavailable, pushback: 50, left: 49_000_000) == nil)
  }

  // MARK: Keepalive

  @Test func pingsASilentConnectionAndGivesItUp() {
    let second: Int64 = 1_000_000_000
    var watch = KeepaliveWatch(.init(silenceMilliseconds: 10_000, timeoutMilliseconds: 2_000), now: 0)
    #expect(watch.next(now: 9 * second, lastRead: 0, hasCalls: true) == .wait)
    #expect(watch.wakeNanoseconds(now: 9 * second, lastRead: 0) == 10 * second)
    #expect(watch.next(now: 10 * second, lastRead: 0, hasCalls: false) == .wait)
    #expect(watch.next(now: 10 * second, lastRead: 0, hasCalls: true) == .ping)
    #expect(watch.wakeNanoseconds(now: 10 * second, lastRead: 0) == 12 * second)
    #expect(watch.next(now: 11 * second, lastRead: 0, hasCalls: true) == .wait)
    var answered = watch
    #expect(answered.next(now: 12 * second, lastRead: 11 * second, hasCalls: true) == .wait && answered.pingedAt == nil)
    #expect(watch.next(now: 12 * second, lastRead: 0, hasCalls: true) == .close)
  }

  // MARK: Deadlines

  @Test(arguments: [1, 2, 3, 4, 5] as [UInt64]) func theWheelHandsOutEachDeadlineOnceAndInTime(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    var now: Int64 = 5_000_000_000
    let wheel = DeadlineWheel(capacity: 4, now: now)
    wheel.reserve(500)
    var due: [Int32: Int64] = [:]
    for _ in 0..<5000 {
      let slot = Int32.random(in: 0..<500, using: &random)
      if due[slot] == nil {
        let deadline = now + Int64.random(in: -1_000_000...4_000_000_000, using: &random)
        wheel.insert(slot, deadline: deadline)
        due[slot] = deadline
      } else if Bool.random(using: &random) {
        wheel.remove(slot)
        due[slot] = nil
      }
      if Int.random(in: 0..<20, using: &random) == 0 {
        now += Int64.random(in: 0...300_000_000, using: &random)
        // Once past a whole turn of the wheel.
        if Int.random(in: 0..<40, using: &random) == 0 { now += 3_000_000_000 }
        while true {
          let expired = wheel.popExpired(now: now)
          guard expired >= 0 else { break }
          guard let deadline = due.removeValue(forKey: expired) else {
            Issue.record("seed \(seed): handed out twice")
            return
          }
          #expect(deadline <= now, "seed \(seed): early")
        }
        let late = due.values.filter { $0 < now - 2_200_000 }
        #expect(late.isEmpty, "seed \(seed): \(late.count) late")
        #expect(wheel.nextWake() > now - 1_100_000 && wheel.count == due.count, "seed \(seed)")
      }
    }
  }

  // MARK: Targets and answers

  @Test func readsTargets() {
    #expect(RPCTarget("localhost:8001")?.addresses == [.init(host: "localhost", port: 8001)])
    #expect(RPCTarget("[::1]:80")?.addresses == [.init(host: "::1", port: 80)])
    #expect(RPCTarget("[::1]:80")?.authority == "[::1]:80")
    #expect(RPCTarget("a:1,b:2")?.addresses.count == 2)
    for bad in ["", "a", "a:", ":1", "a:0", "a:65536", "a:b", "::1:80", "a:1,", "a:-1"] { #expect(RPCTarget(bad) == nil, "\(bad)") }
  }

  @Test func tellsGRPCByItsContentType() {
    func isGRPC(_ text: String) -> Bool { Array(text.utf8).withUnsafeBytes { $0.isGRPCContentType } }
    #expect(isGRPC("application/grpc") && isGRPC("application/grpc+proto") && isGRPC("application/grpc;x"))
    #expect(!isGRPC("application/grpc-web") && !isGRPC("text/html") && !isGRPC("application/grp") && !isGRPC(""))
  }
}
