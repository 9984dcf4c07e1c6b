internal import Foundation

/// How good one arm's predictions are.
public struct Quality: Sendable, Equatable {
  /// NaN when there are no predictions.
  public let logLoss: Double
  /// NaN unless both labels are there.
  public let auc: Double
  public let count: Int
}

/// Scores of every arm for every question, and their quality: running, when a question has both its predictions and its label, and
/// exact at the end. Owned by the replay's thread.
public final class ModelScores {
  /// Probabilities are clipped so far from 0 and 1, as the reference does.
  static let clip = 1e-6
  /// Bins of the running AUC.
  private static let bins = 256

  public let arms: [String]
  private let labels: [Float]
  private let times: [Int64]
  private let window: Range<Int64>
  private let firstDay: Int64
  private let dayCount: Int
  /// NaN: not answered yet. Arm after arm.
  private var scores: [Float]
  private var hasLanded: [Bool]
  private var days: [[Day]]
  /// Predictions that were there already: the first counts.
  public private(set) var duplicates = 0

  private struct Day {
    var lossSum = 0.0
    var count = 0
    var positives = [UInt32](repeating: 0, count: ModelScores.bins)
    var negatives = [UInt32](repeating: 0, count: ModelScores.bins)
  }

  public init(arms: [String], stream: ReplayStream) {
    self.arms = arms
    labels = stream.labels
    times = stream.times
    window = stream.window
    scores = [Float](repeating: .nan, count: arms.count * stream.count)
    hasLanded = [Bool](repeating: false, count: stream.count)
    let first = stream.times.min() ?? 0
    firstDay = CalendarTime.floorDivide(first, 86_400_000)
    dayCount = Int(CalendarTime.floorDivide(stream.times.max() ?? first, 86_400_000) - firstDay) + 1
    days = arms.map { _ in [] }
    for arm in arms.indices { days[arm] = (0..<dayCount).map { _ in Day() } }
  }

  /// Takes the score of `question` by arm `arm`; false when it had one.
  public func record(arm: Int, question: Int, score: Float) -> Bool {
    let place = arm * labels.count + question
    guard scores[place].isNaN else {
      duplicates += 1
      return false
    }
    // A score that is no number is as wrong as can be, and does not look unanswered.
    scores[place] = score.isNaN ? (labels[question] > 0.5 ? 0 : 1) : score
    if hasLanded[question] { count(arm, question) }
    return true
  }

  /// The label of `question` is known from now on.
  public func land(question: Int) {
    guard !hasLanded[question] else { return }
    hasLanded[question] = true
    for arm in arms.indices where !scores[arm * labels.count + question].isNaN { count(arm, question) }
  }

  private func count(_ arm: Int, _ question: Int) {
    let day = Int(CalendarTime.floorDivide(times[question], 86_400_000) - firstDay)
    let score = scores[arm * labels.count + question]
    let bin = min(Self.bins - 1, max(0, Int(score * Float(Self.bins))))
    days[arm][day].lossSum += Self.loss(score, labels[question])
    days[arm][day].count += 1
    if labels[question] > 0.5 { days[arm][day].positives[bin] += 1 } else { days[arm][day].negatives[bin] += 1 }
  }

  static func loss(_ score: Float, _ label: Float) -> Double {
    let p = min(max(Double(score), clip), 1 - clip)
    return label > 0.5 ? -log(p) : -log(1 - p)
  }

  // MARK: Running

  /// Quality over the window so far.
  public func running(arm: Int) -> Quality {
    running(arm, fromDay: Int(CalendarTime.floorDivide(window.lowerBound, 86_400_000) - firstDay), toDay: dayCount)
  }

  /// Quality over the last `days` days up to `milliseconds`, the window or not.
  public func running(arm: Int, lastDays: Int, before milliseconds: Int64) -> Quality {
    let end = Int(CalendarTime.floorDivide(milliseconds, 86_400_000) - firstDay) + 1
    return running(arm, fromDay: end - lastDays, toDay: end)
  }

  /// Log loss of each span of `daysPerSpan` days; nil where nothing has landed.
  public func logLosses(arm: Int, daysPerSpan: Int) -> [Double?] {
    stride(from: 0, to: dayCount, by: daysPerSpan).map { start in
      var sum = 0.0
      var count = 0
      for day in days[arm][start..<min(dayCount, start + daysPerSpan)] {
        sum += day.lossSum
        count += day.count
      }
      return count > 0 ? sum / Double(count) : nil
    }
  }

  /// Days from the first question to the last.
  public var span: Int { dayCount }

  private func running(_ arm: Int, fromDay: Int, toDay: Int) -> Quality {
    let range = max(0, fromDay)..<max(max(0, fromDay), min(dayCount, toDay))
    var sum = 0.0
    var count = 0
    var positives = [Double](repeating: 0, count: Self.bins)
    var negatives = positives
    for day in days[arm][range] where day.count > 0 {
      sum += day.lossSum
      count += day.count
      for bin in 0..<Self.bins {
        positives[bin] += Double(day.positives[bin])
        negatives[bin] += Double(day.negatives[bin])
      }
    }
    var below = 0.0
    var ordered = 0.0
    for bin in 0..<Self.bins {
      ordered += positives[bin] * (below + negatives[bin] / 2)
      below += negatives[bin]
    }
    let pairs = positives.reduce(0, +) * below
    return Quality(logLoss: count > 0 ? sum / Double(count) : .nan, auc: pairs > 0 ? ordered / pairs : .nan, count: count)
  }

  // MARK: Exact

  /// Quality over the whole window, from the scores themselves: AUC with half a point for ties.
  public func exact(arm: Int) -> Quality {
    var answered: [(score: Float, label: Float)] = []
    for question in labels.indices where window.contains(times[question]) {
      let score = scores[arm * labels.count + question]
      if !score.isNaN { answered.append((score, labels[question])) }
    }
    guard !answered.isEmpty else { return Quality(logLoss: .nan, auc: .nan, count: 0) }
    let loss = answered.reduce(0.0) { $0 + Self.loss($1.score, $1.label) }
    return Quality(
      logLoss: loss / Double(answered.count), auc: Self.auc(&answered), count: answered.count)
  }

  static func auc(_ answered: inout [(score: Float, label: Float)]) -> Double {
    answered.sort { $0.score < $1.score }
    var below = 0.0
    var ordered = 0.0
    var totalPositives = 0.0
    var start = 0
    while start < answered.count {
      var end = start
      var positives = 0.0
      while end < answered.count, answered[end].score == answered[start].score {
        if answered[end].label > 0.5 { positives += 1 }
        end += 1
      }
      let negatives = Double(end - start) - positives
      ordered += positives * (below + negatives / 2)
      below += negatives
      totalPositives += positives
      start = end
    }
    return totalPositives > 0 && below > 0 ? ordered / (totalPositives * below) : .nan
  }

  /// Questions of the window without a prediction of `arm`.
  public func unanswered(arm: Int) -> Int {
    labels.indices.reduce(0) { $0 + (window.contains(times[$1]) && scores[arm * labels.count + $1].isNaN ? 1 : 0) }
  }

  func isAnswered(arm: Int, question: Int) -> Bool { !scores[arm * labels.count + question].isNaN }
}
