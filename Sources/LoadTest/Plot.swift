internal import Foundation

/// A line plot as inline SVG. Colours come from the page's style sheet, so that it follows light
/// and dark; every line is named at its end, next to where it is read.
struct Plot {
  enum Scale {
    case linear
    case logarithmic
  }

  struct Axis {
    var label: String
    var scale: Scale
    var range: ClosedRange<Double>
    var ticks: [(value: Double, text: String)]
  }

  struct Line {
    var name: String
    /// A class of the style sheet: `s1`, `s2`, `s3` for kinds, `r0`…`r5` for a ramp.
    var style: String
    var points: [(x: Double, y: Double)]
    /// What to show of each point besides its value; by default the plot's own x.
    var isDashed = false
  }

  var title: String
  var caption: String
  var x: Axis
  var y: Axis
  var lines: [Line]
  /// Turns an x position back into words for the tooltip, one for each distinct x.
  var describeX: (Double) -> String
  var describeY: (Double) -> String

  private static let width = 760.0
  private static let height = 300.0
  private static let left = 62.0
  private static let right = 118.0
  private static let top = 12.0
  private static let bottom = 44.0

  private var plotWidth: Double { Self.width - Self.left - Self.right }
  private var plotHeight: Double { Self.height - Self.top - Self.bottom }

  func svg(identifier: String) -> String {
    var out = """
      <figure class="plot"><figcaption><h2>\(escape(title))</h2><p>\(escape(caption))</p></figcaption>
      <svg viewBox="0 0 \(number(Self.width)) \(number(Self.height))" role="img" aria-label="\(escape(title))" data-plot="\(identifier)">

      """
    for tick in y.ticks {
      let at = number(placeY(tick.value))
      out += "<line class=\"grid\" x1=\"\(number(Self.left))\" x2=\"\(number(Self.left + plotWidth))\" y1=\"\(at)\" y2=\"\(at)\"/>"
      out += "<text class=\"tick\" x=\"\(number(Self.left - 8))\" y=\"\(at)\" text-anchor=\"end\" dy=\"0.32em\">\(escape(tick.text))</text>\n"
    }
    let floor = number(Self.top + plotHeight)
    for tick in x.ticks {
      let at = number(placeX(tick.value))
      out += "<line class=\"notch\" x1=\"\(at)\" x2=\"\(at)\" y1=\"\(floor)\" y2=\"\(number(Self.top + plotHeight + 5))\"/>"
      out += "<text class=\"tick\" x=\"\(at)\" y=\"\(number(Self.top + plotHeight + 18))\" text-anchor=\"middle\">\(escape(tick.text))</text>\n"
    }
    out += "<line class=\"axis\" x1=\"\(number(Self.left))\" x2=\"\(number(Self.left + plotWidth))\" y1=\"\(floor)\" y2=\"\(floor)\"/>"
    out += "<text class=\"label\" x=\"\(number(Self.left + plotWidth / 2))\" y=\"\(number(Self.height - 6))\" text-anchor=\"middle\">\(escape(x.label))</text>"
    out += "<text class=\"label\" transform=\"translate(14 \(number(Self.top + plotHeight / 2))) rotate(-90)\" text-anchor=\"middle\">\(escape(y.label))</text>\n"
    let labels = labelPlaces()
    for (index, line) in lines.enumerated() where !line.points.isEmpty {
      let path = line.points.map { "\(number(placeX($0.x))) \(number(placeY($0.y)))" }.joined(separator: "L")
      out += "<path class=\"line \(line.style)\(line.isDashed ? " dashed" : "")\" d=\"M\(path)\"/>\n"
      if line.points.count <= 12 {
        for point in line.points {
          out += "<circle class=\"dot \(line.style)\" cx=\"\(number(placeX(point.x)))\" cy=\"\(number(placeY(point.y)))\" r=\"3.5\"/>"
        }
      }
      out += "<text class=\"name \(line.style)\" x=\"\(number(Self.left + plotWidth + 10))\" y=\"\(number(labels[index]))\" dy=\"0.32em\">\(escape(line.name))</text>\n"
    }
    out += "<line class=\"cursor\" y1=\"\(number(Self.top))\" y2=\"\(floor)\"/>"
    out += "</svg><div class=\"tip\" hidden></div>\(tooltipData(identifier))</figure>\n"
    return out
  }

  /// Names beside the ends of their lines, pushed apart where they would touch.
  private func labelPlaces() -> [Double] {
    let gap = 15.0
    let ends = lines.indices.filter { !lines[$0].points.isEmpty }
      .map { (index: $0, y: placeY(lines[$0].points[lines[$0].points.count - 1].y)) }.sorted { $0.y < $1.y }
    var places = Array(repeating: 0.0, count: lines.count)
    var last = -Double.infinity
    for end in ends {
      last = max(end.y, last + gap)
      places[end.index] = last
    }
    // What was pushed below the plot pushes the others up.
    var next = Self.top + plotHeight + 2
    for end in ends.reversed() {
      places[end.index] = min(places[end.index], next)
      next = places[end.index] - gap
    }
    return places
  }

  private func placeX(_ value: Double) -> Double { Self.left + fraction(value, x) * plotWidth }
  private func placeY(_ value: Double) -> Double { Self.top + (1 - fraction(value, y)) * plotHeight }

  private func fraction(_ value: Double, _ axis: Axis) -> Double {
    let low = axis.range.lowerBound
    let high = axis.range.upperBound
    guard high > low else { return 0 }
    let share =
      switch axis.scale {
      case .linear: (value - low) / (high - low)
      case .logarithmic: (log10(max(value, low)) - log10(low)) / (log10(high) - log10(low))
      }
    return min(1, max(0, share))
  }

  /// For the script: each distinct x with its place and its words.
  private func tooltipData(_ identifier: String) -> String {
    var rows: [Double: [String]] = [:]
    for line in lines {
      for point in line.points {
        rows[point.x, default: [describeX(point.x)]].append("\(line.name): \(describeY(point.y))")
      }
    }
    let entries = rows.sorted { $0.key < $1.key }.map { x, words in
      "[\(number(placeX(x))),\(words.map { "\"\(jsonEscape($0))\"" }.joined(separator: ","))]"
    }
    return "<script type=\"application/json\" id=\"\(identifier)\">[\(entries.joined(separator: ","))]</script>"
  }

  private func number(_ value: Double) -> String {
    let text = String(format: "%.1f", value)
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
  }

  // MARK: Ticks

  /// Round numbers for a linear axis from 0.
  static func linearTicks(upTo high: Double, text: (Double) -> String) -> (range: ClosedRange<Double>, ticks: [(value: Double, text: String)]) {
    let high = max(high, 1e-9)
    let rough = high / 4
    let magnitude = pow(10, floor(log10(rough)))
    let step = ([1, 2, 2.5, 5, 10].first { $0 * magnitude >= rough } ?? 10) * magnitude
    let count = Int((high / step).rounded(.up))
    return (0...Double(count) * step, (0...count).map { (Double($0) * step, text(Double($0) * step)) })
  }

  /// 1, 2, 5 in each decade, or whole decades when there are many.
  static func logarithmicTicks(_ low: Double, _ high: Double, text: (Double) -> String) -> (range: ClosedRange<Double>, ticks: [(value: Double, text: String)]) {
    let low = max(low, 1e-3)
    let high = max(high, low * 2)
    let steps: [Double] = log10(high / low) > 3 ? [1] : [1, 2, 5]
    var candidates: [Double] = []
    for decade in Int(floor(log10(low)))...Int(ceil(log10(high))) {
      candidates += steps.map { $0 * pow(10, Double(decade)) }
    }
    let from = candidates.last { $0 <= low * 1.0001 } ?? low
    let to = candidates.first { $0 >= high * 0.9999 } ?? high
    return (from...to, candidates.filter { $0 >= from && $0 <= to }.map { ($0, text($0)) })
  }
}

func escape(_ text: String) -> String {
  text.replacingOccurrences(of: "&", with: "&amp;").replacingOccurrences(of: "<", with: "&lt;")
    .replacingOccurrences(of: ">", with: "&gt;").replacingOccurrences(of: "\"", with: "&quot;")
}

/// For JSON inside a script element, where `</` would end it.
func jsonEscape(_ text: String) -> String {
  text.replacingOccurrences(of: "\\", with: "\\\\").replacingOccurrences(of: "\"", with: "\\\"")
    .replacingOccurrences(of: "<", with: "\\u003c").replacingOccurrences(of: "\n", with: " ")
}
