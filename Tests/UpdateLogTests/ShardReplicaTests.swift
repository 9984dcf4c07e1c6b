import Model
import Testing

@testable import UpdateLog

@Suite struct ShardReplicaTests {
  /// Two replicas, one of which has another table size and gets every record twice, come to the same bits.
  @Test(arguments: [1, 2, 3])
  func replayGivesTheSameBits(seed: Int) {
    print("replay: seed \(seed)")
    let specification = seed == 3 ? counting(shards: 2) : linear(shards: 2, l1: 0.1)
    var log = LogFixture(specification, shard: 1, seed: UInt64(seed))
    for _ in 0..<300 { log.appendUpdate(idsBelow: 4000) }
    let a = ShardReplica(specification: specification, shard: 1)
    let b = ShardReplica(specification: specification, shard: 1, rowsExpected: 10_000)
    for (i, record) in log.records.enumerated() {
      #expect(a.apply(record, offset: Int64(i)).isAccepted)
      _ = b.apply([0] + record, offset: Int64(i))
    }
    let c = ShardReplica(specification: specification, shard: 1, rowsExpected: 10_000)
    for (i, record) in log.records.enumerated() {
      let outcome = c.apply(record, offset: Int64(i))
      #expect(outcome.isAccepted)
      #expect(c.apply(record, offset: Int64(i)) == .alreadyApplied)
    }
    #expect(a.stateHash == c.stateHash)
    #expect(a.recomputedStateHash() == a.stateHash)
    #expect(a.nextOffset == Int64(log.records.count))
    #expect(a.publishedOffset == a.nextOffset && a.publishedStateHash == a.stateHash)
    #expect(a.lastRecordCRC == log.records.last!.withUnsafeBytes { UpdateRecordView.checksum($0) })
    var rows = 0
    a.forEachRow { row in
      rows += 1
      let other = c.row(row.id)
      #expect(other.z.bitPattern == row.z.bitPattern && other.n.bitPattern == row.n.bitPattern && other.w.bitPattern == row.w.bitPattern && other.count == row.count)
    }
    #expect(rows == a.rowCount && rows > 100)
    // All of b's records were broken by their first byte.
    #expect(b.counts.recordsInvalid == Int64(log.records.count) && b.rowCount == 0)
  }

  @Test func offsetsMayHaveGapsAndNeverGoBack() {
    var log = LogFixture(linear(), seed: 4)
    for _ in 0..<20 { log.appendUpdate() }
    let replica = ShardReplica(specification: log.specification, shard: 0)
    var offset: Int64 = 0
    for record in log.records {
      #expect(replica.apply(record, offset: offset).isAccepted)
      #expect(replica.nextOffset == offset + 1)
      offset += 3
    }
    #expect(replica.apply(log.records[0], offset: 0) == .alreadyApplied)
    #expect(replica.apply(log.records[0], offset: -5) == .alreadyApplied)
    #expect(replica.apply(log.records[0], offset: .max) == .alreadyApplied)
  }

  @Test func whatIsNoRecordIsPassedOverAndCounted() {
    let replica = ShardReplica(specification: linear(), shard: 0)
    #expect(replica.apply([], offset: 0) == .invalid(.truncated(neededBytes: 132, haveBytes: 0)))
    #expect(replica.apply(Array("hello, this is no record".utf8), offset: 1) == .invalid(.notARecord))
    #expect(replica.nextOffset == 2 && replica.counts.recordsInvalid == 2)
    #expect(replica.apply(UnsafeRawBufferPointer(start: nil, count: 0), offset: 2) != .alreadyApplied)
    #expect(replica.nextOffset == 3)
  }

  @Test func drops() {
    let specification = linear()
    let log = LogFixture(specification, seed: 1)
    let replica = ShardReplica(specification: specification, shard: 0)
    let writer = UpdateRecordWriter()
    func apply(_ header: UpdateHeader, counts: Bool = false) -> ApplyOutcome {
      let bytes =
        counts
        ? writer.counts(header, rows: 1) { ids, n in
          ids[0] = 1
          n[0] = 1
          return 1
        } : writer.update(header, ids: [1], gradients: [1], squares: [1], count: 1)
      return replica.apply(bytes, offset: replica.nextOffset)
    }
    #expect(apply(log.header(partition: 0, from: 0, to: 2)).isAccepted)
    let hash = replica.stateHash
    #expect(apply(log.header(partition: 0, from: 0, to: 2)) == .dropped(.stale))
    #expect(apply(log.header(partition: 0, from: 3, to: 4)) == .dropped(.gap))
    #expect(apply(log.header(partition: 0, from: 2, to: 4), counts: true) == .dropped(.wrongFamily))
    #expect(apply(log.header(partition: 0, from: 2, to: 4, epoch: 1)) == .dropped(.epochMismatch))
    #expect(replica.stateHash == hash)
    #expect(replica.counts.dropped(.stale) == 1 && replica.counts.dropped(.wrongFamily) == 1 && replica.counts.recordsAccepted == 1)
    let freeze = writer.control(UpdateHeader(kind: .freeze, specHash: specification.hash))
    #expect(replica.apply(freeze, offset: replica.nextOffset).isAccepted)
    #expect(replica.publishedEpoch == 1)
    #expect(replica.stateHash != hash)
    #expect(apply(log.header(partition: 0, from: 2, to: 4, epoch: 1)) == .dropped(.frozen))
  }

  /// A value that cannot be counts as zero, the others count, and progress advances.
  @Test func valuesThatCannotBeCountAsZero() {
    let specification = linear()  // gradient bound 10
    let log = LogFixture(specification, seed: 1)
    let replica = ShardReplica(specification: specification, shard: 0)
    let writer = UpdateRecordWriter()
    let bytes = writer.update(
      log.header(partition: 0, from: 0, to: 2, examples: 2), ids: [1, 2, 3, 4, 5], gradients: [.nan, 1, 21, -20, 1], squares: [1, .infinity, 1, 1, -1], count: 5)
    #expect(replica.apply(bytes, offset: 0).isAccepted)
    #expect(replica.counts.valuesRefused == 4)
    #expect(replica.row(1).z == 0 && replica.row(1).n == 1)
    #expect(replica.row(2).z == 1 && replica.row(2).n == 0)
    #expect(replica.row(3).z == 0 && replica.row(4).z == -20)
    #expect(replica.acceptance.progress(of: 0).offset == 2)
  }

  @Test func labelTimesOnlyRise() {
    let specification = linear()
    let replica = ShardReplica(specification: specification, shard: 0)
    #expect(replica.labelsThroughMilliseconds == .min)
    let writer = UpdateRecordWriter()
    for (i, time) in [(0, Int64(5000)), (1, 3000), (2, UpdateHeader.noTime), (3, 9000)] {
      let from = Int64(i)
      let header = UpdateHeader(
        kind: .update, specHash: specification.hash, sourcePartition: 0, from: from, to: SourceProgress(offset: from + 1),
        eventTimeFromMilliseconds: time, eventTimeThroughMilliseconds: time)
      #expect(replica.apply(writer.update(header, ids: [1], gradients: [1], squares: [1], count: 1), offset: from).isAccepted)
    }
    #expect(replica.labelsThroughMilliseconds == 9000)
    // A dropped record's times are nobody's.
    let late = UpdateHeader(
      kind: .update, specHash: specification.hash, sourcePartition: 0, from: 0, to: SourceProgress(offset: 1), eventTimeFromMilliseconds: 1,
      eventTimeThroughMilliseconds: 99_000)
    #expect(replica.apply(writer.update(late, ids: [], gradients: [], squares: [], count: 0), offset: 4) == .dropped(.stale))
    #expect(replica.labelsThroughMilliseconds == 9000)
  }

  @Test func aBasisThatDiffersIsTold() {
    let specification = linear()
    let log = LogFixture(specification, seed: 1)
    let replica = ShardReplica(specification: specification, shard: 0)
    let writer = UpdateRecordWriter()
    func update(_ from: Int64, basis: (offset: Int64, stateHash: UInt64)) {
      var header = log.header(partition: 0, from: from, to: from + 1)
      header.basis = basis
      #expect(replica.apply(writer.update(header, ids: [1], gradients: [1], squares: [1], count: 1), offset: replica.nextOffset).isAccepted)
    }
    update(0, basis: (0, replica.stateHash))
    let first = replica.stateHash
    update(1, basis: (-1, 0))
    update(2, basis: (1, first))
    update(3, basis: (500, 1))  // an offset that this replica has not passed
    #expect(replica.divergence == nil)
    update(4, basis: (1, first ^ 1))
    #expect(replica.divergence == Divergence(recordOffset: 4, trainer: 9, basisOffset: 1, theirs: first ^ 1, ours: first))
  }

  @Test func validationCountsWhenItsRecordDoes() {
    let specification = linear()
    let replica = ShardReplica(specification: specification, shard: 0)
    let writer = UpdateRecordWriter()
    var generator = SeededGenerator(seed: 12)
    print("validation: seed 12")
    var exact: [(sum: Double, label: Double)] = []
    var reused = ValidationSample()
    for batch in 0..<100 {
      reused.removeAll()
      for _ in 0..<20 {
        let label = generator.chance(30) ? 1.0 : 0.0
        let sum = Double.random(in: -3...3, using: &generator) + label
        reused.add(sum: sum, label: label, weight: 1, loss: .logistic)
        exact.append((sum, label))
      }
      let from = Int64(batch)
      let header = UpdateHeader(
        kind: .update, specHash: specification.hash, sourcePartition: 0, from: from, to: SourceProgress(offset: from + 1),
        eventTimeFromMilliseconds: from * 10, eventTimeThroughMilliseconds: from * 10 + 9, examples: 20)
      let bytes = Array(writer.update(header, ids: [], gradients: [], squares: [], count: 0, validation: reused))
      #expect(replica.apply(bytes, offset: replica.nextOffset).isAccepted)
      // Once more: dropped, and not counted twice.
      #expect(replica.apply(bytes, offset: replica.nextOffset) == .dropped(.stale))
    }
    let totals = replica.validation
    #expect(totals.examples == 2000)
    #expect(totals.eventTimeFromMilliseconds == 0 && totals.eventTimeThroughMilliseconds == 999)
    let loss = exact.reduce(0) { $0 + Loss.logistic.loss(sum: $1.sum, label: $1.label) } / 2000
    #expect(abs(totals.logLoss - loss) < 1e-9)
    let predictions = exact.reduce(0) { $0 + Loss.logistic.score(sum: $1.sum) }
    let labels = exact.reduce(0) { $0 + $1.label }
    #expect(abs(totals.calibration - predictions / labels) < 1e-9)
    var wins = 0.0
    for p in exact where p.label == 1 { for n in exact where n.label == 0 { wins += p.sum > n.sum ? 1 : p.sum == n.sum ? 0.5 : 0 } }
    let auc = wins / (labels * (2000 - labels))
    #expect(abs(totals.auc - auc) <= totals.aucErrorMax)
    #expect(totals.aucErrorMax < 0.01)
    #expect(totals.positives == Int64(labels) && totals.negatives == 2000 - Int64(labels))
    // The window: 16 buckets of 10 examples, a batch of 20 fills one.
    let window = replica.validationWindow
    #expect(window.totals.examples == 320)
    #expect(window.totals.eventTimeFromMilliseconds == 840)
    #expect(window.course.count == 16 && window.course.last?.eventTimeThroughMilliseconds == 999)
    var merged = ValidationTotals()
    merged.merge(totals)
    merged.merge(totals)
    #expect(merged.examples == 4000 && merged.auc == totals.auc)
  }

  @Test func validationThatIsNotFiniteIsLeftOut() {
    var totals = ValidationTotals()
    var sample = ValidationSample()
    sample.add(sum: 1, prediction: .infinity, label: 1, weight: 1, loss: 1)
    sample.add(sum: 1, prediction: 1, label: 1, weight: -1, loss: 1)
    #expect(sample.isEmpty)
    sample.add(sum: 1, prediction: .greatestFiniteMagnitude, label: 1, weight: 1, loss: 1)
    sample.add(sum: 1, prediction: .greatestFiniteMagnitude, label: 1, weight: 1, loss: 1)
    totals.add(sample)
    #expect(totals.examples == 0)
  }

  @Test func scoreBinsCoverEverything() {
    #expect(ScoreBins.bin(sum: -.infinity) == 0 && ScoreBins.bin(sum: .nan) == 0 && ScoreBins.bin(sum: .infinity) == 1023)
    #expect(ScoreBins.bin(sum: 0) == 512 && ScoreBins.bin(sum: -1e-9) == 511)
  }
}
