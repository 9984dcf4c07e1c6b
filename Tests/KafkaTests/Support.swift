import Kafka
import Telemetry
import Testing

/// Tries until `condition` holds; a generous deadline, so that a slow machine does not fail a test.
func eventually(
  _ what: Comment, seconds: Int64 = 60, sourceLocation: SourceLocation = #_sourceLocation,
  _ condition: () throws -> Bool
) rethrows {
  let deadline = MonotonicClock.nanoseconds() + seconds * 1_000_000_000
  while try !condition() {
    if MonotonicClock.nanoseconds() > deadline {
      Issue.record(what, sourceLocation: sourceLocation)
      return
    }
  }
}

/// One consumed record, copied.
struct Copied: Equatable {
  var topic = 0
  var partition: Int32 = 0
  var offset: Int64 = 0
  var key: String?
  var value: String?

  init(_ message: KafkaMessage) {
    topic = message.topic
    partition = message.partition
    offset = message.offset
    key = message.key.map { String(decoding: $0, as: UTF8.self) }
    value = message.value.map { String(decoding: $0, as: UTF8.self) }
  }
}

extension KafkaConsumer {
  /// Polls until `count` records were read.
  func read(_ count: Int, max: Int = 1_024, sourceLocation: SourceLocation = #_sourceLocation) -> [Copied] {
    var read: [Copied] = []
    eventually("\(count) records", sourceLocation: sourceLocation) {
      poll(timeoutMilliseconds: 50, max: max) { batch in batch.forEach { read.append(Copied($0)) } }
      return read.count >= count
    }
    return read
  }

  /// Serves events and rebalances only.
  func serve() { poll(timeoutMilliseconds: 20) { _ in } }
}

extension KafkaProducer {
  func send(
    _ topic: ProducerTopic, _ partition: Int32, _ value: String?, key: String? = nil,
    headers: KafkaHeaders? = nil, timestampMilliseconds: Int64 = 0, opaque: UInt = 0
  ) -> ProduceResult {
    var key = key
    var value = value
    func with<R>(_ text: inout String?, _ body: (UnsafeRawBufferPointer?) -> R) -> R {
      guard var some = text else { return body(nil) }
      return some.withUTF8 { body(UnsafeRawBufferPointer($0)) }
    }
    return with(&key) { key in
      with(&value) { value in
        produce(
          topic, partition: partition, key: key, value: value, headers: headers,
          timestampMilliseconds: timestampMilliseconds, opaque: opaque)
      }
    }
  }

  /// Flushes and expects every record to be delivered.
  func deliverAll(sourceLocation: SourceLocation = #_sourceLocation) {
    var failures = 0
    let flushed = flush(timeoutMilliseconds: 60_000) { _, _, _, error in if error != nil { failures += 1 } }
    #expect(flushed, sourceLocation: sourceLocation)
    #expect(failures == 0, sourceLocation: sourceLocation)
  }

  func fill(_ name: String, partitions: Int32, perPartition: Int) throws {
    let topic = try topic(name)
    for index in 0..<perPartition {
      for partition in 0..<partitions {
        #expect(send(topic, partition, "\(partition):\(index)", key: "k\(index)") == .queued)
      }
    }
    deliverAll()
  }
}
