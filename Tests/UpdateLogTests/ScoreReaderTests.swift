import Foundation
import Model
import Synchronization
import Testing

@testable import UpdateLog

@Suite struct ScoreReaderTests {
  private func learned(_ specification: ModelSpecification, seed: UInt64) -> ReplicaSet {
    let set = ReplicaSet(specification: specification)
    for shard in 0..<specification.shards {
      var log = LogFixture(specification, shard: shard, seed: seed + UInt64(shard))
      for _ in 0..<100 { log.appendUpdate(idsBelow: 600) }
      set.shards[shard].applyAll(log.records)
    }
    return set
  }

  /// Weights served in bfloat16: near the full ones, added in the same order, through a restore, and the state is the same.
  @Test(arguments: [1, 3])
  func servedWeightsAreNearAndNoPartOfTheState(shards: Int) {
    let full = learned(linear(shards: shards), seed: 8)
    let served = ReplicaSet(specification: linear(shards: shards))
    #expect(served.serve(in: .bf16))
    // A restore: the rows of another replica, which has no serving form.
    for (replica, other) in zip(served.shards, learned(linear(shards: shards), seed: 8).shards) { replica.become(other) }
    let batch = RowBatch()
    var generator = SeededGenerator(seed: 3)
    var bounds: [Float] = []
    for row in 0..<200 {
      var bound: Float = 1e-6
      for _ in 0..<(row % 37) {
        let id = generator.next() % 900
        let value = Float.random(in: -2...2, using: &generator)
        batch.append(id: id, value: value)
        bound += abs(full.shards[RowID.shard(of: id, count: shards)].row(id).w * value) / 256
      }
      batch.endRow()
      bounds.append(bound)
    }
    let sums = UnsafeMutablePointer<Float>.allocate(capacity: 600)
    let position = UnsafeMutablePointer<Int64>.allocate(capacity: shards)
    defer {
      sums.deallocate()
      position.deallocate()
    }
    sums.initialize(repeating: 0, count: 600)
    #expect(full.scoreReader().sums(batch, into: sums, position: position) != nil)
    let reader = served.scoreReader()
    #expect(reader.sums(batch, into: sums + 200, position: position) != nil)
    for shard in 0..<shards {
      reader.partial(shard: shard, batch, sums: sums + 400)
      #expect(position[shard] == full.shards[shard].nextOffset)
      #expect(served.shards[shard].stateHash == full.shards[shard].stateHash && served.shards[shard].recomputedStateHash() == full.shards[shard].stateHash)
    }
    var differing = 0
    for row in 0..<200 {
      #expect(abs(sums[row] - sums[200 + row]) <= bounds[row])
      #expect(sums[200 + row].bitPattern == sums[400 + row].bitPattern)
      if sums[row] != sums[200 + row] { differing += 1 }
    }
    #expect(differing > 100, "rounded weights give other sums")
  }

  @Test(arguments: [1, 3, 4])
  func scoresAreTheSumsInShardOrder(shards: Int) {
    let set = learned(linear(shards: shards), seed: 8)
    let batch = RowBatch()
    var generator = SeededGenerator(seed: 3)
    var expected: [Float] = []
    for row in 0..<200 {
      var partials = [Float](repeating: 0, count: shards)
      for _ in 0..<(row % 37) {
        let id = generator.next() % 900  // some are not there, and read as zero
        let value = Float.random(in: -2...2, using: &generator)
        batch.append(id: id, value: value)
        let shard = RowID.shard(of: id, count: shards)
        let product = set.shards[shard].row(id).w * value
        partials[shard] += product
      }
      batch.endRow()
      expected.append(partials.reduce(Float(0), +))
    }
    let reader = set.scoreReader()
    let sums = UnsafeMutablePointer<Float>.allocate(capacity: 200)
    let added = UnsafeMutablePointer<Float>.allocate(capacity: 200)
    let position = UnsafeMutablePointer<Int64>.allocate(capacity: shards)
    defer {
      sums.deallocate()
      added.deallocate()
      position.deallocate()
    }
    added.initialize(repeating: 0, count: 200)
    let reading = reader.sums(batch, into: sums, position: position)
    #expect(reading?.epoch == 0)
    #expect(reading?.labelsThroughMilliseconds == set.shards.map(\.labelsThroughMilliseconds).max())
    for shard in 0..<shards {
      #expect(position[shard] == set.shards[shard].nextOffset)
      reader.partial(shard: shard, batch, sums: added)
    }
    for row in 0..<200 {
      #expect(sums[row].bitPattern == expected[row].bitPattern)
      #expect(added[row].bitPattern == expected[row].bitPattern)
    }
    #expect(reader.score(batch, into: sums, position: position) != nil)
    for row in 0..<200 { #expect(sums[row] == set.specification.finish(sum: expected[row])) }
    batch.removeAll()
    #expect(reader.score(batch, into: sums, position: position) != nil)
  }

  @Test func shardsInUnequalEpochsAreNotAdded() {
    let set = learned(linear(shards: 2), seed: 5)
    let writer = UpdateRecordWriter()
    let freeze = Array(writer.control(UpdateHeader(kind: .freeze, specHash: set.specification.hash)))
    #expect(set.shards[0].apply(freeze, offset: set.shards[0].nextOffset).isAccepted)
    let reader = set.scoreReader()
    let batch = RowBatch()
    batch.append(id: 1, value: 1)
    batch.endRow()
    var score: Float = 0
    var positions: [Int64] = [0, 0]
    #expect(reader.score(batch, into: &score, position: &positions) == nil)
    #expect(reader.epochMismatches == 1)
    #expect(set.shards[1].apply(freeze, offset: set.shards[1].nextOffset).isAccepted)
    #expect(reader.score(batch, into: &score, position: &positions) != nil)
  }

  /// While one thread applies: the position is a lower bound, the label time an upper bound, of what the scores contain.
  @Test func positionAndLabelTimeBoundWhatIsSeen() {
    let specification = counting()
    let set = ReplicaSet(specification: specification)
    let records = 20_000
    let replica = set.shards[0]
    let writer = UpdateRecordWriter()
    let shared = Shared()
    let group = DispatchGroup()
    group.enter()
    do {
      Thread.detachNewThread {
        let reader = set.scoreReader()
        let batch = RowBatch()
        // The same row first and last, many others between.
        for k in 0..<200 {
          batch.append(id: k == 0 || k == 199 ? 7 : UInt64(k) + 1000, value: 1)
          batch.endRow()
        }
        let scores = UnsafeMutablePointer<Float>.allocate(capacity: 200)
        let position = UnsafeMutablePointer<Int64>.allocate(capacity: 1)
        while !shared.stop.load(ordering: .acquiring) {
          guard let through = reader.score(batch, into: scores, position: position) else { continue }
          // Record k (offset k) makes row 7 count k + 1, and its label time is k + 1.
          if Int64(scores[0]) < position[0] || (scores[199] > 0 && through < Int64(scores[199])) || scores[199] < scores[0] {
            shared.wrong.add(1, ordering: .relaxed)
          }
          shared.reads.add(1, ordering: .relaxed)
        }
        scores.deallocate()
        position.deallocate()
        group.leave()
      }
      var offset: Int64 = 0
      let deadline = ContinuousClock.now + .seconds(60)
      while offset < records || (shared.reads.load(ordering: .relaxed) < 1000 && ContinuousClock.now < deadline) {
        let header = UpdateHeader(
          kind: .update, specHash: specification.hash, sourcePartition: 0, from: offset, to: SourceProgress(offset: offset + 1),
          eventTimeFromMilliseconds: offset + 1, eventTimeThroughMilliseconds: offset + 1, examples: 1)
        let bytes = writer.counts(header, rows: 2) { ids, counts in
          ids[0] = 7
          ids[1] = UInt64(offset) + 5000  // makes the table grow
          counts[0] = 1
          counts[1] = 1
          return 2
        }
        #expect(replica.apply(bytes, offset: offset).isAccepted)
        offset += 1
        if offset >= 16_000_000 { break }  // beyond it a Float skips integers
      }
      shared.stop.store(true, ordering: .releasing)
      group.wait()
    }
    #expect(shared.wrong.load(ordering: .relaxed) == 0)
    #expect(shared.reads.load(ordering: .relaxed) >= 1000)
  }
}

/// What the threads of a test share.
private final class Shared: Sendable {
  let stop = Atomic<Bool>(false)
  let wrong = Atomic<Int>(0)
  let reads = Atomic<Int>(0)
}
