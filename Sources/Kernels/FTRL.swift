public import CKernels

/// The settings of FTRL-Proximal in single precision (McMahan et al., "Ad Click Prediction: a View from the Trenches", KDD 2013).
public struct FTRL: Sendable, Equatable {
  public let alpha: Float, beta: Float, l1: Float, l2: Float

  /// Nil unless all are finite, alpha and beta above zero, l1 and l2 not below it.
  public init?(alpha: Double, beta: Double, l1: Double, l2: Double) {
    self.alpha = Float(alpha)
    self.beta = Float(beta)
    self.l1 = Float(l1)
    self.l2 = Float(l2)
    guard self.alpha > 0, self.beta > 0, self.l1 >= 0, self.l2 >= 0 else { return nil }
    guard self.alpha.isFinite, self.beta.isFinite, self.l1.isFinite, self.l2.isFinite else { return nil }
  }

  /// The weight of a row: 0 when |z| <= l1, else (sign(z) l1 - z) / ((beta + sqrt(n)) / alpha + l2).
  public func weight(z: Float, n: Float) -> Float {
    var c = c
    return mr_ftrl_weight(&c, z, n)
  }

  /// One step of one row from sums of gradients and of their squares: bit for bit what applying a record does to it. False, and
  /// nothing changed, when the result would not be finite.
  @discardableResult
  public func step(_ row: inout mr_row, gradientSum: Float, squareSum: Float) -> Bool {
    var c = c
    return mr_ftrl_step(&c, &row, gradientSum, squareSum)
  }

  public var c: mr_ftrl { mr_ftrl(alpha: alpha, beta: beta, l1: l1, l2: l2) }
}
