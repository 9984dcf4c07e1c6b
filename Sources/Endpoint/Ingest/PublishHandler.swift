// Hot: one handler for each loop and kind; everything on the loop's thread.
import Events
import Kafka
import RPC
import Synchronization

/// Carries what happens to calls and records to `PublishStreams`, and what it decides to RPC and Kafka.
final class PublishHandler: MethodHandler, @unchecked Sendable {
  private let streams: PublishStreams
  private let port: ReportPort
  @exclusivity(unchecked) private var batch = ReportPort.Batch()

  init(
    loop: ServerLoop, kind: PublishKind, settings: IngestServiceSettings, topics: IngestTopics?, producer: EndpointProducer,
    metrics: IngestMetrics
  ) {
    let port = producer.makePort()
    self.port = port
    let sink = topics.map { KafkaRecordSink(topics: $0, producer: producer, port: port) }
    streams = PublishStreams(
      check: RecordCheck(kind: kind, models: settings.models, limits: settings.limits.events), limits: settings.limits,
      transport: LoopTransport(loop), sink: sink ?? RecordSink(), metrics: metrics)
    super.init(loop: loop)
    let work: @Sendable () -> Void = { [weak self] in self?.takeReports() }
    // Keeps the loop for as long as reports may come.
    port.setWake { loop.execute(work) }
    port.isIdle.store(true, ordering: .releasing)
  }

  override func opened(_ call: Call) {
    port.isIdle.store(false, ordering: .releasing)
    streams.opened(call)
    flush()
  }

  override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {
    streams.message(call, bytes)
    if streams.isBlocked { port.isWaitingForRoom.store(true, ordering: .releasing) }
  }

  override func halfClosed(_ call: Call) {
    streams.halfClosed(call)
    flush()
  }

  override func ended(_ call: Call) {
    streams.ended(call)
    flush()
  }

  override func writable(_ call: Call) {
    streams.writable(call)
    flush()
  }

  override func flush() {
    streams.flush()
    if streams.streamCount == 0 { port.isIdle.store(true, ordering: .releasing) }
  }

  private func takeReports() {
    port.take(into: &batch)
    for report in batch.reports {
      let record = AckLedger.Index(truncatingIfNeeded: report.id)
      if report.error < 0 {
        streams.confirmed(record, partition: report.partition, offset: report.offset)
      } else {
        let error = batch.errors[Int(report.error)]
        streams.failed(record, KafkaRecordSink.problem(error), isRetryable: error.code != .messageTooLarge)
      }
    }
    batch.removeAll()
    streams.retry()
    port.isWaitingForRoom.store(streams.isBlocked, ordering: .releasing)
    flush()
  }

  func beginDrain() {
    streams.beginDrain()
    flush()
  }
}

/// The publish streams' calls, on their loop.
private final class LoopTransport: PublishTransport {
  private unowned(unsafe) let loop: ServerLoop

  init(_ loop: ServerLoop) {
    self.loop = loop
    super.init()
  }

  override func send(_ call: Call, _ message: UnsafeRawBufferPointer) -> Bool { loop.send(call, message) }
  override func finish(_ call: Call, _ status: RPCStatus) { loop.finish(call, status) }
  override func pauseReading(_ call: Call) { loop.pauseReading(call) }
  override func resumeReading(_ call: Call) { loop.resumeReading(call) }
  override func pendingBytes(_ call: Call) -> Int { loop.pendingBytes(call) }
}
