import Foundation
import Model
import Synchronization
import Testing

@testable import UpdateLog

@Suite struct CheckpointTests {
  private func withDirectory(_ body: (String) throws -> Void) throws {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("millrace-checkpoint-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    try body(path)
  }

  private func validated(_ seed: UInt64) -> ValidationSample {
    var sample = ValidationSample()
    for i in 0..<5 { sample.add(sum: Double(i) - Double(seed % 5), label: Double(i % 2), weight: 1, loss: .logistic) }
    return sample
  }

  private func logs(_ specification: ModelSpecification, records: Int, seed: UInt64) -> [LogFixture] {
    (0..<specification.shards).map { shard in
      var log = LogFixture(specification, shard: shard, seed: seed + UInt64(shard))
      for i in 0..<records { log.appendUpdate(idsBelow: 3000, validation: i % 3 == 0 ? validated(UInt64(i)) : nil) }
      return log
    }
  }

  private func expectEqual(_ a: ReplicaSet, _ b: ReplicaSet) {
    for (x, y) in zip(a.shards, b.shards) {
      #expect(x.stateHash == y.stateHash && x.nextOffset == y.nextOffset && x.acceptance == y.acceptance && x.counts == y.counts)
      #expect(x.validation == y.validation && x.validationWindow == y.validationWindow && x.lastRecordCRC == y.lastRecordCRC)
      #expect(x.labelsThroughMilliseconds == y.labelsThroughMilliseconds && x.rowCount == y.rowCount)
      x.forEachRow { row in
        let other = y.row(row.id)
        #expect(row.z.bitPattern == other.z.bitPattern && row.w.bitPattern == other.w.bitPattern && row.count == other.count && row.touchedHours == other.touchedHours)
      }
      #expect(y.recomputedStateHash() == y.stateHash)
    }
  }

  /// Restored and given the tail, a replica is bit for bit one that read the whole log.
  @Test(arguments: [1, 3])
  func restoringAndTheTailIsTheWholeLog(shards: Int) throws {
    for specification in [linear(shards: shards, l1: 0.05), counting(shards: shards)] {
      try withDirectory { directory in
        let logs = logs(specification, records: 200, seed: 40)
        let whole = ReplicaSet(specification: specification)
        let half = ReplicaSet(specification: specification)
        for (i, log) in logs.enumerated() {
          whole.shards[i].applyAll(log.records)
          half.shards[i].applyAll(log.records[..<(90 + i)])
        }
        let store = CheckpointStore(directory: directory + "/a/b", specification: specification)
        let generation = try store.write(half)
        #expect(generation.number == 1 && generation.offsets == (0..<shards).map { Int64(90 + $0) })
        let restoration = try store.restore()
        let restored = try #require(restoration.set)
        #expect(restoration.passedOver.isEmpty && restoration.generation == generation)
        expectEqual(half, restored)
        for (i, log) in logs.enumerated() { restored.shards[i].applyAll(log.records[(90 + i)...], from: Int64(90 + i)) }
        expectEqual(whole, restored)
        #expect(try store.generations() == [generation])
      }
    }
  }

  /// The capture stands at the offset where it began, while thousands of records and rows come in.
  @Test func learningGoesOnWhileItIsWritten() throws {
    try withDirectory { directory in
      let specification = linear()
      var log = LogFixture(specification, seed: 77)
      for _ in 0..<600 { log.appendUpdate(idsBelow: 20_000) }
      let set = ReplicaSet(specification: specification)
      let store = CheckpointStore(directory: directory, specification: specification)
      let writer = CheckpointWriter(store)
      set.shards[0].applyAll(log.records[..<100])
      let hash = set.shards[0].stateHash
      try writer.begin(set)
      #expect(throws: CheckpointError.busy) { try writer.begin(set) }
      var next = 100
      var generation: CheckpointGeneration?
      var capturingSteps = 0
      let deadline = ContinuousClock.now + .seconds(60)
      while generation == nil, ContinuousClock.now < deadline {
        switch writer.step(slotsMax: 64) {
        case .capturing: capturingSteps += 1
        case .writing, .idle: break
        case .finished(let done): generation = done
        case .failed(let error): throw error
        }
        if next < log.records.count {
          set.shards[0].apply(log.records[next], offset: Int64(next))
          next += 1
        }
      }
      set.shards[0].applyAll(log.records[next...], from: Int64(next))
      #expect(capturingSteps > 10)
      #expect(generation?.offsets == [100] && generation?.shards[0].stateHash == hash)
      let restored = try #require(try store.restore().set)
      #expect(restored.shards[0].stateHash == hash)
      restored.shards[0].applyAll(log.records[100...], from: 100)
      expectEqual(set, restored)
      #expect(!writer.isBusy && !writer.isCapturing)
    }
  }

  @Test func keepsTwoAndSaysWhatCanBeTrimmed() throws {
    try withDirectory { directory in
      let specification = linear(shards: 2)
      let logs = logs(specification, records: 50, seed: 3)
      let set = ReplicaSet(specification: specification)
      let store = CheckpointStore(directory: directory, specification: specification)
      #expect(try store.trimOffsets() == nil)
      for step in 1...4 {
        for (i, log) in logs.enumerated() {
          let from = (step - 1) * 10
          set.shards[i].applyAll(log.records[from..<(step * 10)], from: Int64(from))
        }
        try store.write(set)
        #expect(try store.trimOffsets() == (step == 1 ? nil : [Int64(step - 1) * 10, Int64(step - 1) * 10]))
      }
      #expect(try store.generations().map(\.number) == [3, 4])
      // Another process comes to the same.
      #expect(try CheckpointStore(directory: directory, specification: specification).trimOffsets() == [30, 30])
      // The older one damaged: nothing may be trimmed, and the next checkpoint removes neither whole one.
      let path = store.shardPath(0, 3)
      var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
      bytes[bytes.count / 2] ^= 1
      try bytes.write(to: URL(fileURLWithPath: path))
      let fresh = CheckpointStore(directory: directory, specification: specification)
      #expect(try fresh.trimOffsets() == nil)
      try fresh.write(set)
      #expect(try fresh.generations().map(\.number) == [4, 5])
      #expect(try fresh.trimOffsets() == [40, 40])
    }
  }

  /// Every cut and many flipped bits: a typed error, the older generation is restored, and the reason is told.
  @Test func tornAndDamagedFilesArePassedOver() throws {
    try withDirectory { directory in
      let specification = linear()
      var log = LogFixture(specification, seed: 5)
      for _ in 0..<12 { log.appendUpdate(rowsMax: 6) }
      let set = ReplicaSet(specification: specification)
      let store = CheckpointStore(directory: directory, specification: specification)
      set.shards[0].applyAll(log.records[..<6])
      try store.write(set)
      set.shards[0].applyAll(log.records[6...], from: 6)
      try store.write(set)
      #expect(try store.restore().generation?.number == 2)
      var reasons = Set<String>()
      func damaged(_ path: String, _ bytes: Data) throws {
        try bytes.write(to: URL(fileURLWithPath: path))
        let restoration = try CheckpointStore(directory: directory, specification: specification).restore()
        #expect(restoration.generation?.number == 1 && restoration.set?.shards[0].nextOffset == 6)
        #expect(restoration.passedOver.map(\.number) == [2])
        if let error = restoration.passedOver.first?.error {
          reasons.insert(error.reason)
          #expect(!error.description.isEmpty)
        }
      }
      for path in [store.shardPath(0, 2), store.manifestPath(2)] {
        let good = try Data(contentsOf: URL(fileURLWithPath: path))
        // Every cut near the ends of blocks, every seventh elsewhere.
        for cut in 0..<good.count where cut % 7 == 0 || cut > good.count - 60 || cut < 60 { try damaged(path, good[..<cut]) }
        for at in good.indices where at % 5 == 0 || at > good.count - 60 || at < 60 {
          var bad = good
          bad[at] ^= UInt8(1 << (at % 8))
          try damaged(path, bad)
        }
        try damaged(path, good + [0])
        try FileManager.default.removeItem(atPath: path)
        let gone = try store.restore()
        #expect(gone.generation?.number == 1 && gone.passedOver.first?.error == .missing(path: path))
        try good.write(to: URL(fileURLWithPath: path))
      }
      #expect(reasons.isSuperset(of: ["torn", "corrupt"]))
      #expect(try store.restore().generation?.number == 2)
      // A rows file of another generation does not pass for this one's.
      try FileManager.default.removeItem(atPath: store.shardPath(0, 2))
      try FileManager.default.copyItem(atPath: store.shardPath(0, 1), toPath: store.shardPath(0, 2))
      #expect(try store.restore().passedOver.first?.error.reason == "corrupt")
      // Another model's checkpoints are nobody's here.
      let other = CheckpointStore(directory: directory, specification: linear(loss: .squared))
      let restoration = try other.restore()
      #expect(restoration.set == nil && restoration.passedOver.contains { $0.error.reason == "wrong_model" })
    }
  }

  /// The disk is full at each write in turn: a typed error, nothing half left behind, the older generation whole.
  @Test func aFullDiskLeavesTheOlderGeneration() throws {
    try withDirectory { directory in
      let specification = linear(shards: 2)
      let logs = logs(specification, records: 40, seed: 9)
      let set = ReplicaSet(specification: specification)
      for (i, log) in logs.enumerated() { set.shards[i].applyAll(log.records) }
      try CheckpointStore(directory: directory, specification: specification).write(set)
      var failures = 0
      for failing in 0... {
        let budget = Budget(calls: failing)
        var files = CheckpointFiles()
        files.write = { descriptor, bytes in
          switch budget.take() {
          case .fine: return Foundation.write(descriptor, bytes.baseAddress, bytes.count)
          case .half: return Foundation.write(descriptor, bytes.baseAddress, max(1, bytes.count / 2))
          case .full:
            errno = ENOSPC
            return -1
          }
        }
        let store = CheckpointStore(directory: directory, specification: specification, files: files)
        do {
          try store.write(set)
          break
        } catch {
          failures += 1
          #expect((error as? CheckpointError)?.reason == "no_space")
        }
        #expect(try store.numbers() == [1])
        #expect(try store.restore().generation?.number == 1)
        if failing > 100 { break }
      }
      #expect(failures > 5)
      // The sync fails: the same.
      var files = CheckpointFiles()
      files.sync = { _ in
        errno = EIO
        return -1
      }
      let store = CheckpointStore(directory: directory, specification: specification, files: files)
      #expect(throws: CheckpointError.self) { try store.write(set) }
      #expect(try store.restore().generation != nil)
    }
  }

  @Test func aCheckpointGivenUpLeavesNothing() throws {
    try withDirectory { directory in
      let specification = linear()
      var log = LogFixture(specification, seed: 6)
      for _ in 0..<50 { log.appendUpdate() }
      let set = ReplicaSet(specification: specification)
      set.shards[0].applyAll(log.records)
      let store = CheckpointStore(directory: directory, specification: specification)
      do {
        let writer = CheckpointWriter(store)
        try writer.begin(set)
        _ = writer.step(slotsMax: 1)
      }  // goes away in the middle
      let deadline = ContinuousClock.now + .seconds(30)
      while try !store.numbers().isEmpty, ContinuousClock.now < deadline { usleep(1000) }
      // The table can be captured again.
      #expect(try store.write(set).offsets == [51])
    }
  }

  @Test func aDirectoryThatCannotBe() throws {
    let set = ReplicaSet(specification: linear())
    let store = CheckpointStore(directory: "/dev/null/x", specification: set.specification)
    #expect(throws: CheckpointError.self) { try store.write(set) }
    // Not a directory: an error, not "no checkpoints".
    #expect(throws: CheckpointError.self) { try store.restore() }
  }
}

/// Writes that go through before the disk is full; the one before is cut in half, as disks do it.
private final class Budget: Sendable {
  enum Answer { case fine, half, full }
  private let left: Atomic<Int>
  init(calls: Int) { left = Atomic(calls) }
  func take() -> Answer {
    let now = left.wrappingSubtract(1, ordering: .relaxed).oldValue
    return now > 1 ? .fine : now == 1 ? .half : .full
  }
}
