import Kafka

/// Which source offsets may be committed when each polled range of a source partition leads to several
/// outputs (predictions of several arms, dead letters): the contiguous prefix of ranges whose every
/// output is acknowledged.
///
/// A range's slot travels as the opaque word of its outputs. Sans-IO; owned by one thread; allocates only
/// when more ranges are open than ever before.
struct OutputTracker {
  /// Names an open range.
  typealias Slot = Int

  private struct Range {
    var partition: Int32 = -1
    var from: Int64 = 0
    /// Outputs not yet acknowledged, plus one until the range is sealed.
    var outstanding = 0
    /// Which assignment of the partition it belongs to.
    var generation = 0
  }

  private struct Source {
    var offsets: ContiguousOffsets
    var generation: Int
    var stored: Int64?
  }

  /// Ranges of one partition under way at most.
  let rangesMax: Int
  private var ranges: [Range] = []
  private var free: [Slot] = []
  private var sources: [Int32: Source] = [:]
  private var generation = 0
  /// Ranges opened and not yet closed, over all partitions.
  private(set) var openCount = 0

  init(rangesMax: Int) { self.rangesMax = rangesMax }

  /// Opens `[from, to)` of `partition`, which follows all that was opened before.
  /// - Returns: nil when `rangesMax` are open: wait for reports.
  mutating func open(partition: Int32, from: Int64, to: Int64) -> Slot? {
    if sources[partition] == nil {
      generation += 1
      sources[partition] = Source(
        offsets: ContiguousOffsets(inFlightMax: rangesMax), generation: generation, stored: nil)
    }
    guard sources[partition]?.offsets.begin(from: from, to: to) == true else { return nil }
    let slot: Slot
    if let reused = free.popLast() {
      slot = reused
    } else {
      slot = ranges.count
      ranges.append(Range())
    }
    ranges[slot] = Range(
      partition: partition, from: from, outstanding: 1, generation: sources[partition]?.generation ?? 0)
    openCount += 1
    return slot
  }

  /// One more output of the range is under way.
  mutating func expect(_ slot: Slot) { ranges[slot].outstanding += 1 }

  /// All outputs of the range were handed over.
  mutating func seal(_ slot: Slot) { settle(slot) }

  /// One output of the range was acknowledged by the broker.
  mutating func acknowledge(_ slot: Slot) {
    guard ranges.indices.contains(slot), ranges[slot].outstanding > 0 else { return }
    settle(slot)
  }

  private mutating func settle(_ slot: Slot) {
    ranges[slot].outstanding -= 1
    guard ranges[slot].outstanding == 0 else { return }
    let range = ranges[slot]
    free.append(slot)
    openCount -= 1
    // A partition that was taken away meanwhile and given back counts anew.
    guard sources[range.partition]?.generation == range.generation else { return }
    sources[range.partition]?.offsets.acknowledge(range.from)
  }

  /// Calls `body` with each partition whose committable offset moved since the last call.
  mutating func takeCommittable(_ body: (_ partition: Int32, _ next: Int64) -> Void) {
    var index = sources.values.startIndex
    while index != sources.values.endIndex {
      if let next = sources.values[index].offsets.committable, next != sources.values[index].stored {
        sources.values[index].stored = next
        body(sources.keys[index], next)
      }
      index = sources.values.index(after: index)
    }
  }

  /// The partition was taken away: what is still open for it no longer counts.
  mutating func forget(_ partition: Int32) { sources[partition] = nil }
}
