/// Validation over about the last `examples` accepted examples: a ring of buckets, each with the label event times of what it holds.
/// The oldest bucket falls out when the newest is full.
public struct ValidationWindow: Sendable, Equatable {
  public static let bucketCount = 16

  public internal(set) var examplesPerBucket: Int64
  /// Oldest first from `newest + 1`, around.
  var buckets = [ValidationTotals](repeating: ValidationTotals(), count: ValidationWindow.bucketCount)
  var newest = 0

  public init(examples: Int) { examplesPerBucket = max(1, Int64(examples) / Int64(Self.bucketCount)) }

  mutating func add(section: UnsafeRawBufferPointer, from: Int64, through: Int64) {
    if buckets[newest].examples >= examplesPerBucket {
      newest = (newest + 1) % Self.bucketCount
      buckets[newest].removeAll()
    }
    buckets[newest].add(section: section)
    buckets[newest].extend(from: from, through: through)
  }

  /// All buckets together.
  public var totals: ValidationTotals {
    var sum = ValidationTotals()
    for bucket in buckets where bucket.examples > 0 { sum.merge(bucket) }
    return sum
  }

  /// Buckets that hold examples, oldest first: the course of the loss over label event time.
  public var course: [ValidationTotals] {
    (1...Self.bucketCount).map { buckets[(newest + $0) % Self.bucketCount] }.filter { $0.examples > 0 }
  }
}
