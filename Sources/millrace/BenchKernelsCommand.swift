import ArgumentParser
import Bundles
import Families
import Foundation
import Importers
import Kernels
import Model
import ModelStore
import Telemetry

/// `millrace bench kernels`: scoring alone, one thread, batch by batch.
struct BenchKernelsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kernels",
    abstract: "Measure kernels and model families: one thread, in memory.",
    discussion: """
      Each subcommand but `limits` answers lines: `{"batch": 16, "seconds": 0.2}` on its input, on its output how long a row took \
      and the first scores, so that a driver can measure us and others in turn (`make bench` does). Rows rotate through all of the data. With \
      --batch it measures by itself and ends.

      EXAMPLES
        millrace bench kernels limits
        millrace bench kernels model fraud.millrace --data rows.npy --batch 1 --batch 256
        millrace bench kernels embedding --element int8 --rows 4000000 --width 32 --lookups 26 --batch 512
      """,
    subcommands: [BenchModelRows.self, BenchEmbedding.self, BenchFactorization.self, BenchLimits.self])
}

/// What a step of a benchmark is: batches of one size, prepared.
struct PreparedBatches {
  /// Different ones; they are scored in turn.
  var count: Int
  var score: (Int) -> Void
  /// The first scores of batch 0, after it was scored.
  var scores: () -> [Float]
}

/// Answers a driver's lines, or measures the sizes that were given.
struct LineDriver {
  private struct Asked: Decodable {
    var batch: Int
    var seconds: Double
  }

  private struct Answer: Encodable {
    var ns_per_row: Double
    var scores: [Float]
  }

  private static let batchMax = 1 << 20
  private static let rounds = 5

  static func run(_ name: String, _ options: BenchOptions, prepare: (Int) throws -> PreparedBatches) throws {
    guard options.batch.isEmpty else {
      for batch in options.batch {
        let prepared = try prepare(batch)
        let rounds = (0..<Self.rounds).map { _ in measure(prepared, batch, options.seconds) }.sorted()
        let median = rounds[rounds.count / 2]
        print(
          "\(name), batch \(batch): \(String(format: "%.1f", median)) ns a row (\(String(format: "%.1f", rounds[0])) to \(String(format: "%.1f", rounds[rounds.count - 1]))), \(Int(1e9 / median)) rows/s, \(InstructionSet.current)")
      }
      return
    }
    print("{\"ready\": \"\(name)\"}")
    fflush(nil)
    var known: [Int: PreparedBatches] = [:]
    let encoder = JSONEncoder()
    while let line = readLine() {
      let asked = try JSONDecoder().decode(Asked.self, from: Data(line.utf8))
      guard (1...batchMax).contains(asked.batch), asked.seconds > 0 else { throw ValidationError("batch: 1 to \(batchMax); seconds: above 0") }
      let prepared = try known[asked.batch] ?? prepare(asked.batch)
      known[asked.batch] = prepared
      let nanoseconds = measure(prepared, asked.batch, asked.seconds)
      prepared.score(0)
      print(String(decoding: try encoder.encode(Answer(ns_per_row: nanoseconds, scores: prepared.scores())), as: UTF8.self))
      fflush(nil)
    }
  }

  /// Nanoseconds for each row.
  private static func measure(_ prepared: PreparedBatches, _ batch: Int, _ seconds: Double) -> Double {
    for step in 0..<min(4, prepared.count) { prepared.score(step) }
    let burst = batch >= 64 ? 4 : 32
    var done = 0
    var next = 0
    let began = MonotonicClock.nanoseconds()
    while true {
      for _ in 0..<burst {
        prepared.score(next)
        next += 1
        if next == prepared.count { next = 0 }
      }
      done += burst
      let passed = MonotonicClock.nanoseconds() - began
      if Double(passed) > seconds * 1e9 { return Double(passed) / Double(done * batch) }
    }
  }
}

struct BenchOptions: ParsableArguments {
  @Option(help: "A batch size to measure; several may be given. None: answer lines.") var batch: [Int] = []
  @Option(help: "Seconds of each round.") var seconds = 0.3

  func validate() throws {
    guard batch.allSatisfy({ (1...(1 << 20)).contains($0) }) else { throw ValidationError("--batch takes 1 to 1048576") }
    guard seconds > 0 else { throw ValidationError("--seconds takes a number above 0") }
  }
}

