import Testing

@testable import Serving

@Suite struct OutputTrackerTests {
  @Test func aRangeIsCommittableOnlyWhenAllItsOutputsAndAllBeforeAreAcknowledged() throws {
    var tracker = OutputTracker(rangesMax: 8)
    let first = try opened(tracker.open(partition: 0, from: 10, to: 12))
    let second = try opened(tracker.open(partition: 0, from: 12, to: 15))
    for slot in [first, first, second] { tracker.expect(slot) }
    tracker.seal(first)
    tracker.seal(second)
    expect(&tracker, [:])
    tracker.acknowledge(second)
    expect(&tracker, [:], "the first range still waits")
    tracker.acknowledge(first)
    expect(&tracker, [:], "one of the first range's two outputs still waits")
    tracker.acknowledge(first)
    expect(&tracker, [0: 15])
    expect(&tracker, [:], "told once")
    #expect(tracker.openCount == 0)
  }

  @Test func aReportBeforeTheSealDoesNotCloseTheRange() throws {
    var tracker = OutputTracker(rangesMax: 8)
    let slot = try opened(tracker.open(partition: 3, from: 0, to: 2))
    tracker.expect(slot)
    tracker.acknowledge(slot)
    expect(&tracker, [:], "more outputs may follow")
    tracker.expect(slot)
    tracker.seal(slot)
    expect(&tracker, [:])
    tracker.acknowledge(slot)
    expect(&tracker, [3: 2])
  }

  @Test func reportsOfAPartitionThatWasTakenAwayDoNotCount() throws {
    var tracker = OutputTracker(rangesMax: 8)
    let old = try opened(tracker.open(partition: 1, from: 5, to: 6))
    tracker.expect(old)
    tracker.seal(old)
    tracker.forget(1)
    let new = try opened(tracker.open(partition: 1, from: 5, to: 6))
    tracker.expect(new)
    tracker.seal(new)
    tracker.acknowledge(old)
    expect(&tracker, [:], "the old session's report is not the new one's")
    tracker.acknowledge(new)
    expect(&tracker, [1: 6])
  }

  @Test func openRangesAreBounded() {
    var tracker = OutputTracker(rangesMax: 2)
    let slots = (0..<3).map { tracker.open(partition: 0, from: $0, to: $0 + 1) }
    #expect(slots.map { $0 == nil } == [false, false, true])
  }

  @Test(arguments: [1, 2, 3, 4, 5] as [UInt64])
  func anyOrderOfReportsNeverCommitsPastAnUnacknowledgedOutput(seed: UInt64) throws {
    var random = SplitMix(state: seed)
    var tracker = OutputTracker(rangesMax: 64)
    var pending: [(slot: OutputTracker.Slot, range: Int, partition: Int32)] = []
    var outstanding: [Int32: [Int: Int]] = [0: [:], 1: [:]]
    var ends: [Int32: [Int64]] = [0: [], 1: []]
    var committed: [Int32: Int64] = [:]
    for step in 0..<2_000 {
      let partition = Int32(random.next() % 2)
      let from = ends[partition]!.last ?? 0
      let to = from + 1 + Int64(random.next() % 4)
      if random.next() % 3 == 0, let slot = tracker.open(partition: partition, from: from, to: to) {
        let range = ends[partition]!.count
        let outputs = Int(random.next() % 3)
        ends[partition]!.append(to)
        for _ in 0..<outputs {
          tracker.expect(slot)
          pending.append((slot, range, partition))
        }
        outstanding[partition]![range] = outputs
        tracker.seal(slot)
      } else if !pending.isEmpty {
        let index = Int(random.next() % UInt64(pending.count))
        let (slot, range, partition) = pending.remove(at: index)
        outstanding[partition]![range]! -= 1
        tracker.acknowledge(slot)
      }
      tracker.takeCommittable { committed[$0] = $1 }
      for partition in [0, 1] as [Int32] {
        let firstOpen = outstanding[partition]!.filter { $0.value > 0 }.keys.min() ?? ends[partition]!.count
        let allowed = firstOpen == 0 ? nil : ends[partition]![firstOpen - 1]
        #expect(committed[partition] == allowed, "seed \(seed) step \(step) partition \(partition)")
      }
    }
  }

  private func opened(_ slot: OutputTracker.Slot?) throws -> OutputTracker.Slot { try #require(slot) }

  /// What became committable since the last call is `expected`.
  private func expect(
    _ tracker: inout OutputTracker, _ expected: [Int32: Int64], _ why: Comment? = nil,
    at place: SourceLocation = #_sourceLocation
  ) {
    var found: [Int32: Int64] = [:]
    tracker.takeCommittable { found[$0] = $1 }
    #expect(found == expected, why, sourceLocation: place)
  }
}

/// Deterministic numbers from a printed seed.
struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
