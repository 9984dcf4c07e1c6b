public import Model

/// A model whose parameters came from a file. Immutable once made, and shared by all threads that score with it; each takes a `Scorer`.
open class LoadedModel: @unchecked Sendable {
  /// What a dense row is made of; empty for families that take sparse rows alone.
  public let inputs: [InputTensor]
  /// At least one. The first one's first element is the score of whoever wants a single number.
  public let outputs: [OutputTensor]
  /// How named features become rows, for families that hash them (FM, DLRM, linear); nil for those that take tensors.
  public let specification: ModelSpecification?
  /// Floats of one row's accumulator; see `Scorer.partial`.
  public let accumulatorWidth: Int
  /// How many shards its parameters are cut into.
  public let shards: Int

  public init(
    inputs: [InputTensor], outputs: [OutputTensor], specification: ModelSpecification? = nil, accumulatorWidth: Int = 0, shards: Int = 1
  ) {
    precondition(!outputs.isEmpty, "a model has an output")
    self.inputs = inputs
    self.outputs = outputs
    self.specification = specification
    self.accumulatorWidth = accumulatorWidth
    self.shards = shards
  }

  /// "trees", "fm", "dlrm", "onnx", …: what bundles and people call it.
  open var family: String { "" }
  /// Parameters, in bytes, as held in memory or mapped.
  open var parameterBytes: Int { 0 }
  /// Whether NaN and infinities in dense inputs are the sender's mistake. Trees and graphs take them for missing values.
  open var refusesNonFinite: Bool { false }
  /// A scorer for one thread. May allocate its buffers for `rowsMax` rows; it grows when more come.
  open func makeScorer(rowsMax: Int) -> Scorer { preconditionFailure("\(Self.self) makes no scorer") }
}

/// Scores batches with one model; owned by one thread and reused. No allocation once buffers have grown.
///
/// Every family is split the same way: `partial` is one shard's contribution to each row's accumulator, accumulators of all shards are
/// added in shard order, `finish` makes the outputs. `score` does all of it, and may take a shorter way to the same outputs.
open class Scorer {
  public let model: LoadedModel
  /// For each output, [rows] + shape, contiguous: room for the rows of the last `score` or `finish`.
  public private(set) var outputs: [UnsafeMutableRawPointer]
  public private(set) var rowCapacity: Int

  public init(model: LoadedModel, rowsMax: Int) {
    self.model = model
    rowCapacity = max(1, rowsMax)
    outputs = []
    outputs = model.outputs.map { Self.buffer(rows: rowCapacity, $0) }
  }

  deinit { for output in outputs { output.deallocate() } }

  /// The first output's elements; for models whose first output is float32.
  public var scores: UnsafeMutablePointer<Float> { outputs[0].assumingMemoryBound(to: Float.self) }

  /// Scores all rows of `batch` into `outputs`.
  open func score(_ batch: RowBatch) { preconditionFailure("\(Self.self) does not score") }

  /// Adds what shard `shard` contributes to `accumulators` ([rows, accumulatorWidth], row-major).
  open func partial(shard: Int, _ batch: RowBatch, into accumulators: UnsafeMutablePointer<Float>) {
    preconditionFailure("\(Self.self) is not sharded")
  }

  /// Makes the outputs from the sums over all shards.
  open func finish(_ accumulators: UnsafePointer<Float>, _ batch: RowBatch) { preconditionFailure("\(Self.self) is not sharded") }

  /// Makes room for `rows` in the outputs; what they held is lost. Subclasses call it first and grow what is theirs.
  open func reserve(rows: Int) {
    guard rows > rowCapacity else { return }
    rowCapacity = max(rows, rowCapacity * 2)
    for index in outputs.indices {
      outputs[index].deallocate()
      outputs[index] = Self.buffer(rows: rowCapacity, model.outputs[index])
    }
  }

  private static func buffer(rows: Int, _ output: OutputTensor) -> UnsafeMutableRawPointer {
    .allocate(byteCount: max(64, rows * output.count * output.element.bytes), alignment: 64)
  }
}
