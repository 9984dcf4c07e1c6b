public import UpdateLog

/// One way of answering with a model: its replicas and the name that its predictions carry. A model
/// has at least one arm (`online`, which follows the log); further arms answer from held positions of
/// the same log, so that they can be compared on the same events.
public struct Arm: Sendable {
  public let name: String
  public let set: ReplicaSet
  /// False while the replicas are behind the end of the log that they saw at start, or restoring.
  public let isReady: @Sendable () -> Bool

  public init(name: String, set: ReplicaSet, isReady: @escaping @Sendable () -> Bool) {
    self.name = name
    self.set = set
    self.isReady = isReady
  }
}
