import ArgumentParser
import Bundles
import Families
import Foundation
import Importers
import Kernels
import Model
import ModelStore

/// A bundle's model on rows from files.
struct BenchModelRows: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "model", abstract: "A bundle's model, on rows of NumPy files.")

  @Argument(help: "The bundle.") var bundle: String
  @Option(help: "Rows of numbers, float32 [rows, columns].") var data: String
  @Option(help: "For families that hash categories: whole numbers, int64 [rows, categorical features].") var ids: String?
  @OptionGroup var options: BenchOptions

  func run() throws {
    let model = try ModelStore.load(try ModelBundle.open(path: bundle))
    let rows = try BenchRows(model, numbers: NumpyFile(path: data), ids: ids.map { path in try NumpyFile(path: path) })
    try LineDriver.run(model.family, options) { size in
      let batches = rows.batches(of: size)
      guard !batches.isEmpty else { throw ValidationError("the data has fewer than \(size) rows") }
      let scorer = model.makeScorer(rowsMax: size)
      let width = model.outputs[0].count
      let isFloat = model.outputs[0].element == .float32
      return PreparedBatches(
        count: batches.count, score: { scorer.score(batches[$0]) },
        scores: { isFloat ? (0..<min(16, size)).map { scorer.scores[$0 * width + width - 1] } : [] })
    }
  }
}

/// Rows of NumPy's files as batches of a model: straight into the dense rows of models that take tensors, by feature for those that hash.
private struct BenchRows {
  private let specification: ModelSpecification
  private let model: LoadedModel
  private let numbers: NumpyFile
  private let ids: NumpyFile?

  init(_ model: LoadedModel, numbers: NumpyFile, ids: NumpyFile?) throws {
    guard numbers.element == .float32, numbers.shape.count == 2 else { throw ValidationError("--data: expected float32 of two dimensions") }
    self.model = model
    self.numbers = numbers
    self.ids = ids
    specification = try model.servingSpecification(name: "bench", version: 1)
    if model.specification == nil {
      let columns = model.inputs.reduce(0) { $0 + $1.count }
      guard model.inputs.allSatisfy({ $0.element == .float32 }), columns == numbers.columns else {
        throw ValidationError("--data: has \(numbers.columns) columns; the model takes \(columns) of \(model.inputs.map(\.element.datatype).joined(separator: ", "))")
      }
      return
    }
    guard let ids, ids.element == .int64, ids.shape.count == 2, ids.rows == numbers.rows else {
      throw ValidationError("--ids: expected int64 of two dimensions, as many rows as --data")
    }
    let categorical = specification.features.filter { $0.kind == .categorical }.count
    let numeric = specification.features.filter { $0.kind == .numeric }.count
    guard ids.columns == categorical, numbers.columns == numeric else {
      throw ValidationError("the model has \(numeric) numeric and \(categorical) categorical features; the files have \(numbers.columns) and \(ids.columns)")
    }
  }

  /// All rows in batches of `size`; what is left over is left out.
  func batches(of size: Int) -> [RowBatch] {
    let assembler = FeatureAssembler(specification: specification)
    return (0..<numbers.rows / size).map { index in
      let batch = RowBatch(for: specification, rowCapacity: size, entryCapacity: size * specification.entriesPerRowMax)
      for row in index * size..<(index + 1) * size { append(row, assembler, batch) }
      return batch
    }
  }

  private func append(_ row: Int, _ assembler: FeatureAssembler, _ batch: RowBatch) {
    numbers.bytes.withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress else { return }
      let values = base + row * numbers.columns * 4
      if model.specification == nil {
        batch.reserveDenseRow().copyMemory(from: values, byteCount: numbers.columns * 4)
        batch.endRow()
        return
      }
      assembler.begin()
      var number = 0
      var category = 0
      for (index, feature) in specification.features.enumerated() {
        if feature.kind == .categorical {
          let id = ids?.bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: (row * (ids?.columns ?? 0) + category) * 8, as: Int64.self) } ?? 0
          assembler.integer(index, id)
          category += 1
        } else {
          assembler.numeric(index, Double(values.loadUnaligned(fromByteOffset: number * 4, as: Float.self)))
          number += 1
        }
      }
      assembler.finish(into: batch)
    }
  }
}

/// Bags of embedding rows, uniform ids.
struct BenchEmbedding: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "embedding", abstract: "Sums of random rows of a large table.")

  @Option(help: "float32, bfloat16 or int8.") var element = "float32"
  @Option(help: "Rows of the table.") var rows = 4_000_000
  @Option(help: "Values of a row.") var width = 32
  @Option(help: "Rows in each sum.") var lookups = 26
  @OptionGroup var options: BenchOptions

  private static let idsMax = 2_600_000

  func run() throws {
    guard let precision = RowPrecision.allCases.first(where: { $0.name == element }) else {
      throw ValidationError("--element takes \(RowPrecision.allCases.map(\.name).joined(separator: ", "))")
    }
    guard rows > 0, (1...4096).contains(lookups), let table = EmbeddingTable(rowCount: rows, precision: precision, width: width) else {
      throw ValidationError("no such table: --rows \(rows) --width \(width) --lookups \(lookups)")
    }
    var random = Generator(state: 11)
    let values = UnsafeMutablePointer<Float>.allocate(capacity: width)
    for row in 0..<rows {
      for place in 0..<width { values[place] = random.unit() * 0.2 - 0.1 }
      table.setRow(row, values: values)
    }
    values.deallocate()
    try LineDriver.run("embedding \(element)", options) { size in
      let count = max(2, Self.idsMax / (size * lookups))
      let ids = UnsafeMutablePointer<UInt32>.allocate(capacity: count * size * lookups)
      for index in 0..<count * size * lookups { ids[index] = UInt32(random.below(rows)) }
      let ends = UnsafeMutablePointer<Int32>.allocate(capacity: size)
      for bag in 0..<size { ends[bag] = Int32((bag + 1) * lookups) }
      let sums = UnsafeMutablePointer<Float>.allocate(capacity: size * width)
      return PreparedBatches(
        count: count,
        score: { _ = table.bag(rows: ids + $0 * size * lookups, ends: ends, bags: size, into: sums, outputStride: width) },
        scores: { (0..<min(16, size * width)).map { sums[$0] } })
    }
  }
}

/// A factorization machine with all features active.
struct BenchFactorization: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "fm", abstract: "A factorization machine of random rows.")

  @Option(help: "float32, bfloat16 or int8.") var element = "float32"
  @Option(help: "Rows of the table.") var rows = 1_000_000
  @Option(help: "Factors, k.") var factors = 16
  @Option(help: "Active features of a row.") var features = 40
  @OptionGroup var options: BenchOptions

  private static let rowsOfData = 16_384

  func run() throws {
    guard let precision = RowPrecision.allCases.first(where: { $0.name == element }) else {
      throw ValidationError("--element takes \(RowPrecision.allCases.map(\.name).joined(separator: ", "))")
    }
    guard rows > 0, (1...4096).contains(features), let table = EmbeddingTable(rowCount: rows, precision: precision, width: factors, headWidth: 1) else {
      throw ValidationError("no such table: --rows \(rows) --factors \(factors) --features \(features)")
    }
    var random = Generator(state: 12)
    let values = UnsafeMutablePointer<Float>.allocate(capacity: factors + 1)
    for row in 0..<rows {
      for place in 0...factors { values[place] = random.unit() * 0.2 - 0.1 }
      table.setRow(row, head: values + factors, values: values)
    }
    values.deallocate()
    guard let model = FactorizationModel(table: table, bias: [0.1], link: .sigmoid, specification: nil) else {
      throw ValidationError("no such model")
    }
    try LineDriver.run("fm \(element)", options) { size in
      let batches = (0..<max(1, Self.rowsOfData / size)).map { _ in
        let batch = RowBatch(rowCapacity: size, entryCapacity: size * features)
        for _ in 0..<size {
          for _ in 0..<features { batch.append(id: random.next(), value: 1) }
          batch.endRow()
        }
        return batch
      }
      let scorer = model.makeScorer(rowsMax: size)
      return PreparedBatches(
        count: batches.count, score: { scorer.score(batches[$0]) }, scores: { (0..<min(16, size)).map { scorer.scores[$0] } })
    }
  }
}

/// SplitMix64: the same numbers on every machine.
private struct Generator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }

  mutating func unit() -> Float { Float(next() >> 40) / 16_777_216 }
  mutating func below(_ count: Int) -> Int { Int(((next() >> 32) &* UInt64(count)) >> 32) }
}

/// What this machine can do on one thread: what the other figures are held against.
struct BenchLimits: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "limits", abstract: "Peaks of this machine: arithmetic, memory, random lines.")

  @Flag(help: "As JSON.") var json = false
  @Option(name: .customLong("table-mib"), help: "MiB of the table whose random lines are read.") var tableMiB = 1024

  func validate() throws {
    guard (1...65_536).contains(tableMiB) else { throw ValidationError("--table-mib takes 1 to 65536") }
  }

  func run() throws {
    let limits = MachineLimits.measure(tableByteCount: tableMiB << 20)
    if json {
      print(String(decoding: try JSONEncoder().encode(limits), as: UTF8.self))
      return
    }
    func row(_ name: String, _ value: Double, _ unit: String) { print(name + String(repeating: " ", count: max(1, 34 - name.count)) + String(format: "%8.1f", value) + " \(unit)") }
    print("one thread, \(limits.instructionSet)")
    row("int8", limits.int8GOPS, "GOPS")
    row("bf16", limits.bfloat16GFLOPS, "GFLOP/s")
    row("fp32", limits.float32GFLOPS, "GFLOP/s")
    row("memory, read", limits.readGBPerSecond, "GB/s")
    row("random line", limits.lineNanoseconds, "ns")
    row("random line, many in flight", limits.linesInFlightNanoseconds, "ns")
    row("random line, huge pages", limits.hugePageLineNanoseconds, "ns")
    row("the same, many in flight", limits.hugePageLinesInFlightNanoseconds, "ns")
  }
}
