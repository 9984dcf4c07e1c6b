import NIOCore
import Testing

@testable import EmbeddedBroker

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// The broker over real sockets, asked by hand-made requests in every version it offers.
@Suite struct BrokerWireTests {
  private let code = { (error: ErrorCode) in error.rawValue }

  @Test func offersItsVersions() async throws {
    try await withBroker { port in
      let client = try RawClient(port: port)
      for version: Int16 in 0...3 {
        let (error, ranges) = try client.apiVersions(version)
        #expect(error == 0)
        #expect(ranges[0] == 0...9 && ranges[1] == 0...12 && ranges[18] == 0...3)
        #expect(ranges[17] == nil)
      }
      // A newer client learns what there is and stays connected.
      let (error, ranges) = try client.apiVersions(9)
      #expect(error == code(.unsupportedVersion))
      #expect(!ranges.isEmpty)
      #expect(try client.apiVersions(3).error == 0)
    }
  }

  @Test func producesAndFetchesInEveryVersion() async throws {
    try await withBroker { port in
      let client = try RawClient(port: port)
      #expect(try client.createTopic("t") == 0)
      var offset: Int64 = 0
      for version: Int16 in 3...9 {
        let produced = try client.produce("t", TestBatch(["v\(version)", "second"]).bytes, version: version)
        #expect(produced == .init(error: 0, baseOffset: offset))
        offset += 2
      }
      for version: Int16 in 0...2 {
        #expect(try client.produce("t", [UInt8](repeating: 0, count: 40), version: version).error == code(.unsupportedForMessageFormat))
      }
      for version: Int16 in 4...12 {
        let fetched = try client.fetch([("t", 0, 0)], version: version)
        #expect(fetched.count == 1 && fetched[0].error == 0 && fetched[0].highWatermark == offset)
        #expect(fetched[0].records.map(\.offset) == Array(0..<offset))
        #expect(fetched[0].records.first?.value == "v3")
      }
      for version: Int16 in 1...7 {
        #expect(try client.listOffset("t", timestamp: -1, version: version).offset == offset)
        #expect(try client.listOffset("t", timestamp: -2, version: version).offset == 0)
      }
    }
  }

  @Test func errorsAreTold() async throws {
    try await withBroker({ $0.autoCreateTopics = false }) { port in
      let client = try RawClient(port: port)
      #expect(try client.createTopic("t", partitions: 2) == 0)
      #expect(try client.createTopic("t") == code(.topicAlreadyExists))
      #expect(try client.createTopic("bad name") == code(.invalidTopic))
      #expect(try client.createTopic("..") == code(.invalidTopic))
      #expect(try client.createTopic("a/b") == code(.invalidTopic))
      #expect(try client.createTopic("u", partitions: 0) == code(.invalidPartitions))
      #expect(try client.createTopic("u", partitions: 1_000_000) == code(.invalidPartitions))
      #expect(try client.createTopic("u", replication: 3) == code(.invalidReplicationFactor))
      #expect(try client.createTopic("u", configs: [("retention.bytes", "x")]) == code(.invalidConfig))
      #expect(try client.createTopic("u", validateOnly: true) == 0)
      #expect(try client.fetch([("u", 0, 0)])[0].error == code(.unknownTopicOrPartition))
      for version: Int16 in 0...7 { #expect(try client.createTopic("v\(version)", version: version) == 0) }

      let batch = TestBatch(["x"]).bytes
      #expect(try client.produce("nowhere", batch).error == code(.unknownTopicOrPartition))
      #expect(try client.produce("t", partition: 2, batch).error == code(.unknownTopicOrPartition))
      #expect(try client.produce("t", partition: -1, batch).error == code(.unknownTopicOrPartition))
      #expect(try client.produce("t", partition: 0, nil).error == code(.invalidRecord))
      var damaged = batch
      damaged[damaged.count - 1] ^= 1
      #expect(try client.produce("t", partition: 0, damaged).error == code(.corruptMessage))
      #expect(try client.produce("t", partition: 0, batch, acks: 7).error == code(.invalidRequest))
      #expect(try client.fetch([("t", 0, 1)])[0].error == code(.offsetOutOfRange))
      #expect(try client.fetch([("t", 0, -5)])[0].error == code(.offsetOutOfRange))
      #expect(try client.fetch([("t", 0, 0)], sessionID: 77)[0].error == code(.fetchSessionIDNotFound))
      #expect(try client.listOffset("t", 9, timestamp: -1).error == code(.unknownTopicOrPartition))
      #expect(try client.listOffset("t", timestamp: -9).error == code(.invalidRequest))
    }
  }

  @Test func idempotentProducersAreDeduplicatedOverTheWire() async throws {
    let directory = try TemporaryDirectory()
    try await withBroker(directory: directory) { port in
      let client = try RawClient(port: port)
      _ = try client.createTopic("t")
      #expect(try client.produce("t", TestBatch(producer: 4, sequence: 0, count: 3).bytes) == .init(error: 0, baseOffset: 0))
      #expect(try client.produce("t", TestBatch(producer: 4, sequence: 3).bytes) == .init(error: 0, baseOffset: 3))
      #expect(try client.produce("t", TestBatch(producer: 4, sequence: 0, count: 3).bytes) == .init(error: 0, baseOffset: 0))
      #expect(try client.produce("t", TestBatch(producer: 4, sequence: 9).bytes).error == code(.outOfOrderSequenceNumber))
      #expect(try client.listOffset("t", timestamp: -1).offset == 4)
    }
    try await withBroker(directory: directory) { port in
      let client = try RawClient(port: port)
      #expect(try client.produce("t", TestBatch(producer: 4, sequence: 3).bytes) == .init(error: 0, baseOffset: 3))
      #expect(try client.produce("t", TestBatch(producer: 4, sequence: 4).bytes) == .init(error: 0, baseOffset: 4))
    }
  }

  @Test func producerIDsAreNeverGivenTwice() async throws {
    let directory = try TemporaryDirectory()
    var seen: Set<Int64> = []
    for _ in 0..<3 {
      try await withBroker(directory: directory) { port in
        let client = try RawClient(port: port)
        for version: Int16 in 0...4 {
          let id = try client.call(
            .initProducerID, version,
            { writer in
              writer.nullableString(nil)
              writer.int32(0)
              if version >= 3 {
                writer.int64(-1)
                writer.int16(-1)
              }
              writer.tags()
            }
          ) { reader in
            _ = try reader.int32("throttle")
            #expect(try reader.int16("error") == 0)
            let id = try reader.int64("id")
            #expect(try reader.int16("epoch") == 0)
            try reader.tags()
            return id
          }
          #expect(seen.insert(id).inserted)
        }
      }
    }
  }

  @Test func aLongPollIsWokenByNewData() async throws {
    try await withBroker { port in
      let reader = try RawClient(port: port)
      let writer = try RawClient(port: port)
      _ = try writer.createTopic("t", partitions: 2)
      // The fetch goes out and waits; patience is 30 s, the poll's own time a minute: only the wake-up can answer.
      let (bytes, correlation) = reader.frame(1, 12, flexible: true) {
        RawClient.writeFetch(
          [("t", 0, 0), ("t", 1, 0)], waitMilliseconds: 60_000, bytesMin: 1, bytesMax: 1 << 20, partitionBytesMax: 1 << 20, version: 12, &$0)
      }
      reader.send(bytes)
      #expect(try writer.produce("t", partition: 1, TestBatch(["woken"]).bytes).error == 0)
      let fetched = try reader.answer(to: correlation, .fetch, flexible: true) { try RawClient.readFetch(&$0, version: 12) }
      #expect(fetched.flatMap(\.records).map(\.value) == ["woken"])
    }
  }

  @Test func aLongPollWaitsForItsMinimumAndEndsWithItsTime() async throws {
    try await withBroker { port in
      let reader = try RawClient(port: port)
      let writer = try RawClient(port: port)
      _ = try writer.createTopic("t")
      let one = TestBatch(["x"]).bytes
      let (bytes, correlation) = reader.frame(1, 12, flexible: true) {
        RawClient.writeFetch(
          [("t", 0, 0)], waitMilliseconds: 60_000, bytesMin: Int32(one.count * 3), bytesMax: 1 << 20, partitionBytesMax: 1 << 20, version: 12, &$0)
      }
      reader.send(bytes)
      for _ in 0..<3 { #expect(try writer.produce("t", one).error == 0) }
      let fetched = try reader.answer(to: correlation, .fetch, flexible: true) { try RawClient.readFetch(&$0, version: 12) }
      #expect(fetched[0].records.count == 3)
      // Nothing new: an empty answer when the time is over.
      #expect(try reader.fetch([("t", 0, 3)], waitMilliseconds: 50)[0].records.isEmpty)
    }
  }

  @Test func aPollIsAnsweredWhenSomethingComesBehindIt() async throws {
    try await withBroker { port in
      let client = try RawClient(port: port)
      _ = try client.createTopic("t")
      let (fetch, first) = client.frame(1, 12, flexible: true) {
        RawClient.writeFetch(
          [("t", 0, 0)], waitMilliseconds: 60_000, bytesMin: 1, bytesMax: 1 << 20, partitionBytesMax: 1 << 20, version: 12, &$0)
      }
      let (metadata, second) = client.frame(18, 0, flexible: false) { _ in }
      client.send(fetch)
      client.send(metadata)
      #expect(try client.answer(to: first, .fetch, flexible: true) { try RawClient.readFetch(&$0, version: 12) }[0].records.isEmpty)
      _ = try client.answer(to: second, .apiVersions, flexible: false) { reader in
        while reader.remaining > 0 { _ = try reader.int8("rest") }
      }
    }
  }

  @Test func deletingATopicEndsWaitsForIt() async throws {
    try await withBroker({ $0.autoCreateTopics = false }) { port in
      let reader = try RawClient(port: port)
      let admin = try RawClient(port: port)
      _ = try admin.createTopic("t")
      let (bytes, correlation) = reader.frame(1, 12, flexible: true) {
        RawClient.writeFetch(
          [("t", 0, 0)], waitMilliseconds: 60_000, bytesMin: 1, bytesMax: 1 << 20, partitionBytesMax: 1 << 20, version: 12, &$0)
      }
      reader.send(bytes)
      try admin.call(
        .deleteTopics, 4,
        { writer in
          writer.array(["t"]) { $0.string($1) }
          writer.int32(1_000)
          writer.tags()
        }
      ) { reader in
        while reader.remaining > 0 { _ = try reader.int8("rest") }
      }
      // Whether the fetch was there before or comes after, the topic is not.
      let fetched = try reader.answer(to: correlation, .fetch, flexible: true) { try RawClient.readFetch(&$0, version: 12) }
      #expect(fetched[0].error == code(.unknownTopicOrPartition))
      #expect(try admin.createTopic("t") == 0)
      #expect(try admin.fetch([("t", 0, 0)])[0].highWatermark == 0)
    }
  }

  @Test func fetchLimitsHold() async throws {
    try await withBroker { port in
      let client = try RawClient(port: port)
      _ = try client.createTopic("t", partitions: 2)
      let batch = TestBatch([String(repeating: "x", count: 1_000)]).bytes
      for _ in 0..<20 {
        _ = try client.produce("t", partition: 0, batch)
        _ = try client.produce("t", partition: 1, batch)
      }
      let both: [(topic: String, partition: Int32, offset: Int64)] = [("t", 0, 0), ("t", 1, 0)]
      let byPartition = try client.fetch(both, partitionBytesMax: Int32(batch.count * 2))
      #expect(byPartition.map(\.records.count) == [2, 2])
      let byTotal = try client.fetch(both, bytesMax: Int32(batch.count * 3))
      #expect(byTotal.map(\.records.count) == [3, 0])
      // One batch at least, or a consumer with a small limit would never get on.
      let tiny = try client.fetch(both, bytesMax: 1, partitionBytesMax: 1)
      #expect(tiny.map(\.records.count) == [1, 0])
    }
  }

  // MARK: Bad input

  @Test func garbageClosesOnlyItsConnection() async throws {
    try await withBroker({ $0.requestBytesMax = 1 << 20 }) { port in
      let bystander = try RawClient(port: port)
      _ = try bystander.createTopic("t")
      let hostile: [[UInt8]] = [
        [0, 0, 0, 0], [0xFF, 0xFF, 0xFF, 0xFF], [0x7F, 0xFF, 0xFF, 0xFF], [0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7],
        Array("GET / HTTP/1.1\r\n\r\n".utf8), [0, 0, 0, 8, 0x7F, 0xFF, 0, 0, 0, 0, 0, 1], [0, 0, 0, 8, 0, 1, 0x7F, 0xFF, 0, 0, 0, 1],
        [0, 0, 0, 10, 0, 3, 0, 9, 0, 0, 0, 1, 0x7F, 0xFF], [0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3],
      ]
      for bytes in hostile {
        let client = try RawClient(port: port)
        client.send(bytes)
        #expect(try client.receive(1) == nil, "\(bytes)")
      }
      #expect(try bystander.produce("t", TestBatch(["still here"]).bytes).error == 0)
    }
  }

  @Test func aHalfSentRequestHoldsUpNobody() async throws {
    try await withBroker { port in
      let half = try RawClient(port: port)
      let (bytes, _) = half.frame(0, 9, flexible: true) { RawClient.writeProduce("t", 0, TestBatch(["x"]).bytes, version: 9, &$0) }
      let other = try RawClient(port: port)
      _ = try other.createTopic("t")
      half.send(Array(bytes[..<(bytes.count - 1)]))
      #expect(try other.produce("t", TestBatch(["y"]).bytes) == .init(error: 0, baseOffset: 0))
      half.send([bytes[bytes.count - 1]])
      #expect(try half.receiveFrame() != nil)
      #expect(try other.listOffset("t", timestamp: -1).offset == 2)
    }
  }

  @Test func requestsMayArriveByteByByteOrManyAtATime() async throws {
    try await withBroker { port in
      let client = try RawClient(port: port)
      _ = try client.createTopic("t")
      let frames = (0..<20).map { index in
        client.frame(0, 9, flexible: true) { RawClient.writeProduce("t", 0, TestBatch(["v\(index)"]).bytes, version: 9, &$0) }
      }
      for byte in frames[0].bytes { client.send([byte]) }
      client.send(frames[1...].flatMap(\.bytes))
      for frame in frames {
        let reply = try #require(try client.receiveFrame())
        #expect(reply[0..<4].reduce(0) { $0 << 8 | Int32($1) } == frame.correlation)
      }
      #expect(try client.fetch([("t", 0, 0)])[0].records.map(\.value) == (0..<20).map { "v\($0)" })
    }
  }

  /// A client that asks and never reads: the broker stops reading from it instead of piling up answers.
  @Test func aSlowReaderIsHeldBack() async throws {
    try await withBroker { port in
      let client = try RawClient(port: port)
      _ = try client.createTopic("t")
      let big = TestBatch([String(repeating: "x", count: 900_000)]).bytes
      for _ in 0..<8 { #expect(try client.produce("t", big).error == 0) }
      let slow = try RawClient(port: port, receiveBytes: 4096)
      let before = residentBytes()
      let frames = (0..<200).map { _ in
        slow.frame(1, 12, flexible: true) {
          RawClient.writeFetch(
            [("t", 0, 0)], waitMilliseconds: 0, bytesMin: 1, bytesMax: 50 << 20, partitionBytesMax: 50 << 20, version: 12, &$0)
        }
      }
      slow.send(frames.flatMap(\.bytes))
      // Others are served meanwhile; the broker has seen all of the slow one's requests by then.
      for _ in 0..<20 { #expect(try client.fetch([("t", 0, 0)])[0].error == 0) }
      // 200 answers of 7 MB would be 1.4 GB.
      #expect(residentBytes() - before < 300 << 20)
      // And it gets everything once it reads.
      for frame in frames {
        let reply = try #require(try slow.receiveFrame())
        #expect(reply.count > 7_000_000)
        #expect(reply[0..<4].reduce(0) { $0 << 8 | Int32($1) } == frame.correlation)
      }
    }
  }

  private func residentBytes() -> Int {
    guard let file = fopen("/proc/self/statm", "r") else { return 0 }
    defer { fclose(file) }
    var total = 0
    var resident = 0
    withUnsafeMutablePointer(to: &total) { first in
      withUnsafeMutablePointer(to: &resident) { second in
        withVaList([first, second]) { _ = vfscanf(file, "%ld %ld", $0) }
      }
    }
    return resident * 4096
  }

  @Test func twoBrokersDoNotShareADirectory() async throws {
    let directory = try TemporaryDirectory()
    try await withBroker(directory: directory) { _ in
      await #expect(throws: EmbeddedBrokerError.self) { try await withBroker(directory: directory) { _ in } as Void }
    }
    try await withBroker(directory: directory) { _ in }
  }

  // MARK: Fuzz

  /// Valid requests of every kind with random damage, thrown at a live broker; then it must still work.
  @Test func survivesMutatedRequests() async throws {
    let seed = UInt64.random(in: .min ... .max)
    print("BrokerWireTests mutation seed \(seed)")
    var generator = SeededGenerator(seed: seed)
    try await withBroker({
      $0.requestBytesMax = 1 << 20
      $0.topicsMax = 200
      $0.partitionsPerTopicMax = 8
    }) { port in
      let witness = try RawClient(port: port)
      _ = try witness.createTopic("witness")
      _ = try witness.createTopic("t", partitions: 2)
      var client = try RawClient(port: port)
      let corpus = requestCorpus(client)
      for round in 0..<3_000 {
        var bytes = corpus.randomElement(using: &generator)!
        for _ in 0..<Int.random(in: 1...4, using: &generator) {
          // The size stays true most of the time, or little else would be tested.
          let index = Int.random(in: Int.random(in: 0..<20, using: &generator) == 0 ? 0..<bytes.count : 4..<bytes.count, using: &generator)
          switch Int.random(in: 0..<5, using: &generator) {
          case 0: bytes[index] = UInt8.random(in: 0...255, using: &generator)
          case 1: bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
          case 2: bytes[index] = [0, 1, 0x7F, 0x80, 0xFF].randomElement(using: &generator)!
          case 3:
            if bytes.count > 16 { bytes.remove(at: index) }
          default: bytes.insert(UInt8.random(in: 0...255, using: &generator), at: index)
          }
        }
        let size = bytes.count - 4
        if Int.random(in: 0..<20, using: &generator) != 0 { for shift in 0..<4 { bytes[shift] = UInt8(size >> (24 - 8 * shift) & 0xFF) } }
        if !client.send(bytes) || Int.random(in: 0..<10, using: &generator) == 0 { client = try RawClient(port: port) }
        if round % 250 == 0 { #expect(try witness.produce("witness", TestBatch(["alive"]).bytes).error == 0) }
      }
      #expect(try witness.fetch([("witness", 0, 0)])[0].records.count == 12)
      #expect(try RawClient(port: port).apiVersions(3).error == 0)
    }
  }

  /// One valid request of every kind, in its lowest and highest version.
  private func requestCorpus(_ client: RawClient) -> [[UInt8]] {
    var corpus: [[UInt8]] = []
    for key in APIKey.allCases {
      for version in [key.versions.range.lowerBound, key.versions.range.upperBound] {
        let flexible = version >= key.versions.flexibleFrom
        corpus.append(client.frame(key.rawValue, version, flexible: flexible) { RequestSamples.write(key, version, &$0) }.bytes)
      }
    }
    return corpus
  }

  @Test func everySampleRequestIsAnswered() async throws {
    try await withBroker { port in
      let admin = try RawClient(port: port)
      _ = try admin.createTopic("t", partitions: 2)
      for key in APIKey.allCases {
        for version in key.versions.range {
          // Join and sync change the group; each gets a connection of its own.
          let client = try RawClient(port: port)
          let flexible = version >= key.versions.flexibleFrom
          let (bytes, correlation) = client.frame(key.rawValue, version, flexible: flexible) { RequestSamples.write(key, version, &$0) }
          client.send(bytes)
          let reply = try client.receiveFrame()
          #expect(reply != nil, "\(key) v\(version)")
          #expect(reply.map { $0[0..<4].reduce(0) { $0 << 8 | Int32($1) } } == correlation)
          if key == .deleteTopics { _ = try admin.createTopic("t", partitions: 2) }
        }
      }
    }
  }
}
