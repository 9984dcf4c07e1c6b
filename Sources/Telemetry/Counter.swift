import Synchronization

/// A number that only grows: events, bytes, errors. Any thread may add; adding is one relaxed atomic
/// instruction and never allocates.
public final class Counter: Sendable {
  private let total = Atomic<Int>(0)

  /// A counter that belongs to no registry. Use `Registry.counter` for one that is exported.
  public init() {}

  /// Adds `n`, which must not be negative. Wraps on overflow instead of trapping.
  public func add(_ n: Int = 1) {
    assert(n >= 0, "a counter never goes down (added \(n))")
    total.wrappingAdd(n, ordering: .relaxed)
  }

  public var value: Int { total.load(ordering: .relaxed) }
}
