import AllocationThresholds
@testable import Learning
import Model
import Testing
@testable import UpdateLog

/// In the steady state examples are learned, and their records written, applied and heard of, without an allocation of ours.
@Suite struct TrainerAllocationTests {
  @Test(.enabled(if: AllocationThresholds.areCounted))
  func trainingAllocatesNothing() throws {
    let bench = TrainerBench(TrainerBench.specification(shards: 2), settings: TrainerSettings(inFlightExamplesColdMax: 1_000))
    bench.start()
    let records = (0..<200).map { record in
      TrainerBench.record(
        (0..<24).map { (#"{"id":"e\#($0)","features":{"a":"\#($0 % 7)","b":"\#($0 % 5)","c":"\#(record % 3)"}}"#, Double($0 % 2)) },
        number: record + 1, previous: record)
    }
    // The log: one record of each shard, in memory taken before counting.
    let log = UnsafeMutableRawPointer.allocate(byteCount: 2 << 20, alignment: 64)
    defer { log.deallocate() }
    var lengths = (0, 0)
    var taken = 0
    func train(_ range: Range<Int>) {
      for offset in range {
        records[offset].withUnsafeBytes { bytes in
          if bench.trainer.take(partition: 0, offset: Int64(offset), record: bytes, nowNanoseconds: 0) == .taken { taken += 1 }
        }
        bench.trainer.flush(drained: true)
        while let action = bench.trainer.nextAction(nowNanoseconds: 0) {
          guard case .append(let shard, _, let bytes) = action, let base = bytes.baseAddress, bytes.count <= 1 << 20 else { continue }
          (log + (shard << 20)).copyMemory(from: base, byteCount: bytes.count)
          if shard == 0 { lengths.0 = bytes.count } else { lengths.1 = bytes.count }
        }
        for shard in 0..<2 {
          let bytes = UnsafeRawBufferPointer(start: log + (shard << 20), count: shard == 0 ? lengths.0 : lengths.1)
          guard let record = try? UpdateRecordView.parse(bytes) else { continue }
          let accepted = bench.set.shards[shard].apply(record, offset: Int64(offset)).isAccepted
          bench.trainer.observe(shard: shard, record: record, accepted: accepted, nowNanoseconds: 0)
        }
      }
    }
    train(0..<100)
    let counted = AllocationThresholds.ofThread { train(100..<200) }
    #expect(bench.trainer.counters.examplesLearned == 200 * 24)
    #expect(taken == 200 && bench.trainer.counters.updatesAccepted == 400)
    let allowed = try #require(try AllocationThresholds()["trainer.100-records-of-24-examples"])
    #expect(counted <= allowed, "\(counted) allocations for 2,400 examples in 200 update records")
  }
}
