/// How long to wait before the next attempt to connect: exponential, with jitter, so that a thousand clients of one server do not come
/// back together. Source: gRPC's connection back-off protocol.
public struct ReconnectBackoff: Sendable {
  public struct Settings: Sendable {
    public var initialMilliseconds = 100
    public var multiplier = 1.6
    public var millisecondsMax = 20_000
    /// Each wait is drawn evenly from `1 - jitter ... 1 + jitter` of its length.
    public var jitter = 0.2

    public init(initialMilliseconds: Int = 100, multiplier: Double = 1.6, millisecondsMax: Int = 20_000, jitter: Double = 0.2) {
      self.initialMilliseconds = initialMilliseconds
      self.multiplier = multiplier
      self.millisecondsMax = millisecondsMax
      self.jitter = jitter
    }
  }

  private let settings: Settings
  private var generator: SeededGenerator
  /// Milliseconds before jitter.
  private var length: Double

  init(_ settings: Settings, seed: UInt64) {
    self.settings = settings
    generator = SeededGenerator(seed: seed)
    length = Double(max(1, settings.initialMilliseconds))
  }

  /// Nanoseconds until the next attempt; each call makes the one after it longer.
  mutating func next() -> Int64 {
    let jitter = min(max(settings.jitter, 0), 1)
    let factor = jitter == 0 ? 1 : Double.random(in: (1 - jitter)...(1 + jitter), using: &generator)
    let milliseconds = min(length, Double(max(1, settings.millisecondsMax)))
    length = min(milliseconds * max(1, settings.multiplier), Double(max(1, settings.millisecondsMax)))
    return Int64(milliseconds * factor * 1_000_000)
  }

  /// A connection was of use: the next failure begins anew.
  mutating func reset() { length = Double(max(1, settings.initialMilliseconds)) }
}
