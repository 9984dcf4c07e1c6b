internal import Synchronization

/// The greatest label event time (milliseconds) that the following arm of a model has applied. Shared by
/// the model's hosts: one raises it, refreshing arms read it.
public final class LabelWatermark: Sendable {
  private let value = Atomic<Int64>(.min)

  public init() {}

  public var milliseconds: Int64 { value.load(ordering: .acquiring) }

  /// Never goes back.
  public func raise(to milliseconds: Int64) {
    if milliseconds > value.load(ordering: .relaxed) {
      _ = value.max(milliseconds, ordering: .releasing)
    }
  }
}
