internal import Foundation
internal import Telemetry

/// One picture of a replay: what is shown and where. Escape sequences never change a line's width.
struct LivePicture {
  private let replay: Replay
  private let title: String
  private let perSecond: Double
  private let recentLatency: HistogramSnapshot

  init(_ replay: Replay, title: String, perSecond: Double, recentLatency: HistogramSnapshot) {
    self.replay = replay
    self.title = title
    self.perSecond = perSecond
    self.recentLatency = recentLatency
  }

  private enum Ink: String {
    case plain = "0", bold = "1", dim = "2", green = "32", cyan = "36", yellow = "33", red = "31"
  }

  private func inked(_ text: String, _ ink: Ink) -> String { ink == .plain ? text : "\u{1B}[\(ink.rawValue)m\(text)\u{1B}[0m" }

  // MARK: A line, for logs and pipes

  var line: String {
    let scores = replay.scores
    let arms = scores.arms.indices.map { arm -> String in
      let quality = scores.running(arm: arm)
      return "\(scores.arms[arm]) \(fixed(quality.logLoss, 4))/\(fixed(quality.auc, 3))"
    }
    return [
      CalendarTime.minute(milliseconds: replay.clockMilliseconds), "\(Int(replay.fraction * 100))%", "\(grouped(replay.answered)) answered",
      "\(grouped(Int(perSecond)))/s", "latency p50 \(milliseconds(recentLatency.quantile(0.5))) p99 \(milliseconds(recentLatency.quantile(0.99)))",
      "log loss/AUC: \(arms.joined(separator: ", "))",
    ].joined(separator: "  ")
  }

  // MARK: A screen

  func lines(columns: Int, rows: Int) -> [String] {
    let width = max(40, min(columns, 100))
    var lines: [String] = []
    lines.append(header(width))
    lines.append(inked(String(repeating: "─", count: width), .dim))
    lines.append(clock(width))
    if rows >= 22 { lines.append("") }
    lines += figures()
    if rows >= 22 { lines.append("") }
    lines += table(width)
    if rows >= 22 { lines.append("") }
    lines += gap(width)
    if rows >= 24 { lines.append("") }
    lines.append(footer())
    return lines.map { cut($0, to: columns) }
  }

  private func header(_ width: Int) -> String {
    let right: String
    switch replay.settings.pace {
    case .lockstep(let tick): right = "lockstep, ticks of \(tick / 60_000) min"
    case .speed(let speed): right = speed.isInfinite ? "full speed" : "\(fixed(speed, speed < 10 ? 1 : 0)) x the clock"
    }
    let space = String(repeating: " ", count: max(1, width - title.count - right.count))
    return inked(title, .bold) + space + inked(right, .dim)
  }

  private func clock(_ width: Int) -> String {
    let fraction = replay.fraction
    let elapsed = replay.elapsedSeconds
    let left = fraction >= 1 ? "done in \(duration(elapsed))" : fraction > 0.005 ? "\(duration(elapsed * (1 - fraction) / fraction)) left" : ""
    let time = CalendarTime.minute(milliseconds: replay.clockMilliseconds)
    let tail = "\(String(Int(fraction * 100)).aligned(4)) %  \(left)"
    let barWidth = max(10, width - time.count - 4 - 22)
    return inked(time, .bold) + "  " + bar(fraction, barWidth) + tail
  }

  /// Eighths of a cell, so that it moves smoothly.
  private func bar(_ fraction: Double, _ width: Int) -> String {
    let eighths = Int((min(1, max(0, fraction)) * Double(width * 8)).rounded())
    let full = eighths / 8
    let parts = [" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉"]
    var text = String(repeating: "█", count: full)
    if full < width {
      text += eighths % 8 > 0 ? parts[eighths % 8] : "·"
      text += String(repeating: "·", count: width - full - 1)
    }
    return inked(String(text.prefix(full + (full < width && eighths % 8 > 0 ? 1 : 0))), .cyan)
      + inked(String(text.dropFirst(full + (full < width && eighths % 8 > 0 ? 1 : 0))), .dim)
  }

  private func figures() -> [String] {
    var lines = [
      label("questions") + "\(grouped(replay.answered)) answered at \(grouped(Int(perSecond)))/s",
      label("labels") + "\(grouped(replay.labelsSent)) landed",
      label("latency") + quantiles(recentLatency) + inked("   question to prediction", .dim),
    ]
    let freshness = replay.freshness.map(quantiles) ?? "-"
    lines.append(label("freshness") + freshness + inked("   label to serving model", .dim))
    if let endpoint = replay.instance.endpoint { lines.append(label("ask it") + endpoint) }
    return lines
  }

  private func label(_ name: String) -> String { inked(name.padded(11), .dim) }

  private func table(_ width: Int) -> [String] {
    let scores = replay.scores
    let since = CalendarTime.date(milliseconds: replay.stream.window.lowerBound)
    var lines = [
      inked("".padded(11) + "since \(since)".aligned(22) + "last 30 days".aligned(24), .dim),
      inked("model".padded(11) + "log loss".aligned(12) + "AUC".aligned(10) + "log loss".aligned(14) + "AUC".aligned(10), .dim),
    ]
    let total = scores.arms.indices.map { scores.running(arm: $0) }
    let recent = scores.arms.indices.map { scores.running(arm: $0, lastDays: 30, before: replay.clockMilliseconds) }
    let best = total.map(\.logLoss).filter(\.isFinite).min()
    for (arm, name) in scores.arms.enumerated() {
      let isBest = total[arm].logLoss == best && scores.arms.count > 1
      let row = name.padded(11) + fixed(total[arm].logLoss, 4).aligned(12) + fixed(total[arm].auc, 3).aligned(10)
        + fixed(recent[arm].logLoss, 4).aligned(14) + fixed(recent[arm].auc, 3).aligned(10)
      lines.append(isBest ? inked(row, .green) + inked("  ◀ best", .dim) : row)
    }
    if let attainable = replay.stream.bestLogLoss {
      lines.append(inked("attainable".padded(11) + fixed(attainable, 4).aligned(12), .dim))
    }
    return lines
  }

  /// What learning is worth over the year: the first arm's log loss less the online arm's, a few days a cell.
  private func gap(_ width: Int) -> [String] {
    let scores = replay.scores
    guard let online = scores.arms.firstIndex(of: replay.instance.onlineArm), let other = scores.arms.indices.first(where: { $0 != online })
    else { return [] }
    let cells = min(width - 2, 74)
    let days = max(1, Int((Double(scores.span) / Double(cells)).rounded(.up)))
    let gaps = zip(scores.logLosses(arm: other, daysPerSpan: days), scores.logLosses(arm: online, daysPerSpan: days)).map { pair -> Double? in
      if let a = pair.0, let b = pair.1 { a - b } else { nil }
    }
    let most = gaps.compactMap { $0 }.max() ?? 0
    let text = "log loss that learning saves over \(scores.arms[other]), every \(days) days"
    return [
      inked(text, .dim) + (most > 0 ? inked("   top of scale \(fixed(most, 3))", .dim) : ""),
      sparkline(gaps, most: most), inked(months(days: days, cells: gaps.count), .dim),
    ]
  }

  private func sparkline(_ values: [Double?], most: Double) -> String {
    let levels = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]
    return values.map { value -> String in
      guard let value else { return " " }
      guard value > 0, most > 0 else { return inked("▁", .red) }
      return inked(levels[min(7, Int(value / most * 7.999))], .green)
    }.joined()
  }

  /// A letter or three where each month begins.
  private func months(days: Int, cells: Int) -> String {
    let names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    var text = ""
    var month = 0
    let first = CalendarTime.floorDivide(replay.stream.times.first ?? 0, 86_400_000)
    for cell in 0..<cells {
      let date = CalendarTime.civil(days: first + Int64(cell * days))
      if date.month != month, text.count <= cell {
        text = text.padded(cell)
        if cell + 3 <= cells { text += names[date.month - 1] }
      }
      month = date.month
    }
    return text
  }

  private func footer() -> String {
    let audit = replay.audit
    if case .lockstep = replay.settings.pace {
      let verdict = audit.violations == 0
        ? inked("none saw a label of its future", .green) : inked("\(grouped(audit.violations)) SAW A LABEL OF THEIR FUTURE", .red)
      return label("audit") + "\(grouped(audit.checked)) predictions checked, " + verdict
    }
    return inked("Ctrl-C ends it and shows the table so far", .dim)
  }

  /// Cuts a line to `columns` cells without cutting an escape sequence.
  private func cut(_ line: String, to columns: Int) -> String {
    var kept = ""
    var cells = 0
    var isEscape = false
    for character in line {
      if character == "\u{1B}" { isEscape = true }
      if isEscape {
        kept.append(character)
        if character.isLetter { isEscape = false }
        continue
      }
      guard cells < columns else { continue }
      kept.append(character)
      cells += 1
    }
    return kept
  }
}
