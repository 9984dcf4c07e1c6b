import Events
import Kafka
import Learning
import Model
import Telemetry
import Testing
import Training

@testable import Endpoint

/// Served requests on the features topic, and what the joiner makes of them.
@Suite(.serialized) struct RequestLogTests {
  @Test func requestsWithAnIDAreLearnedWhenTheirLabelComes() async throws {
    try await IngestBroker.with { broker in
      let registry = Registry()
      let producer = EndpointProducer(kafka: broker.kafka, registry: registry, logger: IngestBroker.quiet)
      try producer.start()
      let log = RequestLog(producer: producer, registry: registry)
      try log.start()
      var specification = SampleRecords.model
      specification.join.windowMilliseconds = 600_000
      var joining = JoinerSettings(specification)
      joining.coverMilliseconds = 50
      let joiner = JoinerService(
        specification: specification, kafka: broker.kafka, settings: JoinerServiceSettings(joiner: joining), registry: registry,
        logger: IngestBroker.quiet)
      try joiner.start()
      defer { joiner.stop() }

      for n in 0..<20 {
        let request = SampleRecords.event("r\(n)", key: n % 2 == 0 ? "k\(n)" : nil, form: .v2)
        #expect(append(log, request, id: "r\(n)", key: n % 2 == 0 ? "k\(n)" : "r\(n)"))
      }
      #expect(!append(log, SampleRecords.event("rows", form: .v2), id: "rows", rows: 2))
      #expect(!append(log, [UInt8](repeating: 0, count: (1 << 20) + 1), id: "large"))
      #expect(!append(log, SampleRecords.event("x", form: .v2), id: String(repeating: "x", count: 1_025)))
      try broker.produce(
        "labels",
        (0..<20).map { n in
          let key = n % 2 == 0 ? "k\(n)" : "r\(n)"
          return (key, Array("{\"id\":\"r\(n)\",\"key\":\"\(key)\",\"event_time\":1700000001000,\"label\":\(n % 2)}".utf8))
        })
      try await IngestBroker.wait("20 examples") { try broker.examples().count == 20 }
      let examples = try broker.examples()
      #expect(Set(examples.map(\.id)) == Set((0..<20).map { "r\($0)" }))
      for example in examples {
        #expect(example.form == .v2 && example.label == Double((Int(example.id.dropFirst()) ?? 0) % 2))
      }
      let records = try broker.read("features")
      #expect(records.count == 20)
      #expect(records.allSatisfy { $0.headers == ["content-type": "application/vnd.kserve.v2+protobuf", "millrace-source": "rpc"] })
      #expect(records.allSatisfy { Int($0.partition) == partition(forKey: String(decoding: $0.key, as: UTF8.self), count: 2) })
      let text = registry.text()
      #expect(text.contains("millrace_request_log_records_total 20"))
      #expect(text.contains("millrace_request_log_dropped_total{reason=\"several_rows\"} 1"))
      #expect(text.contains("millrace_request_log_dropped_total{reason=\"too_large\"} 2"))
      producer.stop()
      #expect(!append(log, SampleRecords.event("late", form: .v2), id: "late"), "a stopped producer takes nothing and is not touched")
    }
  }

  /// With no broker, the log takes what its bound allows, then drops and counts; nobody waits.
  @Test func neverWaitsForKafka() async throws {
    let registry = Registry()
    var held: (EndpointProducer, RequestLog)?
    try await IngestBroker.with { broker in
      let producer = EndpointProducer(kafka: broker.kafka, registry: registry, logger: IngestBroker.quiet)
      try producer.start()
      let log = RequestLog(producer: producer, registry: registry)
      try log.start()
      held = (producer, log)
    }
    guard let (producer, log) = held else { return }
    let request = [UInt8](repeating: 1, count: 500_000)
    var taken = 0
    for n in 0..<200 where append(log, request, id: "r\(n)") { taken += 1 }
    #expect(taken > 0 && taken <= RequestLog.outstandingBytesMax / request.count)
    #expect(registry.text().contains("millrace_request_log_dropped_total{reason=\"no_room\"} \(200 - taken)"))
    producer.stop(flushMilliseconds: 100)
    #expect(registry.text().contains("millrace_request_log_dropped_total{reason=\"not_delivered\"} \(taken)"))
  }

  private func append(_ log: RequestLog, _ request: [UInt8], id: String, key: String? = nil, rows: Int = 1) -> Bool {
    request.withUnsafeBytes { request in
      Array(id.utf8).withUnsafeBytes { id in
        Array((key ?? "").utf8).withUnsafeBytes { key in log.append(request: request, id: id, key: key, rows: rows) }
      }
    }
  }
}
