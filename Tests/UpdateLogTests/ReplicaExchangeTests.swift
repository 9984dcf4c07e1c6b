import Model
import Testing
@testable import UpdateLog

@Suite struct ReplicaExchangeTests {
  private static let specification = ModelSpecification(
    name: "m", family: .linear(loss: .logistic), features: [.categorical("a")], shards: 1)

  private func apply(_ replica: ShardReplica, ids: Range<UInt64>, from: Int64) {
    let writer = UpdateRecordWriter()
    let header = UpdateHeader(
      kind: .update, specHash: Self.specification.hash, sourcePartition: 0, from: from, to: SourceProgress(offset: from + 1), examples: 1)
    let bytes = writer.update(header, rows: ids.count) { toIDs, gradients, squares in
      for (row, id) in ids.enumerated() {
        toIDs[row] = id
        gradients[row] = Float(row % 7) - 3
        squares[row] = 1
      }
      return ids.count
    }
    #expect(replica.apply(bytes, offset: replica.nextOffset).isAccepted)
  }

  @Test func aReplicaTakesAnothersStateInPlace() {
    let broken = ReplicaSet(specification: Self.specification)
    apply(broken.shards[0], ids: 1..<5_000, from: 0)
    let whole = ReplicaSet(specification: Self.specification)
    apply(whole.shards[0], ids: 10..<40, from: 0)
    apply(whole.shards[0], ids: 20..<60, from: 1)
    let hash = whole.shards[0].stateHash
    let weight = whole.shards[0].row(25).w
    let rows = RowBatch()
    rows.append(id: 25, value: 1)
    rows.endRow()
    rows.append(id: 4_000, value: 1)
    rows.endRow()
    let reader = broken.scoreReader()
    var sums: [Float] = [0, 0]
    var position: [Int64] = [0]
    broken.shards[0].become(whole.shards[0])
    #expect(broken.shards[0].stateHash == hash)
    #expect(broken.shards[0].recomputedStateHash() == hash)
    #expect(broken.shards[0].publishedOffset == 2)
    #expect(broken.shards[0].acceptance.progress(of: 0).offset == 2)
    #expect(reader.sums(rows, into: &sums, position: &position) != nil)
    #expect(sums == [weight, 0] && position == [2])
    apply(broken.shards[0], ids: 1..<3_000, from: 2)
    #expect(broken.shards[0].recomputedStateHash() == broken.shards[0].stateHash)
  }
}
