import Telemetry

/// What the stream predictor counts; created once, updated without allocation.
struct StreamPredictorMetrics {
  let events: Counter
  let predictions: Counter
  let unknownFeatures: Counter
  let sessionsFailed: Counter
  let missing: Counter
  let batchRows: SizeHistogram
  let decode: LatencyHistogram
  let score: LatencyHistogram
  let produce: LatencyHistogram
  let age: LatencyHistogram
  let openRanges: Gauge
  private let registry: Registry
  private let model: String

  init(registry: Registry, model: String) {
    self.registry = registry
    self.model = model
    let labels = [("model", model)]
    func stage(_ name: String) -> LatencyHistogram {
      registry.histogram(
        "millrace_stream_stage_seconds", "Time of one polled batch in a stage of stream prediction",
        labels: labels + [("stage", name)])
    }
    events = registry.counter("millrace_stream_events_total", "Feature records taken", labels: labels)
    predictions = registry.counter(
      "millrace_stream_predictions_total", "Prediction records handed to the producer", labels: labels)
    unknownFeatures = registry.counter(
      "millrace_stream_unknown_features_total", "Features ignored because the specification does not name them",
      labels: labels)
    sessionsFailed = registry.counter(
      "millrace_stream_sessions_failed_total", "Times that stream prediction started again after an error",
      labels: labels)
    missing = registry.counter(
      "millrace_stream_missing_records_total", "Source offsets covered by a gap record because they were trimmed",
      labels: labels)
    batchRows = registry.sizes("millrace_stream_batch_events", "Events in one polled batch", labels: labels)
    decode = stage("decode")
    score = stage("score")
    produce = stage("produce")
    age = registry.histogram(
      "millrace_stream_event_age_seconds",
      "From the record's timestamp (milliseconds) to its prediction being handed to the producer", labels: labels)
    openRanges = registry.gauge(
      "millrace_stream_open_ranges", "Polled ranges with outputs not yet acknowledged", labels: labels)
  }

  /// Bad records are rare, so the counter of a reason is looked up when it is needed.
  func deadLetter(reason: String) {
    registry.counter(
      "millrace_dead_letters_total", "Records sent to a dead-letter topic, by reason",
      labels: [("model", model), ("reason", reason), ("stage", "features")]
    ).add()
  }

  func lag(partition: Int32, records: Int64) {
    registry.gauge(
      "millrace_stream_lag_records", "Records of the features partition not yet taken",
      labels: [("model", model), ("partition", "\(partition)")]
    ).set(Double(records))
  }
}
