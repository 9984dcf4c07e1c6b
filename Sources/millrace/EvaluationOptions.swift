import ArgumentParser
import Bundles
import Families
import Foundation
import ModelStore
import Quantization

/// A bundle, loaded.
struct OpenedModel {
  let bundle: ModelBundle
  let model: LoadedModel

  init(path: String, tables: TableResidence = .hugePages()) throws {
    do {
      bundle = try ModelBundle.open(path: path)
      model = try ModelStore.load(bundle, tables: tables)
    } catch { throw CleanFailure("\(error)") }
  }
}

/// Rows from a file, for commands that score.
enum EvaluationFile {
  static func rows(_ path: String, label: String?, model: LoadedModel, rowsMax: Int) throws -> EvaluationRows {
    do {
      let rows = try EvaluationRows(model: model)
      try rows.append(path: path, label: label, rowsMax: rowsMax)
      guard rows.rowCount > 0 else { throw EvaluationError(place: path, reason: "has no rows") }
      return rows
    } catch { throw CleanFailure("\(error)") }
  }

  static func generated(_ count: Int, seed: UInt64, model: LoadedModel) throws -> EvaluationRows {
    do {
      let rows = try EvaluationRows(model: model)
      try rows.append(generated: count, seed: seed)
      return rows
    } catch { throw CleanFailure("\(error)") }
  }
}

/// A number with as many digits as say something; "-" when there is none.
func figure(_ value: Double, _ digits: Int = 5) -> String { value.isFinite ? String(format: "%.\(digits)f", value) : "-" }

/// JSON has no NaN.
func jsonNumber(_ value: Double) -> Any { value.isFinite ? value : NSNull() }
