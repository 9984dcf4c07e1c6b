import ArgumentParser
import Bundles
import Families
import Foundation
import Kernels
import Model
import Quantization

struct ModelBenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "How fast one thread scores with a bundle: rows a second and latencies, by batch size.",
    discussion: """
      Rows are generated (from a seed), or read from a file: a model's speed depends on its inputs, trees' most of all, so data of your own \
      tell more. Nothing but scoring is measured: no network, no decoding.

      EXAMPLES
        millrace model bench fraud.millrace
        millrace model bench fraud.millrace --batch 1,64 --seconds 5 --data rows.csv
        millrace model bench fraud.millrace --isa avx2 --json

      EXIT CODES
        0 measured, 1 the bundle or the data cannot be used, 64 wrong usage.
      """)

  @Argument(help: ArgumentHelp("The bundle.", valueName: "file"))
  var file: String

  @Option(help: ArgumentHelp("Rows of one call, comma separated.", valueName: "sizes"))
  var batch = "1,16,256"

  @Option(help: ArgumentHelp("How long to measure each size.", valueName: "seconds"))
  var seconds = 2.0

  @Option(help: ArgumentHelp("Instruction set: scalar, neon, avx2 or avx512. Default: the best that the processor has.", valueName: "name"))
  var isa: String?

  @Option(help: ArgumentHelp("Where embedding tables are: huge_pages or mapped (in the file).", valueName: "place"))
  var tables = Tables.hugePages

  /// Named as the configuration's values are.
  enum Tables: String, ExpressibleByArgument, CaseIterable {
    case hugePages = "huge_pages"
    case mapped
  }

  @Option(help: ArgumentHelp("Rows to score: CSV, JSON events or .npy.", valueName: "file"))
  var data: String?

  @Option(parsing: .unconditional, help: ArgumentHelp("The data's label column, which is no feature.", valueName: "column"))
  var label: String?

  @Option(help: ArgumentHelp("Rows to generate, or to read at most.", valueName: "count"))
  var rows = 8192

  @Option(help: ArgumentHelp("Seed of generated rows.", valueName: "number"))
  var seed: UInt64 = 1

  @Flag(help: "Print JSON.") var json = false

  private var sizes: [Int] { batch.split(separator: ",").compactMap { Int($0.trimmingCharacters(in: .whitespaces)) } }

  func validate() throws {
    guard !sizes.isEmpty, sizes.count == batch.split(separator: ",").count, sizes.allSatisfy({ (1...65_536).contains($0) }) else {
      throw ValidationError("--batch takes sizes of 1 to 65536 with commas between")
    }
    guard seconds > 0, seconds <= 600 else { throw ValidationError("--seconds takes up to 600") }
    guard (1...1_000_000).contains(rows) else { throw ValidationError("--rows takes 1 to 1000000") }
    if let isa, !InstructionSet.supported.contains(where: { "\($0)" == isa }) {
      throw ValidationError("--isa takes one that this processor has: \(InstructionSet.supported.map { "\($0)" }.joined(separator: ", "))")
    }
  }

  func run() throws {
    // Before loading: weights are packed for the set in force.
    if let isa, let set = InstructionSet.supported.first(where: { "\($0)" == isa }) { InstructionSet.force(set) }
    let opened = try OpenedModel(path: file, tables: tables == .mapped ? .mapped : .hugePages())
    let source = try data.map { try EvaluationFile.rows($0, label: label, model: opened.model, rowsMax: rows) }
      ?? EvaluationFile.generated(max(rows, sizes.max() ?? 1), seed: seed, model: opened.model)
    let speeds = sizes.map { size in
      ScoringSpeed.measure([(opened.model, opened.model.regrouped(source.batches, by: size).filter { $0.rowCount == size })], seconds: seconds)[0]
    }
    if json {
      try printJSON([
        "model": opened.bundle.manifest.identifier, "family": opened.bundle.manifest.family, "isa": "\(InstructionSet.current)", "rows": source.rowCount,
        "parameter_bytes": opened.model.parameterBytes,
        "batches": zip(sizes, speeds).map { size, speed -> [String: Any] in
          [
            "batch": size, "rows_per_second": speed.rowsPerSecond, "us_per_row": speed.microsecondsPerRow, "p50_ns": speed.p50Nanoseconds,
            "p99_ns": speed.p99Nanoseconds, "p999_ns": speed.p999Nanoseconds, "max_ns": speed.maxNanoseconds, "calls": speed.calls,
          ]
        },
      ])
      return
    }
    print(
      "\(opened.bundle.manifest.identifier)  family \(opened.bundle.manifest.family)  \(byteText(opened.model.parameterBytes)) of parameters  \(InstructionSet.current)  \(source.rowCount) \(data == nil ? "generated rows" : "rows of \(data ?? "")")"
    )
    printColumns(
      [["batch", "rows/s", "us/row", "call p50 us", "p99", "p99.9", "max"]]
        + zip(sizes, speeds).map { size, speed in
          [
            "\(size)", "\(Int(speed.rowsPerSecond))", figure(speed.microsecondsPerRow, 3), figure(Double(speed.p50Nanoseconds) / 1000, 2),
            figure(Double(speed.p99Nanoseconds) / 1000, 2), figure(Double(speed.p999Nanoseconds) / 1000, 2),
            figure(Double(speed.maxNanoseconds) / 1000, 1),
          ]
        })
  }
}
