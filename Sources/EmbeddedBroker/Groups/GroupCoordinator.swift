import Logging
import NIOCore

/// All consumer groups: feeds the state machines with requests and time, and carries their replies to the connections.
/// Owned by the broker's event loop.
final class GroupCoordinator: @unchecked Sendable {
  /// Groups that may exist at a time, with members or with committed offsets.
  private static let groupsMax = 10_000

  let offsets: CommittedOffsets
  private(set) var groups: [String: ConsumerGroup] = [:]
  private let settings: BrokerSettings
  private let loop: any EventLoop
  private let logger: Logger

  private struct Waiting {
    let group: String
    let reply: ReplyContext
    let connection: ConnectionHandler
  }

  /// The requests that wait, by token. The token is the connection's identity: a connection has one request in hand.
  private var waiting: [ConsumerGroup.Token: Waiting] = [:]
  private var alarm: Scheduled<Void>?
  private var alarmAt = Int64.max

  init(settings: BrokerSettings, loop: any EventLoop, logger: Logger) throws {
    self.settings = settings
    self.loop = loop
    self.logger = logger
    offsets = try CommittedOffsets(directory: settings.dataDirectory, logger: logger)
  }

  func close() { alarm?.cancel() }

  private static func now() -> Int64 { Int64(NIODeadline.now().uptimeNanoseconds / 1_000_000) }

  // MARK: Requests

  func join(_ name: String, _ request: ConsumerGroup.JoinRequest, _ source: Request) {
    guard settings.sessionTimeoutMilliseconds.contains(Int(request.sessionTimeout)) else {
      return reply(join: .init(error: .invalidSessionTimeout, memberID: request.memberID), source.reply, source.connection)
    }
    guard !name.isEmpty else {
      return reply(join: .init(error: .invalidGroupID, memberID: request.memberID), source.reply, source.connection)
    }
    guard groups[name] != nil || groups.count < Self.groupsMax else {
      return reply(join: .init(error: .groupMaxSizeReached, memberID: request.memberID), source.reply, source.connection)
    }
    let token = begin(name, source)
    let empty = ConsumerGroup(
      initialDelay: Int64(settings.groupInitialRebalanceDelayMilliseconds), membersMax: settings.membersPerGroupMax)
    let actions = groups[name, default: empty].join(request, token: token, now: Self.now())
    perform(actions, in: name)
  }

  func sync(
    _ name: String, memberID: String, generation: Int32, protocolType: String?, protocolName: String?,
    assignments: [(id: String, bytes: [UInt8])], _ source: Request
  ) {
    let token = begin(name, source)
    let actions =
      groups[name]?.sync(
        memberID: memberID, generation: generation, protocolType: protocolType, protocolName: protocolName,
        assignments: assignments, token: token, now: Self.now())
      ?? [.synced(token, .init(error: .unknownMemberID))]
    perform(actions, in: name)
  }

  func heartbeat(_ name: String, memberID: String, instanceID: String?, generation: Int32) -> ErrorCode {
    let error =
      groups[name]?.heartbeat(memberID: memberID, instanceID: instanceID, generation: generation, now: Self.now())
      ?? .unknownMemberID
    return error
  }

  func leave(_ name: String, memberID: String, instanceID: String?) -> ErrorCode {
    guard let (error, actions) = groups[name]?.leave(memberID: memberID, instanceID: instanceID, now: Self.now()) else {
      return .unknownMemberID
    }
    perform(actions, in: name)
    return error
  }

  func mayCommit(_ name: String, memberID: String, instanceID: String?, generation: Int32) -> ErrorCode {
    if name.isEmpty, generation >= 0 { return .invalidGroupID }
    if let error = groups[name]?.mayCommit(memberID: memberID, instanceID: instanceID, generation: generation, now: Self.now()) {
      return error
    }
    // Nobody is in it: only who claims no membership may commit.
    if generation >= 0 || !memberID.isEmpty { return .unknownMemberID }
    return offsets.groups[name] != nil || offsets.groups.count < Self.groupsMax ? .none : .groupMaxSizeReached
  }

  /// Forgets a group without members, and its offsets.
  func delete(_ name: String) -> ErrorCode {
    if name.isEmpty { return .invalidGroupID }
    guard groups[name] != nil || offsets.groups[name] != nil else { return .groupIDNotFound }
    if let group = groups[name], !group.members.isEmpty { return .nonEmptyGroup }
    do throws(StorageError) {
      try offsets.remove(group: name)
    } catch {
      logger.error("could not delete a group", metadata: ["group": "\(name)", "error": "\(error)"])
      return .storageError
    }
    groups[name] = nil
    return .none
  }

  func topicDeleted(_ topic: String) {
    do throws(StorageError) {
      try offsets.remove(topic: topic)
    } catch {
      logger.warning("could not forget offsets of a deleted topic", metadata: ["topic": "\(topic)", "error": "\(error)"])
    }
  }

  /// Names of all groups: with members or with offsets.
  var names: [String] { Set(groups.keys).union(offsets.groups.keys).sorted() }

  // MARK: Waiting requests

  private func begin(_ name: String, _ source: Request) -> ConsumerGroup.Token {
    waiting[source.connection.identity] = Waiting(group: name, reply: source.reply, connection: source.connection)
    source.connection.wait()
    return source.connection.identity
  }

  func connectionClosed(_ connection: ConnectionHandler) {
    guard let gone = waiting.removeValue(forKey: connection.identity) else { return }
    let actions = groups[gone.group]?.disconnected(connection.identity, now: Self.now()) ?? []
    perform(actions, in: gone.group)
  }

  private func perform(_ actions: [ConsumerGroup.Action], in name: String) {
    if let group = groups[name] {
      if group.isIdle { groups[name] = nil } else { setAlarm(group.nextDeadline) }
    }
    for action in actions {
      switch action {
      case .joined(let token, let answer):
        guard let target = waiting.removeValue(forKey: token) else { continue }
        target.connection.endWait()
        reply(join: answer, target.reply, target.connection)
        target.connection.resume()
      case .synced(let token, let answer):
        guard let target = waiting.removeValue(forKey: token) else { continue }
        target.connection.endWait()
        reply(sync: answer, target.reply, target.connection)
        target.connection.resume()
      }
    }
  }

  private func setAlarm(_ time: Int64) {
    guard time < alarmAt else { return }
    alarm?.cancel()
    alarmAt = time
    alarm = loop.scheduleTask(deadline: .uptimeNanoseconds(UInt64(max(0, time)) * 1_000_000)) { [weak self] in self?.ring() }
  }

  private func ring() {
    alarmAt = .max
    alarm = nil
    let now = Self.now()
    for name in Array(groups.keys) {
      guard let group = groups[name] else { continue }
      if group.nextDeadline <= now {
        let actions = groups[name]?.advance(now: now) ?? []
        perform(actions, in: name)
      } else {
        setAlarm(group.nextDeadline)
      }
    }
  }

  // MARK: Replies

  private func reply(join answer: ConsumerGroup.JoinReply, _ reply: ReplyContext, _ connection: ConnectionHandler) {
    let version = reply.version
    connection.reply(reply) { writer in
      if version >= 2 { writer.int32(0) }
      writer.error(answer.error)
      writer.int32(answer.generation)
      if version >= 7 {
        writer.nullableString(answer.protocolType)
        writer.nullableString(answer.protocolName)
      } else {
        writer.string(answer.protocolName ?? "")
      }
      writer.string(answer.leader)
      if version >= 9 { writer.bool(false) }
      writer.string(answer.memberID)
      writer.array(answer.members) { writer, member in
        writer.string(member.id)
        if version >= 5 { writer.nullableString(member.instanceID) }
        writer.bytes(member.metadata)
        writer.tags()
      }
      writer.tags()
    }
  }

  private func reply(sync answer: ConsumerGroup.SyncReply, _ reply: ReplyContext, _ connection: ConnectionHandler) {
    let version = reply.version
    connection.reply(reply) { writer in
      if version >= 1 { writer.int32(0) }
      writer.error(answer.error)
      if version >= 5 {
        writer.nullableString(answer.protocolType)
        writer.nullableString(answer.protocolName)
      }
      writer.bytes(answer.assignment)
      writer.tags()
    }
  }
}
