@testable import Demo
import Foundation
import Testing

private func stream(_ labels: [Float], days: [Int64]? = nil) -> ReplayStream {
  let times = labels.indices.map { (days?[$0] ?? 0) * 86_400_000 + Int64($0) }
  return ReplayStream(
    name: "t", source: "", asks: times, lands: times.map { $0 + 1 }, labels: labels, times: times, window: 0..<Int64.max / 2,
    frozenAtMilliseconds: 0, write: { _, _ in })
}

@Suite struct ModelScoresTests {
  /// Pairs counted one by one.
  private func slowAUC(_ pairs: [(score: Float, label: Float)]) -> Double {
    var points = 0.0
    var count = 0.0
    for a in pairs where a.label > 0.5 {
      for b in pairs where b.label < 0.5 {
        points += a.score > b.score ? 1 : a.score == b.score ? 0.5 : 0
        count += 1
      }
    }
    return points / count
  }

  @Test func exactFiguresAgreeWithTheirDefinitions() {
    let seed = UInt64.random(in: 0 ... .max)
    var random = SplitMix(state: seed)
    for round in 0..<50 {
      let count = 2 + random.below(60)
      var labels = (0..<count).map { _ in Float(random.below(2)) }
      labels[0] = 0
      labels[1] = 1
      // Few levels: many ties.
      let given = labels.map { _ in Float(random.below(6)) / 5 }
      let scores = ModelScores(arms: ["a"], stream: stream(labels))
      for question in 0..<count { #expect(scores.record(arm: 0, question: question, score: given[question])) }
      let exact = scores.exact(arm: 0)
      var pairs = zip(given, labels).map { (score: $0, label: $1) }
      #expect(abs(exact.auc - slowAUC(pairs)) < 1e-12, "seed \(seed) round \(round)")
      #expect(abs(ModelScores.auc(&pairs) - exact.auc) < 1e-12)
      let loss = pairs.reduce(0.0) { sum, pair in
        let p = min(max(Double(pair.score), 1e-6), 1 - 1e-6)
        return sum - log(pair.label > 0.5 ? p : 1 - p)
      } / Double(count)
      #expect(abs(exact.logLoss - loss) < 1e-12, "seed \(seed) round \(round)")
    }
  }

  @Test func runningFiguresApproachTheExactOnes() {
    var random = SplitMix(state: 1)
    let labels = (0..<5000).map { _ in Float(random.below(2)) }
    let scores = ModelScores(arms: ["a", "b"], stream: stream(labels, days: (0..<5000).map { Int64($0 / 100) }))
    for question in 0..<5000 {
      let score = min(max(Float(0.5 + 0.2 * (labels[question] > 0.5 ? 1 : -1) + 0.2 * random.normal()), 0), 1)
      // Whether the label or the prediction comes first does not matter.
      if question % 2 == 0 { scores.land(question: question) }
      #expect(scores.record(arm: 0, question: question, score: score))
      if question % 2 == 1 { scores.land(question: question) }
    }
    let running = scores.running(arm: 0)
    let exact = scores.exact(arm: 0)
    #expect(running.count == 5000)
    #expect(abs(running.logLoss - exact.logLoss) < 1e-9)
    #expect(abs(running.auc - exact.auc) < 2e-3)
    #expect(scores.running(arm: 0, lastDays: 10, before: 49 * 86_400_000).count == 1000)
    #expect(scores.running(arm: 1).count == 0)
    #expect(scores.running(arm: 1).logLoss.isNaN)
    #expect(scores.logLosses(arm: 0, daysPerSpan: 7).count == 8)
    #expect(scores.logLosses(arm: 1, daysPerSpan: 7).allSatisfy { $0 == nil })
  }

  @Test func theFirstPredictionCounts() {
    let scores = ModelScores(arms: ["a"], stream: stream([0, 1]))
    #expect(scores.record(arm: 0, question: 1, score: 0.8))
    #expect(!scores.record(arm: 0, question: 1, score: 0.1))
    #expect(scores.duplicates == 1)
    #expect(scores.unanswered(arm: 0) == 1)
    #expect(abs(scores.exact(arm: 0).logLoss - -log(Double(Float(0.8)))) < 1e-9)
  }

  @Test func aScoreThatIsNoNumberIsWrongAndAnswered() {
    let scores = ModelScores(arms: ["a"], stream: stream([0, 1]))
    #expect(scores.record(arm: 0, question: 0, score: .nan))
    #expect(scores.unanswered(arm: 0) == 1)
    #expect(abs(scores.exact(arm: 0).logLoss - -log(1e-6)) < 1e-6)
  }
}

@Suite struct AuditTests {
  @Test func theLimitIsTheStartOfTheTick() {
    var audit = Audit()
    audit.check(question: 0, arm: "a", tickMilliseconds: 100, labelsThroughMilliseconds: 100)
    audit.check(question: 1, arm: "a", tickMilliseconds: 100, labelsThroughMilliseconds: .min)
    #expect(audit.violations == 0)
    audit.check(question: 2, arm: "a", tickMilliseconds: 100, labelsThroughMilliseconds: 101)
    #expect(audit.checked == 3)
    #expect(audit.violations == 1)
    for question in 0..<20 { audit.check(question: question, arm: "a", tickMilliseconds: 0, labelsThroughMilliseconds: 1) }
    #expect(audit.shown.count == Audit.shownMax)
  }
}
