public import Bundles
public import Families

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
  /// - Throws: when the family has nothing to gain, or memory is out.
  public static func write(_ model: LoadedModel, as target: Target, into writer: BundleWriter) throws -> [String] {
    switch model {
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
