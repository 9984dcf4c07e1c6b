import Synchronization

/// All metrics of a process (or of one test), and their Prometheus text.
///
/// Getting a metric takes a lock and may allocate: do it once, at start, and keep what comes back. A
/// name with labels names one metric for as long as the registry lives, so asking again gives the
/// same object. Asking for one name as two kinds is a bug and stops the process.
public final class Registry: Sendable {
  private let families = Mutex<[String: Family]>([:])

  public init() {}

  /// A number that only grows. By convention its name ends in `_total`.
  public func counter(_ name: String, _ help: String, labels: [(String, String)] = []) -> Counter {
    let instrument = instrument(name, help, labels, .counter) { .counter(Counter()) }
    guard case .counter(let counter) = instrument else { preconditionFailure(reread(name)) }
    return counter
  }

  /// A number that goes up and down.
  public func gauge(_ name: String, _ help: String, labels: [(String, String)] = []) -> Gauge {
    let instrument = instrument(name, help, labels, .gauge) { .gauge(Gauge()) }
    guard case .gauge(let gauge) = instrument else { preconditionFailure(reread(name)) }
    return gauge
  }

  /// A gauge that is read when the text is asked for. Registering it again replaces `read`, so that
  /// a part that was restarted reports for itself.
  public func gaugeReading(
    _ name: String, _ help: String, labels: [(String, String)] = [], read: @escaping @Sendable () -> Double
  ) {
    replace(name, help, labels, .gauge, .reading(read))
  }

  /// A counter kept elsewhere (by a library, by the kernel), read when the text is asked for.
  public func counterReading(
    _ name: String, _ help: String, labels: [(String, String)] = [], read: @escaping @Sendable () -> Double
  ) {
    replace(name, help, labels, .counter, .reading(read))
  }

  /// A distribution of durations. By convention its name ends in `_seconds`.
  public func histogram(_ name: String, _ help: String, labels: [(String, String)] = []) -> LatencyHistogram {
    let instrument = instrument(name, help, labels, .histogram) { .latency(LatencyHistogram()) }
    guard case .latency(let histogram) = instrument else { preconditionFailure(reread(name)) }
    return histogram
  }

  /// A distribution of durations that is exported in microseconds, for names that other servers' dashboards know. By convention its name
  /// ends in `_us`.
  public func microseconds(_ name: String, _ help: String, labels: [(String, String)] = []) -> LatencyHistogram {
    let instrument = instrument(name, help, labels, .histogram) { .microseconds(LatencyHistogram()) }
    guard case .microseconds(let histogram) = instrument else { preconditionFailure(reread(name)) }
    return histogram
  }

  /// A distribution of sizes, exported with power-of-two buckets.
  public func sizes(_ name: String, _ help: String, labels: [(String, String)] = []) -> SizeHistogram {
    let instrument = instrument(name, help, labels, .histogram) { .size(SizeHistogram()) }
    guard case .size(let histogram) = instrument else { preconditionFailure(reread(name)) }
    return histogram
  }

  /// Stops exporting one metric, for example of a partition that moved away.
  public func remove(_ name: String, labels: [(String, String)] = []) {
    families.withLock { families in
      families[name]?.series[Exposition.labelText(labels)] = nil
      if families[name]?.series.isEmpty == true { families[name] = nil }
    }
  }

  /// The Prometheus text exposition, format 0.0.4: families by name, series by labels, so two calls
  /// without changes between them give the same bytes.
  public func text() -> String {
    // Readings run outside the lock: they may be slow, and may ask this registry for metrics.
    let families = self.families.withLock { $0 }
    var text = ""
    for (name, family) in families.sorted(by: { $0.key < $1.key }) {
      Exposition.append(name: name, family: family, to: &text)
    }
    return text
  }

  /// Every series of one metric as it stands now, in the order of the text; none when nobody registered
  /// the name.
  public func readings(of name: String) -> [MetricReading] {
    let series = families.withLock { $0[name]?.series } ?? [:]
    return series.sorted { $0.key < $1.key }.map { _, series in
      switch series.instrument {
      case .counter(let counter): MetricReading(labels: series.labels, value: Double(counter.value), distribution: nil)
      case .gauge(let gauge): MetricReading(labels: series.labels, value: gauge.value, distribution: nil)
      case .reading(let read): MetricReading(labels: series.labels, value: read(), distribution: nil)
      case .latency(let histogram), .microseconds(let histogram): MetricReading(labels: series.labels, histogram.snapshot())
      case .size(let histogram): MetricReading(labels: series.labels, histogram.snapshot())
      }
    }
  }

  // MARK: Families

  private func instrument(
    _ name: String, _ help: String, _ labels: [(String, String)], _ kind: Family.Kind, make: () -> Instrument
  ) -> Instrument {
    families.withLock { families in
      let key = Self.check(name, labels)
      var family = families[name] ?? Family(kind: kind, help: help)
      precondition(family.kind == kind, "metric \(name) is already registered as a \(family.kind.rawValue)")
      if let known = family.series[key] { return known.instrument }
      let made = make()
      family.series[key] = Series(labels: labels, instrument: made)
      families[name] = family
      return made
    }
  }

  private func replace(
    _ name: String, _ help: String, _ labels: [(String, String)], _ kind: Family.Kind, _ instrument: Instrument
  ) {
    families.withLock { families in
      let key = Self.check(name, labels)
      var family = families[name] ?? Family(kind: kind, help: help)
      precondition(family.kind == kind, "metric \(name) is already registered as a \(family.kind.rawValue)")
      family.series[key] = Series(labels: labels, instrument: instrument)
      families[name] = family
    }
  }

  /// Names come from our code, so a bad one is a bug. Label values may be anything.
  private static func check(_ name: String, _ labels: [(String, String)]) -> String {
    precondition(Exposition.isMetricName(name), "\(name) is not a metric name")
    for (label, _) in labels {
      precondition(Exposition.isLabelName(label), "\(label) is not a label name (metric \(name))")
    }
    return Exposition.labelText(labels)
  }

  private func reread(_ name: String) -> String {
    "metric \(name) is registered with the same labels as another kind of instrument"
  }
}

/// One series of a metric, read for display.
public struct MetricReading: Sendable {
  public let labels: [(String, String)]
  /// The value; for a histogram, how many values it holds.
  public let value: Double
  /// Of a histogram only.
  public let distribution: HistogramSnapshot?

  init(labels: [(String, String)], value: Double, distribution: HistogramSnapshot?) {
    self.labels = labels
    self.value = value
    self.distribution = distribution
  }

  init(labels: [(String, String)], _ distribution: HistogramSnapshot) {
    self.init(labels: labels, value: Double(distribution.count), distribution: distribution)
  }

  /// The value of a label; nil when the series has none of that name.
  public func label(_ name: String) -> String? { labels.first { $0.0 == name }?.1 }
}

/// All series of one metric name.
struct Family {
  enum Kind: String { case counter, gauge, histogram }

  let kind: Kind
  let help: String
  /// By label text (`{a="b"}`, or nothing), which is unique for a set of labels in one order.
  var series: [String: Series] = [:]
}

struct Series {
  let labels: [(String, String)]
  let instrument: Instrument
}

enum Instrument {
  case counter(Counter)
  case gauge(Gauge)
  case reading(@Sendable () -> Double)
  case latency(LatencyHistogram)
  case microseconds(LatencyHistogram)
  case size(SizeHistogram)
}
