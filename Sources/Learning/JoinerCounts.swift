/// What a joiner has done since it was made; totals that only grow.
public struct JoinerCounts: Sendable, Equatable {
  /// Records taken from features and labels, whatever became of them; not those read again at a start.
  public var features = 0
  public var labels = 0
  /// Examples decided from an event and its label.
  public var matched = 0
  /// Windows that ended without a label.
  public var expired = 0
  /// Of those, the ones that became negative examples.
  public var expiredNegatives = 0
  /// Examples with label 0 that sampling left out.
  public var sampledOut = 0
  /// Events that expired before their window's end because `waitingEventsMax` was reached.
  public var evictedEvents = 0
  /// Labels that came before their event.
  public var earlyLabels = 0
  /// Labels given up early because too many waited.
  public var evictedLabels = 0
  /// Done entries forgotten before their window's end.
  public var evictedDone = 0
  /// Events and labels seen before.
  public var duplicateFeatures = 0
  public var duplicateLabels = 0
  /// Events that came after their own window's end.
  public var lateFeatures = 0
  /// Labels of events that had expired.
  public var lateLabels = 0
  /// Labels whose event did not come within the window.
  public var labelsWithoutEvent = 0
  /// Records that no example can come from: unusable ones, events of several rows, too large ones.
  public var skippedFeatures = 0
  public var skippedLabels = 0
  /// Offsets that were not in the log any more.
  public var lostFeatures: Int64 = 0
  public var lostLabels: Int64 = 0
  /// Event times beyond the ceiling.
  public var clampedTimes = 0
  /// Batches sealed, those of them without examples, accepted, and starts over because of a rival or a loss.
  public var batches = 0
  public var coveringBatches = 0
  public var accepted = 0
  public var restarts = 0

  public init() {}
}
