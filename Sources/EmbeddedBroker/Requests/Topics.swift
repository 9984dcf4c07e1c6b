import Logging

extension Broker {
  /// CreateTopics v0...7.
  func createTopics(_ reader: inout WireReader, _ request: Request) throws(WireError) {
    struct Wanted {
      var name: String
      var partitions: Int32
      var replication: Int16
      var assignments: [(partition: Int32, brokers: [Int32])]
      var overrides: [String: String]
    }
    let version = request.version
    var wanted: [Wanted] = []
    for _ in 0..<(try reader.arrayCount("topics", elementBytesMin: 10)) {
      var topic = Wanted(
        name: try reader.string("name"), partitions: try reader.int32("num_partitions"),
        replication: try reader.int16("replication_factor"), assignments: [], overrides: [:])
      for _ in 0..<(try reader.arrayCount("assignments", elementBytesMin: 5)) {
        let partition = try reader.int32("partition_index")
        var brokers: [Int32] = []
        for _ in 0..<(try reader.arrayCount("broker_ids", elementBytesMin: 4)) { brokers.append(try reader.int32("broker_id")) }
        try reader.tags()
        topic.assignments.append((partition, brokers))
      }
      for _ in 0..<(try reader.arrayCount("configs", elementBytesMin: 2)) {
        let name = try reader.string("name")
        // Null asks for the default.
        if let value = try reader.nullableString("value") { topic.overrides[name] = value }
        try reader.tags()
      }
      try reader.tags()
      wanted.append(topic)
    }
    _ = try reader.int32("timeout_ms")
    let validateOnly = version >= 1 ? try reader.bool("validate_only") : false
    try reader.tags()

    let now = Self.wallMilliseconds()
    var seen: [String: Int] = [:]
    for topic in wanted { seen[topic.name, default: 0] += 1 }

    /// Creates or checks one; the partition count and settings that it has or would have.
    func settle(_ topic: Wanted) throws(TopicCatalog.Refusal) -> (id: TopicID, partitions: Int32, configuration: TopicConfiguration) {
      if seen[topic.name, default: 0] > 1 {
        throw TopicCatalog.Refusal(code: .invalidRequest, message: "topic '\(topic.name)' is named more than once")
      }
      var partitions = topic.partitions == -1 ? Int32(clamping: settings.defaultPartitions) : topic.partitions
      if !topic.assignments.isEmpty {
        let indexes = topic.assignments.map(\.partition).sorted()
        guard indexes == Array(0..<Int32(indexes.count)), topic.assignments.allSatisfy({ $0.brokers == [nodeID] }),
          topic.partitions == -1 || topic.partitions == Int32(indexes.count)
        else {
          throw TopicCatalog.Refusal(
            code: .invalidReplicaAssignment, message: "assign each partition from 0 on to broker \(nodeID), the only one")
        }
        partitions = Int32(indexes.count)
      } else if topic.replication != 1 && topic.replication != -1 {
        throw TopicCatalog.Refusal(
          code: .invalidReplicationFactor, message: "replication factor \(topic.replication): the embedded broker is alone, use 1")
      }
      if validateOnly {
        return (.zero, partitions, try catalog.check(topic.name, partitions: partitions, overrides: topic.overrides))
      }
      let created = try catalog.create(topic.name, partitions: partitions, overrides: topic.overrides, now: now)
      return (created.id, partitions, created.configuration)
    }

    request.reply { writer in
      if version >= 2 { writer.int32(0) }
      writer.array(wanted) { writer, topic in
        var refusal: TopicCatalog.Refusal?
        var settled: (id: TopicID, partitions: Int32, configuration: TopicConfiguration)?
        do throws(TopicCatalog.Refusal) { settled = try settle(topic) } catch { refusal = error }
        writer.string(topic.name)
        if version >= 7 { writer.uuid(settled?.id ?? .zero) }
        writer.error(refusal?.code ?? .none)
        if version >= 1 { writer.nullableString(refusal?.message) }
        if version >= 5 {
          writer.int32(settled?.partitions ?? -1)
          writer.int16(settled == nil ? -1 : 1)
          writer.array(settled?.configuration.described ?? []) { writer, setting in
            writer.string(setting.name)
            writer.nullableString(setting.value)
            writer.bool(false)
            writer.int8(setting.isOverride ? 1 : 5)
            writer.bool(false)
            writer.tags()
          }
        }
        writer.tags()
      }
      writer.tags()
    }
  }

  /// DeleteTopics v0...6. Whoever waits for data of a deleted topic is told.
  func deleteTopics(_ reader: inout WireReader, _ request: Request) throws(WireError) {
    let version = request.version
    var wanted: [(name: String?, id: TopicID)] = []
    for _ in 0..<(try reader.arrayCount("topics", elementBytesMin: version >= 6 ? 18 : reader.flexible ? 1 : 2)) {
      if version >= 6 {
        let name = try reader.nullableString("name")
        let id = try reader.uuid("topic_id")
        try reader.tags()
        wanted.append((name, id))
      } else {
        wanted.append((try reader.string("topic_name"), .zero))
      }
    }
    _ = try reader.int32("timeout_ms")
    try reader.tags()
    request.reply { writer in
      if version >= 1 { writer.int32(0) }
      writer.array(wanted) { writer, entry in
        let topic = entry.name.map { catalog.topics[$0] } ?? catalog.topic(id: entry.id)
        var refusal: TopicCatalog.Refusal?
        if let topic {
          do throws(TopicCatalog.Refusal) {
            try catalog.delete(topic)
            for partition in topic.partitions { changed(partition) }
            groups.topicDeleted(topic.name)
          } catch {
            refusal = error
          }
        } else {
          refusal = .init(
            code: entry.name == nil ? .unknownTopicID : .unknownTopicOrPartition, message: "no such topic")
        }
        if version >= 6 {
          writer.nullableString(entry.name ?? topic?.name)
          writer.uuid(topic?.id ?? entry.id)
        } else {
          writer.string(entry.name ?? "")
        }
        writer.error(refusal?.code ?? .none)
        if version >= 5 { writer.nullableString(refusal?.message) }
        writer.tags()
      }
      writer.tags()
    }
  }

  /// CreatePartitions v0...3: raises the count of a topic's partitions.
  func createPartitions(_ reader: inout WireReader, _ request: Request) throws(WireError) {
    var wanted: [(name: String, count: Int32, assignments: [[Int32]]?)] = []
    for _ in 0..<(try reader.arrayCount("topics", elementBytesMin: 6)) {
      let name = try reader.string("name")
      let count = try reader.int32("count")
      var assignments: [[Int32]]?
      if let number = try reader.nullableArrayCount("assignments", elementBytesMin: 1) {
        var lists: [[Int32]] = []
        for _ in 0..<number {
          var brokers: [Int32] = []
          for _ in 0..<(try reader.arrayCount("broker_ids", elementBytesMin: 4)) { brokers.append(try reader.int32("broker_id")) }
          try reader.tags()
          lists.append(brokers)
        }
        assignments = lists
      }
      try reader.tags()
      wanted.append((name, count, assignments))
    }
    _ = try reader.int32("timeout_ms")
    let validateOnly = try reader.bool("validate_only")
    try reader.tags()

    func grow(_ name: String, _ count: Int32, _ assignments: [[Int32]]?) throws(TopicCatalog.Refusal) {
      guard let topic = catalog.topics[name] else {
        throw TopicCatalog.Refusal(code: .unknownTopicOrPartition, message: "no such topic")
      }
      guard Int(count) > topic.partitions.count, Int(count) <= settings.partitionsPerTopicMax else {
        throw TopicCatalog.Refusal(
          code: .invalidPartitions,
          message: "topic '\(name)' has \(topic.partitions.count) partitions: ask for more, up to \(settings.partitionsPerTopicMax)")
      }
      if let assignments, assignments.count != Int(count) - topic.partitions.count || !assignments.allSatisfy({ $0 == [nodeID] }) {
        throw TopicCatalog.Refusal(code: .invalidReplicaAssignment, message: "assign each new partition to broker \(nodeID)")
      }
      if !validateOnly { try catalog.grow(topic, to: count, now: Self.wallMilliseconds()) }
    }

    request.reply { writer in
      writer.int32(0)
      writer.array(wanted) { writer, entry in
        var refusal: TopicCatalog.Refusal?
        do throws(TopicCatalog.Refusal) { try grow(entry.name, entry.count, entry.assignments) } catch { refusal = error }
        writer.string(entry.name)
        writer.error(refusal?.code ?? .none)
        writer.nullableString(refusal?.message)
        writer.tags()
      }
      writer.tags()
    }
  }

  /// DeleteRecords v0...2: raises the start of partitions. Offset -1 means the end.
  func deleteRecords(_ reader: inout WireReader, _ request: Request) throws(WireError) {
    var topics: [(name: String, partitions: [(index: Int32, offset: Int64)])] = []
    for _ in 0..<(try reader.arrayCount("topics", elementBytesMin: 3)) {
      let name = try reader.string("name")
      var partitions: [(index: Int32, offset: Int64)] = []
      for _ in 0..<(try reader.arrayCount("partitions", elementBytesMin: 12)) {
        partitions.append((try reader.int32("partition_index"), try reader.int64("offset")))
        try reader.tags()
      }
      try reader.tags()
      topics.append((name, partitions))
    }
    _ = try reader.int32("timeout_ms")
    try reader.tags()

    func delete(_ partition: Partition?, _ offset: Int64) -> (low: Int64, error: ErrorCode) {
      guard let partition else { return (-1, .unknownTopicOrPartition) }
      let log = partition.log
      let target = offset == -1 ? log.endOffset : offset
      guard target >= 0, target <= log.endOffset else { return (-1, .offsetOutOfRange) }
      do throws(StorageError) {
        let low = try log.deleteRecords(before: target, now: Self.wallMilliseconds())
        changed(partition)
        return (low, .none)
      } catch {
        logger.error("could not delete records", metadata: ["partition": "\(log.name)", "error": "\(error)"])
        return (-1, .storageError)
      }
    }

    request.reply { writer in
      writer.int32(0)
      writer.array(topics) { writer, element in
        let topic = catalog.topics[element.name]
        writer.string(element.name)
        writer.array(element.partitions) { writer, entry in
          let (low, error) = delete(topic?.partition(entry.index), entry.offset)
          writer.int32(entry.index)
          writer.int64(low)
          writer.error(error)
          writer.tags()
        }
        writer.tags()
      }
      writer.tags()
    }
  }
}
