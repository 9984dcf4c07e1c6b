internal import Glibc

/// When events are due, as a function of the seed alone: what the system under test does changes
/// nothing about what is asked of it (open loop).
public struct ArrivalProcess: Sendable {
  public enum Kind: String, Sendable, CaseIterable {
    /// Independent users: gaps are exponentially distributed.
    case poisson
    /// Evenly spaced.
    case fixed
  }

  public let kind: Kind
  private var random: SplitMix

  public init(_ kind: Kind, seed: UInt64) {
    self.kind = kind
    random = SplitMix(state: seed)
  }

  /// Nanoseconds from one event to the next at this rate (events per second, above 0).
  public mutating func gapNanoseconds(ratePerSecond: Double) -> Double {
    let mean = 1e9 / ratePerSecond
    guard kind == .poisson else { return mean }
    return -log(random.unit()) * mean
  }
}

/// A small seeded generator (SplitMix64, Steele, Lea and Flood 2014): the same numbers everywhere.
public struct SplitMix: RandomNumberGenerator, Sendable {
  private var state: UInt64

  public init(state: UInt64) { self.state = state }

  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }

  /// Uniform in (0, 1].
  public mutating func unit() -> Double { Double((next() >> 11) + 1) * 0x1p-53 }
}
