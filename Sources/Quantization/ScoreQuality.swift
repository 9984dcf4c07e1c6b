internal import Foundation

/// How good scores are, by labels.
public struct ScoreQuality: Sendable, Equatable {
  /// Probabilities are clipped so far from 0 and 1 in the log loss, as everywhere in the project.
  public static let clip = 1e-6

  public let rows: Int
  /// Area under the ROC curve, ties counted half; labels above 0.5 are positive. NaN for several outputs, and unless both labels are there.
  public let auc: Double
  /// Mean, of probabilities: of the labels 0 and 1, or of the label's class when there are several outputs. NaN when scores are none.
  public let logLoss: Double

  /// - Parameters:
  ///   - scores: [labels.count, width], row-major.
  ///   - labels: 0 or 1; with several outputs the number of the class.
  public init(scores: [Float], width: Int = 1, labels: [Double]) {
    precondition(scores.count == labels.count * width, "\(scores.count) scores of \(labels.count) rows")
    rows = labels.count
    auc = width == 1 ? Self.auc(scores, labels) : .nan
    logLoss = Self.logLoss(scores, width, labels)
  }

  private static func auc(_ scores: [Float], _ labels: [Double]) -> Double {
    guard !scores.contains(where: \.isNaN) else { return .nan }
    let order = scores.indices.sorted { scores[$0] < scores[$1] }
    var positives = 0.0
    var rankSum = 0.0
    var at = 0
    while at < order.count {
      var end = at
      var tied = 0.0
      while end < order.count, scores[order[end]] == scores[order[at]] {
        if labels[order[end]] > 0.5 { tied += 1 }
        end += 1
      }
      // All of a tie have its middle rank; the first rank is 1.
      rankSum += tied * (Double(at + 1) + Double(end)) / 2
      positives += tied
      at = end
    }
    let negatives = Double(order.count) - positives
    guard positives > 0, negatives > 0 else { return .nan }
    return (rankSum - positives * (positives + 1) / 2) / (positives * negatives)
  }

  private static func logLoss(_ scores: [Float], _ width: Int, _ labels: [Double]) -> Double {
    guard !labels.isEmpty, scores.allSatisfy({ $0 >= 0 && $0 <= 1 }) else { return .nan }
    var sum = 0.0
    for (row, label) in labels.enumerated() {
      if width == 1 {
        let p = min(max(Double(scores[row]), clip), 1 - clip)
        guard label >= 0, label <= 1 else { return .nan }
        sum -= label * log(p) + (1 - label) * log(1 - p)
      } else {
        guard let place = Int(exactly: label), place >= 0, place < width else { return .nan }
        sum -= log(min(max(Double(scores[row * width + place]), clip), 1))
      }
    }
    return sum / Double(labels.count)
  }
}

/// How far the scores of two models lie apart.
public struct ScoreDifference: Sendable, Equatable {
  /// Greatest distance; infinite when one of two is not a number.
  public let max: Double
  public let mean: Double

  public init(_ a: [Float], _ b: [Float]) {
    precondition(a.count == b.count, "\(a.count) and \(b.count) scores")
    var greatest = 0.0
    var sum = 0.0
    for (x, y) in zip(a, b) where x.bitPattern != y.bitPattern && !(x.isNaN && y.isNaN) {
      let distance = x.isNaN || y.isNaN ? .infinity : abs(Double(x) - Double(y))
      greatest = Swift.max(greatest, distance)
      sum += distance
    }
    max = greatest
    mean = a.isEmpty ? 0 : sum / Double(a.count)
  }
}
