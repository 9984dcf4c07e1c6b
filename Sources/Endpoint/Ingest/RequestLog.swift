// Hot: called on event loops for every served request with an id. No allocation of ours, and it never waits.
public import Events
import Kafka
import Model
import Synchronization
public import Telemetry

/// Writes served requests that carry an id to the features topic, so that what RPC clients ask can be learned from when its label comes.
///
/// The record is the request as it came: a V2 event, which stream predictor and joiner read by themselves. Its key is the request's
/// parameter `key`, or the id; its event time the parameter `event_time`, or the record's timestamp, which is now. Any thread calls.
public final class RequestLog: ServedRequestSink, @unchecked Sendable {
  private let producer: EndpointProducer
  private let topicName: String
  private let limits: EventLimits
  private let port: ReportPort
  private let headers = KafkaHeaders(["content-type": "\(EventForm.v2.contentType)", "millrace-source": "rpc"])
  /// Bytes with the producer.
  private let outstandingBytes = Atomic<Int>(0)
  private nonisolated(unsafe) var topic: ProducerTopic?
  private nonisolated(unsafe) var batch = ReportPort.Batch()
  private let metrics: RequestLogMetrics

  /// Bytes of logged requests that may wait for Kafka; further requests are not logged.
  public static let outstandingBytesMax = 64 << 20

  /// - Parameter limits: what the readers of the topic take; requests beyond are not logged.
  public init(producer: EndpointProducer, topic: String = "features", limits: EventLimits = EventLimits(), registry: Registry) {
    self.producer = producer
    topicName = topic
    self.limits = limits
    metrics = RequestLogMetrics(registry: registry)
    port = producer.makePort()
    super.init()
    // Counting needs no event loop.
    port.setWake { [weak self] in self?.takeReports() }
  }

  /// Resolves the topic. The producer must have been started.
  /// - Throws: when it does not exist, or no broker answers.
  public func start() throws { topic = try producer.topic(topicName) }

  public override func served(
    request: UnsafeRawBufferPointer, id: UnsafeRawBufferPointer, key: UnsafeRawBufferPointer, rows: Int
  ) {
    append(request: request, id: id, key: key, rows: rows)
  }

  /// Logs a request.
  /// - Returns: false when it was not logged; why is counted.
  @discardableResult
  public func append(
    request: UnsafeRawBufferPointer, id: UnsafeRawBufferPointer, key: UnsafeRawBufferPointer, rows: Int
  ) -> Bool {
    // One id for several rows: no label could say which it means.
    guard rows == 1 else { return drop(metrics.severalRows) }
    guard request.count <= limits.payloadBytesMax, id.count > 0, id.count <= limits.idBytesMax else { return drop(metrics.tooLarge) }
    guard let topic else { return drop(metrics.noRoom) }
    let (before, _) = outstandingBytes.add(request.count, ordering: .relaxed)
    guard before + request.count <= Self.outstandingBytesMax else { return giveUp(request.count, metrics.noRoom) }
    let key = key.count > 0 ? key : id
    let partition = Int32(truncatingIfNeeded: partition(forKey: key, count: topic.partitionCount))
    switch producer.produce(
      topic, partition: partition, key: key, value: request, headers: headers, port: port, id: UInt(request.count))
    {
    case .queued:
      metrics.logged.add()
      return true
    case .queueFull: return giveUp(request.count, metrics.noRoom)
    case .failed(let error): return giveUp(request.count, error.code == .messageTooLarge ? metrics.tooLarge : metrics.notDelivered)
    }
  }

  private func giveUp(_ bytes: Int, _ counter: Counter) -> Bool {
    outstandingBytes.subtract(bytes, ordering: .relaxed)
    return drop(counter)
  }

  private func drop(_ counter: Counter) -> Bool {
    counter.add()
    return false
  }

  /// On the producer's thread.
  private func takeReports() {
    port.take(into: &batch)
    for report in batch.reports {
      outstandingBytes.subtract(Int(report.id), ordering: .relaxed)
      if report.error >= 0 { metrics.notDelivered.add() }
    }
    batch.removeAll()
  }
}

/// What the log of served requests counts.
struct RequestLogMetrics {
  let logged: Counter
  let severalRows: Counter
  let tooLarge: Counter
  let noRoom: Counter
  let notDelivered: Counter

  init(registry: Registry) {
    logged = registry.counter("millrace_request_log_records_total", "Served requests handed over for the features topic")
    func dropped(_ reason: String) -> Counter {
      registry.counter(
        "millrace_request_log_dropped_total", "Served requests with an id that are not in the features topic, by reason",
        labels: [("reason", reason)])
    }
    severalRows = dropped("several_rows")
    tooLarge = dropped("too_large")
    noRoom = dropped("no_room")
    notDelivered = dropped("not_delivered")
  }
}
