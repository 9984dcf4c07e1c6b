// Hot: used for each row.

/// Probabilities of k classes from machines that each know two of them (Wu, Lin and Weng, "Probability Estimates for Multi-class
/// Classification by Pairwise Coupling", JMLR 5, 2004, the second approach), as LIBSVM computes them.
struct PairwiseProbabilities {
  private static let roundsMax = 100
  /// Probabilities of a pair keep this far from 0 and 1.
  private static let marginMin: Float = 1e-7

  let classes: Int
  /// Of the sigmoid of each pair (Platt): P(first class) = 1 / (1 + exp(a score + b)).
  let a: ModelNumbers<Float>
  let b: ModelNumbers<Float>

  var scratchFloats: Int { 2 * classes * classes + classes }

  /// - Parameters:
  ///   - scores: of each pair, (0, 1), (0, 2), … (1, 2), …
  ///   - p: the probability of each class.
  func couple(_ scores: UnsafePointer<Float>, scratch: UnsafeMutablePointer<Float>, into p: UnsafeMutablePointer<Float>) {
    let pairs = scratch
    let q = pairs + classes * classes
    let product = q + classes * classes
    var pair = 0
    for first in 0..<classes {
      for second in first &+ 1..<max(first &+ 1, classes) {
        let one = 1 - PostTransform.logistic(scores[pair] * a[pair] + b[pair])
        let kept = min(max(one, Self.marginMin), 1 - Self.marginMin)
        pairs[first &* classes &+ second] = kept
        pairs[second &* classes &+ first] = 1 - kept
        pair &+= 1
      }
    }
    for row in 0..<classes {
      p[row] = 1 / Float(classes)
      var diagonal: Float = 0
      for column in 0..<classes where column != row {
        let other = pairs[column &* classes &+ row]
        diagonal += other * other
        q[row &* classes &+ column] = -other * pairs[row &* classes &+ column]
      }
      q[row &* classes &+ row] = diagonal
    }
    let errorMax = 0.005 / Float(classes)
    for _ in 0..<Self.roundsMax {
      // Anew in each round, so that rounding does not gather.
      var whole: Float = 0
      for row in 0..<classes {
        var sum: Float = 0
        for column in 0..<classes { sum += q[row &* classes &+ column] * p[column] }
        product[row] = sum
        whole += p[row] * sum
      }
      var error: Float = 0
      for row in 0..<classes { error = max(error, abs(product[row] - whole)) }
      if error < errorMax { break }
      for row in 0..<classes {
        let diagonal = q[row &* classes &+ row]
        let step = (whole - product[row]) / diagonal
        p[row] += step
        let scale = 1 + step
        whole = (whole + step * (step * diagonal + 2 * product[row])) / scale / scale
        for column in 0..<classes {
          product[column] = (product[column] + step * q[row &* classes &+ column]) / scale
          p[column] /= scale
        }
      }
    }
  }
}
