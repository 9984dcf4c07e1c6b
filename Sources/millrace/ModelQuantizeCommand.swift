import ArgumentParser
import Bundles
import Families
import Foundation
import Quantization

struct ModelQuantizeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "quantize", abstract: "Write a bundle again in smaller numbers, and say what that costs and brings.",
    discussion: """
      int8 and bf16 take all that can be taken: weights of layers, rows of embedding tables. int8-rows and bf16-rows take rows alone. Before \
      and after are scored on --data (or on generated rows), and measured in turn. With a bound that is broken nothing is written.

      EXAMPLES
        millrace model quantize ranker.millrace -o ranker-int8.millrace --to int8
        millrace model quantize mlp.millrace -o mlp-int8.millrace --to int8 --static --calibrate topic:features
        millrace model quantize ranker.millrace -o small.millrace --to int8 --data eval.csv --label clicked --max-auc-loss 0.001

      EXIT CODES
        0 written, 1 a bound is broken or there is nothing to quantize, 64 wrong usage.
      """)

  @Argument(help: ArgumentHelp("The bundle.", valueName: "file"))
  var file: String

  @Option(name: [.customShort("o"), .long], help: ArgumentHelp("The new bundle.", valueName: "file"))
  var output: String

  @Option(
    help: ArgumentHelp("What the numbers become: \(ModelQuantizer.Target.allCases.map(\.rawValue).joined(separator: ", ")).", valueName: "precision"),
    transform: { text in
      guard let target = ModelQuantizer.Target(rawValue: text) else { throw ValidationError("\"\(text)\" is none of them") }
      return target
    })
  var to: ModelQuantizer.Target

  @Flag(name: .customLong("static"), help: "int8 of ONNX graphs: scales of activations from --calibrate instead of from each row.")
  var isStatic = false

  @Option(help: ArgumentHelp("Rows for --static: a file as for --data, or topic:NAME.", valueName: "source"))
  var calibrate: String?

  @OptionGroup var connection: KafkaConnection

  @Option(help: ArgumentHelp("Rows to compare on: CSV, JSON events or .npy. Default: generated ones.", valueName: "file"))
  var data: String?

  @Option(parsing: .unconditional, help: ArgumentHelp("The data's column with labels, for AUC and log loss.", valueName: "column"))
  var label: String?

  @Option(help: ArgumentHelp("Rows to read or generate at most.", valueName: "count"))
  var rows = 100_000

  @Option(help: ArgumentHelp("Refuse when AUC falls by more.", valueName: "number"))
  var maxAucLoss: Double?

  @Option(help: ArgumentHelp("Refuse when a score moves by more.", valueName: "number"))
  var maxScoreLoss: Double?

  @Option(help: ArgumentHelp("Refuse when log loss rises by more.", valueName: "number"))
  var maxLoglossLoss: Double?

  @Option(help: ArgumentHelp("Seconds of measuring for each batch size; 0: no measuring.", valueName: "seconds"))
  var seconds = 1.0

  @Flag(help: "Print JSON.") var json = false

  static let sizes = [1, 16, 256]

  func validate() throws {
    guard (1...EvaluationRows.rowsMax).contains(rows) else { throw ValidationError("--rows takes 1 to \(EvaluationRows.rowsMax)") }
    guard seconds >= 0, seconds <= 600 else { throw ValidationError("--seconds takes 0 to 600") }
    if maxAucLoss != nil || maxLoglossLoss != nil, data == nil { throw ValidationError("--max-auc-loss and --max-logloss-loss need --data with labels") }
    if data?.hasSuffix(".csv") ?? false || data?.hasSuffix(".npy") ?? false, label == nil, maxAucLoss != nil || maxLoglossLoss != nil {
      throw ValidationError("--max-auc-loss and --max-logloss-loss need --label")
    }
    if isStatic != (calibrate != nil) { throw ValidationError("--static and --calibrate go together") }
    if isStatic, to != .int8 { throw ValidationError("--static is for --to int8") }
    if label != nil, data == nil { throw ValidationError("--label goes with --data") }
  }

  func run() throws {
    let before = try OpenedModel(path: file)
    let source = try data.map { try EvaluationFile.rows($0, label: label, model: before.model, rowsMax: rows) }
      ?? EvaluationFile.generated(min(rows, 8192), seed: 1, model: before.model)
    // Judged as a server would load it, from a file that nobody else sees yet.
    let candidate = "\(output).\(getpid()).candidate"
    defer { unlink(candidate) }
    let writer = BundleWriter(manifest: before.bundle.manifest)
    let changes: [String]
    do {
      let calibration = try calibrate.map { try CalibrationRows.read($0, label: label, model: before.model, rowsMax: rows, connection: connection) }
      changes = try ModelQuantizer.write(before.model, as: to, calibration: calibration?.batches, into: writer)
      try writer.write(to: candidate)
    } catch let error as CleanFailure { throw error } catch { throw CleanFailure("\(error)") }
    var comparison = QuantizationComparison(before: before, after: try OpenedModel(path: candidate), source: source)
    if seconds > 0 { comparison.measure(sizes: Self.sizes, seconds: seconds) }
    let broken = comparison.broken(auc: maxAucLoss, score: maxScoreLoss, logLoss: maxLoglossLoss)
    if broken.isEmpty {
      // Once more, now that it is known what it costs.
      writer.manifest.quantization = comparison.manifest(to: to, changes: changes, data: data)
      do { comparison.writtenBytes = try writer.write(to: output) } catch { throw CleanFailure("\(error)") }
    }
    if json { try printJSON(comparison.object(changes: changes, broken: broken, path: output)) } else { comparison.print(changes: changes) }
    guard broken.isEmpty else {
      for line in broken { report("refused: \(line)") }
      report("nothing was written")
      throw ExitCode.failure
    }
    if !json { Swift.print("\(output)  \(byteText(comparison.writtenBytes))") }
  }
}
