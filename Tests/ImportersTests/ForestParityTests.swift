import ChildProcesses
import Families
import Foundation
import Model
import Testing

@testable import Importers

/// Imported models answer as LightGBM and XGBoost do themselves: random models of every kind, within 1e-6 of the sum of the absolute leaf
/// values that a row reaches.
///
/// `MODELS_EACH=200` takes that many models of each kind (one without it), `MODELS_SEED` others, `MODELS_KINDS=lightgbm,xgboost/dart` some.
@Suite struct ForestParityTests {
  static let bound = 1e-6

  @Test(.enabled(if: ChildProcess.python != nil, ForestCase.noPython)) func everyKindAnswersAsItsLibrary() async throws {
    let environment = ProcessInfo.processInfo.environment
    let each = environment["MODELS_EACH"] ?? "1"
    let seed = environment["MODELS_SEED"] ?? "1"
    let kinds = environment["MODELS_KINDS"].map { ["--kinds", $0] } ?? []
    var random = SplitMix(state: UInt64(seed) ?? 1)
    var worst: [String: Deviation] = [:]
    try await ForestCase.with(["--each", each, "--seed", seed] + kinds) { cases in
      for one in cases {
        let deviation = try compare(one)
        worst[one.kind, default: Deviation()].join(deviation)
        let whole = try one.bytes
        for kind in 0..<6 {
          if let problem = DamagedForestTests.outcome(DamagedForestTests.damage(whole, kind, &random), one.kind, allowsError: true) {
            Issue.record("\(one.name), damage \(kind), seed \(seed): \(problem)")
          }
        }
      }
    }
    for (kind, deviation) in worst.sorted(by: { $0.key < $1.key }) { print("parity \(kind): \(deviation)") }
    print("parity: \(worst.values.reduce(0) { $0 + $1.models }) models of \(worst.count) kinds, seed \(seed)")
  }

  /// Largest differences, as parts of the sum of absolute leaf values; of answers, of that or of the answer where it is larger.
  struct Deviation: CustomStringConvertible {
    var models = 0
    var rows = 0
    var raw = 0.0
    var answers = 0.0
    var fast = 0.0

    mutating func join(_ other: Deviation) {
      models += other.models
      rows += other.rows
      raw = max(raw, other.raw)
      answers = max(answers, other.answers)
      fast = max(fast, other.fast)
    }

    var description: String {
      func text(_ value: Double) -> String { value == 0 ? "0" : String(format: "%.1e", value) }
      return "\(models) models, \(rows) rows; reference raw \(text(raw)), answers \(text(answers)); fast path \(text(fast))"
    }
  }

  private func compare(_ one: ForestCase) throws -> Deviation {
    let imported = try one.imported()
    #expect(imported.featureCount == one.rows[0].count, "\(one.name)")
    #expect(imported.outputs.map(\.count) == [one.answers[0].count], "\(one.name)")
    switch imported.body {
    case .trees(let ensemble): return try compare(ensemble, imported, one)
    case .linear(let linear): return try compare(linear, imported, one)
    }
  }

  private func compare(_ ensemble: TreeEnsemble, _ imported: ImportedModel, _ one: ForestCase) throws -> Deviation {
    #expect(ensemble.problems() == [], "\(one.name)")
    // What LightGBM calls raw is not averaged, whatever the booster.
    var raw = ensemble
    raw.link = .identity
    raw.divisor = 1
    let magnitudes = Self.magnitudes(raw)
    var deviation = Deviation(models: 1, rows: one.rows.count)
    let scales = one.rows.map { row in magnitudes.score(row: row) }
    for (index, row) in one.rows.enumerated() {
      deviation.raw = max(
        deviation.raw, difference(raw.score(row: row), one.raw[index], scales[index], 0, "\(one.name), raw of row \(index) \(row)"))
      deviation.answers = max(
        deviation.answers,
        difference(ensemble.score(row: row), one.answers[index], scales[index], 1, "\(one.name), answers of row \(index) \(row)"))
    }
    let element: TensorElement = one.needsDouble ? .float64 : .float32
    for (model, expected, slack) in [(raw, one.raw, 0.0), (ensemble, one.answers, 1.0)] {
      let inputs = [InputTensor(name: "input", element: element, shape: [model.featureCount], absent: .nan)]
      let width = expected[0].count
      let packed = try TreeModel(ensemble: model, inputs: inputs, outputs: [OutputTensor(name: "output", element: .float64, shape: [width])])
      // All rows at once, and each alone: other kernels.
      for chunk in [one.rows.count, 1] {
        let scored = Self.score(packed, one.rows, element, chunk: chunk)
        for index in one.rows.indices {
          deviation.fast = max(
            deviation.fast,
            difference(
              scored[index], expected[index], scales[index], slack, "\(one.name), fast path (\(chunk) at once) of row \(index) \(one.rows[index])"))
        }
      }
    }
    return deviation
  }

  private func compare(_ linear: ImportedModel.LinearBody, _ imported: ImportedModel, _ one: ForestCase) throws -> Deviation {
    var deviation = Deviation(models: 1, rows: one.rows.count)
    let count = linear.biases.count
    let scales = one.rows.map { row in
      (0..<count).map { output in
        row.indices.reduce(Double(abs(linear.biases[output]))) { sum, feature in
          row[feature].isNaN ? sum : sum + abs(row[feature] * Double(linear.weights[feature * count + output]))
        }
      }
    }
    let raw = try LinearModel(weights: linear.weights, biases: linear.biases, link: .identity)
    for (model, expected, slack) in [(raw as LoadedModel, one.raw, 0.0), (try imported.makeModel(), one.answers, 1.0)] {
      let scored = Self.score(model, one.rows, .float32, chunk: one.rows.count)
      for index in one.rows.indices {
        deviation.fast = max(
          deviation.fast,
          difference(scored[index], expected[index], scales[index], slack, "\(one.name), row \(index) \(one.rows[index])"))
      }
    }
    return deviation
  }

  /// The forest that adds up what a row's leaves are worth without their signs.
  private static func magnitudes(_ ensemble: TreeEnsemble) -> TreeEnsemble {
    var absolute = ensemble
    absolute.leafValues = ensemble.leafValues.map(abs)
    absolute.baseScores = ensemble.baseScores.map(abs)
    absolute.summation = .double
    return absolute
  }

  /// The largest difference of one row as a part of its scale; answers of links are held to the bound of the larger of scale, answer and 1.
  private func difference(_ own: [Double], _ theirs: [Double], _ scales: [Double], _ slack: Double, _ place: String) -> Double {
    guard own.count == theirs.count else {
      Issue.record("\(place): \(own.count) outputs, the library has \(theirs.count)")
      return .infinity
    }
    let scale = scales.max() ?? 0
    var largest = 0.0
    for output in own.indices where own[output] != theirs[output] {
      if own[output].isNaN, theirs[output].isNaN { continue }
      let unit = slack == 0 ? scales[output] : max(scale, 1) * max(1, abs(theirs[output]))
      let part = abs(own[output] - theirs[output]) / unit
      largest = part.isNaN ? .infinity : max(largest, part)
    }
    if largest > Self.bound { Issue.record("\(place): \(own), the library says \(theirs): \(largest) of the scale") }
    return largest
  }

  private static func score(_ model: LoadedModel, _ rows: [[Double]], _ element: TensorElement, chunk: Int) -> [[Double]] {
    let bytes = element.bytes * rows[0].count
    let batch = RowBatch(rowCapacity: chunk, entryCapacity: 1, denseRowBytes: bytes, hasFields: false)
    let scorer = model.makeScorer(rowsMax: chunk)
    let width = model.outputs[0].count
    var answers: [[Double]] = []
    for start in stride(from: 0, to: rows.count, by: chunk) {
      batch.removeAll()
      for row in rows[start..<min(start + chunk, rows.count)] {
        let dense = batch.reserveDenseRow()
        for (column, value) in row.enumerated() {
          if element == .float64 {
            dense.storeBytes(of: value, toByteOffset: 8 * column, as: Double.self)
          } else {
            dense.storeBytes(of: Float(value), toByteOffset: 4 * column, as: Float.self)
          }
        }
        batch.endRow()
      }
      scorer.score(batch)
      for row in 0..<batch.rowCount {
        answers.append(
          (0..<width).map { output in
            let place = row * width + output
            return model.outputs[0].element == .float64
              ? scorer.outputs[0].assumingMemoryBound(to: Double.self)[place] : Double(scorer.scores[place])
          })
      }
    }
    return answers
  }
}
