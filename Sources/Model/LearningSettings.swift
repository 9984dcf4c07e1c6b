/// How a model learns.
public struct LearningSettings: Sendable, Equatable {
  public enum Optimizer: Sendable, Equatable {
    /// FTRL-Proximal (McMahan et al. 2013, "Ad Click Prediction: a View from the Trenches"): per-coordinate rates alpha / (beta + sqrt(n)),
    /// l1 and l2 regularization.
    case ftrl(alpha: Double, beta: Double, l1: Double, l2: Double)
  }

  public var optimizer: Optimizer
  /// A gradient value beyond this magnitude counts as zero, and is counted.
  public var gradientBound: Double
  /// Examples over all trainers whose update has been sent and not yet applied; beyond it trainers wait.
  public var inFlightExamplesMax: Int
  /// Examples in one update record at most.
  public var batchExamplesMax: Int
  /// Examples over which the windowed figures of progressive validation are taken.
  public var validationWindowExamples: Int

  public init(
    optimizer: Optimizer = .ftrl(alpha: 0.1, beta: 1, l1: 0, l2: 0), gradientBound: Double = 1e6, inFlightExamplesMax: Int = 1000,
    batchExamplesMax: Int = 256, validationWindowExamples: Int = 100_000
  ) {
    self.optimizer = optimizer
    self.gradientBound = gradientBound
    self.inFlightExamplesMax = inFlightExamplesMax
    self.batchExamplesMax = batchExamplesMax
    self.validationWindowExamples = validationWindowExamples
  }
}

extension LearningSettings.Optimizer {
  var ftrl: (alpha: Double, beta: Double, l1: Double, l2: Double) {
    switch self {
    case .ftrl(let alpha, let beta, let l1, let l2): (alpha, beta, l1, l2)
    }
  }
}
