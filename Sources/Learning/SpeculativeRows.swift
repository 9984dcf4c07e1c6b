// Hot: no allocation, existential, String, await or Foundation per example in the steady state.
internal import CKernels
internal import Model
internal import UpdateLog

/// The rows that a trainer's own records will have changed once they are applied, and the sums of the batch
/// being built (see `mr_speculation.h`).
///
/// Why: a plain batch gradient is computed at weights that miss the records in flight and the examples before
/// it in its own batch, and learns worse for it. Here each example steps the rows as it is learned, so the
/// next example sees it, and a single trainer learns like a strictly sequential one. What is shipped is
/// still the sums (Σg, Σg²) of each record: this is nobody's state but the trainer's, it may be cleared at
/// any time, and replicas never see it.
final class SpeculativeRows {
  private let native: OpaquePointer
  private let shards: [ShardReplica]
  private let tables: UnsafeMutablePointer<OpaquePointer?>
  private var ftrl: mr_ftrl
  private let isCount: Bool
  private let bound: Float
  private let gradientBound: Double
  /// Memory ran out: what is in here is not whole. Clear, and start over.
  private(set) var isBroken = false
  private var columns: (gradients: UnsafeMutablePointer<Float>, squares: UnsafeMutablePointer<Float>, capacity: Int)

  init(specification: ModelSpecification, set: ReplicaSet) {
    shards = set.shards
    guard let native = mr_speculation_create(UInt32(shards.count), 1 << 14) else { preconditionFailure("no memory for speculative rows") }
    self.native = native
    tables = .allocate(capacity: shards.count)
    tables.initialize(repeating: nil, count: shards.count)
    switch specification.learning.optimizer {
    case .ftrl(let alpha, let beta, let l1, let l2):
      ftrl = mr_ftrl(alpha: Float(alpha), beta: Float(beta), l1: Float(l1), l2: Float(l2))
    }
    isCount = specification.loss == nil
    bound = Float(specification.learning.gradientBound)
    gradientBound = specification.learning.gradientBound
    columns = (.allocate(capacity: 64), .allocate(capacity: 64), 64)
  }

  deinit {
    mr_speculation_destroy(native)
    tables.deallocate()
    columns.gradients.deallocate()
    columns.squares.deallocate()
  }

  /// Rows with something in flight.
  var count: Int { Int(mr_speculation_rows(native)) }

  func removeAll() {
    mr_speculation_clear(native)
    isBroken = false
  }

  /// Starts the batch that will be sent as records `sequence`.
  func begin(_ sequence: Int64) {
    for shard in shards.indices { tables[shard] = shards[shard].tablePointer }
    mr_speculation_begin(native, sequence)
  }

  /// The margin of one row of entries, at the weights that it will meet.
  @inline(__always)
  func predict(ids: UnsafePointer<UInt64>, values: UnsafePointer<Float>, count: Int) -> Float {
    mr_speculation_predict(native, tables, ids, values, count)
  }

  /// Learns the row that was just predicted.
  @inline(__always)
  func learn(ids: UnsafePointer<UInt64>, values: UnsafePointer<Float>, count: Int, gradient: Float, shards: UnsafePointer<UInt8>?) {
    if !mr_speculation_learn(native, &ftrl, ids, values, count, gradient, bound, shards) { isBroken = true }
  }

  /// One more example of a count model.
  func count(id: UInt64, shards: UnsafePointer<UInt8>?) {
    var id = id
    var one: Float = 1
    if !mr_speculation_count(native, &id, &one, 1, shards) { isBroken = true }
  }

  func batchRows(shard: Int) -> Int { mr_speculation_batch_rows(native, UInt32(shard)) }

  /// The batch's rows of a shard, within what a replica takes from a record over `examples` examples.
  func batchSums(
    shard: Int, examples: Int32, ids: UnsafeMutablePointer<UInt64>, gradients: UnsafeMutablePointer<Float>,
    squares: UnsafeMutablePointer<Float>
  ) -> Int {
    let bounds = ShardReplica.bounds(gradientBound: gradientBound, examples: examples)
    return mr_speculation_batch_sums(native, UInt32(shard), bounds.gradient, bounds.square, ids, gradients, squares)
  }

  /// The batch's records are written: it has no rows any more, and stays in flight.
  func end() { mr_speculation_begin(native, .max) }

  func batchCounts(shard: Int, rows: Int, ids: UnsafeMutablePointer<UInt64>, counts: UnsafeMutablePointer<Int64>) -> Int {
    if rows > columns.capacity {
      columns.gradients.deallocate()
      columns.squares.deallocate()
      columns = (.allocate(capacity: rows * 2), .allocate(capacity: rows * 2), rows * 2)
    }
    let written = mr_speculation_batch_sums(
      native, UInt32(shard), .greatestFiniteMagnitude, .greatestFiniteMagnitude, ids, columns.gradients, columns.squares)
    // Whole numbers far below 2^24: exact.
    for row in 0..<written { counts[row] = Int64(columns.gradients[row]) }
    return written
  }

  /// The replica has applied our record of batch `sequence`.
  func applied(shard: Int, _ record: UpdateRecordView, through sequence: Int64) {
    let count = record.rowCount
    guard count > 0, let ids = record.idBytes.baseAddress else { return }
    if isCount {
      mr_speculation_applied(native, shards[shard].tablePointer, nil, ids, count, sequence)
    } else {
      mr_speculation_applied(native, shards[shard].tablePointer, &ftrl, ids, count, sequence)
    }
  }
}
