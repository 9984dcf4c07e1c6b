// Hot: no allocation once buffers have grown.
internal import Glibc
internal import Model

/// Scores batches with one linear model; owned by one thread.
final class LinearScorer: Scorer {
  private let linear: LinearModel
  private let weights: UnsafeMutableBufferPointer<Float>
  private let biases: UnsafeMutableBufferPointer<Float>
  private let featureCount: Int
  private let offset: Int
  /// The sums of one row.
  private let sums: UnsafeMutablePointer<Float>

  init(_ model: LinearModel, rowsMax: Int) {
    linear = model
    // Its own copies: arrays would be retained and checked in each row.
    weights = .allocate(capacity: max(1, model.weights.count))
    _ = weights.initialize(from: model.weights)
    biases = .allocate(capacity: model.biases.count)
    _ = biases.initialize(from: model.biases)
    featureCount = model.featureCount
    offset = model.inputs[0].offset
    sums = .allocate(capacity: model.biases.count)
    super.init(model: model, rowsMax: rowsMax)
  }

  deinit {
    weights.deallocate()
    biases.deallocate()
    sums.deallocate()
  }

  override func score(_ batch: RowBatch) {
    reserve(rows: batch.rowCount)
    for row in 0..<batch.rowCount {
      add(row, batch, to: sums, startingWithBias: true)
      answer(sums, row)
    }
  }

  override func partial(shard: Int, _ batch: RowBatch, into accumulators: UnsafeMutablePointer<Float>) {
    for row in 0..<batch.rowCount { add(row, batch, to: accumulators + row * biases.count, startingWithBias: false) }
  }

  override func finish(_ accumulators: UnsafePointer<Float>, _ batch: RowBatch) {
    reserve(rows: batch.rowCount)
    for row in 0..<batch.rowCount { answer(accumulators + row * biases.count, row) }
  }

  private func add(_ row: Int, _ batch: RowBatch, to sums: UnsafeMutablePointer<Float>, startingWithBias: Bool) {
    precondition(batch.denseRowBytes >= offset + 4 * featureCount, "dense rows of \(batch.denseRowBytes) bytes for \(featureCount) features")
    let count = biases.count
    if startingWithBias {
      for output in 0..<count { sums[output] = biases[output] }
    } else {
      for output in 0..<count { sums[output] += biases[output] }
    }
    guard let dense = batch.dense else { return }
    let values = dense + row * batch.denseRowBytes + offset
    for feature in 0..<featureCount {
      let value = values.loadUnaligned(fromByteOffset: 4 * feature, as: Float.self)
      if value.isNaN { continue }
      let own = feature * count
      for output in 0..<count { sums[output] += value * weights[own + output] }
    }
  }

  private func answer(_ sums: UnsafePointer<Float>, _ row: Int) {
    let count = biases.count
    switch linear.link {
    case .sigmoid:
      for output in 0..<count { scores[row * count + output] = 1 / (1 + expf(-sums[output])) }
    case .exponential:
      for output in 0..<count { scores[row * count + output] = expf(sums[output]) }
    case .step:
      for output in 0..<count { scores[row * count + output] = sums[output] > 0 ? 1 : 0 }
    case .softmax:
      var largest = sums[0]
      for output in 1..<max(1, count) { largest = max(largest, sums[output]) }
      var sum = 0.0
      for output in 0..<count {
        let power = expf(sums[output] - largest)
        scores[row * count + output] = power
        sum += Double(power)
      }
      for output in 0..<count { scores[row * count + output] /= Float(sum) }
    case .argmax:
      var best = 0
      for output in 1..<max(1, count) where sums[output] > sums[best] { best = output }
      scores[row] = Float(best)
    default:
      for output in 0..<count { scores[row * count + output] = sums[output] }
    }
  }
}
