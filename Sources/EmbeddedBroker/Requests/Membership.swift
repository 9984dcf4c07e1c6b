extension Broker {
  /// JoinGroup v0...9. Answered when the group's new generation stands.
  func joinGroup(_ reader: inout WireReader, _ request: Request) throws(WireError) {
    let version = request.version
    let group = try reader.string("group_id")
    let sessionTimeout = try reader.int32("session_timeout_ms")
    let rebalanceTimeout = version >= 1 ? try reader.int32("rebalance_timeout_ms") : sessionTimeout
    let memberID = try reader.string("member_id")
    let instanceID = version >= 5 ? try reader.nullableString("group_instance_id") : nil
    let protocolType = try reader.string("protocol_type")
    var protocols: [ConsumerGroup.MemberProtocol] = []
    for _ in 0..<(try reader.arrayCount("protocols", elementBytesMin: 3)) {
      let name = try reader.string("name")
      protocols.append(.init(name: name, metadata: Array(try reader.bytes("metadata"))))
      try reader.tags()
    }
    if version >= 8 { _ = try reader.nullableString("reason") }
    try reader.tags()

    // An id nobody can guess: it is all that tells members apart.
    let random = String(UInt64.random(in: .min ... .max), radix: 16) + String(UInt64.random(in: .min ... .max), radix: 16)
    let prefix = instanceID ?? (request.clientID.isEmpty ? "member" : String(request.clientID.prefix(200)))
    groups.join(
      group,
      ConsumerGroup.JoinRequest(
        memberID: memberID, instanceID: instanceID, clientID: request.clientID, host: "/" + request.connection.remoteHost,
        sessionTimeout: Int64(sessionTimeout), rebalanceTimeout: Int64(max(0, rebalanceTimeout)), protocolType: protocolType,
        protocols: protocols, newMemberID: prefix + "-" + random, requiresKnownID: version >= 4),
      request)
  }

  /// SyncGroup v0...5. Answered when the leader has given the assignments.
  func syncGroup(_ reader: inout WireReader, _ request: Request) throws(WireError) {
    let version = request.version
    let group = try reader.string("group_id")
    let generation = try reader.int32("generation_id")
    let memberID = try reader.string("member_id")
    if version >= 3 { _ = try reader.nullableString("group_instance_id") }
    let protocolType = version >= 5 ? try reader.nullableString("protocol_type") : nil
    let protocolName = version >= 5 ? try reader.nullableString("protocol_name") : nil
    var assignments: [(id: String, bytes: [UInt8])] = []
    for _ in 0..<(try reader.arrayCount("assignments", elementBytesMin: 3)) {
      let id = try reader.string("member_id")
      assignments.append((id, Array(try reader.bytes("assignment"))))
      try reader.tags()
    }
    try reader.tags()
    groups.sync(
      group, memberID: memberID, generation: generation, protocolType: protocolType, protocolName: protocolName,
      assignments: assignments, request)
  }

  /// Heartbeat v0...4.
  func heartbeat(_ reader: inout WireReader, _ request: Request) throws(WireError) {
    let group = try reader.string("group_id")
    let generation = try reader.int32("generation_id")
    let memberID = try reader.string("member_id")
    let instanceID = request.version >= 3 ? try reader.nullableString("group_instance_id") : nil
    try reader.tags()
    let error = groups.heartbeat(group, memberID: memberID, instanceID: instanceID, generation: generation)
    request.reply { writer in
      if request.version >= 1 { writer.int32(0) }
      writer.error(error)
      writer.tags()
    }
  }

  /// LeaveGroup v0...5.
  func leaveGroup(_ reader: inout WireReader, _ request: Request) throws(WireError) {
    let version = request.version
    let group = try reader.string("group_id")
    var leaving: [(memberID: String, instanceID: String?)] = []
    if version <= 2 {
      leaving.append((try reader.string("member_id"), nil))
    } else {
      for _ in 0..<(try reader.arrayCount("members", elementBytesMin: 3)) {
        let memberID = try reader.string("member_id")
        let instanceID = try reader.nullableString("group_instance_id")
        if version >= 5 { _ = try reader.nullableString("reason") }
        try reader.tags()
        leaving.append((memberID, instanceID))
      }
    }
    try reader.tags()
    let outcomes = leaving.map { ($0, groups.leave(group, memberID: $0.memberID, instanceID: $0.instanceID)) }
    request.reply { writer in
      if version >= 1 { writer.int32(0) }
      writer.error(version <= 2 ? outcomes.first?.1 ?? .none : .none)
      if version >= 3 {
        writer.array(outcomes) { writer, outcome in
          writer.string(outcome.0.memberID)
          writer.nullableString(outcome.0.instanceID)
          writer.error(outcome.1)
          writer.tags()
        }
      }
      writer.tags()
    }
  }

  // MARK: Looking at groups

  /// DescribeGroups v0...5. A group that does not exist is "Dead".
  func describeGroups(_ reader: inout WireReader, _ request: Request) throws(WireError) {
    let version = request.version
    var names: [String] = []
    for _ in 0..<(try reader.arrayCount("groups", elementBytesMin: 1)) { names.append(try reader.string("group_id")) }
    if version >= 3 { _ = try reader.bool("include_authorized_operations") }
    try reader.tags()
    request.reply { writer in
      if version >= 1 { writer.int32(0) }
      writer.array(names) { writer, name in
        let group = groups.groups[name]
        let absent = groups.offsets.groups[name] == nil ? "Dead" : ConsumerGroup.Phase.empty.rawValue
        writer.error(.none)
        writer.string(name)
        writer.string(group?.phase.rawValue ?? absent)
        writer.string(group?.protocolType ?? (absent == "Dead" ? "" : "consumer"))
        writer.string(group?.phase == .stable ? group?.protocolName ?? "" : "")
        writer.array(group?.members ?? []) { writer, member in
          writer.string(member.id)
          if version >= 4 { writer.nullableString(member.instanceID) }
          writer.string(member.clientID)
          writer.string(member.host)
          writer.bytes(member.protocols.first { $0.name == group?.protocolName }?.metadata ?? [])
          writer.bytes(member.assignment)
          writer.tags()
        }
        if version >= 3 { writer.int32(.min) }
        writer.tags()
      }
      writer.tags()
    }
  }

  /// ListGroups v0...4.
  func listGroups(_ reader: inout WireReader, _ request: Request) throws(WireError) {
    let version = request.version
    var states: [String] = []
    if version >= 4 {
      for _ in 0..<(try reader.arrayCount("states_filter", elementBytesMin: 1)) { states.append(try reader.string("state")) }
    }
    try reader.tags()
    let listed = groups.names.map { name in
      let group = groups.groups[name]
      return (name: name, type: group?.protocolType ?? "consumer", state: group?.phase.rawValue ?? ConsumerGroup.Phase.empty.rawValue)
    }.filter { entry in states.isEmpty || states.contains { $0.lowercased() == entry.state.lowercased() } }
    request.reply { writer in
      if version >= 1 { writer.int32(0) }
      writer.error(.none)
      writer.array(listed) { writer, entry in
        writer.string(entry.name)
        writer.string(entry.type)
        if version >= 4 { writer.string(entry.state) }
        writer.tags()
      }
      writer.tags()
    }
  }

  /// DeleteGroups v0...2.
  func deleteGroups(_ reader: inout WireReader, _ request: Request) throws(WireError) {
    var names: [String] = []
    for _ in 0..<(try reader.arrayCount("groups_names", elementBytesMin: 1)) { names.append(try reader.string("group_id")) }
    try reader.tags()
    request.reply { writer in
      writer.int32(0)
      writer.array(names) { writer, name in
        writer.string(name)
        writer.error(groups.delete(name))
        writer.tags()
      }
      writer.tags()
    }
  }
}
