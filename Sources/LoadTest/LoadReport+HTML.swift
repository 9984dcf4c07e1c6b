internal import Foundation

extension LoadReport {
  /// A page that needs nothing but itself: tables and plots, legible in light and dark.
  public var html: String {
    var plots: [Plot] = []
    if steps.count > 1 { plots.append(latencyByRate) }
    plots.append(percentileCurve)
    if slices.count > 1 {
      plots.append(latencyOverTime)
      plots.append(throughputOverTime)
    }
    if steps.count > 1 { plots.append(achievedByOffered) }
    let figures = plots.enumerated().map { $1.svg(identifier: "plot-\($0)") }.joined()
    return """
      <!doctype html>
      <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
      <title>\(escape(title))</title><style>\(Self.style)</style></head><body><main>
      <header><h1>\(escape(title))</h1><p>\(escape(measured))</p></header>
      \(tiles)
      \(detailList)
      \(table)
      \(reasons)
      \(figures)
      <footer>\(footer)</footer>
      </main><script>\(Self.script)</script></body></html>

      """
  }

  // MARK: Parts

  private var footer: String {
    let loop =
      isClosedLoop
      ? "Closed loop: what is asked waits for what was answered, so that a stall counts once."
      : """
      Open loop: every latency runs from the time that the event was due, so that a stall counts for all events that were due in it. \
      Generator lateness p50 \(Self.milliseconds(generatorLateness.p50)) ms, p99 \(Self.milliseconds(generatorLateness.p99)) \
      ms\(isGeneratorLimited ? ": <strong>the generator was a bottleneck</strong>" : "").
      """
    return loop + (limit.map { " \(escape($0.text.prefix(1).uppercased() + $0.text.dropFirst()))." } ?? "")
  }

  private var tiles: String {
    func tile(_ name: String, _ value: String, _ unit: String, bad: Bool = false) -> String {
      "<div class=\"tile\(bad ? " bad" : "")\"><span>\(name)</span><b>\(value)</b><i>\(unit)</i></div>"
    }
    return "<section class=\"tiles\">"
      + tile("offered", Self.rate(offeredPerSecond), "events/s") + tile("achieved", Self.rate(achievedPerSecond), "events/s")
      + tile("p50", Self.milliseconds(latency.p50), "ms") + tile("p99", Self.milliseconds(latency.p99), "ms")
      + tile("p99.9", Self.milliseconds(latency.p999), "ms")
      + tile("errors", Self.grouped(Double(errors)), "of \(Self.grouped(Double(events)))", bad: errors > 0) + "</section>"
  }

  private var detailList: String {
    guard !details.isEmpty else { return "" }
    return "<dl>" + details.map { "<div><dt>\(escape($0.name))</dt><dd>\(escape($0.value))</dd></div>" }.joined() + "</dl>"
  }

  private var table: String {
    guard steps.count > 1 else { return "" }
    let header = ["offered/s", "achieved/s", "errors", "p50", "p90", "p99", "p99.9", "max"]
    let rows = steps.map { step in
      [Self.rate(step.offeredPerSecond), Self.rate(step.achievedPerSecond), Self.grouped(Double(step.errors))] + Self.cells(step.latency)
    }
    return "<div class=\"scroll\"><table><thead><tr>" + header.map { "<th>\($0)</th>" }.joined() + "</tr></thead><tbody>"
      + rows.map { "<tr>" + $0.map { "<td>\($0)</td>" }.joined() + "</tr>" }.joined()
      + "</tbody></table><p class=\"note\">Latencies in milliseconds.</p></div>"
  }

  private var reasons: String {
    let told = errorReasons.filter { $0.value > 0 }.sorted { $0.key < $1.key }
    guard !told.isEmpty else { return "" }
    return "<ul class=\"reasons\">" + told.map { "<li>\(Self.grouped(Double($0.value))) × \(escape($0.key))</li>" }.joined() + "</ul>"
  }

  // MARK: Plots

  private static func short(_ perSecond: Double) -> String {
    switch perSecond {
    case 1e6...: trimmed(perSecond / 1e6) + " M"
    case 1e3...: trimmed(perSecond / 1e3) + " k"
    default: trimmed(perSecond)
    }
  }

  private static func trimmed(_ value: Double) -> String {
    let text = String(format: value < 10 ? "%.2f" : value < 100 ? "%.1f" : "%.0f", value)
    guard text.contains(".") else { return text }
    var end = text
    while end.hasSuffix("0") { end.removeLast() }
    return end.hasSuffix(".") ? String(end.dropLast()) : end
  }

  private func millisecondsAxis(_ values: [Double]) -> Plot.Axis {
    let positive = values.filter { $0 > 0 }
    let (range, ticks) = Plot.logarithmicTicks(positive.min() ?? 0.1, positive.max() ?? 1, text: Self.trimmed)
    return Plot.Axis(label: "milliseconds", scale: .logarithmic, range: range, ticks: ticks)
  }

  private func rateAxis(_ values: [Double], label: String) -> Plot.Axis {
    let (range, ticks) = Plot.linearTicks(upTo: values.max() ?? 1, text: Self.short)
    return Plot.Axis(label: label, scale: .linear, range: range, ticks: ticks)
  }

  private func words(_ milliseconds: Double) -> String { Self.milliseconds(milliseconds) + " ms" }

  /// Each further nine of the percentile is as wide as the one before it.
  private var percentileCurve: Plot {
    func place(_ percentile: Double) -> Double { -log10(max(1e-9, 1 - percentile / 100)) }
    let shown = steps.filter { !$0.curve.isEmpty }
    let last = shown.flatMap { $0.curve.map { place($0.percentile) } }.max() ?? 1
    let marks: [(Double, String)] = [
      (50, "50 %"), (90, "90 %"), (99, "99 %"), (99.9, "99.9 %"), (99.99, "99.99 %"), (99.999, "99.999 %"), (99.9999, "99.9999 %"),
    ]
    return Plot(
      title: "Latency by percentile", caption: "The tail on the right: each mark is ten times rarer than the one before.",
      x: Plot.Axis(
        label: "percentile", scale: .linear, range: 0...max(1, last),
        ticks: marks.filter { place($0.0) <= last + 0.01 }.map { (place($0.0), $0.1) }),
      y: millisecondsAxis(shown.flatMap { $0.curve.map(\.milliseconds) }),
      lines: shown.enumerated().map { index, step in
        Plot.Line(
          name: "\(Self.short(step.targetPerSecond))/s", style: shown.count == 1 ? "s1" : Self.ramp(index, of: shown.count),
          points: step.curve.map { (place($0.percentile), $0.milliseconds) })
      },
      describeX: { x in String(format: "%.5g", 100 * (1 - pow(10, -x))) + " %" }, describeY: words)
  }

  private static func ramp(_ index: Int, of count: Int) -> String { "r\(count <= 1 ? 5 : index * 5 / (count - 1))" }

  private var latencyOverTime: Plot {
    let shown = slices.filter { $0.latency.max > 0 }
    return Plot(
      title: "Latency over time", caption: "Of the events due in each \(sliceName).", x: timeAxis,
      y: millisecondsAxis(shown.flatMap { [$0.latency.p50, $0.latency.max] }),
      lines: [
        Plot.Line(name: "max", style: "s3", points: shown.map { ($0.second, $0.latency.max) }),
        Plot.Line(name: "p99", style: "s2", points: shown.map { ($0.second, $0.latency.p99) }),
        Plot.Line(name: "p50", style: "s1", points: shown.map { ($0.second, $0.latency.p50) }),
      ],
      describeX: seconds, describeY: words)
  }

  private var throughputOverTime: Plot {
    Plot(
      title: "Offered and achieved over time", caption: "Where achieved stays below offered, a backlog grows.", x: timeAxis,
      y: rateAxis(slices.flatMap { [$0.offeredPerSecond, $0.achievedPerSecond] }, label: "events/s"),
      lines: [
        Plot.Line(name: "achieved", style: "s1", points: slices.map { ($0.second, $0.achievedPerSecond) }),
        Plot.Line(name: "offered", style: "over", points: slices.map { ($0.second, $0.offeredPerSecond) }, isDashed: true),
      ],
      describeX: seconds, describeY: { Self.rate($0) + "/s" })
  }

  private var latencyByRate: Plot {
    Plot(
      title: "Latency by offered rate", caption: "Where the lines turn up, the system is near its peak.",
      x: rateAxis(steps.map(\.offeredPerSecond), label: "offered events/s"),
      y: millisecondsAxis(steps.flatMap { [$0.latency.p50, $0.latency.p999] }),
      lines: [
        Plot.Line(name: "p99.9", style: "s3", points: steps.map { ($0.offeredPerSecond, $0.latency.p999) }),
        Plot.Line(name: "p99", style: "s2", points: steps.map { ($0.offeredPerSecond, $0.latency.p99) }),
        Plot.Line(name: "p50", style: "s1", points: steps.map { ($0.offeredPerSecond, $0.latency.p50) }),
      ],
      describeX: { Self.rate($0) + "/s offered" }, describeY: words)
  }

  private var achievedByOffered: Plot {
    let all = steps.flatMap { [$0.offeredPerSecond, $0.achievedPerSecond] }
    return Plot(
      title: "Achieved by offered rate", caption: "The dashed line is all that was asked.",
      x: rateAxis(steps.map(\.offeredPerSecond), label: "offered events/s"), y: rateAxis(all, label: "achieved events/s"),
      lines: [
        Plot.Line(name: "achieved", style: "s1", points: steps.map { ($0.offeredPerSecond, $0.achievedPerSecond) }),
        Plot.Line(name: "offered", style: "over", points: steps.map { ($0.offeredPerSecond, $0.offeredPerSecond) }, isDashed: true),
      ],
      describeX: { Self.rate($0) + "/s offered" }, describeY: { Self.rate($0) + "/s" })
  }

  private var timeAxis: Plot.Axis {
    let end = (slices.last?.second ?? 0) + 0.001
    let (range, ticks) = Plot.linearTicks(upTo: end, text: Self.trimmed)
    return Plot.Axis(label: "seconds", scale: .linear, range: range.lowerBound...end, ticks: ticks.filter { $0.value <= end })
  }

  private var sliceName: String {
    slices.count > 1 && slices[1].second - slices[0].second > 1.5 ? "\(Self.trimmed(slices[1].second)) s" : "second"
  }

  private func seconds(_ x: Double) -> String { "\(Self.trimmed(x)) s" }

  // MARK: Style

  private static let style = """
    :root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--soft:#5c6570;--faint:#e4e8ec;--card:#f6f8fa;--bad:#b3261e;
    --s1:#1f5fc9;--s2:#c05a00;--s3:#79828c;--r0:#9ec1f2;--r1:#7aa6e6;--r2:#578bd8;--r3:#3a70c4;--r4:#2455a6;--r5:#123a80}
    @media(prefers-color-scheme:dark){:root{--bg:#14171b;--fg:#e6e9ed;--soft:#9aa4af;--faint:#2b3138;--card:#1c2127;--bad:#ff8a80;
    --s1:#6ea8ff;--s2:#ffa657;--s3:#8b949e;--r0:#2c4d80;--r1:#3a659f;--r2:#4b7ec0;--r3:#659be0;--r4:#8ab8f5;--r5:#bcd8ff}}
    *{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif}
    main{max-width:860px;margin:0 auto;padding:32px 20px 48px}h1{font-size:24px;line-height:1.25;margin:0}header p{margin:4px 0 0;color:var(--soft)}
    .tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(118px,1fr));gap:10px;margin:24px 0 16px}
    .tile{background:var(--card);border-radius:8px;padding:12px 14px}.tile span,.tile i{display:block;color:var(--soft);font-size:13px;font-style:normal}
    .tile b{display:block;font-size:22px;font-weight:600;font-variant-numeric:tabular-nums}.tile.bad b{color:var(--bad)}
    dl{display:flex;flex-wrap:wrap;gap:4px 22px;margin:0 0 20px;font-size:13.5px}dl div{display:flex;gap:6px}dt{color:var(--soft)}dd{margin:0}
    .scroll{overflow-x:auto;margin-bottom:12px}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:14px}
    th,td{text-align:right;padding:6px 10px;border-bottom:1px solid var(--faint)}th{color:var(--soft);font-weight:500}.note{color:var(--soft);font-size:13px;margin:6px 0}
    .reasons{color:var(--bad);font-size:14px}
    .plot{position:relative;margin:30px 0 0}.plot h2{font-size:16px;margin:0}.plot p{margin:0 0 6px;color:var(--soft);font-size:13.5px}
    svg{display:block;width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:var(--soft)}svg .name{font-weight:600}
    .grid{stroke:var(--faint)}.axis,.notch{stroke:var(--soft)}.line{fill:none;stroke-width:2;stroke-linejoin:round}.dashed{stroke-dasharray:5 4}
    .cursor{stroke:var(--soft);stroke-width:1;visibility:hidden}
    .over{stroke:var(--fg);stroke-width:1.2}.dot.over{fill:none;stroke:none}svg .name.over{fill:var(--soft)}
    .s1{stroke:var(--s1)}.s2{stroke:var(--s2)}.s3{stroke:var(--s3)}.r0{stroke:var(--r0)}.r1{stroke:var(--r1)}.r2{stroke:var(--r2)}.r3{stroke:var(--r3)}.r4{stroke:var(--r4)}.r5{stroke:var(--r5)}
    .dot.s1,svg .name.s1{fill:var(--s1)}.dot.s2,svg .name.s2{fill:var(--s2)}.dot.s3,svg .name.s3{fill:var(--s3)}
    svg .name.r0{fill:var(--r0)}svg .name.r1{fill:var(--r1)}svg .name.r2{fill:var(--r2)}svg .name.r3{fill:var(--r3)}svg .name.r4{fill:var(--r4)}svg .name.r5{fill:var(--r5)}
    svg text.name{stroke:none}.dot{stroke:var(--bg);stroke-width:1}
    .tip{position:absolute;pointer-events:none;background:var(--fg);color:var(--bg);font-size:12.5px;line-height:1.45;padding:6px 9px;border-radius:6px;white-space:pre}
    footer{margin-top:32px;color:var(--soft);font-size:13.5px;border-top:1px solid var(--faint);padding-top:14px}
    """

  /// A cursor with the values under it. The page says everything without it.
  private static let script = """
    for(const svg of document.querySelectorAll('svg[data-plot]')){
    const rows=JSON.parse(document.getElementById(svg.dataset.plot).textContent),tip=svg.parentElement.querySelector('.tip'),
    cursor=svg.querySelector('.cursor');if(!rows.length)continue;
    svg.addEventListener('pointermove',e=>{const box=svg.getBoundingClientRect(),k=box.width/svg.viewBox.baseVal.width,x=(e.clientX-box.left)/k;
    let best=rows[0];for(const r of rows)if(Math.abs(r[0]-x)<Math.abs(best[0]-x))best=r;
    cursor.setAttribute('x1',best[0]);cursor.setAttribute('x2',best[0]);cursor.style.visibility='visible';
    tip.hidden=false;tip.textContent=best.slice(1).join('\\n');const left=best[0]*k+14;
    tip.style.left=(left+tip.offsetWidth>box.width?best[0]*k-tip.offsetWidth-14:left)+'px';tip.style.top=(svg.offsetTop+24)+'px'});
    svg.addEventListener('pointerleave',()=>{cursor.style.visibility='hidden';tip.hidden=true})}
    """
}
