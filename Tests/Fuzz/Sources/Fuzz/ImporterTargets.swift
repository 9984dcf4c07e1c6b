import Families
import Importers
import Model

/// Models of LightGBM, from text.
func lightgbmModels() -> (UnsafeRawBufferPointer) -> Void {
  return { input in
    guard let model = try? LightGBMModel.read(input) else { return }
    use(model)
  }
}

/// Models of XGBoost, from JSON and UBJSON.
func xgboostModels() -> (UnsafeRawBufferPointer) -> Void {
  return { input in
    guard let model = try? XGBoostModel.read(input) else { return }
    use(model)
  }
}

/// What was taken is whole, and scores by the plain scorer and packed.
private func use(_ model: ImportedModel) {
  if let ensemble = model.ensemble {
    check(ensemble.problems().isEmpty, "a forest with problems was handed out")
  }
  guard model.featureCount <= 1_000, model.outputs[0].count <= 100 else { return }
  guard let made = try? model.makeModel() else { return }
  let batch = RowBatch(rowCapacity: 3, entryCapacity: 1, denseRowBytes: 4 * model.featureCount, hasFields: false)
  for value in [Float(0), .nan, 2] {
    if model.featureCount > 0 {
      let row = batch.reserveDenseRow()
      for column in 0..<model.featureCount { row.storeBytes(of: value, toByteOffset: 4 * column, as: Float.self) }
    }
    batch.endRow()
  }
  made.makeScorer(rowsMax: 3).score(batch)
  if let ensemble = model.ensemble, ensemble.trees.count <= 100 {
    let answer = ensemble.score(row: Array(repeating: 2, count: model.featureCount))
    check(answer.count == model.outputs[0].count, "another number of answers than promised")
  }
}
