public import Families
public import Model

/// How fast one thread scores: models in turn, so that what the machine does besides hits all of them.
public struct ScoringSpeed: Sendable {
  /// Median over the rounds.
  public var rowsPerSecond: Double
  /// Of single calls with a whole batch.
  public var p50Nanoseconds: Int64
  public var p99Nanoseconds: Int64
  public var p999Nanoseconds: Int64
  public var maxNanoseconds: Int64
  public var calls: Int

  public var microsecondsPerRow: Double { 1e6 / rowsPerSecond }

  static let samplesMax = 1 << 20
  static let rounds = 5

  /// - Parameters:
  ///   - batches: of each model; all of one size but perhaps the last.
  ///   - seconds: of measuring, for each model.
  public static func measure(_ models: [(model: LoadedModel, batches: [RowBatch])], seconds: Double) -> [ScoringSpeed] {
    var runs = models.map { Run(model: $0.model, batches: $0.batches) }
    // Caches, branch predictors, page tables.
    for index in runs.indices { runs[index].warm(seconds: min(0.2, seconds / 10)) }
    for _ in 0..<rounds {
      for index in runs.indices { runs[index].round(seconds: seconds / Double(rounds)) }
    }
    return runs.map(\.result)
  }

  private struct Run {
    let scorer: Scorer
    let batches: [RowBatch]
    var rates: [Double] = []
    var samples: [Int64] = []
    var calls = 0
    var next = 0

    init(model: LoadedModel, batches: [RowBatch]) {
      precondition(!batches.isEmpty, "nothing to score")
      scorer = model.makeScorer(rowsMax: batches.map(\.rowCount).max() ?? 1)
      self.batches = batches
    }

    mutating func warm(seconds: Double) {
      round(seconds: seconds)
      rates.removeAll()
      samples.removeAll()
      calls = 0
    }

    mutating func round(seconds: Double) {
      let clock = ContinuousClock()
      let start = clock.now
      let end = start.advanced(by: .nanoseconds(Int64(seconds * 1e9)))
      var before = start
      var rows = 0
      repeat {
        let batch = batches[next]
        next = next + 1 == batches.count ? 0 : next + 1
        scorer.score(batch)
        let now = clock.now
        let passed = before.duration(to: now).components
        if samples.count < ScoringSpeed.samplesMax { samples.append(passed.seconds * 1_000_000_000 + passed.attoseconds / 1_000_000_000) }
        before = now
        rows += batch.rowCount
        calls += 1
      } while before < end
      let passed = start.duration(to: before).components
      rates.append(Double(rows) / (Double(passed.seconds) + Double(passed.attoseconds) * 1e-18))
    }

    var result: ScoringSpeed {
      let sorted = samples.sorted()
      func percentile(_ share: Double) -> Int64 { sorted[min(sorted.count - 1, Int(share * Double(sorted.count)))] }
      return ScoringSpeed(
        rowsPerSecond: rates.sorted()[rates.count / 2], p50Nanoseconds: percentile(0.5), p99Nanoseconds: percentile(0.99),
        p999Nanoseconds: percentile(0.999), maxNanoseconds: sorted.last ?? 0, calls: calls)
    }
  }
}
