internal import Foundation

extension LoadReport {
  /// A table for the terminal.
  public var text: String {
    var lines = [title, "latency: \(measured)"]
    if !details.isEmpty { lines.append(details.map { "\($0.name) \($0.value)" }.joined(separator: " · ")) }
    lines.append("")
    let header = ["offered/s", "achieved/s", "errors", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"]
    var rows = steps.map { step in
      [Self.rate(step.offeredPerSecond), Self.rate(step.achievedPerSecond), String(step.errors)]
        + Self.cells(step.latency)
    }
    if steps.count > 1 {
      rows.append([Self.rate(offeredPerSecond), Self.rate(achievedPerSecond), String(errors)] + Self.cells(latency))
    }
    let widths = header.indices.map { column in
      rows.reduce(header[column].count) { Swift.max($0, $1[column].count) }
    }
    func row(_ cells: [String]) -> String {
      zip(cells, widths).map { String(repeating: " ", count: $1 - $0.count) + $0 }.joined(separator: "  ")
    }
    lines.append(row(header))
    lines.append(widths.map { String(repeating: "─", count: $0) }.joined(separator: "  "))
    for (index, cells) in rows.enumerated() {
      lines.append(row(cells) + (steps.count > 1 && index == steps.count ? "  all" : ""))
    }
    for (reason, count) in errorReasons.sorted(by: { $0.key < $1.key }) where count > 0 {
      lines.append("\(count) × \(reason)")
    }
    if let limit { lines.append(limit.text) }
    if isClosedLoop {
      lines.append("closed loop: what is asked waits for what was answered, so that a stall counts once")
    } else {
      lines.append(
        "generator lateness: p50 \(Self.milliseconds(generatorLateness.p50)) ms, p99 \(Self.milliseconds(generatorLateness.p99)) ms"
          + (isGeneratorLimited ? " — the generator was a bottleneck: these latencies are its own in part" : ""))
    }
    return lines.joined(separator: "\n")
  }

  /// The generator's own lateness makes up much of the latency.
  var isGeneratorLimited: Bool {
    generatorLateness.p99 > 1 && generatorLateness.p50 > latency.p50 / 2
  }

  static func cells(_ latency: LatencySummary) -> [String] {
    [latency.p50, latency.p90, latency.p99, latency.p999, latency.max].map(milliseconds)
  }

  static func rate(_ perSecond: Double) -> String { grouped(perSecond.rounded()) }

  /// Three significant digits.
  static func milliseconds(_ value: Double) -> String {
    switch value {
    case 0: "0"
    case ..<0.1: String(format: "%.3f", value)
    case ..<10: String(format: "%.2f", value)
    case ..<100: String(format: "%.1f", value)
    default: grouped(value.rounded())
    }
  }

  /// Thousands apart, by a thin space that every font has.
  static func grouped(_ value: Double) -> String {
    guard value.isFinite, abs(value) < 1e15 else { return "–" }
    var digits = String(Int64(abs(value)))
    var groups: [String] = []
    while digits.count > 3 {
      groups.insert(String(digits.suffix(3)), at: 0)
      digits = String(digits.dropLast(3))
    }
    groups.insert(digits, at: 0)
    return (value < 0 ? "-" : "") + groups.joined(separator: ",")
  }
}
