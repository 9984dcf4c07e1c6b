import AllocationThresholds
import Model
import Testing

@testable import UpdateLog

/// In the steady state a record is applied, and a batch scored, without an allocation of ours.
@Suite struct AllocationTests {
  @Test(.enabled(if: AllocationThresholds.areCounted))
  func applyingAndScoringAllocateNothing() throws {
    let specification = linear(shards: 2)
    let set = ReplicaSet(specification: specification)
    let writer = UpdateRecordWriter()
    var sample = ValidationSample()
    for i in 0..<40 { sample.add(sum: Double(i) / 10 - 2, label: Double(i % 2), weight: 1, loss: .logistic) }
    // Records over the same rows again and again, so that the table has stopped growing.
    let records: [[UInt8]] = (0..<400).map { k in
      let from = Int64(k)
      var header = UpdateHeader(kind: .update, specHash: specification.hash, sourcePartition: 0, from: from, to: SourceProgress(offset: from + 1), examples: 4)
      header.eventTimeThroughMilliseconds = from
      let bytes = writer.update(header, rows: 100, validation: sample) { ids, g, g2 in
        for i in 0..<100 {
          ids[i] = UInt64(i) * 7
          g[i] = 0.5
          g2[i] = 0.25
        }
        return 100
      }
      return Array(bytes)
    }
    let replica = set.shards[0]
    replica.applyAll(records[..<200])
    let rest = Array(records[200...])
    let applying = AllocationThresholds.ofThread {
      for i in 0..<200 { rest[i].withUnsafeBytes { _ = replica.apply($0, offset: Int64(200 + i)) } }
    }
    #expect(replica.nextOffset == 400 && replica.counts.recordsAccepted == 400)

    let reader = set.scoreReader()
    let batch = RowBatch()
    for row in 0..<64 {
      for k in 0..<20 { batch.append(id: UInt64(row * k), value: 1) }
      batch.endRow()
    }
    let scores = UnsafeMutablePointer<Float>.allocate(capacity: 64)
    let position = UnsafeMutablePointer<Int64>.allocate(capacity: 2)
    defer {
      scores.deallocate()
      position.deallocate()
    }
    var scored = 0
    let scoring = AllocationThresholds.ofThread {
      for _ in 0..<100 where reader.score(batch, into: scores, position: position) != nil { scored += 1 }
    }
    #expect(scored == 100)

    let thresholds = try AllocationThresholds()
    let allowedApplying = try #require(thresholds["updates.apply.200-records"])
    let allowedScoring = try #require(thresholds["updates.score.100-batches"])
    #expect(applying <= allowedApplying, "\(applying) allocations for 200 records")
    #expect(scoring <= allowedScoring, "\(scoring) allocations for 100 batches")
  }
}
