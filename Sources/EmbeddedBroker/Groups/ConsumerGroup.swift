/// One consumer group of the classic protocol as a pure state machine: requests and the time go in, replies come out as actions.
///
/// ```
///            join              all joined, or time over            leader's sync
///   empty ────────▶ preparing ─────────────────────────▶ completing ─────────────▶ stable
///     ▲                 ▲  │ nobody left                     │                        │
///     └─────────────────┼──┘                                 │ join, leave, expiry    │
///                       └────────────────────────────────────┴────────────────────────┘
/// ```
///
/// Times are milliseconds of a monotonic clock. A `Token` names a request that waits for its reply; every token given is answered
/// exactly once, unless its connection is gone.
///
/// Members with an instance id (KIP-345) are replaced when they come back, with a rebalance: the ghost does not linger, but they
/// keep no assignment over a restart.
struct ConsumerGroup {
  typealias Token = UInt64

  enum Phase: String {
    case empty = "Empty"
    case preparing = "PreparingRebalance"
    case completing = "CompletingRebalance"
    case stable = "Stable"
  }

  struct MemberProtocol: Equatable {
    let name: String
    let metadata: [UInt8]
  }

  struct Member {
    let id: String
    let instanceID: String?
    var clientID: String
    var host: String
    var sessionTimeout: Int64
    var rebalanceTimeout: Int64
    var protocols: [MemberProtocol]
    var assignment: [UInt8] = []
    /// The join or sync that waits.
    fileprivate(set) var join: Token?
    fileprivate(set) var sync: Token?
    /// When the member counts as dead. Far away while a request of it waits: its connection stands for it.
    fileprivate(set) var deadline: Int64 = .max
  }

  struct JoinRequest {
    var memberID: String
    var instanceID: String?
    var clientID = ""
    var host = ""
    var sessionTimeout: Int64
    var rebalanceTimeout: Int64
    var protocolType: String
    var protocols: [MemberProtocol]
    /// The id for a member that has none.
    var newMemberID: String
    /// Whether a new member must come back with its id before it counts (KIP-394): a client that never hears its id cannot become a
    /// ghost.
    var requiresKnownID: Bool
  }

  struct JoinReply: Equatable {
    var error = ErrorCode.none
    var generation: Int32 = -1
    var protocolType: String?
    var protocolName: String?
    var leader = ""
    var memberID = ""
    /// For the leader: everybody.
    var members: [JoinedMember] = []
  }

  struct JoinedMember: Equatable {
    let id: String
    let instanceID: String?
    let metadata: [UInt8]
  }

  struct SyncReply: Equatable {
    var error = ErrorCode.none
    var protocolType: String?
    var protocolName: String?
    var assignment: [UInt8] = []
  }

  enum Action: Equatable {
    case joined(Token, JoinReply)
    case synced(Token, SyncReply)
  }

  let initialDelay: Int64
  let membersMax: Int

  private(set) var phase = Phase.empty
  private(set) var generation: Int32 = 0
  private(set) var protocolType: String?
  private(set) var protocolName: String?
  private(set) var leader: String?
  /// In the order of joining.
  private(set) var members: [Member] = []
  /// Ids given out to members that have not come back with them, and until when they count.
  private(set) var pending: [String: Int64] = [:]
  /// End of the preparing or completing phase.
  private var phaseDeadline: Int64 = .max
  /// While the first members of an empty group gather: when that began.
  private var gatheringSince: Int64?

  /// How long an id that was given out is waited for.
  static let pendingMillisecondsMax: Int64 = 5_000

  init(initialDelay: Int64, membersMax: Int) {
    self.initialDelay = initialDelay
    self.membersMax = membersMax
  }

  // MARK: Join

  mutating func join(_ request: JoinRequest, token: Token, now: Int64) -> [Action] {
    func refuse(_ error: ErrorCode, memberID: String? = nil) -> [Action] {
      [.joined(token, JoinReply(error: error, memberID: memberID ?? request.memberID))]
    }
    guard !request.protocolType.isEmpty, !request.protocols.isEmpty else { return refuse(.inconsistentGroupProtocol) }
    guard fits(request) else { return refuse(.inconsistentGroupProtocol) }

    if request.memberID.isEmpty {
      if let instance = request.instanceID, let old = members.first(where: { $0.instanceID == instance }) {
        var actions = fence(old)
        remove(old.id)
        actions += add(request, id: request.newMemberID, token: token, now: now)
        return actions
      }
      guard members.count + pending.count < membersMax else { return refuse(.groupMaxSizeReached) }
      if request.requiresKnownID, request.instanceID == nil {
        pending[request.newMemberID] = now + min(request.sessionTimeout, Self.pendingMillisecondsMax)
        return refuse(.memberIDRequired, memberID: request.newMemberID)
      }
      return add(request, id: request.newMemberID, token: token, now: now)
    }
    if pending.removeValue(forKey: request.memberID) != nil {
      return add(request, id: request.memberID, token: token, now: now)
    }
    guard let index = index(of: request.memberID) else {
      let isFenced = request.instanceID != nil && members.contains { $0.instanceID == request.instanceID }
      return refuse(isFenced ? .fencedInstanceID : .unknownMemberID)
    }
    if let instance = request.instanceID, members[index].instanceID != instance { return refuse(.fencedInstanceID) }
    return rejoin(index, request, token: token, now: now)
  }

  private mutating func add(_ request: JoinRequest, id: String, token: Token, now: Int64) -> [Action] {
    members.append(
      Member(
        id: id, instanceID: request.instanceID, clientID: request.clientID, host: request.host,
        sessionTimeout: request.sessionTimeout, rebalanceTimeout: request.rebalanceTimeout, protocols: request.protocols,
        join: token))
    protocolType = request.protocolType
    return rebalance(now: now)
  }

  private mutating func rejoin(_ index: Int, _ request: JoinRequest, token: Token, now: Int64) -> [Action] {
    let isSame = members[index].protocols == request.protocols
    // A leader that joins again wants a new assignment; a follower has only missed its reply.
    let mayRepeat = isSame && (phase == .completing || phase == .stable && members[index].id != leader)
    var actions: [Action] = []
    if let superseded = members[index].join {
      actions.append(.joined(superseded, JoinReply(error: .rebalanceInProgress, memberID: members[index].id)))
    }
    members[index].protocols = request.protocols
    members[index].sessionTimeout = request.sessionTimeout
    members[index].rebalanceTimeout = request.rebalanceTimeout
    members[index].clientID = request.clientID
    members[index].host = request.host
    if mayRepeat {
      members[index].deadline = now + request.sessionTimeout
      return actions + [.joined(token, joinReply(to: members[index]))]
    }
    members[index].join = token
    members[index].deadline = .max
    return actions + rebalance(now: now)
  }

  /// Whether the member's protocols can be used with those of all others.
  private func fits(_ request: JoinRequest) -> Bool {
    let others = members.filter { $0.id != request.memberID }
    guard !others.isEmpty else { return true }
    guard request.protocolType == protocolType else { return false }
    return request.protocols.contains { candidate in
      others.allSatisfy { $0.protocols.contains { $0.name == candidate.name } }
    }
  }

  private func joinReply(to member: Member) -> JoinReply {
    var reply = JoinReply(
      generation: generation, protocolType: protocolType, protocolName: protocolName, leader: leader ?? "", memberID: member.id)
    if member.id == leader {
      reply.members = members.map { other in
        JoinedMember(
          id: other.id, instanceID: other.instanceID,
          metadata: other.protocols.first { $0.name == protocolName }?.metadata ?? [])
      }
    }
    return reply
  }

  // MARK: Rebalance

  /// Begins a rebalance or goes on with the running one.
  private mutating func rebalance(now: Int64) -> [Action] {
    var actions: [Action] = []
    switch phase {
    case .empty:
      gatheringSince = now
      phaseDeadline = now + initialDelay
    case .preparing:
      // Who comes while the first members gather keeps the gathering open for others that start with it.
      if let since = gatheringSince { phaseDeadline = min(now + initialDelay, since + 10 * initialDelay) }
    case .completing, .stable:
      actions += failSyncs(.rebalanceInProgress, now: now)
      phaseDeadline = now + (members.map(\.rebalanceTimeout).max() ?? 0)
    }
    phase = .preparing
    return actions + completeIfPossible(now: now)
  }

  private mutating func completeIfPossible(now: Int64) -> [Action] {
    guard phase == .preparing else { return [] }
    let isOver = now >= phaseDeadline || members.isEmpty
    if gatheringSince != nil ? isOver : isOver || (pending.isEmpty && members.allSatisfy { $0.join != nil }) {
      return complete(now: now)
    }
    return []
  }

  /// The new generation: of those who joined.
  private mutating func complete(now: Int64) -> [Action] {
    members.removeAll { $0.join == nil }
    gatheringSince = nil
    generation = generation == .max ? 1 : generation + 1
    guard !members.isEmpty else {
      phase = .empty
      phaseDeadline = .max
      protocolName = nil
      protocolType = nil
      leader = nil
      return []
    }
    if !members.contains(where: { $0.id == leader }) { leader = members[0].id }
    protocolName = electProtocol()
    phase = .completing
    phaseDeadline = now + (members.map(\.rebalanceTimeout).max() ?? 0)
    var actions: [Action] = []
    for index in members.indices {
      members[index].assignment = []
      members[index].deadline = now + members[index].sessionTimeout
      if let token = members[index].join {
        members[index].join = nil
        actions.append(.joined(token, joinReply(to: members[index])))
      }
    }
    return actions
  }

  /// Of the protocols that all members have, the one that most prefer; the leader's order decides a tie.
  private func electProtocol() -> String? {
    let leading = members.first { $0.id == leader } ?? members[0]
    let candidates = leading.protocols.map(\.name).filter { name in
      members.allSatisfy { $0.protocols.contains { $0.name == name } }
    }
    var votes: [String: Int] = [:]
    for member in members {
      if let choice = member.protocols.first(where: { candidates.contains($0.name) }) { votes[choice.name, default: 0] += 1 }
    }
    var best: String?
    for candidate in candidates where votes[candidate, default: 0] > (best.map { votes[$0, default: 0] } ?? -1) {
      best = candidate
    }
    return best
  }

  // MARK: Sync

  mutating func sync(
    memberID: String, generation: Int32, protocolType: String?, protocolName: String?, assignments: [(id: String, bytes: [UInt8])],
    token: Token, now: Int64
  ) -> [Action] {
    func refuse(_ error: ErrorCode) -> [Action] { [.synced(token, SyncReply(error: error))] }
    guard let index = index(of: memberID) else { return refuse(.unknownMemberID) }
    guard generation == self.generation else { return refuse(.illegalGeneration) }
    if let protocolType, protocolType != self.protocolType { return refuse(.inconsistentGroupProtocol) }
    if let protocolName, protocolName != self.protocolName { return refuse(.inconsistentGroupProtocol) }
    switch phase {
    case .empty: return refuse(.unknownMemberID)
    case .preparing:
      members[index].deadline = members[index].join == nil ? now + members[index].sessionTimeout : .max
      return refuse(.rebalanceInProgress)
    case .stable:
      members[index].deadline = now + members[index].sessionTimeout
      return [.synced(token, syncReply(members[index]))]
    case .completing:
      var actions: [Action] = []
      if let superseded = members[index].sync { actions.append(.synced(superseded, SyncReply(error: .rebalanceInProgress))) }
      members[index].sync = token
      members[index].deadline = .max
      guard memberID == leader else { return actions }
      for (id, bytes) in assignments { if let target = self.index(of: id) { members[target].assignment = bytes } }
      phase = .stable
      phaseDeadline = .max
      for each in members.indices {
        members[each].deadline = now + members[each].sessionTimeout
        if let waiting = members[each].sync {
          members[each].sync = nil
          actions.append(.synced(waiting, syncReply(members[each])))
        }
      }
      return actions
    }
  }

  private func syncReply(_ member: Member) -> SyncReply {
    SyncReply(protocolType: protocolType, protocolName: protocolName, assignment: member.assignment)
  }

  private mutating func failSyncs(_ error: ErrorCode, now: Int64) -> [Action] {
    var actions: [Action] = []
    for index in members.indices {
      if let token = members[index].sync {
        members[index].sync = nil
        members[index].deadline = now + members[index].sessionTimeout
        actions.append(.synced(token, SyncReply(error: error)))
      }
    }
    return actions
  }

  // MARK: Life signs

  mutating func heartbeat(memberID: String, instanceID: String?, generation: Int32, now: Int64) -> ErrorCode {
    guard let index = index(of: memberID) else { return unknown(instanceID) }
    guard generation == self.generation else { return .illegalGeneration }
    if members[index].join == nil, members[index].sync == nil {
      members[index].deadline = now + members[index].sessionTimeout
    }
    return phase == .preparing ? .rebalanceInProgress : .none
  }

  /// Whether a member may commit offsets. Generation -1 without a member id commits from outside, while nobody consumes.
  mutating func mayCommit(memberID: String, instanceID: String?, generation: Int32, now: Int64) -> ErrorCode {
    if generation < 0, memberID.isEmpty { return members.isEmpty ? .none : .unknownMemberID }
    guard let index = index(of: memberID) else { return unknown(instanceID) }
    guard generation == self.generation else { return .illegalGeneration }
    if phase == .completing { return .rebalanceInProgress }
    if members[index].join == nil, members[index].sync == nil {
      members[index].deadline = now + members[index].sessionTimeout
    }
    return .none
  }

  private func unknown(_ instanceID: String?) -> ErrorCode {
    instanceID != nil && members.contains { $0.instanceID == instanceID } ? .fencedInstanceID : .unknownMemberID
  }

  mutating func leave(memberID: String, instanceID: String?, now: Int64) -> (error: ErrorCode, actions: [Action]) {
    if pending.removeValue(forKey: memberID) != nil { return (.none, completeIfPossible(now: now)) }
    let found =
      memberID.isEmpty && instanceID != nil
      ? members.first { $0.instanceID == instanceID } : members.first { $0.id == memberID }
    guard let member = found else { return (unknown(instanceID), []) }
    var actions: [Action] = []
    if let token = member.join { actions.append(.joined(token, JoinReply(error: .unknownMemberID, memberID: member.id))) }
    if let token = member.sync { actions.append(.synced(token, SyncReply(error: .unknownMemberID))) }
    remove(member.id)
    return (.none, actions + rebalance(now: now))
  }

  /// The connection of a waiting request is gone. A member that waited to join is dropped: nobody would hear what it is given. It comes back
  /// as a new one.
  mutating func disconnected(_ token: Token, now: Int64) -> [Action] {
    if let index = members.firstIndex(where: { $0.join == token }) {
      members.remove(at: index)
      return completeIfPossible(now: now)
    }
    if let index = members.firstIndex(where: { $0.sync == token }) {
      members[index].sync = nil
      members[index].deadline = now + members[index].sessionTimeout
    }
    return []
  }

  // MARK: Time

  /// When `advance` has something to do next; far away when nothing is waited for.
  var nextDeadline: Int64 {
    var next = phaseDeadline
    for member in members { next = min(next, member.deadline) }
    for deadline in pending.values { next = min(next, deadline) }
    return next
  }

  /// Does what is due: drops the dead, ends phases.
  mutating func advance(now: Int64) -> [Action] {
    var actions: [Action] = []
    if pending.values.contains(where: { $0 <= now }) {
      pending = pending.filter { $0.value > now }
      actions += completeIfPossible(now: now)
    }
    let dead = members.filter { $0.deadline <= now }
    if !dead.isEmpty {
      for member in dead { remove(member.id) }
      actions += rebalance(now: now)
    }
    if now >= phaseDeadline {
      switch phase {
      case .preparing: actions += complete(now: now)
      case .completing:
        // Who has not synced in all this time will not; without the leader nobody gets an assignment.
        let silent = members.filter { $0.sync == nil }
        if silent.isEmpty {
          phaseDeadline = .max
        } else {
          for member in silent { remove(member.id) }
          actions += rebalance(now: now)
        }
      case .empty, .stable: phaseDeadline = .max
      }
    }
    return actions
  }

  // MARK: Members

  private func index(of id: String) -> Int? { members.firstIndex { $0.id == id } }

  private mutating func remove(_ id: String) { members.removeAll { $0.id == id } }

  private func fence(_ member: Member) -> [Action] {
    var actions: [Action] = []
    if let token = member.join { actions.append(.joined(token, JoinReply(error: .fencedInstanceID, memberID: member.id))) }
    if let token = member.sync { actions.append(.synced(token, SyncReply(error: .fencedInstanceID))) }
    return actions
  }

  /// Nobody is in it or on the way into it.
  var isIdle: Bool { members.isEmpty && pending.isEmpty && phase == .empty }
}
