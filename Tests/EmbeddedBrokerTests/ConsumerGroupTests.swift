import Testing

@testable import EmbeddedBroker

/// Drives the state machine as a coordinator does: hands out tokens, keeps replies, moves the clock.
private struct Driver {
  var group = ConsumerGroup(initialDelay: 30, membersMax: 5)
  var now: Int64 = 1_000
  private var nextToken: UInt64 = 0
  var joins: [UInt64: ConsumerGroup.JoinReply] = [:]
  var syncs: [UInt64: ConsumerGroup.SyncReply] = [:]
  var open: Set<UInt64> = []

  mutating func perform(_ actions: [ConsumerGroup.Action]) {
    for action in actions {
      switch action {
      case .joined(let token, let reply):
        #expect(open.remove(token) != nil, "answered twice or never asked")
        joins[token] = reply
      case .synced(let token, let reply):
        #expect(open.remove(token) != nil, "answered twice or never asked")
        syncs[token] = reply
      }
    }
  }

  mutating func token() -> UInt64 {
    nextToken += 1
    open.insert(nextToken)
    return nextToken
  }

  @discardableResult
  mutating func join(
    _ id: String, new: String = "", instance: String? = nil, type: String = "consumer", protocols: [String] = ["range"], known: Bool = false,
    session: Int64 = 6_000, rebalance: Int64 = 10_000, metadata: UInt8 = 0
  ) -> UInt64 {
    let token = token()
    perform(
      group.join(
        .init(
          memberID: id, instanceID: instance, sessionTimeout: session, rebalanceTimeout: rebalance, protocolType: type,
          protocols: protocols.map { .init(name: $0, metadata: [metadata]) }, newMemberID: new, requiresKnownID: known),
        token: token, now: now))
    return token
  }

  @discardableResult
  mutating func sync(_ id: String, generation: Int32? = nil, assignments: [(String, [UInt8])] = []) -> UInt64 {
    let token = token()
    perform(
      group.sync(
        memberID: id, generation: generation ?? group.generation, protocolType: nil, protocolName: nil,
        assignments: assignments.map { (id: $0.0, bytes: $0.1) }, token: token, now: now))
    return token
  }

  mutating func pass(_ milliseconds: Int64) {
    now += milliseconds
    perform(group.advance(now: now))
  }

  mutating func heartbeat(_ id: String, generation: Int32? = nil) -> ErrorCode {
    group.heartbeat(memberID: id, instanceID: nil, generation: generation ?? group.generation, now: now)
  }

  mutating func leave(_ id: String) -> ErrorCode {
    let (error, actions) = group.leave(memberID: id, instanceID: nil, now: now)
    perform(actions)
    return error
  }

  /// Two members, "a" leads, each with its own assignment.
  static func stable() -> Driver {
    var driver = Driver()
    driver.join("", new: "a")
    driver.join("", new: "b")
    driver.pass(30)
    driver.sync("b")
    driver.sync("a", assignments: [("a", [1]), ("b", [2])])
    return driver
  }
}

@Suite struct ConsumerGroupTests {
  @Test func firstMembersGatherAndTheLeaderAssigns() {
    var driver = Driver()
    let a = driver.join("", new: "a", metadata: 7)
    #expect(driver.group.phase == .preparing)
    driver.pass(10)
    let b = driver.join("", new: "b", metadata: 8)
    #expect(driver.joins.isEmpty)
    driver.pass(29)
    #expect(driver.joins.isEmpty)
    driver.pass(1)
    #expect(driver.joins[a]?.generation == 1 && driver.joins[b]?.generation == 1)
    #expect(driver.joins[a]?.leader == "a" && driver.joins[b]?.leader == "a")
    #expect(driver.joins[a]?.members.map(\.id) == ["a", "b"])
    #expect(driver.joins[a]?.members.map(\.metadata) == [[7], [8]])
    #expect(driver.joins[b]?.members.isEmpty == true)
    #expect(driver.group.phase == .completing)
    let followerSync = driver.sync("b")
    #expect(driver.syncs.isEmpty)
    let leaderSync = driver.sync("a", assignments: [("a", [1]), ("b", [2, 3])])
    #expect(driver.syncs[leaderSync]?.assignment == [1])
    #expect(driver.syncs[followerSync]?.assignment == [2, 3])
    #expect(driver.group.phase == .stable)
    #expect(driver.heartbeat("a") == .none && driver.heartbeat("b") == .none)
    #expect(driver.open.isEmpty)
  }

  @Test func aNewMemberMustComeBackWithItsID() {
    var driver = Driver()
    let first = driver.join("", new: "a-1", known: true)
    #expect(driver.joins[first]?.error == .memberIDRequired)
    #expect(driver.joins[first]?.memberID == "a-1")
    let second = driver.join("a-1", known: true)
    driver.pass(30)
    #expect(driver.joins[second]?.error == ErrorCode.none)
    // An id that nobody gave out, and one that was waited for too long.
    let unknown = driver.join("invented", known: true)
    #expect(driver.joins[unknown]?.error == .unknownMemberID)
    driver.join("", new: "late", known: true)
    driver.pass(ConsumerGroup.pendingMillisecondsMax)
    let late = driver.join("late", known: true)
    #expect(driver.joins[late]?.error == .unknownMemberID)
  }

  @Test func aThirdMemberRebalancesAsSoonAsAllHaveJoined() {
    var driver = Driver.stable()
    let c = driver.join("", new: "c")
    #expect(driver.group.phase == .preparing)
    #expect(driver.heartbeat("a") == .rebalanceInProgress)
    let a = driver.join("a")
    #expect(driver.joins[c] == nil)
    let b = driver.join("b")
    // No clock moved: nothing is waited for needlessly.
    #expect(driver.joins[a]?.generation == 2 && driver.joins[b]?.generation == 2 && driver.joins[c]?.generation == 2)
    #expect(driver.joins[a]?.members.count == 3)
    #expect(driver.heartbeat("a", generation: 1) == .illegalGeneration)
  }

  @Test func whoDoesNotRejoinInTimeIsOut() {
    var driver = Driver.stable()
    let c = driver.join("", new: "c", rebalance: 3_000)
    driver.join("a", rebalance: 3_000)
    driver.pass(5_000)
    _ = driver.heartbeat("b")
    driver.pass(5_000)
    #expect(driver.joins[c]?.generation == 2)
    #expect(driver.group.members.map(\.id) == ["a", "c"])
    #expect(driver.heartbeat("b") == .unknownMemberID)
  }

  @Test func aDeadMemberIsReplacedAfterItsSession() {
    var driver = Driver.stable()
    driver.pass(4_000)
    #expect(driver.heartbeat("b") == .none)
    driver.pass(2_000)
    // "a", the leader, said nothing for 6 s.
    #expect(driver.group.phase == .preparing)
    #expect(driver.heartbeat("b") == .rebalanceInProgress)
    let b = driver.join("b")
    #expect(driver.joins[b]?.leader == "b" && driver.joins[b]?.members.map(\.id) == ["b"])
    let sync = driver.sync("b", assignments: [("b", [9])])
    #expect(driver.syncs[sync]?.assignment == [9])
  }

  @Test func leavingRebalancesAtOnceAndTheLastOneEmptiesTheGroup() {
    var driver = Driver.stable()
    #expect(driver.leave("b") == .none)
    #expect(driver.leave("b") == .unknownMemberID)
    #expect(driver.heartbeat("a") == .rebalanceInProgress)
    let a = driver.join("a")
    #expect(driver.joins[a]?.members.map(\.id) == ["a"])
    #expect(driver.leave("a") == .none)
    #expect(driver.group.isIdle)
    #expect(driver.group.nextDeadline == .max)
  }

  @Test func missedRepliesAreRepeated() {
    var driver = Driver.stable()
    // A follower that joins again unchanged gets the running generation; with other metadata it starts a new one.
    let again = driver.join("b")
    #expect(driver.joins[again]?.generation == 1)
    #expect(driver.group.phase == .stable)
    let sync = driver.sync("b")
    #expect(driver.syncs[sync]?.assignment == [2])
    driver.join("b", metadata: 1)
    #expect(driver.group.phase == .preparing)
  }

  @Test func theLeaderMayAskForARebalance() {
    var driver = Driver.stable()
    driver.join("a")
    #expect(driver.group.phase == .preparing)
  }

  @Test func aJoinDuringSyncSendsEverybodyBack() {
    var driver = Driver()
    driver.join("", new: "a")
    driver.join("", new: "b")
    driver.pass(30)
    let waiting = driver.sync("b")
    driver.join("", new: "c")
    #expect(driver.syncs[waiting]?.error == .rebalanceInProgress)
    let refused = driver.sync("a", assignments: [])
    #expect(driver.syncs[refused]?.error == .rebalanceInProgress)
  }

  @Test func aLeaderThatNeverAssignsIsDropped() {
    var driver = Driver()
    driver.join("", new: "a", session: 100_000, rebalance: 5_000)
    driver.join("", new: "b", session: 100_000, rebalance: 5_000)
    driver.pass(30)
    let waiting = driver.sync("b")
    driver.pass(5_000)
    #expect(driver.syncs[waiting]?.error == .rebalanceInProgress)
    #expect(driver.group.members.map(\.id) == ["b"])
  }

  @Test func protocolsMustFit() {
    var driver = Driver()
    driver.join("", new: "a", protocols: ["range", "roundrobin"])
    let wrongType = driver.join("", new: "x", type: "connect")
    #expect(driver.joins[wrongType]?.error == .inconsistentGroupProtocol)
    let noCommon = driver.join("", new: "y", protocols: ["sticky"])
    #expect(driver.joins[noCommon]?.error == .inconsistentGroupProtocol)
    let none = driver.join("", new: "z", protocols: [])
    #expect(driver.joins[none]?.error == .inconsistentGroupProtocol)
    driver.join("", new: "b", protocols: ["roundrobin", "range"])
    driver.join("", new: "c", protocols: ["roundrobin", "range"])
    driver.pass(30)
    #expect(driver.group.protocolName == "roundrobin")
  }

  @Test func groupsAreBounded() {
    var driver = Driver()
    for index in 0..<5 { driver.join("", new: "m\(index)") }
    let sixth = driver.join("", new: "m5")
    #expect(driver.joins[sixth]?.error == .groupMaxSizeReached)
  }

  @Test func aLostConnectionWhileJoiningLeavesNoGhost() {
    var driver = Driver.stable()
    let c = driver.join("", new: "c")
    driver.open.remove(c)
    driver.perform(driver.group.disconnected(c, now: driver.now))
    let a = driver.join("a")
    let b = driver.join("b")
    #expect(driver.joins[a]?.members.map(\.id) == ["a", "b"])
    #expect(driver.joins[b]?.generation == 2)
  }

  @Test func aRestartedStaticMemberReplacesItsGhost() {
    var driver = Driver()
    driver.join("", new: "one-1", instance: "one")
    driver.pass(30)
    driver.sync("one-1", assignments: [("one-1", [1])])
    let again = driver.join("", new: "one-2", instance: "one")
    #expect(driver.joins[again]?.memberID == "one-2")
    #expect(driver.group.members.map(\.id) == ["one-2"])
    let old = driver.join("one-1", instance: "one")
    #expect(driver.joins[old]?.error == .fencedInstanceID)
  }

  @Test func commitsNeedTheGeneration() {
    var driver = Driver.stable()
    func may(_ id: String, _ generation: Int32) -> ErrorCode {
      driver.group.mayCommit(memberID: id, instanceID: nil, generation: generation, now: driver.now)
    }
    #expect(may("a", 1) == .none)
    #expect(may("a", 0) == .illegalGeneration)
    #expect(may("x", 1) == .unknownMemberID)
    #expect(may("", -1) == .unknownMemberID)
    driver.join("", new: "c")
    // Before it rejoins, a member may still commit what it has done.
    #expect(driver.group.mayCommit(memberID: "a", instanceID: nil, generation: 1, now: driver.now) == .none)
    var empty = ConsumerGroup(initialDelay: 0, membersMax: 1)
    #expect(empty.mayCommit(memberID: "", instanceID: nil, generation: -1, now: 0) == .none)
  }

  /// Random clients that join, sync, beat, leave, vanish and lose connections: whatever happens, nothing is answered twice, generations
  /// grow, a stable group has one leader that is a member, and a group left alone empties itself.
  @Test func randomSchedulesKeepTheInvariants() {
    let seed = UInt64.random(in: .min ... .max)
    print("ConsumerGroupTests seed \(seed)")
    var generator = SeededGenerator(seed: seed)
    for _ in 0..<200 {
      var driver = Driver()
      var known: [String] = []
      var count = 0
      var generation: Int32 = 0
      for _ in 0..<300 {
        let id = known.randomElement(using: &generator) ?? ""
        switch Int.random(in: 0..<9, using: &generator) {
        case 0:
          count += 1
          driver.join("", new: "m\(count)", known: Bool.random(using: &generator))
          known.append("m\(count)")
        case 1, 2:
          count += 1
          driver.join(id, new: "n\(count)", metadata: UInt8.random(in: 0...1, using: &generator))
        case 3, 4:
          driver.sync(id, assignments: driver.group.members.map { ($0.id, Array($0.id.utf8)) })
        case 5: _ = driver.heartbeat(id)
        case 6: if Int.random(in: 0..<3, using: &generator) == 0 { _ = driver.leave(id) }
        case 7:
          if let token = driver.open.sorted().randomElement(using: &generator) {
            driver.open.remove(token)
            driver.perform(driver.group.disconnected(token, now: driver.now))
          }
        default: driver.pass(Int64.random(in: 0...2_000, using: &generator))
        }
        #expect(driver.group.generation >= generation)
        generation = driver.group.generation
        if driver.group.phase == .stable || driver.group.phase == .completing {
          #expect(driver.group.members.contains { $0.id == driver.group.leader })
        }
        if driver.group.phase == .empty { #expect(driver.group.members.isEmpty) }
        #expect(driver.group.members.count <= 5)
        #expect(Set(driver.group.members.map(\.id)).count == driver.group.members.count)
      }
      // Nobody says anything any more, and all connections close.
      for token in driver.open.sorted() where driver.open.remove(token) != nil {
        driver.perform(driver.group.disconnected(token, now: driver.now))
      }
      for _ in 0..<20 where !driver.group.isIdle { driver.pass(10_000) }
      #expect(driver.group.isIdle)
      #expect(driver.open.isEmpty)
    }
  }
}
