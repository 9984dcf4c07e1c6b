import Logging

extension Broker {
  /// Bytes of the text that may be committed with an offset.
  private static let offsetMetadataBytesMax = 4096

  /// OffsetCommit v1...8. In the file before it is answered.
  func offsetCommit(_ reader: inout WireReader, _ request: Request) throws(WireError) {
    let version = request.version
    let group = try reader.string("group_id")
    let generation = try reader.int32("generation_id")
    let memberID = try reader.string("member_id")
    let instanceID = version >= 7 ? try reader.nullableString("group_instance_id") : nil
    if version >= 2, version <= 4 { _ = try reader.int64("retention_time_ms") }
    var topics: [(name: String, partitions: [(index: Int32, commit: CommittedOffsets.Commit)])] = []
    for _ in 0..<(try reader.arrayCount("topics", elementBytesMin: 3)) {
      let name = try reader.string("name")
      var partitions: [(index: Int32, commit: CommittedOffsets.Commit)] = []
      for _ in 0..<(try reader.arrayCount("partitions", elementBytesMin: 13)) {
        let index = try reader.int32("partition_index")
        let offset = try reader.int64("committed_offset")
        let leaderEpoch = version >= 6 ? try reader.int32("committed_leader_epoch") : -1
        if version == 1 { _ = try reader.int64("commit_timestamp") }
        let metadata = try reader.nullableString("committed_metadata")
        try reader.tags()
        partitions.append((index, .init(offset: offset, leaderEpoch: leaderEpoch, metadata: metadata)))
      }
      try reader.tags()
      topics.append((name, partitions))
    }
    try reader.tags()

    var groupError = groups.mayCommit(group, memberID: memberID, instanceID: instanceID, generation: generation)
    func check(_ topic: String, _ index: Int32, _ commit: CommittedOffsets.Commit) -> ErrorCode {
      if groupError != .none { return groupError }
      if catalog.topics[topic]?.partition(index) == nil { return .unknownTopicOrPartition }
      if commit.metadata?.utf8.count ?? 0 > Self.offsetMetadataBytesMax { return .offsetMetadataTooLarge }
      return .none
    }
    var accepted: [(CommittedOffsets.Place, CommittedOffsets.Commit)] = []
    for (name, partitions) in topics {
      for (index, commit) in partitions where check(name, index, commit) == .none {
        accepted.append((.init(topic: name, partition: index), commit))
      }
    }
    do throws(StorageError) {
      try groups.offsets.commit(group, accepted)
    } catch {
      logger.error("could not commit offsets", metadata: ["group": "\(group)", "error": "\(error)"])
      // What a coordinator answers that cannot write; clients retry it.
      groupError = .coordinatorNotAvailable
    }
    request.reply { writer in
      if version >= 3 { writer.int32(0) }
      writer.array(topics) { writer, topic in
        writer.string(topic.name)
        writer.array(topic.partitions) { writer, partition in
          writer.int32(partition.index)
          writer.error(check(topic.name, partition.index, partition.commit))
          writer.tags()
        }
        writer.tags()
      }
      writer.tags()
    }
  }

  private typealias WantedOffsets = [(topic: String, partitions: [Int32])]

  /// OffsetFetch v1...8; from 8 on for several groups at a time.
  func offsetFetch(_ reader: inout WireReader, _ request: Request) throws(WireError) {
    let version = request.version
    var wanted: [(group: String, topics: WantedOffsets?)] = []
    if version >= 8 {
      for _ in 0..<(try reader.arrayCount("groups", elementBytesMin: 3)) {
        let group = try reader.string("group_id")
        let topics = try wantedOffsets(&reader)
        try reader.tags()
        wanted.append((group, topics))
      }
    } else {
      wanted.append((try reader.string("group_id"), try wantedOffsets(&reader)))
    }
    if version >= 7 { _ = try reader.bool("require_stable") }
    try reader.tags()
    request.reply { writer in
      if version >= 3 { writer.int32(0) }
      if version >= 8 {
        writer.array(wanted) { writer, entry in
          writer.string(entry.group)
          writeOffsets(entry.group, entry.topics, version, &writer)
          writer.error(.none)
          writer.tags()
        }
      } else {
        writeOffsets(wanted[0].group, wanted[0].topics, version, &writer)
        if version >= 2 { writer.error(.none) }
      }
      writer.tags()
    }
  }

  /// Nil asks for all.
  private func wantedOffsets(_ reader: inout WireReader) throws(WireError) -> WantedOffsets? {
    guard let count = try reader.nullableArrayCount("topics", elementBytesMin: 3) else { return nil }
    var topics: WantedOffsets = []
    for _ in 0..<count {
      let name = try reader.string("name")
      var partitions: [Int32] = []
      for _ in 0..<(try reader.arrayCount("partition_indexes", elementBytesMin: 4)) {
        partitions.append(try reader.int32("partition_index"))
      }
      try reader.tags()
      topics.append((name, partitions))
    }
    return topics
  }

  private func writeOffsets(_ group: String, _ wanted: WantedOffsets?, _ version: Int16, _ writer: inout WireWriter) {
    let committed = groups.offsets.groups[group] ?? [:]
    let topics =
      wanted
      ?? Dictionary(grouping: committed.keys, by: \.topic).sorted { $0.key < $1.key }
      .map { (topic: $0.key, partitions: $0.value.map(\.partition).sorted()) }
    writer.array(topics) { writer, topic in
      writer.string(topic.topic)
      writer.array(topic.partitions) { writer, partition in
        let commit = committed[.init(topic: topic.topic, partition: partition)]
        writer.int32(partition)
        writer.int64(commit?.offset ?? -1)
        if version >= 5 { writer.int32(commit?.leaderEpoch ?? -1) }
        writer.nullableString(commit?.metadata ?? "")
        writer.error(.none)
        writer.tags()
      }
      writer.tags()
    }
  }
}
