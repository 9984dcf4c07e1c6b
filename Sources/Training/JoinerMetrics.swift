import Learning
import Telemetry

/// What the joiner counts; created once, updated without allocation but for what is rare.
struct JoinerMetrics {
  let sessionsFailed: Counter
  let deadLettersLost: Counter
  let batchExamples: SizeHistogram
  let batchBytes: SizeHistogram
  let labelAge: LatencyHistogram
  private let totals: [(of: any KeyPath<JoinerCounts, Int> & Sendable, counter: Counter)]
  private let lost: [(of: any KeyPath<JoinerCounts, Int64> & Sendable, counter: Counter)]
  private let registry: Registry
  private let model: String

  init(registry: Registry, model: String) {
    self.registry = registry
    self.model = model
    let labels = [("model", model)]
    func total(_ name: String, _ help: String, _ more: [(String, String)] = []) -> Counter {
      registry.counter("millrace_joiner_\(name)_total", help, labels: labels + more)
    }
    sessionsFailed = total("sessions_failed", "Times that joining started again after a client failed")
    deadLettersLost = total("dead_letters_lost", "Dead letters that the broker did not take")
    batchExamples = registry.sizes("millrace_joiner_batch_examples", "Examples in one batch", labels: labels)
    batchBytes = registry.sizes("millrace_joiner_batch_bytes", "Bytes of one batch", labels: labels)
    labelAge = registry.histogram(
      "millrace_joiner_label_age_seconds",
      "From a label's record timestamp (milliseconds) to the end of the turn that took it", labels: labels)
    totals = [
      (\.features, total("features", "Feature records taken")),
      (\.labels, total("labels", "Label records taken")),
      (\.matched, total("matched", "Examples decided from an event and its label")),
      (\.expired, total("expired", "Events whose label did not come in time")),
      (\.expiredNegatives, total("expired_negatives", "Expired events that became negative examples")),
      (\.sampledOut, total("sampled_out", "Negative examples left out by sampling")),
      (\.earlyLabels, total("early_labels", "Labels that came before their event")),
      (\.lateLabels, total("late_labels", "Labels of events that had expired")),
      (\.labelsWithoutEvent, total("labels_without_event", "Labels whose event did not come within the window")),
      (\.lateFeatures, total("late_features", "Events that came after their window's end")),
      (\.duplicateFeatures, total("duplicates", "Records seen before", [("topic", "features")])),
      (\.duplicateLabels, total("duplicates", "Records seen before", [("topic", "labels")])),
      (\.skippedFeatures, total("skipped", "Records that no example can come from", [("topic", "features")])),
      (\.skippedLabels, total("skipped", "Records that no example can come from", [("topic", "labels")])),
      (\.evictedEvents, total("evicted", "Entries given up early because too many waited", [("kind", "event")])),
      (\.evictedLabels, total("evicted", "Entries given up early because too many waited", [("kind", "label")])),
      (\.evictedDone, total("evicted", "Entries given up early because too many waited", [("kind", "done")])),
      (\.clampedTimes, total("clamped_times", "Event times that were too far in the future")),
      (\.batches, total("batches", "Batches sealed")),
      (\.coveringBatches, total("covering_batches", "Batches without examples")),
      (\.accepted, total("batches_accepted", "Own batches seen accepted")),
      (\.restarts, total("restarts", "Starts over because of a rival or a lost batch")),
    ]
    lost = [
      (\.lostFeatures, total("lost", "Offsets that were trimmed before they were joined", [("topic", "features")])),
      (\.lostLabels, total("lost", "Offsets that were trimmed before they were joined", [("topic", "labels")])),
    ]
  }

  /// Adds what has happened between two looks at one joiner.
  func add(_ now: JoinerCounts, since before: JoinerCounts) {
    for total in totals { total.counter.add(now[keyPath: total.of] - before[keyPath: total.of]) }
    for total in lost { total.counter.add(Int(clamping: now[keyPath: total.of] - before[keyPath: total.of])) }
  }

  func deadLetter(reason: String) {
    registry.counter(
      "millrace_dead_letters_total", "Records sent to a dead-letter topic, by reason",
      labels: [("model", model), ("reason", reason), ("stage", "labels")]
    ).add()
  }

  /// How things stand in one partition.
  func show(_ joiner: Joiner, partition: Int32, lagFeatures: Int64?, lagLabels: Int64?) {
    let labels = [("model", model), ("partition", "\(partition)")]
    func set(_ name: String, _ help: String, _ value: Double, _ more: [(String, String)] = []) {
      registry.gauge("millrace_joiner_\(name)", help, labels: labels + more).set(value)
    }
    set("waiting_events", "Events that wait for their label", Double(joiner.waitingEvents))
    set("waiting_labels", "Labels that wait for their event", Double(joiner.waitingLabels))
    set("remembered_ids", "Event ids remembered, decided ones included", Double(joiner.rememberedIDs))
    set("stored_bytes", "Bytes of ids and payloads in memory", Double(joiner.storedBytes))
    set("in_flight_batches", "Batches appended and not yet seen again", Double(joiner.inFlightBatches))
    if let time = joiner.watermarkMilliseconds {
      set("watermark_seconds", "Event time up to which windows are closed", Double(time) / 1_000)
    }
    if let lagFeatures {
      set("lag_records", "Records not yet taken", Double(lagFeatures), [("topic", "features")])
    }
    if let lagLabels {
      set("lag_records", "Records not yet taken", Double(lagLabels), [("topic", "labels")])
    }
  }
}
