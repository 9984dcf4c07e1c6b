import ChildProcesses
import Foundation
import Testing

@testable import EmbeddedBroker

/// The broker in a process of its own, killed and starved.
@Suite struct KilledBrokerTests {
  private let code = { (error: ErrorCode) in error.rawValue }

  /// Acknowledged → kill -9 → restart → all there, in order, once; again and again on the same data.
  @Test func whatWasAcknowledgedSurvivesKill9() async throws {
    let seed = UInt64.random(in: .min ... .max)
    print("KilledBrokerTests seed \(seed)")
    var generator = SeededGenerator(seed: seed)
    let directory = try TemporaryDirectory()
    var acknowledged: [Int64: String] = [:]
    var sequence: Int32 = 0
    for round in 0..<6 {
      let broker = try await BrokerProcess.start(data: directory.path, ["--segment-bytes", "65536", "--log-level", "error"])
      let client = try RawClient(port: broker.port)
      if round == 0 { #expect(try client.createTopic("t") == 0) }
      let end = try client.listOffset("t", timestamp: -1).offset
      var next: Int64 = 0
      var seen: [Int64: String] = [:]
      while next < end {
        for record in try client.fetch([("t", 0, next)])[0].records {
          #expect(seen.updateValue(record.value, forKey: record.offset) == nil)
          next = record.offset + 1
        }
      }
      for (offset, value) in acknowledged { #expect(seen[offset] == value, "round \(round), offset \(offset)") }
      #expect(seen.count == Int(end))
      // In flight when it was killed: whether it was appended or not, a retry puts it there exactly once.
      #expect(Set(seen.values).count == seen.count)

      // As many requests in flight as an idempotent client may have, then death after a random answer.
      let lives = Int.random(in: 1..<150, using: &generator)
      let batches = (0..<(lives + ProducerTable.batchesMax)).map { TestBatch(producer: 7, sequence: sequence + Int32($0) * 3, count: 3) }
      let frames = batches.map { batch in
        client.frame(0, 9, flexible: true) { RawClient.writeProduce("t", 0, batch.bytes, version: 9, &$0) }
      }
      client.send(frames[..<ProducerTable.batchesMax].flatMap(\.bytes))
      for index in 0..<lives {
        let produced = try client.answer(to: frames[index].correlation, .produce, flexible: true) { reader in
          _ = try reader.arrayCount("topics", elementBytesMin: 1)
          _ = try reader.string("name")
          _ = try reader.arrayCount("partitions", elementBytesMin: 1)
          _ = try reader.int32("index")
          let produced = RawClient.Produced(error: try reader.int16("error"), baseOffset: try reader.int64("base"))
          while reader.remaining > 0 { _ = try reader.int8("rest") }
          return produced
        }
        #expect(produced.error == 0)
        for (position, value) in batches[index].values.enumerated() { acknowledged[produced.baseOffset + Int64(position)] = value }
        client.send(frames[index + ProducerTable.batchesMax].bytes)
      }
      sequence += Int32(lives) * 3
      broker.child.kill()
    }
    #expect(acknowledged.count == Int(sequence))
  }

  @Test func committedOffsetsAndTopicsSurviveKill9() async throws {
    let directory = try TemporaryDirectory()
    var broker = try await BrokerProcess.start(data: directory.path, ["--log-level", "error"])
    var client = try RawClient(port: broker.port)
    #expect(try client.createTopic("t", partitions: 3, configs: [("retention.bytes", "1000000")]) == 0)
    let flexible = true
    let (commit, _) = client.frame(8, 8, flexible: flexible) { RequestSamples.write(.offsetCommit, 8, &$0) }
    client.send(commit)
    _ = try client.receiveFrame()
    broker.child.kill()
    broker = try await BrokerProcess.start(data: directory.path, ["--log-level", "error"])
    client = try RawClient(port: broker.port)
    let offset = try client.call(.offsetFetch, 7, { RequestSamples.write(.offsetFetch, 7, &$0) }) { reader in
      _ = try reader.int32("throttle")
      _ = try reader.arrayCount("topics", elementBytesMin: 1)
      _ = try reader.string("name")
      _ = try reader.arrayCount("partitions", elementBytesMin: 1)
      _ = try reader.int32("index")
      let offset = try reader.int64("offset")
      while reader.remaining > 0 { _ = try reader.int8("rest") }
      return offset
    }
    #expect(offset == 0)
    #expect(try client.listOffset("t", 2, timestamp: -1).error == 0)
    #expect(try client.listOffset("t", 3, timestamp: -1).error == code(.unknownTopicOrPartition))
    broker.child.signal(SIGTERM)
    #expect(try await broker.child.wait() == 0)
  }

  /// A full disk, played by a limit on the size of files: produces are refused with an error that clients retry, everything else goes on, and
  /// when there is room again so do produces.
  @Test func aFullDiskIsSaidAndSurvived() async throws {
    let directory = try TemporaryDirectory()
    let broker = try await BrokerProcess.start(
      data: directory.path, limits: "ulimit -S -f 200", ["--log-level", "critical"])
    let client = try RawClient(port: broker.port)
    #expect(try client.createTopic("t") == 0)
    let value = String(repeating: "x", count: 10_000)
    var sequence: Int32 = 0
    var refused = 0
    var next: Int64 = 0
    func produce() throws -> RawClient.Produced {
      var batch = TestBatch([value])
      batch.producerID = 1
      batch.epoch = 0
      batch.sequence = sequence
      return try client.produce("t", batch.bytes)
    }
    for _ in 0..<40 {
      let produced = try produce()
      if produced.error == 0 {
        #expect(produced.baseOffset == next)
        sequence += 1
        next += 1
      } else {
        #expect(produced.error == code(.storageError))
        refused += 1
      }
    }
    #expect(refused > 0 && next > 10)
    #expect(try client.fetch([("t", 0, 0)])[0].records.count == Int(next))
    // A small one that still fits is taken: nothing of the refused ones is in its way.
    #expect(try client.produce("t", TestBatch(["small"]).bytes) == .init(error: 0, baseOffset: next))
    next += 1
    try await ChildProcess.run("/usr/bin/prlimit", ["--pid", "\(broker.child.identifier)", "--fsize=unlimited"])
    #expect(try produce() == .init(error: 0, baseOffset: next))
    #expect(try client.fetch([("t", 0, 0)])[0].records.count == Int(next) + 1)
    broker.child.kill()
    let again = try await BrokerProcess.start(data: directory.path, ["--log-level", "critical"])
    #expect(try RawClient(port: again.port).listOffset("t", timestamp: -1).offset == next + 1)
    again.child.kill()
  }
}
