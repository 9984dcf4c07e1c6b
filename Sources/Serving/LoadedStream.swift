// Hot: no allocation, existential, String, await or Foundation per event in the steady state.
internal import Events
internal import Families
internal import Model
internal import ModelStore

/// One version of a model from a bundle, as the thread of a stream predictor scores with it.
final class LoadedStream {
  let version: LoadedVersion
  let decoder: EventDecoder
  let rows: RowBatch
  let encoder: PredictionEncoder
  private let outputs: ModelOutputs
  private let scorer: Scorer

  init(_ version: LoadedVersion, limits: EventLimits) {
    self.version = version
    decoder = EventDecoder(specification: version.specification, limits: limits)
    rows = RowBatch(for: version.specification)
    encoder = PredictionEncoder(model: version.name, version: version.version, arm: BundleSource.armName)
    outputs = ModelOutputs(version.model.outputs)
    scorer = version.takeScorer()
  }

  deinit { version.giveBack(scorer) }

  func score() {
    guard rows.rowCount > 0 else { return }
    scorer.reserve(rows: rows.rowCount)
    scorer.score(rows)
    version.recent.offer(rows)
  }

  func encode(
    form: EventForm, id: UnsafeRawBufferPointer, from: Int64, to: Int64, first: Int, rows: Int, into output: OutputBuffer
  ) {
    encoder.outputs(form: form, id: id, from: from, to: to, outputs, scorer.outputs, first: first, rows: rows, into: output)
  }
}
