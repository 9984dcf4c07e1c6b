extension Broker {
  /// The address that a client on this connection is told to use.
  func advertised(to connection: ConnectionHandler) -> (host: String, port: Int32) {
    (settings.advertisedHost ?? connection.localHost, Int32(clamping: settings.advertisedPort ?? port))
  }

  /// Metadata v0...12: this broker, and topics by name or id (none given: all). Names that do not exist are created when settings
  /// and request allow it, and are there at once.
  func metadata(_ reader: inout WireReader, _ request: Request) throws(WireError) {
    let version = request.version
    var wanted: [(id: TopicID, name: String?)]?
    if let count = try reader.nullableArrayCount("topics", elementBytesMin: version >= 10 ? 18 : reader.flexible ? 2 : 2) {
      var list: [(id: TopicID, name: String?)] = []
      list.reserveCapacity(count)
      for _ in 0..<count {
        let id = version >= 10 ? try reader.uuid("topic_id") : .zero
        let name = version >= 10 ? try reader.nullableString("name") : try reader.string("name")
        try reader.tags()
        list.append((id, name))
      }
      // Version 0 has no null: an empty list means all.
      wanted = version == 0 && list.isEmpty ? nil : list
    }
    let mayCreate = version >= 4 ? try reader.bool("allow_auto_topic_creation") : true
    let includeOperations = version >= 8
    if version >= 8, version <= 10 { _ = try reader.bool("include_cluster_authorized_operations") }
    if version >= 8 { _ = try reader.bool("include_topic_authorized_operations") }
    try reader.tags()

    var found: [(error: ErrorCode, name: String?, id: TopicID, topic: Topic?)] = []
    if let wanted {
      for (id, name) in wanted {
        if let name {
          let (error, topic) = topicForMetadata(name, mayCreate: mayCreate && settings.autoCreateTopics)
          found.append((error, name, topic?.id ?? .zero, topic))
        } else if let topic = catalog.topic(id: id) {
          found.append((.none, topic.name, id, topic))
        } else {
          found.append((.unknownTopicID, nil, id, nil))
        }
      }
    } else {
      for topic in catalog.topics.values.sorted(by: { $0.name < $1.name }) { found.append((.none, topic.name, topic.id, topic)) }
    }

    let (host, port) = advertised(to: request.connection)
    request.reply { writer in
      if version >= 3 { writer.int32(0) }
      writer.array([nodeID]) { writer, node in
        writer.int32(node)
        writer.string(host)
        writer.int32(port)
        if version >= 1 { writer.nullableString(nil) }
        writer.tags()
      }
      if version >= 2 { writer.nullableString(clusterID) }
      if version >= 1 { writer.int32(nodeID) }
      writer.array(found) { writer, entry in
        writer.error(entry.error)
        if version >= 12 { writer.nullableString(entry.name) } else { writer.string(entry.name ?? "") }
        if version >= 10 { writer.uuid(entry.id) }
        if version >= 1 { writer.bool(false) }
        writer.array(entry.topic.map { 0..<$0.partitions.count } ?? 0..<0) { writer, index in
          writer.error(.none)
          writer.int32(Int32(index))
          writer.int32(nodeID)
          if version >= 7 { writer.int32(0) }
          writer.array([nodeID]) { $0.int32($1) }
          writer.array([nodeID]) { $0.int32($1) }
          if version >= 5 { writer.array([Int32]()) { $0.int32($1) } }
          writer.tags()
        }
        if includeOperations { writer.int32(.min) }
        writer.tags()
      }
      if version >= 8, version <= 10 { writer.int32(.min) }
      writer.tags()
    }
  }

  private func topicForMetadata(_ name: String, mayCreate: Bool) -> (ErrorCode, Topic?) {
    if let topic = catalog.topics[name] { return (.none, topic) }
    if TopicCatalog.nameProblem(name) != nil { return (.invalidTopic, nil) }
    guard mayCreate else { return (.unknownTopicOrPartition, nil) }
    do throws(TopicCatalog.Refusal) {
      let topic = try catalog.create(
        name, partitions: Int32(clamping: settings.defaultPartitions), overrides: [:], now: Self.wallMilliseconds())
      return (.none, topic)
    } catch {
      // Clients retry what they take for a passing state.
      return (error.code == .storageError ? .unknownTopicOrPartition : error.code, nil)
    }
  }

  /// DescribeCluster v0...1.
  func describeCluster(_ reader: inout WireReader, _ request: Request) throws(WireError) {
    _ = try reader.bool("include_cluster_authorized_operations")
    if request.version >= 1 { _ = try reader.int8("endpoint_type") }
    try reader.tags()
    let (host, port) = advertised(to: request.connection)
    request.reply { writer in
      writer.int32(0)
      writer.error(.none)
      writer.nullableString(nil)
      if request.version >= 1 { writer.int8(1) }
      writer.string(clusterID)
      writer.int32(nodeID)
      writer.array([nodeID]) { writer, node in
        writer.int32(node)
        writer.string(host)
        writer.int32(port)
        writer.nullableString(nil)
        writer.tags()
      }
      writer.int32(.min)
      writer.tags()
    }
  }
}
