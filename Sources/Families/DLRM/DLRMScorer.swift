// Hot: no allocation once buffers have grown.
internal import CKernels
internal import Kernels
internal import Model

/// See `Scorer`. Rows go through in blocks, so that what lies between the steps stays in cache.
final class DLRMScorer: Scorer {
  /// Rows of one block.
  static let blockRows = 64

  private let dlrm: DLRMModel
  private let embeddings: EmbeddingTable
  private let bottom: DenseChain
  private let top: DenseChain
  private let link: OutputLink
  private let width: Int
  private let tables: Int
  private let columns: Int
  /// Numbers of the batch's dense rows.
  private let denseCount: Int
  /// Whether vectors come from sparse entries: then the numbers of a row are gathered, otherwise they are read where they lie.
  private let gathers: Bool
  private let outputCount: Int
  private let interactionWidth: Int
  private let isMean: Bool
  private let shardCount: UInt32
  private let fieldCount: UInt32
  private let accumulatorFields: UnsafeMutablePointer<mr_embedding_field>
  private let vectorFields: UnsafeMutablePointer<mr_embedding_field>
  private let counts: UnsafeMutablePointer<UInt32>

  private let rows = ScratchBuffer<UInt32>()
  private let slots = ScratchBuffer<UInt32>()
  private let weights = ScratchBuffer<Float>()
  private let numbers = ScratchBuffer<Float>()
  private let vectors = ScratchBuffer<Float>()
  private let interactions = ScratchBuffer<Float>()
  private let scratch = MatrixScratch()

  init(_ model: DLRMModel, rowsMax: Int) {
    dlrm = model
    embeddings = model.embeddings
    bottom = model.bottomChain
    top = model.topChain
    link = model.link
    width = model.embeddings.width
    tables = model.tableRows.count
    denseCount = model.denseCount + model.layout.numerics.count
    columns = model.bottomChain.inputs
    gathers = model.layout.vectorCount > 0
    outputCount = model.topChain.outputs
    // A whole number of vectors, so that rows begin aligned.
    interactionWidth = (model.topChain.inputs + 15) / 16 * 16
    isMean = model.pooling == .mean
    shardCount = UInt32(model.shards)
    fieldCount = UInt32(model.vectorFields.count)
    accumulatorFields = .allocate(capacity: max(1, model.accumulatorFields.count))
    accumulatorFields.initialize(from: model.accumulatorFields, count: model.accumulatorFields.count)
    vectorFields = .allocate(capacity: max(1, model.vectorFields.count))
    vectorFields.initialize(from: model.vectorFields, count: model.vectorFields.count)
    counts = .allocate(capacity: tables + 1)
    super.init(model: model, rowsMax: rowsMax)
  }

  deinit {
    accumulatorFields.deallocate()
    vectorFields.deallocate()
    counts.deallocate()
  }

  override func score(_ batch: RowBatch) {
    reserve(rows: batch.rowCount)
    let fields = fields(of: batch)
    var first = 0
    while first < batch.rowCount {
      let count = min(Self.blockRows, batch.rowCount - first)
      let vectors = vectors.reserve(count * (tables + 1) * width)
      vectors.update(repeating: 0, count: count * (tables + 1) * width)
      add(fields, to: vectorFields, slotsPerRow: tables + 1, batch, first, count, shard: 0, of: 1, into: vectors)
      finishBlock(batch, fields, first, count, vectors)
      first += count
    }
    link.apply(scores, rows: batch.rowCount, outputs: outputCount)
  }

  override func partial(shard: Int, _ batch: RowBatch, into accumulators: UnsafeMutablePointer<Float>) {
    precondition(shard >= 0 && shard < Int(shardCount), "shard \(shard) of \(shardCount)")
    let fields = fields(of: batch)
    var first = 0
    while first < batch.rowCount {
      let count = min(Self.blockRows, batch.rowCount - first)
      add(
        fields, to: accumulatorFields, slotsPerRow: tables, batch, first, count, shard: UInt32(shard), of: shardCount,
        into: accumulators + first * tables * width)
      first += count
    }
  }

  override func finish(_ accumulators: UnsafePointer<Float>, _ batch: RowBatch) {
    reserve(rows: batch.rowCount)
    let fields = fields(of: batch)
    var first = 0
    while first < batch.rowCount {
      let count = min(Self.blockRows, batch.rowCount - first)
      let vectors = vectors.reserve(count * (tables + 1) * width)
      for row in 0..<count {
        (vectors + (row * (tables + 1) + 1) * width).update(from: accumulators + (first + row) * tables * width, count: tables * width)
      }
      finishBlock(batch, fields, first, count, vectors)
      first += count
    }
    link.apply(scores, rows: batch.rowCount, outputs: outputCount)
  }

  /// Which feature each entry is of: numbers below the model's count of features are followed, others are dropped where entries are routed.
  private func fields(of batch: RowBatch) -> UnsafePointer<UInt16> {
    guard let fields = batch.fields else { preconditionFailure("DLRM takes batches with fields") }
    return UnsafePointer(fields)
  }

  /// Adds the rows of entries to `slots` of `width` numbers.
  private func add(
    _ entryFields: UnsafePointer<UInt16>, to fields: UnsafePointer<mr_embedding_field>, slotsPerRow: Int, _ batch: RowBatch, _ first: Int,
    _ count: Int, shard: UInt32, of shards: UInt32, into slotted: UnsafeMutablePointer<Float>
  ) {
    let start = batch.start(ofRow: first)
    let entries = Int(batch.rowEnds[first + count - 1]) - start
    let rows = rows.reserve(entries)
    let slots = slots.reserve(entries)
    let weights = weights.reserve(entries)
    let kept = mr_embedding_route(
      fields, fieldCount, UInt32(slotsPerRow), batch.ids, batch.values, entryFields, Int32(start), batch.rowEnds + first, Int32(count), shard,
      shards, isMean, rows, weights, slots, counts)
    var c = embeddings.c
    mr_embedding_add(&c, rows, weights, slots, kept, slotted, width)
  }

  /// From vectors (all but the first of each row) to margins.
  private func finishBlock(
    _ batch: RowBatch, _ fields: UnsafePointer<UInt16>, _ first: Int, _ count: Int, _ vectors: UnsafeMutablePointer<Float>
  ) {
    let vectorStride = (tables + 1) * width
    if gathers {
      let numbers = gather(batch, fields, first, count)
      bottom.run(numbers, xStride: columns, rows: count, into: vectors, yStride: vectorStride, scratch: scratch)
    } else {
      let (dense, stride) = denseRows(batch)
      bottom.run(dense + first * stride, xStride: stride, rows: count, into: vectors, yStride: vectorStride, scratch: scratch)
    }
    let interactions = interactions.reserve(count * interactionWidth)
    mr_dot_interaction(vectors, vectorStride, UInt32(tables + 1), UInt32(width), Int32(count), interactions, interactionWidth)
    top.run(interactions, xStride: interactionWidth, rows: count, into: scores + first * outputCount, yStride: outputCount, scratch: scratch)
  }

  private func denseRows(_ batch: RowBatch) -> (UnsafePointer<Float>, stride: Int) {
    guard let dense = batch.dense, batch.denseRowBytes >= denseCount * 4, batch.denseRowBytes % 4 == 0 else {
      preconditionFailure("dense rows of \(batch.denseRowBytes) bytes where \(denseCount) numbers are due")
    }
    return (UnsafePointer(dense.assumingMemoryBound(to: Float.self)), batch.denseRowBytes / 4)
  }

  private func gather(_ batch: RowBatch, _ entryFields: UnsafePointer<UInt16>, _ first: Int, _ count: Int) -> UnsafePointer<Float> {
    let numbers = numbers.reserve(count * columns)
    numbers.update(repeating: 0, count: count * columns)
    if denseCount > 0 {
      let (dense, stride) = denseRows(batch)
      for row in 0..<count { (numbers + row * columns).update(from: dense + (first + row) * stride, count: denseCount) }
    }
    mr_embedding_route_dense(
      vectorFields, fieldCount, batch.values, entryFields, Int32(batch.start(ofRow: first)), batch.rowEnds + first, Int32(count), numbers, columns)
    return UnsafePointer(numbers)
  }
}
