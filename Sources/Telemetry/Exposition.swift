/// The Prometheus text format 0.0.4:
/// https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
enum Exposition {
  /// The `le` edges of latency histograms in nanoseconds, with their text in seconds. Fixed, so that
  /// histograms of several processes and versions can be added.
  static let latencyEdges: [(nanoseconds: Int64, seconds: String)] = [
    (10_000, "0.00001"), (25_000, "0.000025"), (50_000, "0.00005"),
    (100_000, "0.0001"), (250_000, "0.00025"), (500_000, "0.0005"),
    (1_000_000, "0.001"), (2_000_000, "0.002"), (4_000_000, "0.004"), (8_000_000, "0.008"),
    (15_000_000, "0.015"), (30_000_000, "0.03"), (60_000_000, "0.06"),
    (125_000_000, "0.125"), (250_000_000, "0.25"), (500_000_000, "0.5"),
    (1_000_000_000, "1"), (2_000_000_000, "2"), (5_000_000_000, "5"),
    (10_000_000_000, "10"), (30_000_000_000, "30"), (60_000_000_000, "60"),
  ]

  /// The `le` edges of size histograms: powers of two.
  static let sizeEdges: [Int64] = (0...20).map { 1 << Int64($0) }

  static func append(name: String, family: Family, to text: inout String) {
    text += "# HELP \(name) \(escapeHelp(family.help))\n# TYPE \(name) \(family.kind.rawValue)\n"
    for (labels, series) in family.series.sorted(by: { $0.key < $1.key }) {
      switch series.instrument {
      case .counter(let counter): text += "\(name)\(labels) \(counter.value)\n"
      case .gauge(let gauge): text += "\(name)\(labels) \(number(gauge.value))\n"
      case .reading(let read): text += "\(name)\(labels) \(number(read()))\n"
      case .latency(let histogram):
        append(name, labels, histogram.snapshot(), latencyEdges.map { ($0.nanoseconds, $0.seconds) }, to: &text)
      case .microseconds(let histogram):
        append(
          name, labels, histogram.snapshot(), latencyEdges.map { ($0.nanoseconds, String($0.nanoseconds / 1000)) }, sumScale: 1e6, to: &text)
      case .size(let histogram):
        append(name, labels, histogram.snapshot(), sizeEdges.map { ($0, String($0)) }, to: &text)
      }
    }
  }

  private static func append(
    _ name: String, _ labels: String, _ snapshot: HistogramSnapshot, _ edges: [(Int64, String)],
    sumScale: Double = 1, to text: inout String
  ) {
    let prefix = labels.isEmpty ? "{" : labels.dropLast() + ","
    for (edge, edgeText) in edges {
      text += "\(name)_bucket\(prefix)le=\"\(edgeText)\"} \(snapshot.cumulativeCount(upTo: edge))\n"
    }
    text += "\(name)_bucket\(prefix)le=\"+Inf\"} \(snapshot.count)\n"
    text += "\(name)_sum\(labels) \(number(snapshot.sum * sumScale))\n"
    text += "\(name)_count\(labels) \(snapshot.count)\n"
  }

  /// `{a="b",c="d"}` in the given order, or nothing without labels.
  static func labelText(_ labels: [(String, String)]) -> String {
    if labels.isEmpty { return "" }
    return "{" + labels.map { "\($0.0)=\"\(escapeLabel($0.1))\"" }.joined(separator: ",") + "}"
  }

  static func escapeLabel(_ value: String) -> String {
    escape(value, quote: true)
  }

  static func escapeHelp(_ help: String) -> String {
    escape(help, quote: false)
  }

  private static func escape(_ value: String, quote: Bool) -> String {
    var escaped = String.UnicodeScalarView()
    for scalar in value.unicodeScalars {
      switch scalar {
      case "\\": escaped.append(contentsOf: "\\\\".unicodeScalars)
      case "\n": escaped.append(contentsOf: "\\n".unicodeScalars)
      case "\"" where quote: escaped.append(contentsOf: "\\\"".unicodeScalars)
      default: escaped.append(scalar)
      }
    }
    return String(escaped)
  }

  static func number(_ value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
    if let whole = Int64(exactly: value) { return String(whole) }
    return "\(value)"
  }

  static func isMetricName(_ name: String) -> Bool {
    isName(name, colon: true)
  }

  static func isLabelName(_ name: String) -> Bool {
    // `le` is ours, names with two leading underscores are Prometheus's own.
    isName(name, colon: false) && name != "le" && !name.hasPrefix("__")
  }

  private static func isName(_ name: String, colon: Bool) -> Bool {
    guard let first = name.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) else { return false }
    return name.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
        true
      case UInt8(ascii: ":"): colon
      default: false
      }
    }
  }
}
