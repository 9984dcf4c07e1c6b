internal import Kernels
public import Model

/// All shards of one model, held in this process.
public final class ReplicaSet: @unchecked Sendable {
  public let specification: ModelSpecification
  /// In shard order.
  public let shards: [ShardReplica]

  public init(specification: ModelSpecification) {
    self.specification = specification
    shards = (0..<specification.shards).map { ShardReplica(specification: specification, shard: $0) }
  }

  /// `shards` in shard order, all of `specification`.
  public init(specification: ModelSpecification, shards: [ShardReplica]) {
    precondition(shards.count == specification.shards, "\(shards.count) of \(specification.shards) shards")
    for (index, replica) in shards.enumerated() { precondition(replica.shard == index, "shard \(replica.shard) at place \(index)") }
    self.specification = specification
    self.shards = shards
  }

  /// Readers score from weights in `precision` from now on, kept up with every record and through restores; the state stays what it is.
  /// Owner thread. False when memory is out: some shards are then read as before.
  public func serve(in precision: ServingPrecision) -> Bool {
    guard precision == .bf16 else { return true }
    var isServed = true
    for replica in shards where !replica.table.serve() { isServed = false }
    return isServed
  }

  /// A reader for the calling thread, which owns it.
  public func scoreReader() -> ScoreReader { ScoreReader(self) }

  /// Any thread: the next offset of each shard.
  public var positions: [Int64] { shards.map(\.publishedOffset) }

  /// Any thread: when the shard that heard last of its log the longest ago did so (a record or a beacon), by the monotonic clock;
  /// 0: one has not heard of it at all. Now minus this is the staleness of what the set answers.
  public var newsNanoseconds: Int64 {
    var oldest = Int64.max
    for index in shards.indices { oldest = min(oldest, shards[index].newsNanoseconds) }
    return oldest == .max ? 0 : oldest
  }

  /// Progressive validation over all shards. Owner thread of the replicas.
  public var validation: ValidationTotals {
    var sum = ValidationTotals()
    for replica in shards { sum.merge(replica.validation) }
    return sum
  }

  /// The same over the examples accepted lately. Owner thread of the replicas.
  public var windowedValidation: ValidationTotals {
    var sum = ValidationTotals()
    for replica in shards { sum.merge(replica.validationWindow.totals) }
    return sum
  }
}
