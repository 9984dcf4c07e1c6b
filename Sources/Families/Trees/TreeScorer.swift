// Hot: no allocation once buffers have grown.
internal import Model

/// Scores batches with one forest; owned by one thread.
final class TreeScorer: Scorer {
  private let forest: PackedForest
  private let scratch: PackedForest.Scratch
  private let offset: Int
  private let input: PackedForest.Element
  private let output: PackedForest.Element
  private let ranges: [Range<Int>]

  init(_ model: TreeModel, rowsMax: Int) {
    forest = model.forest
    guard let scratch = try? PackedForest.Scratch(model.forest, rowsMax: rowsMax) else { preconditionFailure("memory is out") }
    self.scratch = scratch
    offset = model.inputs[0].offset
    // The model has checked both.
    input = TreeModel.element(model.inputs[0].element) ?? .float
    output = TreeModel.element(model.outputs[0].element) ?? .float
    ranges = (0..<model.shards).map { model.trees(ofShard: $0) }
    super.init(model: model, rowsMax: rowsMax)
  }

  /// Where the rows begin; a forest without features has none to read.
  private func rows(_ batch: RowBatch) -> UnsafeRawPointer {
    let needed = offset + forest.featureCount * (input == .float ? 4 : 8)
    precondition(batch.denseRowBytes >= needed, "dense rows of \(batch.denseRowBytes) bytes where \(needed) are due")
    guard let dense = batch.dense else { return UnsafeRawPointer(outputs[0]) }
    return UnsafeRawPointer(dense) + offset
  }

  override func score(_ batch: RowBatch) {
    reserve(rows: batch.rowCount)
    forest.score(
      rows(batch), stride: batch.denseRowBytes, of: input, count: batch.rowCount, into: outputs[0], of: output, scratch: scratch)
  }

  override func partial(shard: Int, _ batch: RowBatch, into accumulators: UnsafeMutablePointer<Float>) {
    forest.partial(
      rows(batch), stride: batch.denseRowBytes, of: input, count: batch.rowCount, trees: ranges[shard], isFirst: shard == 0, into: accumulators,
      scratch: scratch)
  }

  override func finish(_ accumulators: UnsafePointer<Float>, _ batch: RowBatch) {
    reserve(rows: batch.rowCount)
    forest.finish(accumulators, count: batch.rowCount, into: outputs[0], of: output, scratch: scratch)
  }
}
