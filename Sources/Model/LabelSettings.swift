/// Which labels a model takes, and what it makes of them.
public struct LabelSettings: Sendable, Equatable {
  /// A raw label becomes 1 when it is above this and 0 otherwise, so that a producer can send minutes of delay to a model of lateness.
  public var above: Double?
  /// Raw labels outside are errors. Nil: what the loss is defined for.
  public var minimum: Double?
  /// Raw labels outside are errors. Nil: what the loss is defined for.
  public var maximum: Double?
  /// An example's weight lies in 0...weightMax.
  public var weightMax: Double

  public init(above: Double? = nil, minimum: Double? = nil, maximum: Double? = nil, weightMax: Double = 1e6) {
    self.above = above
    self.minimum = minimum
    self.maximum = maximum
    self.weightMax = weightMax
  }
}

/// How events and labels are matched.
public struct JoinSettings: Sendable, Equatable {
  public enum OnExpiry: UInt8, Sendable, Equatable {
    /// An event whose label never came is forgotten.
    case drop = 1
    /// An event whose label never came is learned with label 0.
    case negative = 2
  }

  /// How long after its event a label may come, by event time.
  public var windowMilliseconds: Int64
  public var onExpiry: OnExpiry
  /// Events that wait for their labels, for each partition; beyond it the oldest expire early, and are counted.
  public var waitingEventsMax: Int
  /// The share of examples with label 0 that is kept, chosen by a hash of the event id; a kept one weighs 1 / negativesKept.
  public var negativesKept: Double
  /// The seed of that choice.
  public var seed: UInt64

  public init(
    windowMilliseconds: Int64 = 86_400_000, onExpiry: OnExpiry = .drop, waitingEventsMax: Int = 1_000_000, negativesKept: Double = 1,
    seed: UInt64 = 0
  ) {
    self.windowMilliseconds = windowMilliseconds
    self.onExpiry = onExpiry
    self.waitingEventsMax = waitingEventsMax
    self.negativesKept = negativesKept
    self.seed = seed
  }

  /// Whether the example with label 0 of event `id` is kept: a pure function of the seed and the id.
  public func keepsNegative(id: UnsafeRawBufferPointer) -> Bool {
    if negativesKept >= 1 { return true }
    // 53 bits: every value of the fraction is a double.
    return Double(hash64(id, seed: seed) >> 11) * 0x1p-53 < negativesKept
  }
}
