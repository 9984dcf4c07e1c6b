import AllocationThresholds
import Events
import RPC
import Telemetry
import Testing

@testable import Endpoint

/// From a request's bytes to its ack in the steady state: no allocation.
@Suite struct PublishAllocationTests {
  private final class Transport: PublishTransport {
    var acks = 0
    override func send(_ call: Call, _ message: UnsafeRawBufferPointer) -> Bool {
      acks += 1
      return true
    }
  }

  /// Takes everything, and gives it back in order.
  private final class Sink: RecordSink {
    let waiting = UnsafeMutablePointer<AckLedger.Index>.allocate(capacity: 1 << 16)
    var count = 0
    deinit { waiting.deallocate() }
    override func write(
      _ record: AckLedger.Index, key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, form: EventForm
    ) -> Outcome {
      waiting[count] = record
      count += 1
      return .taken
    }
  }

  @Test(.enabled(if: AllocationThresholds.areCounted), arguments: [PublishKind.events, .labels])
  func aRequestAllocatesNothing(kind: PublishKind) throws {
    let transport = Transport()
    let sink = Sink()
    let streams = PublishStreams(
      check: RecordCheck(kind: kind, models: [SampleRecords.model], limits: EventLimits()), limits: IngestLimits(), transport: transport,
      sink: sink, metrics: IngestMetrics(registry: Registry(), kind: kind))
    let calls = (0..<4).map { Call(token: UInt64($0)) }
    for call in calls { streams.opened(call) }
    let record: (Int) -> [UInt8] = { kind == .events ? SampleRecords.event("e\($0)") : SampleRecords.label("e\($0)") }
    let messages = PublishRequest(sequence: 1, messages: (0..<100).map(record)).bytes
    let raw = PublishRequest(sequence: 2, contentType: "application/x-protobuf", records: (0..<100).map(record)).bytes
    func pass() {
      // Unoptimized, going over an array allocates: by index it does not.
      for n in 0..<calls.count {
        messages.withUnsafeBytes { streams.message(calls[n], $0) }
        raw.withUnsafeBytes { streams.message(calls[n], $0) }
      }
      streams.flush()
      for n in 0..<sink.count { streams.confirmed(sink.waiting[n], partition: 1, offset: 1_000_000 + Int64(n)) }
      sink.count = 0
      streams.flush()
    }
    for _ in 0..<3 { pass() }
    transport.acks = 0
    let allocations = AllocationThresholds.ofThread { for _ in 0..<10 { pass() } }
    #expect(transport.acks == 10 * 8)
    let allowed = try #require(try AllocationThresholds()["ingest.80-requests-of-100-records"])
    #expect(allocations <= allowed, "\(allocations) allocations in 80 requests of 100 records")
  }
}
