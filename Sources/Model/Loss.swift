internal import Foundation

/// What a linear model minimizes, over the sum s of a row's weights times values, and the label y.
///
/// | loss | score (link) | label | loss | gradient dL/ds |
/// |---|---|---|---|---|
/// | logistic | 1 / (1 + e^-s) | 0...1 | log(1 + e^s) - y s | score - y |
/// | squared | s | finite | (s - y)^2 / 2 | score - y |
/// | poisson | e^s | >= 0 | e^s - y s | score - y |
///
/// The three are canonical links, which is why the gradient reads the same. Poisson's s is held within ±30, so that its score stays finite;
/// its loss leaves out log(y!), which no weight changes.
public enum Loss: UInt8, Sendable, Equatable, CaseIterable {
  case logistic = 1
  case squared = 2
  case poisson = 3

  static let poissonSumMax = 30.0

  /// The link: the score of a sum.
  public func score(sum: Double) -> Double {
    switch self {
    case .logistic:
      // Each branch exponentiates a number that is not above zero: no overflow, full precision at both ends.
      if sum >= 0 { return 1 / (1 + exp(-sum)) }
      let e = exp(sum)
      return e / (1 + e)
    case .squared: return sum
    case .poisson: return exp(Swift.min(Swift.max(sum, -Self.poissonSumMax), Self.poissonSumMax))
    }
  }

  /// The link in the precision of the serving path.
  public func score(sum: Float) -> Float { Float(score(sum: Double(sum))) }

  /// The derivative of the loss by the sum, for one example of weight 1.
  public func gradient(sum: Double, label: Double) -> Double { score(sum: sum) - label }

  /// The loss of one example of weight 1.
  public func loss(sum: Double, label: Double) -> Double {
    switch self {
    case .logistic: return Swift.max(sum, 0) + log1p(exp(-abs(sum))) - label * sum
    case .squared: return (sum - label) * (sum - label) / 2
    case .poisson:
      let held = Swift.min(Swift.max(sum, -Self.poissonSumMax), Self.poissonSumMax)
      return exp(held) - label * held
    }
  }

  /// The labels that this loss is defined for.
  public var labels: ClosedRange<Double> {
    switch self {
    case .logistic: 0...1
    case .squared: -Double.greatestFiniteMagnitude...Double.greatestFiniteMagnitude
    case .poisson: 0...Double.greatestFiniteMagnitude
    }
  }

  /// As YAML spells it.
  public var name: String {
    switch self {
    case .logistic: "logistic"
    case .squared: "squared"
    case .poisson: "poisson"
    }
  }
}
