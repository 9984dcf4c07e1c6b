import Telemetry
import Testing

@testable import Operations

@Suite struct RegistryStatusTests {
  let registry = Registry()
  let clock = Cell<Int64>(0)

  private func source() -> RegistryStatus {
    RegistryStatus(about: .init(version: "1", roles: ["node"], kafka: "embedded"), registry: registry) { [clock] in clock.value }
  }

  @Test func nothingCountedIsAnEmptyPage() {
    let source = source()
    clock.value = 3_000_000_000
    #expect(source.status() == StatusSnapshot(version: "1", roles: ["node"], kafka: "embedded", uptimeSeconds: 3))
  }

  @Test func metricsBecomeTheStatus() {
    let arm = [("model", "flights"), ("arm", "online")]
    registry.gauge("millrace_rows", "r", labels: arm).set(12)
    registry.gauge("millrace_replica_position", "p", labels: arm + [("shard", "10")]).set(7)
    registry.gauge("millrace_replica_position", "p", labels: arm + [("shard", "2")]).set(5)
    registry.gauge("millrace_validation_examples", "e", labels: arm).set(100)
    registry.gauge("millrace_validation_loss", "l", labels: arm + [("over", "window")]).set(0.47)
    registry.gauge("millrace_validation_loss", "l", labels: arm + [("over", "total")]).set(0.5)
    registry.gauge("millrace_validation_auc", "a", labels: arm + [("over", "window")]).set(.nan)
    registry.gauge("millrace_labels_through_seconds", "t", labels: arm).set(1_370_000_000)
    registry.histogram("millrace_freshness_seconds", "f", labels: arm).record(nanoseconds: 4_000_000)
    registry.counter("millrace_stream_events_total", "e", labels: [("model", "a")]).add(3)
    registry.counter("millrace_stream_events_total", "e", labels: [("model", "b")]).add(4)
    registry.gauge("millrace_stream_lag_records", "l", labels: [("model", "flights"), ("partition", "1")]).set(9)
    registry.gauge("millrace_joiner_lag_records", "l", labels: [("model", "flights"), ("partition", "0"), ("topic", "labels")]).set(8)
    registry.counter("millrace_dead_letters_total", "d", labels: [("reason", "bad_json"), ("stage", "features")]).add(2)
    registry.counter("millrace_dead_letters_total", "d", labels: [("reason", "too_long"), ("stage", "features")]).add(0)
    for model in ["a", "b"] {
      registry.counter("nv_inference_request_success", "s", labels: [("model", model)]).add(5)
      registry.counter("nv_inference_request_failure", "f", labels: [("model", model), ("reason", "INVALID")]).add(2)
      registry.counter("nv_inference_request_failure", "f", labels: [("model", model), ("reason", "DEADLINE")]).add(0)
    }
    let status = source().status()
    #expect(status.models.count == 1)
    #expect(status.models.first?.position == [5, 7])
    #expect(status.models.first?.logLoss == 0.47)
    #expect(status.models.first?.auc == nil)
    #expect(status.models.first?.labelsThroughMilliseconds == 1_370_000_000_000)
    #expect(abs((status.models.first?.freshnessMilliseconds ?? 0) - 4) < 0.05)
    #expect(status.throughput == [.init(name: "events answered", total: 7), .init(name: "requests answered", total: 10)])
    #expect(
      status.lags == [
        .init(topic: "features, answered by flights", partition: 1, records: 9),
        .init(topic: "labels, joined by flights", partition: 0, records: 8),
      ])
    #expect(status.errors == [.init(reason: "bad_json (features)", count: 2), .init(reason: "INVALID (requests)", count: 4)])
  }

  @Test func latenciesAreOfTheLastSeconds() throws {
    let source = source()
    let histogram = registry.histogram("millrace_stream_event_age_seconds", "a")
    histogram.record(nanoseconds: 1_000_000_000)
    #expect(try #require(source.status().latencies.first).p50 > 900)
    for step in 1...3 {
      clock.value = Int64(step) * RegistryStatus.windowNanoseconds
      histogram.record(nanoseconds: 1_000_000)
      _ = source.status()
    }
    let latency = try #require(source.status().latencies.first)
    #expect(latency.max < 1.1)
    #expect(latency.count >= 1)
  }
}
