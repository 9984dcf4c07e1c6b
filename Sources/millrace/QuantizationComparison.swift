import Bundles
import Families
import Foundation
import Model
import Quantization

/// A model before and after: size, scores, quality, speed.
struct QuantizationComparison {
  let before: OpenedModel
  let after: OpenedModel
  let source: EvaluationRows
  let difference: ScoreDifference
  let quality: (before: ScoreQuality, after: ScoreQuality)?
  var speeds: [(batch: Int, before: ScoringSpeed, after: ScoringSpeed)] = []
  var writtenBytes = 0

  init(before: OpenedModel, after: OpenedModel, source: EvaluationRows) {
    self.before = before
    self.after = after
    self.source = source
    let first = ScoredRows(of: before.model, batches: source.batches)
    let second = ScoredRows(of: after.model, batches: source.batches)
    difference = ScoreDifference(first.scores, second.scores)
    quality =
      source.labels.isEmpty
      ? nil
      : (
        ScoreQuality(scores: first.scores, width: first.width, labels: source.labels),
        ScoreQuality(scores: second.scores, width: second.width, labels: source.labels)
      )
  }

  var aucLoss: Double { quality.map { $0.before.auc - $0.after.auc } ?? .nan }
  var logLossLoss: Double { quality.map { $0.after.logLoss - $0.before.logLoss } ?? .nan }

  mutating func measure(sizes: [Int], seconds: Double) {
    for size in sizes {
      let batches = before.model.regrouped(source.batches, by: size).filter { $0.rowCount == size }
      guard !batches.isEmpty else { continue }
      let pair = ScoringSpeed.measure([(before.model, batches), (after.model, batches)], seconds: seconds)
      speeds.append((size, pair[0], pair[1]))
    }
  }

  /// The bounds that do not hold, in words. What is not a number holds no bound.
  func broken(auc: Double?, score: Double?, logLoss: Double?) -> [String] {
    [
      ("AUC falls by", aucLoss, auc), ("the score moves by up to", difference.max, score), ("log loss rises by", logLossLoss, logLoss),
    ].compactMap { what, value, bound in
      guard let bound, !(value <= bound) else { return nil }
      return value.isNaN ? "\(what) what cannot be said on this data, the bound is \(bound)" : "\(what) \(String(format: "%.6f", value)), the bound is \(bound)"
    }
  }

  // MARK: What is told

  func manifest(to target: ModelQuantizer.Target, changes: [String], data: String?) -> JSONValue {
    var value: JSONValue = [
      "to": .text(target.rawValue), "changes": JSONValue(changes), "rows": JSONValue(source.rowCount),
      "data": .text(data.map { URL(fileURLWithPath: $0).lastPathComponent } ?? "generated"), "score_max": JSONValue(difference.max),
      "score_mean": JSONValue(difference.mean), "bytes_before": JSONValue(before.bundle.byteCount),
    ]
    if let quality {
      value["auc_before"] = JSONValue(quality.before.auc)
      value["auc_after"] = JSONValue(quality.after.auc)
      value["log_loss_before"] = JSONValue(quality.before.logLoss)
      value["log_loss_after"] = JSONValue(quality.after.logLoss)
    }
    return value
  }

  func print(changes: [String]) {
    Swift.print("\(before.bundle.manifest.identifier)  family \(before.bundle.manifest.family)  \(source.rowCount) rows")
    for change in changes { Swift.print("  \(change)") }
    Swift.print("")
    var rows = [["", "before", "after", "", ""]]
    func add(_ name: String, _ first: String, _ second: String, _ note: String) { rows.append([name, first, second, note, ""]) }
    let (from, to) = (before.bundle.byteCount, after.bundle.byteCount)
    add("bundle", byteText(from), byteText(to), "\(figure(Double(from) / Double(max(1, to)), 2)) x smaller")
    if before.model.parameterBytes != after.model.parameterBytes {
      add(
        "in memory", byteText(before.model.parameterBytes), byteText(after.model.parameterBytes),
        "\(figure(Double(before.model.parameterBytes) / Double(max(1, after.model.parameterBytes)), 2)) x smaller")
    }
    for (batch, first, second) in speeds {
      add(
        "us/row, batch \(batch)", figure(first.microsecondsPerRow, 3), figure(second.microsecondsPerRow, 3),
        "\(figure(second.rowsPerSecond / first.rowsPerSecond, 2)) x as fast")
    }
    if let quality {
      add("AUC", figure(quality.before.auc), figure(quality.after.auc), "falls by \(figure(aucLoss, 6))")
      add("log loss", figure(quality.before.logLoss), figure(quality.after.logLoss), "rises by \(figure(logLossLoss, 6))")
    }
    add("score moves by", "", "", "at most \(figure(difference.max, 6)), \(figure(difference.mean, 6)) on average")
    printColumns(rows)
  }

  func object(changes: [String], broken: [String], path: String) -> [String: Any] {
    var object: [String: Any] = [
      "model": before.bundle.manifest.identifier, "changes": changes, "rows": source.rowCount, "bytes_before": before.bundle.byteCount,
      "bytes_after": after.bundle.byteCount, "parameter_bytes_before": before.model.parameterBytes,
      "parameter_bytes_after": after.model.parameterBytes, "score_max": jsonNumber(difference.max), "score_mean": jsonNumber(difference.mean),
      "refused": broken, "written": broken.isEmpty ? path : NSNull(),
      "speed": speeds.map { ["batch": $0.batch, "us_per_row_before": $0.before.microsecondsPerRow, "us_per_row_after": $0.after.microsecondsPerRow] as [String: Any] },
    ]
    if let quality {
      object["auc_before"] = jsonNumber(quality.before.auc)
      object["auc_after"] = jsonNumber(quality.after.auc)
      object["log_loss_before"] = jsonNumber(quality.before.logLoss)
      object["log_loss_after"] = jsonNumber(quality.after.logLoss)
    }
    return object
  }
}
