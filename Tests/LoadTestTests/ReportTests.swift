import Foundation
import Testing

@testable import LoadTest

@Suite struct ReportTests {
  /// A made-up run: latencies rise with the rate, one second has a stall.
  static func sample(steps: [Double] = [25_000, 50_000, 75_000, 90_000], secondsEach: Double = 10) -> LoadReport {
    let profile = LoadProfile(
      warmUpSeconds: 1, steps: steps.map { LoadStep(ratePerSecond: $0, seconds: secondsEach) }, seed: 7)
    let timeline = Timeline(profile, startNanoseconds: 1_000_000_000)
    let recorder = LatencyRecorder(timeline)
    var arrivals = ArrivalProcess(.poisson, seed: 7)
    var random = SplitMix(state: 9)
    var outcome = OpenLoopDriver.Outcome(
      offered: Array(repeating: 0, count: steps.count), refused: Array(repeating: 0, count: steps.count),
      offeredBySlice: Array(repeating: 0, count: timeline.sliceCount),
      lateness: LatencySummary(p50: 0.02, p90: 0.05, p99: 0.09, p999: 0.2, max: 0.4), eventCount: 0, wasStopped: false)
    var due = Double(timeline.startNanoseconds)
    while true {
      let step = timeline.step(at: Int64(due))
      // A hundredth of the events stands for all.
      due += arrivals.gapNanoseconds(ratePerSecond: profile.steps[step ?? 0].ratePerSecond) * 100
      let intended = Int64(due)
      guard intended < timeline.endNanoseconds else { break }
      outcome.eventCount += 100
      let load = profile.steps[timeline.step(at: intended) ?? 0].ratePerSecond / 100_000
      var milliseconds = 0.4 + 0.5 * -Foundation.log(random.unit()) / (1.02 - load)
      let second = Double(intended - timeline.measuredFromNanoseconds) / 1e9
      if second > 17 && second < 17.3 { milliseconds += (17.3 - second) * 1_000 }
      if let step = timeline.step(at: intended), let slice = timeline.slice(at: intended) {
        outcome.offered[step] += 100
        outcome.offeredBySlice[slice] += 100
      }
      let lost = random.unit() < 0.0005
      if !lost {
        for _ in 0..<100 {
          recorder.record(
            intendedNanoseconds: intended, nowNanoseconds: intended + Int64(milliseconds * 1e6 * (0.9 + 0.2 * random.unit())))
        }
      }
    }
    return LoadReport(
      title: "Features to predictions", measured: "from the time an event was due to its prediction's arrival at a consumer",
      details: [("model", "flights.1"), ("form", "protobuf"), ("arrivals", "poisson, seed 7"), ("broker", "127.0.0.1:9092")],
      profile: profile, outcome: outcome, recorder: recorder, errorReasons: ["not answered": 3])
  }

  @Test func jsonHasTheAgreedKeys() throws {
    let report = Self.sample()
    let object = try #require(try JSONSerialization.jsonObject(with: report.json()) as? [String: Any])
    for key in ["offered_per_second", "achieved_per_second"] { #expect(object[key] is Double) }
    #expect(object["errors"] is Int)
    let latency = try #require(object["latency_ms"] as? [String: Any])
    #expect(Set(latency.keys) == ["p50", "p90", "p99", "p999", "max"])
    let steps = try #require(object["steps"] as? [[String: Any]])
    #expect(steps.count == 4)
    #expect(steps.allSatisfy { $0["latency_ms"] != nil && $0["offered_per_second"] != nil })
    #expect(try JSONDecoder().decode(LoadReport.self, from: report.json()) == report)
  }

  @Test func errorsAreWhatWasDueAndNotAnswered() {
    let report = Self.sample()
    #expect(report.errors == report.steps.reduce(0) { $0 + $1.errors })
    #expect(report.errors > 0)
    #expect(report.latency.p50 > 0.4 && report.latency.p50 <= report.latency.p90 && report.latency.p99 <= report.latency.p999)
    #expect(report.steps[3].latency.p99 > report.steps[0].latency.p99)
  }

  @Test func textShowsEveryStep() {
    let text = Self.sample().text
    #expect(text.contains("achieved/s"))
    #expect(text.split(separator: "\n").filter { $0.hasSuffix("all") }.count == 1)
    #expect(text.contains("3 × not answered"))
  }

  @Test func htmlIsSelfContained() throws {
    let html = Self.sample().html
    for forbidden in ["http://", "https://", "src=", "@import", "url("] { #expect(!html.contains(forbidden)) }
    #expect(html.components(separatedBy: "<svg").count - 1 == 5)
    if let path = ProcessInfo.processInfo.environment["MILLRACE_REPORT_SAMPLE"] {
      try html.write(toFile: path, atomically: true, encoding: .utf8)
      try Self.sample(steps: [100_000], secondsEach: 30).html.write(toFile: path + ".single.html", atomically: true, encoding: .utf8)
    }
  }

  @Test func namesAreEscaped() {
    var report = Self.sample(steps: [1_000], secondsEach: 3)
    report.title = "</script><b>\"&"
    report.errorReasons = ["<i>": 2]
    #expect(!report.html.contains("</script><b>"))
    #expect(!report.html.contains("<i>:") && report.html.contains("&lt;i&gt;"))
  }

  @Test func anEmptyRunIsAReportToo() throws {
    let profile = LoadProfile(warmUpSeconds: 0, steps: [LoadStep(ratePerSecond: 10, seconds: 1)])
    let timeline = Timeline(profile, startNanoseconds: 0)
    let report = LoadReport(
      title: "nothing", measured: "nothing", details: [], profile: profile,
      outcome: .init(offered: [0], refused: [0], offeredBySlice: [0], lateness: .none, eventCount: 0, wasStopped: true),
      recorder: LatencyRecorder(timeline))
    #expect(report.latency == .none)
    #expect(!report.text.isEmpty && report.html.contains("<svg"))
    _ = try report.json()
  }
}
