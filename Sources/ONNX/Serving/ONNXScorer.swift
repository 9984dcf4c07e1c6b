// Hot: no allocation, existential or String once buffers have grown.
public import Families
public import Model

/// Scores batches with an ONNX graph. Owned by one thread.
public final class ONNXScorer: Scorer {
  private let graph: ONNXGraphModel
  private let executor: Executor
  private let denseRowBytes: Int
  private let inputCount: Int
  private let outputCount: Int
  /// Of each input: bytes in a row, where they begin in a dense row, and the copy that the executor reads.
  private let inputs: UnsafeMutablePointer<Input>
  private let outputs_: UnsafeMutablePointer<Output>
  /// Rows that go through the graph at once, so that what lies between its nodes stays in cache.
  private let chunkRows: Int
  @exclusivity(unchecked) private var inputCapacity = 0
  /// Rows whose data the graph could not compute with (an index out of range): their outputs are NaN or 0.
  @exclusivity(unchecked) public private(set) var refusedRows = 0

  private struct Input {
    var bytes: Int
    var offset: Int
    var copy: UnsafeMutableRawPointer
  }

  private struct Output {
    /// In the scorer's order.
    var place: Int
    var bytes: Int
    var element: TensorElement
    var base: UnsafeMutableRawPointer
  }

  static let chunkBytes = 1 << 20
  static let chunkRowsMin = 64
  static let chunkBytesMax = 1 << 24

  init(_ graph: ONNXGraphModel, rowsMax: Int) {
    self.graph = graph
    let rowBytes = max(1, graph.program.rowBytes)
    let least = min(Self.chunkRowsMin, Self.chunkBytesMax / rowBytes)
    chunkRows = graph.isRowByRow ? 1 : max(1, least, Self.chunkBytes / rowBytes)
    executor = Executor(graph.program, rowsMax: min(max(1, rowsMax), chunkRows))
    denseRowBytes = graph.denseRowBytes
    inputCount = graph.inputs.count
    outputCount = graph.outputs.count
    inputs = .allocate(capacity: max(1, inputCount))
    for (index, input) in graph.inputs.enumerated() {
      (inputs + index).initialize(
        to: Input(bytes: input.count * input.element.bytes, offset: input.offset, copy: .allocate(byteCount: 64, alignment: 64)))
    }
    outputs_ = .allocate(capacity: max(1, outputCount))
    super.init(model: graph, rowsMax: rowsMax)
    for index in 0..<outputCount {
      // `outputOrder[index]` is the program's output that stands at `index`.
      let output = graph.outputs[index]
      (outputs_ + index).initialize(
        to: Output(place: graph.outputOrder[index], bytes: output.count * output.element.bytes, element: output.element, base: outputs[index]))
    }
    growInputs(rows: min(max(1, rowsMax), chunkRows))
  }

  deinit {
    for index in 0..<inputCount { inputs[index].copy.deallocate() }
    inputs.deallocate()
    outputs_.deallocate()
  }

  private func growInputs(rows: Int) {
    guard rows > inputCapacity else { return }
    inputCapacity = max(rows, inputCapacity * 2)
    for index in 0..<inputCount {
      inputs[index].copy.deallocate()
      inputs[index].copy = .allocate(byteCount: max(64, inputCapacity * inputs[index].bytes), alignment: 64)
    }
  }

  public override func reserve(rows: Int) {
    super.reserve(rows: rows)
    for index in 0..<outputCount { outputs_[index].base = outputs[index] }
  }

  public override func score(_ batch: RowBatch) {
    let rows = batch.rowCount
    if rows == 0 { return }
    if rows > rowCapacity { reserve(rows: rows) }
    let chunk = min(rows, chunkRows)
    if chunk > inputCapacity { growInputs(rows: chunk) }
    guard let dense = batch.dense, batch.denseRowBytes >= denseRowBytes else {
      preconditionFailure("dense rows of \(batch.denseRowBytes) bytes where \(denseRowBytes) are due")
    }
    var first = 0
    while first < rows {
      let count = min(chunk, rows - first)
      run(dense + first * batch.denseRowBytes, stride: batch.denseRowBytes, from: first, rows: count)
      first += count
    }
    for index in 0..<outputCount where outputs_[index].element == .text { makeIndices(index, rows: rows) }
  }

  private func run(_ dense: UnsafeMutableRawPointer, stride: Int, from first: Int, rows: Int) {
    for index in 0..<inputCount {
      let input = inputs[index]
      // One input that is the whole row lies there as the graph wants it.
      if stride == input.bytes, stride % 8 == 0 {
        executor.setInput(index, dense)
        continue
      }
      var from = dense + input.offset
      var to = input.copy
      for _ in 0..<rows {
        to.copyMemory(from: from, byteCount: input.bytes)
        from += stride
        to += input.bytes
      }
      executor.setInput(index, input.copy)
    }
    for index in 0..<outputCount { executor.setOutput(outputs_[index].place, outputs_[index].base + first * outputs_[index].bytes) }
    if executor.run(rows: rows) == nil { return }
    if rows == 1 { return refuse(first) }
    // One of them cannot be computed with: each by itself tells which.
    for row in 0..<rows { run(dense + row * stride, stride: stride, from: first + row, rows: 1) }
  }

  private func refuse(_ row: Int) {
    refusedRows &+= 1
    for index in 0..<outputCount {
      let output = outputs_[index]
      let base = output.base + row * output.bytes
      switch output.element {
      case .float32: base.assumingMemoryBound(to: Float.self).update(repeating: .nan, count: output.bytes / 4)
      case .float64: base.assumingMemoryBound(to: Double.self).update(repeating: .nan, count: output.bytes / 8)
      default: base.initializeMemory(as: UInt8.self, repeating: 0, count: output.bytes)
      }
    }
  }

  /// Hashes of texts to indices into the output's table.
  private func makeIndices(_ index: Int, rows: Int) {
    let values = outputs_[index].base.assumingMemoryBound(to: UInt64.self)
    for place in 0..<(rows * outputs_[index].bytes / 8) { values[place] = graph.textIndices.index(of: values[place]) }
  }

  /// Not sharded: `finish` does all of it.
  public override func partial(shard: Int, _ batch: RowBatch, into accumulators: UnsafeMutablePointer<Float>) {}
  public override func finish(_ accumulators: UnsafePointer<Float>, _ batch: RowBatch) { score(batch) }
}
