internal import Foundation

/// What happens to a number before it is a row's value, in this order whatever order it was written in: clip, log1p, multiply, divide,
/// standardize, buckets.
public struct NumericTransform: Sendable, Equatable {
  /// Values outside are moved to the nearer end.
  public var clip: ClosedRange<Double>?
  /// log(1 + x); a number of -1 or less is an error.
  public var log1p: Bool
  public var multiply: Double
  public var divide: Double
  /// (x - mean) / deviation.
  public var mean: Double
  public var deviation: Double
  /// Ascending bounds; n of them make n + 1 buckets, bucket i being `bounds[i - 1] <= x < bounds[i]`. Empty: the number itself is the value.
  public var buckets: [Double]

  public init(
    clip: ClosedRange<Double>? = nil, log1p: Bool = false, multiply: Double = 1, divide: Double = 1, mean: Double = 0,
    deviation: Double = 1, buckets: [Double] = []
  ) {
    self.clip = clip
    self.log1p = log1p
    self.multiply = multiply
    self.divide = divide
    self.mean = mean
    self.deviation = deviation
    self.buckets = buckets
  }

  /// The number before bucketizing; not finite when `x` is not, or lies outside the domain.
  public func apply(_ x: Double) -> Double { NumericSteps(self).apply(x) }

  /// The bucket of a transformed number: how many bounds are not above it.
  public func bucket(_ x: Double) -> Int {
    buckets.withUnsafeBufferPointer { bounds in bounds.baseAddress.map { bucketIndex(x, $0, bounds.count) } ?? 0 }
  }
}

/// The steps before bucketizing, without the references that a copy would have to count.
struct NumericSteps {
  var low: Double
  var high: Double
  var multiply: Double
  var divide: Double
  var mean: Double
  var deviation: Double
  var log1p: Bool

  init(_ transform: NumericTransform) {
    low = transform.clip?.lowerBound ?? -.infinity
    high = transform.clip?.upperBound ?? .infinity
    multiply = transform.multiply
    divide = transform.divide
    mean = transform.mean
    deviation = transform.deviation
    log1p = transform.log1p
  }

  @inline(__always)
  func apply(_ x: Double) -> Double {
    // An infinity must not be clipped into a number that looks good.
    guard x.isFinite else { return .nan }
    var x = x < low ? low : (x > high ? high : x)
    if log1p { x = Foundation.log1p(x) }
    return ((x * multiply) / divide - mean) / deviation
  }
}

/// How many of the ascending `bounds` are not above `x`.
func bucketIndex(_ x: Double, _ bounds: UnsafePointer<Double>, _ count: Int) -> Int {
  var low = 0
  var high = count
  while low < high {
    let middle = (low + high) / 2
    if bounds[middle] <= x { low = middle + 1 } else { high = middle }
  }
  return low
}
