// Hot: `write`. No allocation of ours per record; librdkafka copies key, value and headers.
import Events
import Kafka
import Model

/// Writes the records of one loop's publish streams to their topic, and refused ones to its dead letters.
final class KafkaRecordSink: RecordSink {
  private let topics: IngestTopics
  private let producer: EndpointProducer
  private let port: ReportPort
  /// By form.
  private let headers: [KafkaHeaders]

  init(topics: IngestTopics, producer: EndpointProducer, port: ReportPort) {
    self.topics = topics
    self.producer = producer
    self.port = port
    headers = EventForm.allCases.map { KafkaHeaders(["content-type": "\($0.contentType)"]) }
    super.init()
  }

  override func write(
    _ record: AckLedger.Index, key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, form: EventForm
  ) -> Outcome {
    let partition = Int32(truncatingIfNeeded: partition(forKey: key, count: topics.records.partitionCount))
    switch producer.produce(
      topics.records, partition: partition, key: key, value: value, headers: headers[Int(form.rawValue)], port: port, id: UInt(record))
    {
    case .queued: return .taken
    case .queueFull: return .full
    case .failed(let error): return error.code == .messageTooLarge ? .wrong(Self.problem(error)) : .failed(Self.problem(error))
    }
  }

  /// The record was in no topic: its source offset is -1.
  override func writeDeadLetter(
    _ record: AckLedger.Index, key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, contentType: UnsafeRawBufferPointer?,
    _ problem: PublishProblem
  ) -> Outcome {
    let count = topics.records.partitionCount
    let source = key.count > 0 ? Int32(truncatingIfNeeded: partition(forKey: key, count: count)) : -1
    var letter = DeadLetter(
      EventProblem(reason: .other, field: problem.field, message: problem.message), topic: topics.records.name, partition: source,
      offset: -1, contentType: contentType.map { String(decoding: $0, as: UTF8.self) })
    letter.reason = problem.reason
    let carried = letter.carry(value)
    let headers = KafkaHeaders()
    for (name, value) in letter.headers { headers.append(name, value) }
    headers.append("millrace-source", "rpc")
    let target = max(0, source) % Int32(clamping: topics.deadLetters.partitionCount)
    switch producer.produce(
      topics.deadLetters, partition: target, key: key.count > 0 ? key : nil, value: carried, headers: headers, port: port, id: UInt(record))
    {
    case .queued: return .taken
    case .queueFull: return .full
    case .failed(let error): return .failed(Self.problem(error))
    }
  }

  static func problem(_ error: KafkaError) -> PublishProblem {
    if error.code == .messageTooLarge {
      return PublishProblem(reason: EventProblem.Reason.payloadTooLarge.rawValue, message: error.message)
    }
    return .notDelivered(error.message)
  }
}
