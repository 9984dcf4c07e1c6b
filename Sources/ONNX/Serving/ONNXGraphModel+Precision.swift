internal import Families
public import Kernels
public import Model

extension ONNXGraphModel {
  /// Layers with constant weights, which can be computed in another precision.
  public var denseLayerCount: Int { layerWeights.count }

  /// The same graph with its layers in another precision. `layerInputs`: what `calibrated(on:)` found, for static int8; none: each row has a
  /// scale of its own.
  public func converted(to precision: MatrixPrecision, layerInputs: [ONNXLayerInput] = []) throws(ONNXError) -> ONNXGraphModel {
    var options = options
    options.precision = precision
    options.layerInputs = layerInputs
    return try ONNXGraphModel(model: model, options: options)
  }

  /// What comes into each layer over these rows.
  public func calibrated(on batches: [RowBatch]) throws(ONNXError) -> [ONNXLayerInput] {
    var options = options
    options.precision = .float32
    options.layerInputs = []
    let ranges = LayerRanges()
    options.ranges = ranges
    let model = try ONNXGraphModel(model: model, options: options)
    let scorer = model.makeScorer(rowsMax: batches.map(\.rowCount).max() ?? 1)
    for batch in batches { scorer.score(batch) }
    // A graph that was prepared twice before it ran row by row has noted its layers twice; those that ran are the last.
    return ranges.layers.suffix(model.denseLayerCount)
  }
}
