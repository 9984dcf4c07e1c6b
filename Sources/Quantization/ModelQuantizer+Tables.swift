internal import Bundles
internal import Families
internal import Kernels

/// Families whose parameters are rows of embedding tables.
extension ModelQuantizer {
  static func write(_ model: FactorizationModel, rows: RowPrecision, into writer: BundleWriter) throws(EvaluationError) -> [String] {
    guard let converted = model.converted(rows: rows) else {
      throw EvaluationError(place: "family fm", reason: "there is no memory for \(model.table.rowCount) rows in \(rows.name)")
    }
    converted.write(into: writer)
    return ["\(model.table.rowCount) rows: \(model.table.precision.name) to \(rows.name)"]
  }

  static func write(_ model: DLRMModel, rows: RowPrecision, layers: MatrixPrecision?, into writer: BundleWriter) throws(EvaluationError) -> [String] {
    do {
      try model.converted(rows: rows, layers: layers).write(into: writer)
    } catch {
      throw EvaluationError(place: error.place, reason: error.reason)
    }
    let towers = layers.map { ["\(model.bottom.count + model.top.count) dense layers: \(model.precision) to \($0)"] } ?? []
    return ["\(model.embeddings.rowCount) rows: \(model.embeddings.precision.name) to \(rows.name)"] + towers
  }
}

extension ModelQuantizer.Target {
  /// What rows of tables become.
  var rows: RowPrecision { self == .int8 || self == .int8Rows ? .int8 : .bfloat16 }

  /// What weights of layers become; nil: they stay.
  var layers: MatrixPrecision? {
    switch self {
    case .int8: .int8
    case .bf16: .bfloat16
    case .int8Rows, .bf16Rows: nil
    }
  }
}
