import Endpoint
import Events
import Model
import Telemetry
import UpdateLog

extension ReplicaSet {
  /// Every row that these requests ask for gets a weight, so that benches look rows up and do not miss them.
  func fill(_ specification: ModelSpecification, for requests: some Sequence<UnsafeRawBufferPointer>) {
    let reader = InferRequestReader(limits: EventLimits(), inputsMax: 64)
    let tensors = TensorRows(specification: specification, inputsMax: 64, unknownInputs: .refused)
    let batch = RowBatch()
    for request in requests where reader.read(request) { _ = tensors.append(reader.request, to: batch) }
    let ids = Set((0..<batch.entryCount).map { batch.ids[$0] })
    let writer = UpdateRecordWriter()
    for (shard, replica) in shards.enumerated() {
      let own = ids.filter { RowID.shard(of: $0, count: shards.count) == shard }.sorted()
      let header = UpdateHeader(kind: .update, specHash: specification.hash, sourcePartition: 0, from: 0, to: SourceProgress(offset: 1), examples: 1)
      let gradients = own.map { Float($0 % 64) / 32 - 1 }
      let record = writer.update(header, ids: own, gradients: gradients, squares: gradients.map { $0 * $0 }, count: own.count)
      precondition(replica.apply(record, offset: 0).isAccepted, "the bench's own record is good")
      replica.noteNews(nanoseconds: MonotonicClock.nanoseconds())
    }
  }
}
