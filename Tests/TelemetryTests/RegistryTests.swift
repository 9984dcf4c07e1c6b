import Testing

@testable import Telemetry

@Suite struct RegistryTests {
  @Test func theSameNameAndLabelsAreTheSameMetric() {
    let registry = Registry()
    let one = registry.counter("events_total", "Events.", labels: [("topic", "features")])
    let other = registry.counter("events_total", "Events.", labels: [("topic", "labels")])
    #expect(registry.counter("events_total", "Events.", labels: [("topic", "features")]) === one)
    #expect(one !== other)
    #expect(registry.histogram("h_seconds", "h") === registry.histogram("h_seconds", "h"))
    #expect(registry.sizes("s", "s") === registry.sizes("s", "s"))
    #expect(registry.gauge("g", "g") === registry.gauge("g", "g"))
  }

  @Test func theTextHasEveryFamilyInOrder() throws {
    let registry = Registry()
    registry.gauge("zebra", "Last.").set(-1.5)
    registry.counter("apple_total", "First.", labels: [("b", "2")]).add(7)
    registry.counter("apple_total", "First.", labels: [("b", "1")]).add(2)
    registry.gaugeReading("middle", "Read.") { .infinity }
    #expect(
      registry.text() == """
        # HELP apple_total First.
        # TYPE apple_total counter
        apple_total{b="1"} 2
        apple_total{b="2"} 7
        # HELP middle Read.
        # TYPE middle gauge
        middle +Inf
        # HELP zebra Last.
        # TYPE zebra gauge
        zebra -1.5

        """)
    #expect(registry.text() == registry.text())
  }

  @Test func labelsAndHelpAreEscaped() throws {
    let registry = Registry()
    let value = "a \"quoted\" back\\slash\nnew line, {braces}"
    registry.counter("c_total", "help with \\ and\nnew line", labels: [("why", value)]).add(1)
    let parsed = try ParsedExposition(registry.text())
    #expect(parsed.help["c_total"] == "help with \\ and\nnew line")
    #expect(parsed.samples == [.init(name: "c_total", labels: ["why": value], value: 1)])
  }

  @Test func aLatencyHistogramHasCumulativeBucketsInSeconds() throws {
    let registry = Registry()
    let histogram = registry.histogram("wait_seconds", "Waiting.", labels: [("stage", "decode")])
    histogram.record(nanoseconds: 9_000)
    histogram.record(nanoseconds: 10_000)
    histogram.record(nanoseconds: 3_000_000, count: 5)
    histogram.record(nanoseconds: 120_000_000_000)
    let parsed = try ParsedExposition(registry.text())
    #expect(parsed.type["wait_seconds"] == "histogram")
    let buckets = parsed.samples.filter { $0.name == "wait_seconds_bucket" }
    #expect(buckets.allSatisfy { $0.labels["stage"] == "decode" })
    let edges = try buckets.map { try #require(Double($0.labels["le"] ?? "")) }
    #expect(edges == edges.sorted())
    #expect(edges.first == 10e-6)
    #expect(edges.dropLast().last == 60)
    #expect(edges.last == .infinity)
    let counts = buckets.map(\.value)
    #expect(counts == counts.sorted())
    #expect(buckets[0].value == 2)
    #expect(buckets.first { $0.labels["le"] == "0.002" }?.value == 2)
    #expect(buckets.first { $0.labels["le"] == "0.004" }?.value == 7)
    #expect(buckets.first { $0.labels["le"] == "60" }?.value == 7)
    #expect(buckets.last?.value == 8)
    #expect(parsed.samples.first { $0.name == "wait_seconds_count" }?.value == 8)
    let sum = try #require(parsed.samples.first { $0.name == "wait_seconds_sum" }?.value)
    #expect(abs(sum - 120.015019) < 1e-9)
  }

  @Test func aSizeHistogramHasPowersOfTwo() throws {
    let registry = Registry()
    let sizes = registry.sizes("batch_rows", "Rows.")
    for size in [1, 2, 3, 64, 65] { sizes.record(size) }
    let parsed = try ParsedExposition(registry.text())
    func bucket(_ le: String) -> Double? {
      parsed.samples.first { $0.name == "batch_rows_bucket" && $0.labels["le"] == le }?.value
    }
    #expect(bucket("1") == 1)
    #expect(bucket("2") == 2)
    #expect(bucket("4") == 3)
    #expect(bucket("64") == 4)
    #expect(bucket("128") == 5)
    #expect(sizes.snapshot().sum == 135)
  }

  @Test func aReadingCanBeReplacedAndRemoved() throws {
    let registry = Registry()
    registry.gaugeReading("rows", "Rows.", labels: [("shard", "0")]) { 1 }
    registry.gaugeReading("rows", "Rows.", labels: [("shard", "0")]) { 2 }
    #expect(try ParsedExposition(registry.text()).samples.map(\.value) == [2])
    registry.remove("rows", labels: [("shard", "0")])
    #expect(registry.text() == "")
  }

  @Test func readingsAreTheSeriesOfAName() {
    let registry = Registry()
    registry.counter("c_total", "c", labels: [("b", "2")]).add(5)
    registry.counter("c_total", "c", labels: [("b", "1")]).add(4)
    registry.histogram("h_seconds", "h").record(nanoseconds: 1_000_000, count: 3)
    #expect(registry.readings(of: "c_total").map(\.value) == [4, 5])
    #expect(registry.readings(of: "c_total").first?.label("b") == "1")
    #expect(registry.readings(of: "c_total").first?.label("none") == nil)
    #expect(registry.readings(of: "h_seconds").first?.distribution?.count == 3)
    #expect(registry.readings(of: "nothing").isEmpty)
  }

  @Test func aReadingMayAskTheRegistry() {
    let registry = Registry()
    registry.gaugeReading("again", "Again.") { Double(registry.counter("n_total", "n").value) }
    #expect(registry.text().contains("again 0\n"))
  }

  @Test(arguments: [("a", true), ("a:b_9", true), ("", false), ("9a", false), ("a-b", false), ("ä", false)])
  func metricNames(name: String, valid: Bool) {
    #expect(Exposition.isMetricName(name) == valid)
  }

  @Test(arguments: [("a", true), ("le", false), ("__name", false), ("a:b", false), ("a_1", true)])
  func labelNames(name: String, valid: Bool) {
    #expect(Exposition.isLabelName(name) == valid)
  }
}

/// A strict reader of the text format, written from its documentation, so that what we write is
/// checked against something other than itself.
struct ParsedExposition {
  struct Sample: Equatable {
    var name: String
    var labels: [String: String]
    var value: Double
  }

  struct Malformed: Error { var line: String }

  var help: [String: String] = [:]
  var type: [String: String] = [:]
  var samples: [Sample] = []

  init(_ text: String) throws {
    guard text.isEmpty || text.hasSuffix("\n") else { throw Malformed(line: "no new line at the end") }
    for line in text.split(separator: "\n").map(String.init) {
      if line.hasPrefix("# HELP ") {
        let parts = line.dropFirst(7).split(separator: " ", maxSplits: 1).map(String.init)
        guard parts.count == 2, help[parts[0]] == nil else { throw Malformed(line: line) }
        help[parts[0]] = Self.unescape(parts[1])
      } else if line.hasPrefix("# TYPE ") {
        let parts = line.dropFirst(7).split(separator: " ").map(String.init)
        guard parts.count == 2, type[parts[0]] == nil else { throw Malformed(line: line) }
        type[parts[0]] = parts[1]
      } else {
        samples.append(try Self.sample(line))
      }
    }
  }

  private static func sample(_ line: String) throws -> Sample {
    var rest = Substring(line)
    let name = rest.prefix { $0 != "{" && $0 != " " }
    rest = rest.dropFirst(name.count)
    var labels: [String: String] = [:]
    if rest.first == "{" {
      rest = rest.dropFirst()
      while rest.first != "}" {
        let label = rest.prefix { $0 != "=" }
        rest = rest.dropFirst(label.count)
        guard rest.hasPrefix("=\""), labels[String(label)] == nil else { throw Malformed(line: line) }
        rest = rest.dropFirst(2)
        var value = ""
        while let character = rest.first, character != "\"" {
          rest = rest.dropFirst()
          value.append(character)
          if character == "\\", let escaped = rest.first {
            value.append(escaped)
            rest = rest.dropFirst()
          }
        }
        rest = rest.dropFirst()
        labels[String(label)] = unescape(value)
        if rest.first == "," { rest = rest.dropFirst() }
        if rest.isEmpty { throw Malformed(line: line) }
      }
      rest = rest.dropFirst()
    }
    let number = rest.drop { $0 == " " }
    let value = number == "+Inf" ? Double.infinity : number == "-Inf" ? -.infinity : Double(number)
    guard rest.first == " ", let value else { throw Malformed(line: line) }
    return Sample(name: String(name), labels: labels, value: value)
  }

  private static func unescape(_ text: String) -> String {
    var result = ""
    var escaped = false
    for character in text {
      if escaped {
        result.append(character == "n" ? "\n" : character)
        escaped = false
      } else if character == "\\" {
        escaped = true
      } else {
        result.append(character)
      }
    }
    return result
  }
}
