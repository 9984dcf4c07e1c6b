import Events
import Foundation
import MillraceClient

/// Predictions on standard output: a table for people, a line of JSON for each row for programs.
struct PredictionPrinter {
  private let output: PredictCommand.Output
  private var hasHeader = false
  private var last: Prediction?
  private let buffer = OutputBuffer()
  /// Of a prediction's rows, the one at hand.
  private var shownRow = (row: 0, of: 1)

  init(_ output: PredictCommand.Output) { self.output = output }

  /// `ids`: one for each row, empty for none.
  mutating func print(_ prediction: Prediction, ids: [String]) {
    let rows = max(1, ids.count)
    let columns = max(1, prediction.scores.count / rows)
    for row in 0..<rows {
      shownRow = (row, rows)
      let scores = prediction.scores[min(row * columns, prediction.scores.count)..<min((row + 1) * columns, prediction.scores.count)]
      let id = row < ids.count ? ids[row] : ""
      switch output {
      case .table: printLine(id, scores, prediction)
      case .json: printJSON(id, scores, prediction)
      }
    }
    last = prediction
    fflush(nil)
  }

  /// What holds for all rows, once, below the table.
  func finish() {
    guard output == .table, let last else { return }
    var parts = ["model \(last.model)" + (last.version.isEmpty ? "" : ".\(last.version)")]
    if let arm = last.arm { parts.append("arm \(arm)") }
    if !last.position.isEmpty { parts.append("position \(last.position.map(String.init).joined(separator: ","))") }
    if let staleness = last.stalenessMilliseconds { parts.append("staleness \(staleness) ms") }
    if let through = last.labelsThroughMilliseconds {
      let time = Date(timeIntervalSince1970: Double(through) / 1000).formatted(.iso8601)
      parts.append("labels through \(time)")
    }
    Swift.print(parts.joined(separator: ", "))
  }

  private mutating func printLine(_ id: String, _ scores: ArraySlice<Float>, _ prediction: Prediction) {
    if !hasHeader {
      hasHeader = true
      Swift.print("score     id")
    }
    let texts = scores.isEmpty ? prediction.outputs.map { "\($0.name) \($0.shownValues(row: shownRow.row, of: shownRow.of))" }.joined(separator: " ")
      : scores.map { String(format: "%.6f", $0) }.joined(separator: " ")
    Swift.print(id.isEmpty ? texts : "\(texts)  \(id)")
  }

  private func printJSON(_ id: String, _ scores: ArraySlice<Float>, _ prediction: Prediction) {
    buffer.removeAll()
    buffer.append("{")
    if !id.isEmpty {
      buffer.append("\"id\":")
      buffer.appendJSON(id)
      buffer.append(",")
    }
    buffer.append("\"model\":")
    buffer.appendJSON(prediction.model)
    if !prediction.version.isEmpty {
      buffer.append(",\"version\":")
      if let number = Int64(prediction.version) { buffer.appendDecimal(number) } else { buffer.appendJSON(prediction.version) }
    }
    if let arm = prediction.arm {
      buffer.append(",\"arm\":")
      buffer.appendJSON(arm)
    }
    buffer.append(",\"score\":")
    // Of a first output that is no FP32 the score is not said; all outputs are, by name.
    if prediction.scores.isEmpty { buffer.append("null") } else if scores.count != 1 { buffer.append("[") }
    for (i, score) in scores.enumerated() {
      if i > 0 { buffer.append(",") }
      buffer.appendDecimal(score)
    }
    if scores.count != 1, !prediction.scores.isEmpty { buffer.append("]") }
    if prediction.outputs.count > 1 || (prediction.scores.isEmpty && !prediction.outputs.isEmpty) {
      buffer.append(",\"outputs\":{")
      for (i, output) in prediction.outputs.enumerated() {
        if i > 0 { buffer.append(",") }
        buffer.appendJSON(output.name)
        buffer.append(":")
        buffer.append(output.shownValues(row: shownRow.row, of: shownRow.of))
      }
      buffer.append("}")
    }
    if !prediction.position.isEmpty {
      buffer.append(",\"position\":[")
      for (i, offset) in prediction.position.enumerated() {
        if i > 0 { buffer.append(",") }
        buffer.appendDecimal(offset)
      }
      buffer.append("]")
    }
    if let staleness = prediction.stalenessMilliseconds {
      buffer.append(",\"staleness_ms\":")
      buffer.appendDecimal(staleness)
    }
    if let through = prediction.labelsThroughMilliseconds {
      buffer.append(",\"labels_through\":")
      buffer.appendDecimal(through)
    }
    buffer.append("}")
    Swift.print(String(decoding: buffer.bytes, as: UTF8.self))
  }
}
