internal import Foundation
public import Telemetry

/// What a replay came to: the final table and the JSON file.
public struct ReplayReport: Sendable {
  public struct Arm: Sendable {
    public let name: String
    public let quality: Quality
    public let unanswered: Int
  }

  public let stream: String
  public let windowFrom: String
  /// Inclusive.
  public let windowTo: String
  public let arms: [Arm]
  public let onlineArm: String
  /// Questions that were answered by the online arm.
  public let events: Int
  public let labels: Int
  public let seconds: Double
  public let isLockstep: Bool
  public let audit: Audit
  public let latency: HistogramSnapshot
  public let freshness: HistogramSnapshot?
  public let bestLogLoss: Double?
  public let duplicates: Int
  public let shedOffsets: Int64

  public init(_ replay: Replay) {
    stream = replay.stream.name
    windowFrom = CalendarTime.date(milliseconds: replay.stream.window.lowerBound)
    windowTo = replay.stream.windowTo
    arms = replay.instance.arms.enumerated().map {
      Arm(name: $0.element, quality: replay.scores.exact(arm: $0.offset), unanswered: replay.scores.unanswered(arm: $0.offset))
    }
    onlineArm = replay.instance.onlineArm
    events = replay.answered
    labels = replay.labelsSent
    seconds = replay.elapsedSeconds
    if case .lockstep = replay.settings.pace { isLockstep = true } else { isLockstep = false }
    audit = replay.audit
    latency = replay.latency.snapshot()
    freshness = replay.freshness
    bestLogLoss = replay.stream.bestLogLoss
    duplicates = replay.scores.duplicates
    shedOffsets = replay.shedOffsets
  }

  /// In lockstep a prediction that saw a label of its future is a fault of the system. By the clock the limit is softer: a question may be
  /// answered a moment after it was asked, by a model that learned in that moment.
  public var isSound: Bool { !isLockstep || audit.violations == 0 }

  public var text: String {
    var lines = ["", "\(stream), \(windowFrom) to \(windowTo)", ""]
    let width = max(8, arms.map(\.name.count).max() ?? 8, bestLogLoss == nil ? 0 : 10)
    func row(_ name: String, _ loss: String, _ auc: String, _ count: String) -> String {
      "  " + name.padded(width) + loss.aligned(12) + auc.aligned(10) + count.aligned(14)
    }
    lines.append(row("model", "log loss", "AUC", "predictions"))
    for arm in arms {
      lines.append(row(arm.name, fixed(arm.quality.logLoss, 4), fixed(arm.quality.auc, 4), grouped(arm.quality.count)))
    }
    if let bestLogLoss { lines.append(row("attainable", fixed(bestLogLoss, 4), "", "")) }
    lines.append("")
    let rate = seconds > 0 ? Int(Double(events) / seconds) : 0
    lines.append("  \(grouped(events)) questions answered, \(grouped(labels)) labels, in \(duration(seconds)) (\(grouped(rate)) questions/s)")
    lines.append("  latency    \(quantiles(latency))")
    if let freshness { lines.append("  freshness  \(quantiles(freshness))") }
    for arm in arms where arm.unanswered > 0 { lines.append("  \(arm.name): \(grouped(arm.unanswered)) questions of the window unanswered") }
    if shedOffsets > 0 { lines.append("  \(grouped(Int(shedOffsets))) answers were shed") }
    if isLockstep {
      lines.append(
        "  audit      \(grouped(audit.checked)) predictions checked, \(audit.violations == 0 ? "none" : grouped(audit.violations)) saw a label from after its tick began")
      for violation in audit.shown {
        lines.append(
          "             question \(violation.question) by \(violation.arm): tick \(CalendarTime.minute(milliseconds: violation.tickMilliseconds)), labels through \(CalendarTime.minute(milliseconds: violation.labelsThroughMilliseconds))")
      }
    }
    lines.append("")
    return lines.joined(separator: "\n")
  }

  /// One JSON object; keys as documented in `millrace demo --help`.
  public var json: String {
    var models: [String] = []
    for arm in arms {
      models.append(
        "\(quoted(arm.name)):{\"log_loss\":\(number(arm.quality.logLoss)),\"auc\":\(number(arm.quality.auc)),\"predictions\":\(arm.quality.count),\"unanswered\":\(arm.unanswered)}")
    }
    var fields = [
      "\"window\":{\"from\":\(quoted(windowFrom)),\"to\":\(quoted(windowTo))}", "\"models\":{\(models.joined(separator: ","))}",
      "\"events\":\(events)", "\"labels\":\(labels)", "\"seconds\":\(number((seconds * 1000).rounded() / 1000))",
      "\"stream\":\(quoted(stream))", "\"lockstep\":\(isLockstep)",
      "\"latency_ms\":\(quantilesJSON(latency))",
    ]
    if isLockstep { fields.append("\"audit\":{\"checked\":\(audit.checked),\"violations\":\(audit.violations)}") }
    if let freshness { fields.append("\"freshness_ms\":\(quantilesJSON(freshness))") }
    if let bestLogLoss { fields.append("\"attainable_log_loss\":\(number(bestLogLoss))") }
    if duplicates > 0 { fields.append("\"duplicates\":\(duplicates)") }
    if shedOffsets > 0 { fields.append("\"shed\":\(shedOffsets)") }
    return "{" + fields.joined(separator: ",") + "}\n"
  }

  private func quantilesJSON(_ histogram: HistogramSnapshot) -> String {
    let parts = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("max", 1)].map {
      "\"\($0.0)\":\(number((histogram.quantile($0.1) * 1e6).rounded() / 1e3))"
    }
    return "{\(parts.joined(separator: ","))}"
  }

  /// JSON has no NaN.
  private func number(_ value: Double) -> String { value.isFinite ? "\(value)" : "null" }

  private func quoted(_ text: String) -> String {
    var quoted = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": quoted += "\\\""
      case "\\": quoted += "\\\\"
      case _ where scalar.value < 32: quoted += "\\u00" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
      default: quoted.unicodeScalars.append(scalar)
      }
    }
    return quoted + "\""
  }
}

func quantiles(_ histogram: HistogramSnapshot) -> String {
  guard histogram.count > 0 else { return "-" }
  return "p50 \(milliseconds(histogram.quantile(0.5)))   p99 \(milliseconds(histogram.quantile(0.99)))   p99.9 \(milliseconds(histogram.quantile(0.999)))"
}

/// Seconds as milliseconds with three digits that matter.
func milliseconds(_ seconds: Double) -> String {
  let value = seconds * 1000
  return fixed(value, value < 10 ? 2 : value < 100 ? 1 : 0) + " ms"
}

func fixed(_ value: Double, _ digits: Int) -> String {
  guard value.isFinite else { return "-" }
  let scale = digits == 0 ? 1.0 : (1...digits).reduce(1.0) { total, _ in total * 10 }
  let whole = (abs(value) * scale).rounded()
  guard whole < 1e15 else { return "\(value)" }
  let text = String(Int(whole))
  let filled = String(repeating: "0", count: max(0, digits + 1 - text.count)) + text
  let sign = value < 0 && whole > 0 ? "-" : ""
  return digits == 0 ? sign + filled : sign + filled.dropLast(digits) + "." + filled.suffix(digits)
}

/// 1234567 as 1,234,567.
func grouped(_ number: Int) -> String {
  var text = ""
  for (index, digit) in String(number.magnitude).reversed().enumerated() {
    if index > 0, index % 3 == 0 { text.append(",") }
    text.append(digit)
  }
  return (number < 0 ? "-" : "") + String(text.reversed())
}

/// 0:07, 4:31, 1:02:03.
func duration(_ seconds: Double) -> String {
  guard seconds.isFinite, seconds >= 0, seconds < 1e8 else { return "-" }
  let whole = Int(seconds.rounded())
  let minutes = whole / 60
  let tail = CalendarTime.padded(whole % 60)
  return minutes < 60 ? "\(minutes):\(tail)" : "\(minutes / 60):\(CalendarTime.padded(minutes % 60)):\(tail)"
}

extension String {
  func padded(_ width: Int) -> String { count >= width ? self : self + String(repeating: " ", count: width - count) }
  func aligned(_ width: Int) -> String { count >= width ? self : String(repeating: " ", count: width - count) + self }
}
