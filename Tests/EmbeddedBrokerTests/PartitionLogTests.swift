import Logging
import NIOCore
import Testing

@testable import EmbeddedBroker

@Suite struct PartitionLogTests {
  private let directory: TemporaryDirectory
  private let quiet = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

  init() throws { directory = try TemporaryDirectory() }

  private func open(_ overrides: [String: String] = [:], at path: String? = nil, now: Int64 = 0) throws -> PartitionLog {
    try PartitionLog(
      directory: path ?? directory.path + "/0", name: "t-0",
      configuration: try TopicConfiguration(overrides: overrides, defaults: BrokerSettings(dataDirectory: directory.path)),
      now: now, logger: quiet)
  }

  @discardableResult
  private func append(_ log: PartitionLog, _ batch: TestBatch, now: Int64 = 0) -> Int64? {
    batch.bytes.withUnsafeBytes { bytes in
      if case .appended(let offset) = log.append(bytes, now: now, synchronously: false) { return offset }
      return nil
    }
  }

  private func read(_ log: PartitionLog, from offset: Int64, bytesMax: Int = 1 << 20, atLeastOne: Bool = true) throws -> [TestBatch.Record] {
    var buffer = ByteBuffer()
    if let extent = try log.extent(from: offset, bytesMax: bytesMax, atLeastOne: atLeastOne) {
      try log.read(extent, into: &buffer)
      #expect(buffer.readableBytes == extent.byteCount)
    }
    return try #require(TestBatch.read(Array(buffer.readableBytesView)))
  }

  /// Everything from `offset`, over as many reads as it takes.
  private func readAll(_ log: PartitionLog, from offset: Int64? = nil, bytesMax: Int = 1 << 20) throws -> [TestBatch.Record] {
    var next = offset ?? log.startOffset
    var all: [TestBatch.Record] = []
    while next < log.endOffset {
      let some = try read(log, from: next, bytesMax: bytesMax).filter { $0.offset >= next }
      guard let last = some.last else { break }
      all += some
      next = last.offset + 1
    }
    return all
  }

  @Test func offsetsAreAssignedAndReadBack() throws {
    let log = try open()
    #expect(append(log, TestBatch(["a", "b"])) == 0)
    #expect(append(log, TestBatch(["c"])) == 2)
    #expect(log.endOffset == 3)
    #expect(try read(log, from: 0).map(\.value) == ["a", "b", "c"])
    // The batch that holds the offset comes whole.
    #expect(try read(log, from: 1).map(\.offset) == [0, 1, 2])
    #expect(try read(log, from: 2).map(\.value) == ["c"])
    #expect(try read(log, from: 3).isEmpty)
  }

  @Test func readsAreCutAtBatches() throws {
    let log = try open()
    for index in 0..<100 { append(log, TestBatch(["value \(index)"])) }
    let one = TestBatch(["value 0"]).bytes.count
    #expect(try read(log, from: 0, bytesMax: one * 3 + 5).count == 3)
    #expect(try read(log, from: 0, bytesMax: 1).count == 1)
    #expect(try read(log, from: 0, bytesMax: 1, atLeastOne: false).isEmpty)
    #expect(try read(log, from: 50, bytesMax: one + 10).map(\.offset) == [50])
    for size in [1, 70, 200, 1000, 1 << 20] { #expect(try readAll(log, bytesMax: size).map(\.offset) == Array(0..<100)) }
  }

  @Test func manySegmentsOldAndNewPlaces() throws {
    let log = try open(["segment.bytes": "16384"])
    let big = String(repeating: "x", count: 700)
    for index in 0..<300 { append(log, TestBatch(["\(index) \(big)", "second"])) }
    #expect(log.segments.count > 10)
    #expect(try readAll(log).count == 600)
    for offset in stride(from: 0, to: 600, by: 7) {
      #expect(try read(log, from: Int64(offset), bytesMax: 1).map(\.offset) == [Int64(offset / 2 * 2), Int64(offset / 2 * 2 + 1)])
    }
  }

  @Test func aTornTailIsCutAtEveryByte() throws {
    let batches = [TestBatch(["a", "b"]), TestBatch(["c"]), TestBatch(["d", "e", "f"])].map(\.bytes)
    let path = directory.path + "/0"
    do {
      let log = try open()
      for batch in [TestBatch(["a", "b"]), TestBatch(["c"]), TestBatch(["d", "e", "f"])] { append(log, batch) }
    }
    let file = path + "/" + LogSegment.fileName(baseOffset: 0)
    let descriptor = try LogFile.open(file, create: false)
    var whole = [UInt8](repeating: 0, count: batches.map(\.count).reduce(0, +))
    let got = try whole.withUnsafeMutableBytes { try LogFile.read(descriptor, file, into: $0, at: 0) }
    #expect(got == whole.count)
    defer { closeDescriptor(descriptor) }
    let ends = [(0, 0), (batches[0].count, 2), (batches[0].count + batches[1].count, 3), (whole.count, 6)]
    for count in 0...whole.count {
      try LogFile.truncate(descriptor, file, to: 0)
      try whole.withUnsafeBytes {
        try LogFile.write(
          descriptor, file, UnsafeRawBufferPointer(rebasing: $0[..<count]), UnsafeRawBufferPointer(start: nil, count: 0), at: 0)
      }
      let log = try open()
      let expected = ends.last { $0.0 <= count }!
      #expect(log.endOffset == Int64(expected.1), "cut at \(count)")
      #expect(try LogFile.size(descriptor, file) == expected.0)
      #expect(try readAll(log).count == expected.1)
      // It goes on from there.
      #expect(append(log, TestBatch(["next"])) == Int64(expected.1))
      #expect(try readAll(log).last?.value == "next")
    }
  }

  @Test func aDamagedBatchEndsTheLog() throws {
    do {
      let log = try open()
      for value in ["a", "b", "c"] { append(log, TestBatch([value])) }
    }
    let file = directory.path + "/0/" + LogSegment.fileName(baseOffset: 0)
    let descriptor = try LogFile.open(file, create: false)
    let one = TestBatch(["a"]).bytes.count
    try [UInt8(0xAA)].withUnsafeBytes {
      try LogFile.write(descriptor, file, $0, UnsafeRawBufferPointer(start: nil, count: 0), at: one + 65)
    }
    closeDescriptor(descriptor)
    #expect(try readAll(try open()).map(\.value) == ["a"])
  }

  @Test func savedIndexesCoverCleanRestartsAndAppendsBehindThem() throws {
    let big = String(repeating: "x", count: 3000)
    do {
      let log = try open(["segment.bytes": "65536"])
      for index in 0..<60 { append(log, TestBatch(["\(index)", big])) }
      log.close()
    }
    do {
      let log = try open(["segment.bytes": "65536"])
      #expect(log.endOffset == 120)
      for index in 60..<70 { append(log, TestBatch(["\(index)", big])) }
      // No close: as after kill -9.
    }
    let log = try open(["segment.bytes": "65536"])
    #expect(log.endOffset == 140)
    #expect(try readAll(log).count == 140)
    #expect(try read(log, from: 131, bytesMax: 1).map(\.offset) == [130, 131])
  }

  @Test func aLyingIndexIsIgnored() throws {
    do {
      let log = try open()
      for value in ["a", "b", "c"] { append(log, TestBatch([value])) }
      log.close()
    }
    let file = directory.path + "/0/00000000000000000000.index"
    let descriptor = try LogFile.open(file, create: false)
    let size = try LogFile.size(descriptor, file)
    for position in 0..<size {
      var byte: [UInt8] = [0]
      _ = try byte.withUnsafeMutableBytes { try LogFile.read(descriptor, file, into: $0, at: position) }
      let flipped = [byte[0] ^ 0x55]
      try flipped.withUnsafeBytes { try LogFile.write(descriptor, file, $0, UnsafeRawBufferPointer(start: nil, count: 0), at: position) }
      #expect(try readAll(try open()).map(\.value) == ["a", "b", "c"])
      try byte.withUnsafeBytes { try LogFile.write(descriptor, file, $0, UnsafeRawBufferPointer(start: nil, count: 0), at: position) }
    }
    closeDescriptor(descriptor)
  }

  @Test func producersSurviveRestartsOfEitherKind() throws {
    for isClean in [true, false] {
      let path = directory.path + "/\(isClean)"
      do {
        let log = try open(["segment.bytes": "16384"], at: path)
        // Over several segments, so that both the saved table and the replay count.
        for sequence in 0..<200 { append(log, TestBatch(producer: 9, sequence: Int32(sequence * 10), count: 10)) }
        #expect(log.segments.count > 1)
        if isClean { log.close() }
      }
      let log = try open(["segment.bytes": "16384"], at: path)
      let retry = TestBatch(producer: 9, sequence: 1990, count: 10).bytes.withUnsafeBytes { log.append($0, now: 0, synchronously: false) }
      guard case .duplicate(let offset) = retry else {
        Issue.record("not recognized: \(retry)")
        continue
      }
      #expect(offset == 1990)
      #expect(append(log, TestBatch(producer: 9, sequence: 2000)) == 2000)
      #expect(append(log, TestBatch(producer: 9, sequence: 2005)) == nil)
    }
  }

  @Test func lookUpByTime() throws {
    let log = try open(["segment.bytes": "16384"])
    let big = String(repeating: "x", count: 500)
    // Batches of two records, 10 ms apart.
    for index in 0..<200 { append(log, TestBatch([big, "second"], timestamp: Int64(1_000 + index * 10))) }
    #expect(log.segments.count > 2)
    #expect(try log.offset(atOrAfterTimestamp: 0)?.offset == 0)
    #expect(try log.offset(atOrAfterTimestamp: 1_000)?.offset == 0)
    #expect(try log.offset(atOrAfterTimestamp: 1_001)?.offset == 1)
    #expect(try log.offset(atOrAfterTimestamp: 1_002)?.offset == 2)
    for index in 0..<200 {
      let found = try #require(try log.offset(atOrAfterTimestamp: Int64(1_000 + index * 10)))
      #expect(found.offset == Int64(index * 2))
      #expect(found.timestamp == Int64(1_000 + index * 10))
    }
    #expect(try log.offset(atOrAfterTimestamp: 2_991)?.offset == 399)
    #expect(try log.offset(atOrAfterTimestamp: 2_992) == nil)
    #expect(try log.offsetOfMaxTimestamp()?.timestamp == 2_991)
    _ = try log.deleteRecords(before: 100, now: 0)
    #expect(try log.offset(atOrAfterTimestamp: 0)?.offset == 100)
  }

  @Test func retentionBySizeAndTime() throws {
    let big = String(repeating: "x", count: 1000)
    let bySize = try open(["segment.bytes": "16384", "retention.bytes": "50000"], at: directory.path + "/size")
    for _ in 0..<200 { append(bySize, TestBatch([big])) }
    try bySize.applyRetention(now: 0)
    #expect(bySize.byteCount >= 50_000 && bySize.byteCount < 50_000 + 16_384)
    #expect(bySize.startOffset > 0)
    #expect(try readAll(bySize).first?.offset == bySize.startOffset)

    let byTime = try open(["segment.bytes": "16384", "retention.ms": "1000"], at: directory.path + "/time")
    for index in 0..<100 { append(byTime, TestBatch([big], timestamp: Int64(index * 10)), now: Int64(index * 10)) }
    try byTime.applyRetention(now: 1_500)
    #expect(byTime.startOffset > 0 && byTime.startOffset <= 50)
    #expect(byTime.endOffset == 100)
    try byTime.applyRetention(now: 10_000)
    // Also the active segment, once everything in it is too old.
    #expect(byTime.startOffset == 100)
    #expect(append(byTime, TestBatch(["new"])) == 100)

    let restarted = try open(at: directory.path + "/time")
    #expect(restarted.startOffset == 100 && restarted.endOffset == 101)

    let compacted = try open(["cleanup.policy": "compact", "retention.ms": "1"], at: directory.path + "/compacted")
    append(compacted, TestBatch(["kept"], timestamp: 0))
    try compacted.applyRetention(now: 1_000_000)
    #expect(compacted.startOffset == 0)
  }

  @Test func deletedRecordsStayDeleted() throws {
    let log = try open(["segment.bytes": "16384"])
    let big = String(repeating: "x", count: 1000)
    for _ in 0..<100 { append(log, TestBatch([big, "second"])) }
    let segments = log.segments.count
    #expect(try log.deleteRecords(before: 101, now: 0) == 101)
    #expect(log.segments.count < segments)
    #expect(try log.deleteRecords(before: 50, now: 0) == 101)
    let restarted = try open(["segment.bytes": "16384"])
    #expect(restarted.startOffset == 101)
    #expect(try restarted.deleteRecords(before: 200, now: 0) == 200)
    #expect(restarted.byteCount == 0)
    #expect(append(restarted, TestBatch(["next"])) == 200)
  }

  @Test func whatIsRefusedLeavesTheLogAsItWas() throws {
    let log = try open()
    append(log, TestBatch(["a"]))
    let before = log.byteCount
    let bad = TestBatch(["b"]).bytes.dropLast()
    let outcome = Array(bad).withUnsafeBytes { log.append($0, now: 0, synchronously: false) }
    guard case .refused(.corruptMessage, _) = outcome else {
      Issue.record("\(outcome)")
      return
    }
    #expect(log.byteCount == before && log.endOffset == 1)
    #expect(append(log, TestBatch(["b"])) == 1)
  }

  @Test func settingsAreChecked() throws {
    for (name, value) in [
      ("retention.bytes", "-2"), ("retention.ms", "soon"), ("segment.bytes", "1"), ("nonsense", "1"), ("cleanup.policy", "shred"),
      ("message.timestamp.type", "LogAppendTime"), ("min.insync.replicas", "2"),
    ] {
      #expect(throws: TopicConfiguration.Problem.self) {
        _ = try TopicConfiguration(overrides: [name: value], defaults: BrokerSettings(dataDirectory: "/tmp"))
      }
    }
    let set = try TopicConfiguration(
      overrides: ["retention.bytes": "5", "cleanup.policy": "compact,delete"], defaults: BrokerSettings(dataDirectory: "/tmp"))
    #expect(set.retentionBytes == 5 && set.isCompacted)
    #expect(set.described.contains { $0 == ("retention.bytes", "5", true) })
  }
}
