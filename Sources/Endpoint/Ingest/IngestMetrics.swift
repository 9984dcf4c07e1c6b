import Telemetry

/// What ingest by RPC counts; made once for each kind, updated without allocation.
final class IngestMetrics: Sendable {
  let streams: Gauge
  let acks: Counter
  let answered: Counter
  let notDelivered: Counter
  let deadLettersLost: Counter
  let pauses: Counter
  let heldBytes: Gauge
  let ackTime: LatencyHistogram
  private let registry: Registry

  init(registry: Registry, kind: PublishKind) {
    self.registry = registry
    let labels = [("kind", "\(kind)")]
    streams = registry.gauge("millrace_ingest_streams", "Publish streams that are open", labels: labels)
    acks = registry.counter("millrace_ingest_acks_total", "Publish requests that were answered", labels: labels)
    answered = registry.counter("millrace_ingest_records_total", "Records that an ack told about, written or not", labels: labels)
    notDelivered = registry.counter(
      "millrace_ingest_not_delivered_total", "Records that Kafka did not confirm; their clients may send them again", labels: labels)
    deadLettersLost = registry.counter(
      "millrace_ingest_dead_letters_lost_total", "Dead letters of refused records that the broker did not take", labels: labels)
    pauses = registry.counter(
      "millrace_ingest_pauses_total", "Times that reading from a stream stopped, because Kafka or the client was behind", labels: labels)
    heldBytes = registry.gauge(
      "millrace_ingest_held_bytes", "Bytes of requests that wait for room in the Kafka client", labels: labels)
    ackTime = registry.histogram(
      "millrace_ingest_ack_seconds", "From a publish request's arrival to its ack", labels: labels)
  }

  /// Bad records are rare, so the counter of a reason is looked up when it is needed.
  func refused(reason: String) {
    registry.counter(
      "millrace_dead_letters_total", "Records sent to a dead-letter topic, by reason",
      labels: [("model", ""), ("reason", reason), ("stage", "ingest")]
    ).add()
  }
}
