/// The bucket layout of every histogram: values below 64 have a bucket each; above that each power
/// of two is cut into 64 equal buckets, so a bucket is at most 1/64 of its lower bound wide and its
/// middle is within 0.8 % of any value in it.
///
/// This is the layout of HdrHistogram with six sub-bucket bits and a fixed range.
public enum LogLinearBuckets {
  static let subBucketBits = 6
  static let subBucketCount = 1 << subBucketBits
  /// Values are clamped to `0 ... valueMax`: 2^44 - 1, which is 4.9 hours in nanoseconds.
  static let valueBits = 44
  public static let valueMax: Int64 = (1 << 44) - 1
  static let count = (valueBits - subBucketBits + 1) * subBucketCount
  /// The middle of a bucket differs from any value in the bucket by at most this fraction.
  public static let relativeErrorMax = 0.5 / Double(subBucketCount)

  /// The bucket of a value. Any Int64 is allowed.
  static func index(of value: Int64) -> Int {
    let clamped = UInt64(truncatingIfNeeded: min(max(value, 0), valueMax))
    if clamped < UInt64(subBucketCount) { return Int(truncatingIfNeeded: clamped) }
    // The top bit names the power of two; the six bits below it name the bucket.
    let shift = (63 - clamped.leadingZeroBitCount) - subBucketBits
    let mantissa = Int(truncatingIfNeeded: clamped >> UInt64(shift)) - subBucketCount
    return (shift + 1) * subBucketCount + mantissa
  }

  /// The smallest value of a bucket.
  static func lowerBound(of index: Int) -> Int64 {
    if index < subBucketCount { return Int64(index) }
    let shift = index / subBucketCount - 1
    return Int64(subBucketCount + index % subBucketCount) << Int64(shift)
  }

  /// The number of values in a bucket.
  static func width(of index: Int) -> Int64 {
    index < subBucketCount ? 1 : 1 << Int64(index / subBucketCount - 1)
  }

  /// What a bucket's values are taken to be: the middle of the bucket.
  static func middle(of index: Int) -> Double {
    Double(lowerBound(of: index)) + Double(width(of: index) - 1) / 2
  }
}
