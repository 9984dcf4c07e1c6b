@testable import EmbeddedBroker

/// A plausible request of each kind and version.
enum RequestSamples {
  static func write(_ key: APIKey, _ version: Int16, _ writer: inout WireWriter) {
    switch key {
    case .produce: RawClient.writeProduce("t", 0, TestBatch(["sample"]).bytes, version: version, &writer)
    case .fetch:
      RawClient.writeFetch(
        [("t", 0, 0), ("t", 1, 0)], waitMilliseconds: 5, bytesMin: 1, bytesMax: 1 << 20, partitionBytesMax: 1 << 20, version: version, &writer)
    case .listOffsets:
      writer.int32(-1)
      if version >= 2 { writer.int8(0) }
      writer.array(["t"]) { writer, name in
        writer.string(name)
        writer.array([Int32(0)]) { writer, index in
          writer.int32(index)
          if version >= 4 { writer.int32(-1) }
          writer.int64(1_600_000_000_000)
          writer.tags()
        }
        writer.tags()
      }
      writer.tags()
    case .metadata:
      writer.array(["t"]) { writer, name in
        if version >= 10 { writer.uuid(.zero) }
        writer.string(name)
        writer.tags()
      }
      if version >= 4 { writer.bool(false) }
      if version >= 8, version <= 10 { writer.bool(false) }
      if version >= 8 { writer.bool(false) }
      writer.tags()
    case .offsetCommit:
      writer.string("other")
      writer.int32(-1)
      writer.string("")
      if version >= 7 { writer.nullableString(nil) }
      if version >= 2, version <= 4 { writer.int64(-1) }
      writer.array(["t"]) { writer, name in
        writer.string(name)
        writer.array([Int32(0)]) { writer, index in
          writer.int32(index)
          writer.int64(0)
          if version >= 6 { writer.int32(-1) }
          if version == 1 { writer.int64(-1) }
          writer.nullableString("note")
          writer.tags()
        }
        writer.tags()
      }
      writer.tags()
    case .offsetFetch:
      let body = { (writer: inout WireWriter) in
        writer.string("other")
        writer.array(["t"]) { writer, name in
          writer.string(name)
          writer.array([Int32(0)]) { $0.int32($1) }
          writer.tags()
        }
      }
      if version >= 8 {
        writer.array([0]) { writer, _ in
          body(&writer)
          writer.tags()
        }
      } else {
        body(&writer)
      }
      if version >= 7 { writer.bool(false) }
      writer.tags()
    case .findCoordinator:
      if version <= 3 { writer.string("group") }
      if version >= 1 { writer.int8(0) }
      if version >= 4 { writer.array(["group"]) { $0.string($1) } }
      writer.tags()
    case .joinGroup:
      writer.string("group-\(version)")
      writer.int32(6_000)
      if version >= 1 { writer.int32(6_000) }
      writer.string("")
      if version >= 5 { writer.nullableString(nil) }
      writer.string("consumer")
      writer.array(["range"]) { writer, name in
        writer.string(name)
        writer.bytes([0, 1])
        writer.tags()
      }
      if version >= 8 { writer.nullableString("test") }
      writer.tags()
    case .heartbeat:
      writer.string("group")
      writer.int32(1)
      writer.string("member")
      if version >= 3 { writer.nullableString(nil) }
      writer.tags()
    case .leaveGroup:
      writer.string("group")
      if version <= 2 {
        writer.string("member")
      } else {
        writer.array(["member"]) { writer, id in
          writer.string(id)
          writer.nullableString(nil)
          if version >= 5 { writer.nullableString(nil) }
          writer.tags()
        }
      }
      writer.tags()
    case .syncGroup:
      writer.string("group")
      writer.int32(1)
      writer.string("member")
      if version >= 3 { writer.nullableString(nil) }
      if version >= 5 {
        writer.nullableString("consumer")
        writer.nullableString("range")
      }
      writer.array(["member"]) { writer, id in
        writer.string(id)
        writer.bytes([1])
        writer.tags()
      }
      writer.tags()
    case .describeGroups:
      writer.array(["group"]) { $0.string($1) }
      if version >= 3 { writer.bool(false) }
      writer.tags()
    case .listGroups:
      if version >= 4 { writer.array(["Stable"]) { $0.string($1) } }
      writer.tags()
    case .saslHandshake: writer.string("PLAIN")
    case .apiVersions:
      if version >= 3 {
        writer.string("raw")
        writer.string("1")
      }
      writer.tags()
    case .createTopics:
      writer.array(["new-\(version)"]) { writer, name in
        writer.string(name)
        writer.int32(1)
        writer.int16(1)
        writer.arrayCount(0)
        writer.array(["retention.ms"]) { writer, setting in
          writer.string(setting)
          writer.nullableString("1000")
          writer.tags()
        }
        writer.tags()
      }
      writer.int32(1_000)
      if version >= 1 { writer.bool(true) }
      writer.tags()
    case .deleteTopics:
      writer.array(["t"]) { writer, name in
        writer.string(name)
        if version >= 6 {
          writer.uuid(.zero)
          writer.tags()
        }
      }
      writer.int32(1_000)
      writer.tags()
    case .deleteRecords:
      writer.array(["t"]) { writer, name in
        writer.string(name)
        writer.array([Int32(0)]) { writer, index in
          writer.int32(index)
          writer.int64(0)
          writer.tags()
        }
        writer.tags()
      }
      writer.int32(1_000)
      writer.tags()
    case .initProducerID:
      writer.nullableString(nil)
      writer.int32(1_000)
      if version >= 3 {
        writer.int64(-1)
        writer.int16(-1)
      }
      writer.tags()
    case .offsetForLeaderEpoch:
      if version >= 3 { writer.int32(-1) }
      writer.array(["t"]) { writer, name in
        writer.string(name)
        writer.array([Int32(0)]) { writer, index in
          writer.int32(index)
          if version >= 2 { writer.int32(-1) }
          writer.int32(0)
          writer.tags()
        }
        writer.tags()
      }
      writer.tags()
    case .describeConfigs:
      writer.array([Int8(2), 4]) { writer, type in
        writer.int8(type)
        writer.string(type == 2 ? "t" : "1")
        writer.nullArray()
        writer.tags()
      }
      if version >= 1 { writer.bool(false) }
      if version >= 3 { writer.bool(false) }
      writer.tags()
    case .alterConfigs, .incrementalAlterConfigs:
      writer.array(["t"]) { writer, name in
        writer.int8(2)
        writer.string(name)
        writer.array(["retention.ms"]) { writer, setting in
          writer.string(setting)
          if key == .incrementalAlterConfigs { writer.int8(0) }
          writer.nullableString("100000000000")
          writer.tags()
        }
        writer.tags()
      }
      writer.bool(false)
      writer.tags()
    case .createPartitions:
      writer.array(["t"]) { writer, name in
        writer.string(name)
        writer.int32(3)
        writer.nullArray()
        writer.tags()
      }
      writer.int32(1_000)
      writer.bool(true)
      writer.tags()
    case .deleteGroups:
      writer.array(["group"]) { $0.string($1) }
      writer.tags()
    case .describeCluster:
      writer.bool(false)
      if version >= 1 { writer.int8(1) }
      writer.tags()
    }
  }
}
