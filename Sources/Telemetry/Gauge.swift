import Synchronization

/// A number that goes up and down: lag, position, rows held. Any thread may set it; setting never
/// allocates.
public final class Gauge: Sendable {
  private let bits = Atomic<UInt64>((0.0).bitPattern)

  /// A gauge that belongs to no registry. Use `Registry.gauge` for one that is exported.
  public init() {}

  public func set(_ value: Double) {
    bits.store(value.bitPattern, ordering: .relaxed)
  }

  /// Adds `delta` to the value, atomically against other `add` calls.
  public func add(_ delta: Double) {
    var old = bits.load(ordering: .relaxed)
    while true {
      let new = (Double(bitPattern: old) + delta).bitPattern
      let (exchanged, original) = bits.weakCompareExchange(expected: old, desired: new, ordering: .relaxed)
      if exchanged { return }
      old = original
    }
  }

  public var value: Double { Double(bitPattern: bits.load(ordering: .relaxed)) }
}
