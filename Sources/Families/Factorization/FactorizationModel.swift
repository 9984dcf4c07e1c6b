internal import CKernels
public import Kernels
public import Model

/// A factorization machine of second order (Rendle, "Factorization Machines", ICDM 2010) over hashed features: for each output
/// bias + Σ w x + Σ pairs <v, v'> x x', then the link.
///
/// Each sparse entry of a row (but the bias of linear models) has the row `EmbeddingTable.row(of: id, rowCount:)` of one table: the linear
/// weights of all outputs in float32, then the factors of all outputs in the table's precision. Numeric features are entries with their value.
public final class FactorizationModel: LoadedModel, @unchecked Sendable {
  public static let outputsMax = 256

  /// Heads are linear weights [outputs], values are factors [outputs, factors].
  public let table: EmbeddingTable
  /// One for each output.
  public let bias: [Float]
  /// Factors of one output (k).
  public let factors: Int
  public let link: OutputLink

  /// Nil when the table's rows are not `bias.count` linear weights and as many times some number of values, or there are no rows or outputs.
  /// `specification`: what makes the entries; its `shards` is how many shards the rows are cut into.
  public convenience init?(table: EmbeddingTable, bias: [Float], link: OutputLink, specification: ModelSpecification?) {
    guard Self.fits(table: table, bias: bias) else { return nil }
    self.init(checked: table, bias: bias, link: link, specification: specification)
  }

  static func fits(table: EmbeddingTable, bias: [Float]) -> Bool {
    (1...outputsMax).contains(bias.count) && table.rowCount > 0 && table.headWidth == bias.count && table.width % bias.count == 0
  }

  /// `fits` holds.
  init(checked table: EmbeddingTable, bias: [Float], link: OutputLink, specification: ModelSpecification?) {
    self.table = table
    self.bias = bias
    self.link = link
    factors = table.width / bias.count
    super.init(
      inputs: [], outputs: [OutputTensor(name: "score", shape: [bias.count])], specification: specification,
      accumulatorWidth: bias.count * (table.width / bias.count + 2), shards: specification?.shards ?? 1)
  }

  public override var family: String { "fm" }
  public override var parameterBytes: Int { table.byteCount + bias.count * 4 }
  public override func makeScorer(rowsMax: Int) -> Scorer { FactorizationScorer(self, rowsMax: rowsMax) }

  /// The same model with its factors in another precision; linear weights and bias stay as they are. Nil when memory is out.
  public func converted(rows precision: RowPrecision) -> FactorizationModel? {
    table.converted(to: precision).flatMap { FactorizationModel(table: $0, bias: bias, link: link, specification: specification) }
  }
}

/// See `Scorer`. The short way is the long one: one partial over all shards, finished.
final class FactorizationScorer: Scorer {
  private let table: EmbeddingTable
  private let link: OutputLink
  private let outputCount: Int
  private let factors: Int
  private let width: Int
  private let shardCount: UInt32
  private let bias: UnsafeMutablePointer<Float>
  private let rows = ScratchBuffer<UInt32>()
  private let weights = ScratchBuffer<Float>()
  private let ends = ScratchBuffer<Int32>()
  private let sums = ScratchBuffer<Float>()

  init(_ model: FactorizationModel, rowsMax: Int) {
    table = model.table
    link = model.link
    outputCount = model.bias.count
    factors = model.factors
    width = model.accumulatorWidth
    shardCount = UInt32(model.shards)
    bias = .allocate(capacity: model.bias.count)
    bias.initialize(from: model.bias, count: model.bias.count)
    super.init(model: model, rowsMax: rowsMax)
  }

  deinit { bias.deallocate() }

  override func score(_ batch: RowBatch) {
    let count = batch.rowCount * width
    let sums = sums.reserve(count)
    sums.update(repeating: 0, count: count)
    add(shard: 0, of: 1, batch, into: sums)
    finish(sums, batch)
  }

  override func partial(shard: Int, _ batch: RowBatch, into accumulators: UnsafeMutablePointer<Float>) {
    precondition(shard >= 0 && shard < Int(shardCount), "shard \(shard) of \(shardCount)")
    add(shard: UInt32(shard), of: shardCount, batch, into: accumulators)
  }

  private func add(shard: UInt32, of shards: UInt32, _ batch: RowBatch, into accumulators: UnsafeMutablePointer<Float>) {
    let rowCount = Int32(batch.rowCount)
    let rows = rows.reserve(batch.entryCount)
    let weights = weights.reserve(batch.entryCount)
    let ends = ends.reserve(batch.rowCount)
    // Every row is in the table: that is how they are made.
    _ = mr_embedding_route_shared(
      UInt32(table.rowCount), RowID.bias, batch.ids, batch.values, batch.rowEnds, rowCount, shard, shards, rows, weights, ends)
    var c = table.c
    mr_fm_partial(&c, UInt32(outputCount), rows, weights, ends, rowCount, accumulators)
  }

  override func finish(_ accumulators: UnsafePointer<Float>, _ batch: RowBatch) {
    reserve(rows: batch.rowCount)
    mr_fm_finish(UInt32(outputCount), UInt32(factors), bias, accumulators, Int32(batch.rowCount), scores)
    link.apply(scores, rows: batch.rowCount, outputs: outputCount)
  }
}
