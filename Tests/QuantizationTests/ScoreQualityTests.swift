import Foundation
import Quantization
import Testing

@Suite struct ScoreQualityTests {
  @Test func knownValues() {
    let labels = [0.0, 0, 1, 1]
    #expect(ScoreQuality(scores: [0.1, 0.2, 0.3, 0.4], labels: labels).auc == 1)
    #expect(ScoreQuality(scores: [0.4, 0.3, 0.2, 0.1], labels: labels).auc == 0)
    #expect(ScoreQuality(scores: [0.5, 0.5, 0.5, 0.5], labels: labels).auc == 0.5)
    #expect(ScoreQuality(scores: [0.1, 0.4, 0.35, 0.8], labels: labels).auc == 0.75)
    let quality = ScoreQuality(scores: [0.25, 0.5], labels: [0, 1])
    #expect(abs(quality.logLoss - (-log(0.75) - log(0.5)) / 2) < 1e-7)
    // A certain error costs what the clip allows.
    #expect(abs(ScoreQuality(scores: [0], labels: [1]).logLoss + log(1e-6)) < 1e-9)
  }

  @Test func severalOutputs() {
    let quality = ScoreQuality(scores: [0.5, 0.25, 0.25, 0.1, 0.1, 0.8], width: 3, labels: [0, 2])
    #expect(quality.auc.isNaN)
    #expect(abs(quality.logLoss - (-log(0.5) - log(Double(Float(0.8)))) / 2) < 1e-7)
    #expect(ScoreQuality(scores: [0.5, 0.5], width: 2, labels: [2]).logLoss.isNaN, "there is no class 2")
  }

  @Test func whatCannotBeSaidIsNoNumber() {
    #expect(ScoreQuality(scores: [0.1, 0.2], labels: [1, 1]).auc.isNaN)
    #expect(ScoreQuality(scores: [], labels: []).auc.isNaN && ScoreQuality(scores: [], labels: []).logLoss.isNaN)
    #expect(ScoreQuality(scores: [1.5, 0], labels: [1, 0]).logLoss.isNaN, "1.5 is no probability")
    #expect(ScoreQuality(scores: [.nan, 0], labels: [1, 0]).auc.isNaN)
  }

  @Test func aucIsTheShareOfPairsInOrder() {
    let seed = UInt64.random(in: 0...UInt64.max)
    var state = seed | 1
    func next() -> UInt64 {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      return state
    }
    for _ in 0..<20 {
      let count = Int(next() % 40) + 2
      let scores = (0..<count).map { _ in Float(next() % 8) / 8 }
      let labels = [0.0, 1] + (2..<count).map { _ in Double(next() % 2) }
      var pairs = 0.0
      var ordered = 0.0
      for i in 0..<count where labels[i] == 1 {
        for j in 0..<count where labels[j] == 0 {
          pairs += 1
          ordered += scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0
        }
      }
      #expect(abs(ScoreQuality(scores: scores, labels: labels).auc - ordered / pairs) < 1e-12, "seed \(seed)")
    }
  }

  @Test func differences() {
    let difference = ScoreDifference([0.5, 0.25, .nan, 1], [0.5, 0.5, .nan, 0.5])
    #expect(difference.max == 0.5 && difference.mean == 0.1875)
    #expect(ScoreDifference([.nan], [1]).max == .infinity)
    #expect(ScoreDifference([], []).mean == 0)
  }
}
