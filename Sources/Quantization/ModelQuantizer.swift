public import Bundles
public import Families
internal import Kernels
public import Model
internal import ONNX

/// Models in smaller numbers.
public enum ModelQuantizer {
  public enum Target: String, Sendable, CaseIterable {
    /// All that can be: weights of layers, rows of tables.
    case int8, bf16
    /// Rows of embedding tables and factors alone.
    case int8Rows = "int8-rows"
    case bf16Rows = "bf16-rows"
  }

  /// Adds the quantized model to `writer`, whose manifest is the original's.
  /// - Returns: what was changed, in words.
  /// - Parameter calibration: rows whose activations decide the scales of static int8; nil: dynamic, each row has its own.
  /// - Throws: when the family has nothing to gain, or memory is out.
  public static func write(_ model: LoadedModel, as target: Target, calibration: [RowBatch]? = nil, into writer: BundleWriter) throws -> [String] {
    if calibration != nil, !(model is ONNXGraphModel) || target != .int8 {
      throw EvaluationError(place: "family \(model.family)", reason: "static scales are for layers of ONNX graphs in int8: leave --static out")
    }
    switch model {
    case let model as ONNXGraphModel:
      guard target == .int8 || target == .bf16 else {
        throw EvaluationError(place: "family onnx", reason: "\(target.rawValue) is for embedding tables: take int8 or bf16")
      }
      guard model.denseLayerCount > 0 else {
        throw EvaluationError(place: "family onnx", reason: "there is nothing to gain: no Gemm or MatMul of the graph has constant weights in single precision")
      }
      let inputs = try calibration.map { try model.calibrated(on: $0) } ?? []
      let precision: MatrixPrecision = target == .int8 ? .int8 : .bfloat16
      try model.converted(to: precision, layerInputs: inputs).write(into: writer)
      let scales = target == .bf16 ? "" : calibration == nil ? ", scales of activations by row" : ", scales of activations calibrated"
      return ["\(model.denseLayerCount) dense layers in \(target.rawValue)\(scales)"]
    case is TreeModel:
      throw EvaluationError(
        place: "family trees",
        reason: "there is nothing to gain: trees compare, they do not multiply, and their nodes are packed as small as the thresholds allow when the bundle is loaded")
    case let model as FactorizationModel: return try write(model, rows: target.rows, into: writer)
    case let model as DLRMModel: return try write(model, rows: target.rows, layers: target.layers, into: writer)
    case is LinearModel:
      throw EvaluationError(place: "family linear", reason: "there is nothing to gain: a few weights that fit any cache")
    default:
      throw EvaluationError(place: "family \(model.family)", reason: "this build does not quantize it")
    }
  }
}
