extension Broker {
  private static let topicResource: Int8 = 2
  private static let brokerResource: Int8 = 4

  private struct Setting {
    let name: String
    let value: String
    let isOverride: Bool
    let isReadOnly: Bool
  }

  /// This broker's own settings under Kafka's names, for clients that look.
  private var brokerSettings: [Setting] {
    [
      ("auto.create.topics.enable", String(settings.autoCreateTopics)), ("broker.id", String(nodeID)),
      ("default.replication.factor", "1"),
      ("group.initial.rebalance.delay.ms", String(settings.groupInitialRebalanceDelayMilliseconds)),
      ("group.max.session.timeout.ms", String(settings.sessionTimeoutMilliseconds.upperBound)),
      ("group.min.session.timeout.ms", String(settings.sessionTimeoutMilliseconds.lowerBound)),
      ("log.retention.bytes", String(settings.retentionBytes)), ("log.retention.ms", String(settings.retentionMilliseconds)),
      ("log.segment.bytes", String(settings.segmentBytes)), ("message.max.bytes", String(settings.messageBytesMax)),
      ("num.partitions", String(settings.defaultPartitions)),
    ].map { Setting(name: $0.0, value: $0.1, isOverride: true, isReadOnly: true) }
  }

  /// DescribeConfigs v0...4, for topics and this broker.
  func describeConfigs(_ reader: inout WireReader, _ request: Request) throws(WireError) {
    let version = request.version
    var wanted: [(type: Int8, name: String, keys: [String]?)] = []
    for _ in 0..<(try reader.arrayCount("resources", elementBytesMin: 3)) {
      let type = try reader.int8("resource_type")
      let name = try reader.string("resource_name")
      var keys: [String]?
      if let count = try reader.nullableArrayCount("configuration_keys", elementBytesMin: 1) {
        var list: [String] = []
        for _ in 0..<count { list.append(try reader.string("key")) }
        // librdkafka sends an empty list for "all".
        keys = list.isEmpty ? nil : list
      }
      try reader.tags()
      wanted.append((type, name, keys))
    }
    if version >= 1 { _ = try reader.bool("include_synonyms") }
    if version >= 3 { _ = try reader.bool("include_documentation") }
    try reader.tags()

    func find(_ type: Int8, _ name: String) -> Result<[Setting], TopicCatalog.Refusal> {
      switch type {
      case Self.topicResource:
        guard let topic = catalog.topics[name] else {
          return .failure(.init(code: .unknownTopicOrPartition, message: "no such topic"))
        }
        return .success(
          topic.configuration.described.map { Setting(name: $0.name, value: $0.value, isOverride: $0.isOverride, isReadOnly: false) })
      case Self.brokerResource:
        guard name.isEmpty || name == String(nodeID) else {
          return .failure(.init(code: .invalidRequest, message: "broker \(nodeID) is the only one"))
        }
        return .success(brokerSettings)
      default: return .failure(.init(code: .invalidRequest, message: "resources of type \(type) have no settings here"))
      }
    }

    request.reply { writer in
      writer.int32(0)
      writer.array(wanted) { writer, entry in
        var settings: [Setting] = []
        var refusal: TopicCatalog.Refusal?
        switch find(entry.type, entry.name) {
        case .success(let found): settings = found.filter { entry.keys?.contains($0.name) ?? true }
        case .failure(let why): refusal = why
        }
        writer.error(refusal?.code ?? .none)
        writer.nullableString(refusal?.message)
        writer.int8(entry.type)
        writer.string(entry.name)
        writer.array(settings) { writer, setting in
          writer.string(setting.name)
          writer.nullableString(setting.value)
          writer.bool(setting.isReadOnly)
          if version == 0 { writer.bool(!setting.isOverride) }
          // Source: set for the topic (1), static of the broker (4), default (5).
          if version >= 1 { writer.int8(setting.isReadOnly ? 4 : setting.isOverride ? 1 : 5) }
          writer.bool(false)
          if version >= 1 { writer.arrayCount(0) }
          if version >= 3 {
            writer.int8(0)
            writer.nullableString(nil)
          }
          writer.tags()
        }
        writer.tags()
      }
      writer.tags()
    }
  }

  private enum Change {
    case set(String, String)
    case remove(String)
    case unsupported(String)
  }

  private func replyConfigs(
    _ resources: [(type: Int8, name: String, changes: [Change])], replacing: Bool, validateOnly: Bool, _ request: Request
  ) {
    func alter(_ type: Int8, _ name: String, _ changes: [Change]) throws(TopicCatalog.Refusal) {
      guard type == Self.topicResource else {
        throw TopicCatalog.Refusal(code: .invalidRequest, message: "only topics' settings can be changed")
      }
      guard let topic = catalog.topics[name] else {
        throw TopicCatalog.Refusal(code: .unknownTopicOrPartition, message: "no such topic")
      }
      var overrides = replacing ? [:] : topic.configuration.overrides
      for change in changes {
        switch change {
        case .set(let name, let value): overrides[name] = value
        case .remove(let name): overrides[name] = nil
        case .unsupported(let name):
          throw TopicCatalog.Refusal(code: .invalidRequest, message: "\(name): only set and delete are supported")
        }
      }
      let configuration = try catalog.configuration(overrides)
      if !validateOnly { try catalog.configure(topic, configuration) }
    }
    request.reply { writer in
      writer.int32(0)
      writer.array(resources) { writer, resource in
        var refusal: TopicCatalog.Refusal?
        do throws(TopicCatalog.Refusal) { try alter(resource.type, resource.name, resource.changes) } catch { refusal = error }
        writer.error(refusal?.code ?? .none)
        writer.nullableString(refusal?.message)
        writer.int8(resource.type)
        writer.string(resource.name)
        writer.tags()
      }
      writer.tags()
    }
  }

  /// AlterConfigs v0...2: replaces what was set for a topic.
  func alterConfigs(_ reader: inout WireReader, _ request: Request) throws(WireError) {
    try changeConfigs(&reader, request, incremental: false)
  }

  /// IncrementalAlterConfigs v0...1: sets and deletes single settings of a topic.
  func incrementalAlterConfigs(_ reader: inout WireReader, _ request: Request) throws(WireError) {
    try changeConfigs(&reader, request, incremental: true)
  }

  private func changeConfigs(_ reader: inout WireReader, _ request: Request, incremental: Bool) throws(WireError) {
    var resources: [(type: Int8, name: String, changes: [Change])] = []
    for _ in 0..<(try reader.arrayCount("resources", elementBytesMin: 3)) {
      let type = try reader.int8("resource_type")
      let name = try reader.string("resource_name")
      var changes: [Change] = []
      for _ in 0..<(try reader.arrayCount("configs", elementBytesMin: 2)) {
        let key = try reader.string("name")
        let operation = incremental ? try reader.int8("config_operation") : 0
        let value = try reader.nullableString("value")
        try reader.tags()
        switch (operation, value) {
        case (0, let value?): changes.append(.set(key, value))
        case (0, nil), (1, _): changes.append(.remove(key))
        default: changes.append(.unsupported(key))
        }
      }
      try reader.tags()
      resources.append((type, name, changes))
    }
    let validateOnly = try reader.bool("validate_only")
    try reader.tags()
    replyConfigs(resources, replacing: !incremental, validateOnly: validateOnly, request)
  }
}
