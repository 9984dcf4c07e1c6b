import Synchronization
public import Telemetry

/// The status of this process, put together from the metrics that its parts export anyway, so that a
/// part shows up on the status page by counting.
public final class RegistryStatus: StatusSource {
  /// What is fixed for the life of the process.
  public struct About: Sendable {
    public var version: String
    public var roles: [String]
    public var kafka: String

    public init(version: String, roles: [String], kafka: String) {
      self.version = version
      self.roles = roles
      self.kafka = kafka
    }
  }

  /// Latencies on the page are over the last 10 to 20 seconds.
  static let windowNanoseconds: Int64 = 10_000_000_000

  /// Totals that the page shows, with their words.
  static let totals: [(metric: String, words: String)] = [
    ("millrace_stream_events_total", "events answered"), ("millrace_stream_predictions_total", "prediction records"),
    ("nv_inference_request_success", "requests answered"), ("nv_inference_count", "rows of requests"),
    ("millrace_ingest_records_total", "records by ingest"),
    ("millrace_joiner_labels_total", "labels taken"), ("millrace_joiner_matched_total", "examples joined"),
    ("millrace_examples_learned_total", "examples learned"),
  ]
  /// Histograms that the page shows, with their words.
  static let distributions: [(metric: String, words: String)] = [
    ("millrace_stream_event_age_seconds", "event to prediction"), ("nv_inference_request_duration_us", "request"), ("millrace_freshness_seconds", "label to replica"),
    ("millrace_stream_stage_seconds", "batch"),
  ]

  private struct Window {
    var base: HistogramSnapshot
    var middle: HistogramSnapshot
    var rotatedNanoseconds: Int64
  }

  private let about: About
  private let registry: Registry
  private let now: @Sendable () -> Int64
  private let startedNanoseconds: Int64
  private let windows = Mutex<[String: Window]>([:])

  public convenience init(about: About, registry: Registry) {
    self.init(about: about, registry: registry, now: { MonotonicClock.nanoseconds() })
  }

  init(about: About, registry: Registry, now: @escaping @Sendable () -> Int64) {
    self.about = about
    self.registry = registry
    self.now = now
    startedNanoseconds = now()
  }

  public func status() -> StatusSnapshot {
    let now = now()
    return StatusSnapshot(
      version: about.version, roles: about.roles, kafka: about.kafka,
      uptimeSeconds: Double(now - startedNanoseconds) / 1e9, models: models(now), throughput: throughput(),
      latencies: latencies(now), lags: lags(), errors: errors())
  }

  // MARK: Parts of the page

  private func models(_ now: Int64) -> [StatusSnapshot.ModelStatus] {
    // The gauge of rows exists once for each arm of each model, so it tells which there are.
    registry.readings(of: "millrace_rows").compactMap { rows in
      guard let name = rows.label("model"), let arm = rows.label("arm") else { return nil }
      func series(_ metric: String) -> [MetricReading] {
        registry.readings(of: metric).filter { $0.label("model") == name && $0.label("arm") == arm }
      }
      func windowed(_ metric: String) -> Double? {
        series(metric).first { $0.label("over") == "window" }.flatMap { known($0.value) }
      }
      let position = series("millrace_replica_position").sorted { shard($0) < shard($1) }.map { whole($0.value) }
      let freshness = series("millrace_freshness_seconds").first?.distribution.map {
        recent("freshness \(name) \(arm)", $0, now)
      }
      let through = series("millrace_labels_through_seconds").first.map(\.value).flatMap { $0 > 0 ? known($0) : nil }
      // A gauge of zero examples says nothing about a loss.
      let examples = whole(series("millrace_validation_examples").first?.value ?? 0)
      return StatusSnapshot.ModelStatus(
        name: name, version: rows.label("version").flatMap { Int($0) } ?? 1, arm: arm, position: position,
        rows: Int(whole(rows.value)), examples: Int(examples),
        logLoss: examples == 0 ? nil : windowed("millrace_validation_loss"),
        auc: examples == 0 ? nil : windowed("millrace_validation_auc"),
        calibration: examples == 0 ? nil : windowed("millrace_validation_calibration"),
        freshnessMilliseconds: freshness.flatMap { $0.count == 0 ? nil : $0.quantile(0.99) * 1000 },
        labelsThroughMilliseconds: through.map { whole($0 * 1000) })
    }
  }

  private func throughput() -> [StatusSnapshot.Throughput] {
    Self.totals.compactMap { metric, words in
      let readings = registry.readings(of: metric)
      guard !readings.isEmpty else { return nil }
      return StatusSnapshot.Throughput(name: words, total: Int(whole(readings.reduce(0) { $0 + $1.value })))
    }
  }

  private func latencies(_ now: Int64) -> [StatusSnapshot.Latency] {
    Self.distributions.flatMap { metric, words in
      registry.readings(of: metric).compactMap { reading in
        guard let all = reading.distribution else { return nil }
        let labels = reading.labels.map(\.1).joined(separator: " ")
        let window = recent("\(metric) \(labels)", all, now)
        guard all.count > 0 else { return nil }
        return StatusSnapshot.Latency(
          name: labels.isEmpty ? words : "\(words) (\(labels))", count: window.count, p50: window.quantile(0.5) * 1000,
          p99: window.quantile(0.99) * 1000, max: window.maximum * 1000)
      }
    }
  }

  private func lags() -> [StatusSnapshot.Lag] {
    let stream = registry.readings(of: "millrace_stream_lag_records").map { lag($0, "features, answered by") }
    let joiner = registry.readings(of: "millrace_joiner_lag_records").map { lag($0, "\($0.label("topic") ?? ""), joined by") }
    return stream + joiner
  }

  private func lag(_ reading: MetricReading, _ words: String) -> StatusSnapshot.Lag {
    StatusSnapshot.Lag(
      topic: "\(words) \(reading.label("model") ?? "")", partition: reading.label("partition").flatMap { Int($0) } ?? 0,
      records: whole(reading.value))
  }

  private func errors() -> [StatusSnapshot.ErrorCount] {
    deadLetters() + refusedRequests()
  }

  /// Requests that were not answered with scores, over all models.
  private func refusedRequests() -> [StatusSnapshot.ErrorCount] {
    var counts: [String: Double] = [:]
    for reading in registry.readings(of: "nv_inference_request_failure") where reading.value > 0 {
      counts[reading.label("reason") ?? "unknown", default: 0] += reading.value
    }
    return counts.sorted { $0.key < $1.key }.map { StatusSnapshot.ErrorCount(reason: "\($0.key) (requests)", count: Int(whole($0.value))) }
  }

  private func deadLetters() -> [StatusSnapshot.ErrorCount] {
    registry.readings(of: "millrace_dead_letters_total").compactMap { reading in
      guard reading.value > 0 else { return nil }
      let reason = reading.label("reason") ?? "unknown"
      let stage = reading.label("stage").map { " (\($0))" } ?? ""
      return StatusSnapshot.ErrorCount(reason: reason + stage, count: Int(whole(reading.value)))
    }
  }

  // MARK: Numbers

  /// What was recorded in the last 10 to 20 seconds; everything, for the first look.
  private func recent(_ key: String, _ current: HistogramSnapshot, _ now: Int64) -> HistogramSnapshot {
    windows.withLock { windows in
      guard var window = windows[key] else {
        let empty = current.since(current)
        windows[key] = Window(base: empty, middle: current, rotatedNanoseconds: now)
        return current
      }
      if now - window.rotatedNanoseconds >= Self.windowNanoseconds {
        window = Window(base: window.middle, middle: current, rotatedNanoseconds: now)
        windows[key] = window
      }
      return current.since(window.base)
    }
  }

  private func known(_ value: Double) -> Double? { value.isFinite ? value : nil }

  private func whole(_ value: Double) -> Int64 {
    Int64(exactly: value.rounded()) ?? 0
  }

  private func shard(_ reading: MetricReading) -> Int { reading.label("shard").flatMap { Int($0) } ?? 0 }
}
