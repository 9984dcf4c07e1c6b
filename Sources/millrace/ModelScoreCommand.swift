import ArgumentParser
import Bundles
import Families
import Foundation
import Model
import Quantization

struct ModelScoreCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "score", abstract: "Score a file of rows with a bundle, without a server.",
    discussion: """
      CSV with a header (columns by name; those that the model does not know are passed over), JSON events one on each line, or a NumPy \
      matrix (.npy). One line of answers for each row; with --label AUC and log loss instead.

      EXAMPLES
        millrace model score fraud.millrace --data rows.csv
        millrace model score fraud.millrace --data labelled.csv --label is_fraud

      EXIT CODES
        0 scored, 1 the bundle or the data cannot be used, 64 wrong usage.
      """)

  @Argument(help: ArgumentHelp("The bundle.", valueName: "file"))
  var file: String

  @Option(help: ArgumentHelp("Rows to score: CSV, JSON events or .npy.", valueName: "file"))
  var data: String

  @Option(parsing: .unconditional, help: ArgumentHelp("The column with labels: 0 or 1, or the number of the class. Of .npy its number.", valueName: "column"))
  var label: String?

  @Option(help: ArgumentHelp("Rows to read at most.", valueName: "count"))
  var rows = EvaluationRows.rowsMax

  @Flag(help: "Print JSON.") var json = false

  func validate() throws {
    guard (1...EvaluationRows.rowsMax).contains(rows) else { throw ValidationError("--rows takes 1 to \(EvaluationRows.rowsMax)") }
  }

  func run() throws {
    // A reader that went away (`… | head`) ends this quietly.
    signal(SIGPIPE, SIG_DFL)
    let opened = try OpenedModel(path: file)
    let source = try EvaluationFile.rows(data, label: label, model: opened.model, rowsMax: rows)
    if label == nil { return printAnswers(opened, source) }
    let scored = ScoredRows(of: opened.model, batches: source.batches)
    let quality = ScoreQuality(scores: scored.scores, width: scored.width, labels: source.labels)
    if json {
      try printJSON(["rows": quality.rows, "auc": jsonNumber(quality.auc), "log_loss": jsonNumber(quality.logLoss)])
    } else {
      print("\(quality.rows) rows  AUC \(figure(quality.auc))  log loss \(figure(quality.logLoss))")
    }
  }

  /// A header, then one line for each row: all elements of all outputs.
  private func printAnswers(_ opened: OpenedModel, _ source: EvaluationRows) {
    let outputs = opened.model.outputs
    let scorer = opened.model.makeScorer(rowsMax: EvaluationRows.batchRows)
    if !json {
      print(outputs.flatMap { output in output.count == 1 ? [output.name] : (0..<output.count).map { "\(output.name)_\($0)" } }.joined(separator: ","))
    }
    for batch in source.batches {
      scorer.score(batch)
      for row in 0..<batch.rowCount {
        let answers = outputs.indices.map { index in
          let output = outputs[index]
          return (0..<output.count).map { place in
            ScoredRows.text(scorer.outputs[index], row * output.count + place, output)
          }
        }
        if json {
          let members = zip(outputs, answers).map { output, texts in "\"\(output.name)\":\(texts.count == 1 ? texts[0] : "[\(texts.joined(separator: ","))]")" }
          print("{\(members.joined(separator: ","))}")
        } else {
          print(answers.joined().joined(separator: ","))
        }
      }
    }
  }
}
