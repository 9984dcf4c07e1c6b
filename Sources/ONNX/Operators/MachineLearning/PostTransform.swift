// Hot: used for each row.
#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// What ai.onnx.ml's models do to their scores at the end.
enum PostTransform: Sendable {
  case none, logistic, softmax, softmaxZero, probit

  init(_ node: NodeContext) throws(ONNXError) {
    switch try node.string("post_transform", "NONE") {
    case "NONE": self = .none
    case "LOGISTIC": self = .logistic
    case "SOFTMAX": self = .softmax
    case "SOFTMAX_ZERO": self = .softmaxZero
    case "PROBIT": self = .probit
    case let other: throw node.error("post_transform \(other)")
    }
  }

  func apply(_ scores: UnsafeMutablePointer<Float>, _ count: Int) {
    switch self {
    case .none: break
    case .logistic: for index in 0..<count { scores[index] = Self.logistic(scores[index]) }
    case .probit: for index in 0..<count { scores[index] = Self.probit(scores[index]) }
    case .softmax: Self.softmax(scores, count, skippingZeros: false)
    case .softmaxZero: Self.softmax(scores, count, skippingZeros: true)
    }
  }

  static func logistic(_ score: Float) -> Float {
    // By the magnitude, so that exp never overflows.
    let half = 1 / (1 + exp(-abs(Double(score))))
    return Float(score < 0 ? 1 - half : half)
  }

  /// The quantile of the normal distribution, by Winitzki's approximation of the inverse error function (2008; a = 0.147), which is what the
  /// runtimes that models are trained for compute: within 0.005 of the exact one.
  static func probit(_ score: Float) -> Float {
    let x = 2 * score - 1
    let product = log((1 - x) * (1 + x))
    let first = 2 / (Float(3.14159) * 0.147) + 0.5 * product
    let root = (-first + (first * first - product / 0.147).squareRoot()).squareRoot()
    return 1.41421356 * (x < 0 ? -root : root)
  }

  /// `skippingZeros`: scores of 0 stay out, those of other rows' classes that a tree never speaks of.
  private static func softmax(_ scores: UnsafeMutablePointer<Float>, _ count: Int, skippingZeros: Bool) {
    var most = -Float.infinity
    for index in 0..<count { most = max(most, scores[index]) }
    var sum: Float = 0
    for index in 0..<count {
      if skippingZeros && abs(scores[index]) <= 0.0000001 {
        scores[index] *= exp(-most)
      } else {
        scores[index] = exp(scores[index] - most)
        sum += scores[index]
      }
    }
    if sum == 0 { return }
    for index in 0..<count { scores[index] /= sum }
  }
}
