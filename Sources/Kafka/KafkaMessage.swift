// Hot: read once per record. No allocation, String or copy of a payload here.
internal import CKafka

/// A borrowed view of one consumed record. Valid inside the closure that it was handed to; the
/// bytes belong to librdkafka's fetch buffer.
public struct KafkaMessage {
  let native: UnsafeMutablePointer<rd_kafka_message_t>

  /// The consumer's index of the topic (`KafkaConsumer.topicIndex(_:)`), stable for its life.
  public let topic: Int

  public var partition: Int32 { native.pointee.partition }
  public var offset: Int64 { native.pointee.offset }

  /// The record's timestamp in milliseconds since 1970; -1 when it has none.
  public var timestampMilliseconds: Int64 {
    var type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE
    return rd_kafka_message_timestamp(native, &type)
  }

  /// nil: the record has no key.
  public var key: UnsafeRawBufferPointer? {
    guard let key = native.pointee.key else { return nil }
    return UnsafeRawBufferPointer(start: key, count: native.pointee.key_len)
  }

  /// nil: a tombstone. An empty value is not nil.
  public var value: UnsafeRawBufferPointer? {
    guard let value = native.pointee.payload else { return nil }
    return UnsafeRawBufferPointer(start: value, count: native.pointee.len)
  }

  /// The last header of that name; nil when there is none or its value is null. The first look-up
  /// makes librdkafka parse the record's headers.
  public func header(_ name: StaticString) -> UnsafeRawBufferPointer? {
    var headers: OpaquePointer?
    guard rd_kafka_message_headers(native, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR, let headers else {
      return nil
    }
    return name.withUTF8Buffer { utf8 -> UnsafeRawBufferPointer? in
      // A StaticString's bytes end with a zero.
      guard let start = utf8.baseAddress else { return nil }
      var value: UnsafeRawPointer?
      var count = 0
      let found = start.withMemoryRebound(to: CChar.self, capacity: utf8.count + 1) {
        rd_kafka_header_get_last(headers, $0, &value, &count)
      }
      guard found == RD_KAFKA_RESP_ERR_NO_ERROR, let value else { return nil }
      return UnsafeRawBufferPointer(start: value, count: count)
    }
  }

  /// Every header in order, for tools and dead letters: allocates.
  public var headers: [(name: String, value: [UInt8]?)] {
    var headers: OpaquePointer?
    guard rd_kafka_message_headers(native, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR, let headers else {
      return []
    }
    return (0..<rd_kafka_header_cnt(headers)).compactMap { index in
      var name: UnsafePointer<CChar>?
      var value: UnsafeRawPointer?
      var count = 0
      guard
        rd_kafka_header_get_all(headers, index, &name, &value, &count) == RD_KAFKA_RESP_ERR_NO_ERROR,
        let name
      else { return nil }
      return (
        String(cString: name), value.map { [UInt8](UnsafeRawBufferPointer(start: $0, count: count)) }
      )
    }
  }
}

/// The records of one poll, in the order of the consumer queue: within a partition by offset. It
/// cannot be kept: its bytes are given back when the closure returns.
public struct MessageBatch: ~Copyable {
  let messages: UnsafePointer<UnsafeMutablePointer<rd_kafka_message_t>?>
  let topics: UnsafePointer<Int32>
  public let count: Int

  public var isEmpty: Bool { count == 0 }

  public subscript(index: Int) -> KafkaMessage {
    precondition(index >= 0 && index < count, "message \(index) of \(count)")
    // Filled by the consumer up to `count`: never nil there.
    return KafkaMessage(native: messages[index].unsafelyUnwrapped, topic: Int(topics[index]))
  }

  public func forEach<E: Error>(_ body: (KafkaMessage) throws(E) -> Void) throws(E) {
    for index in 0..<count { try body(self[index]) }
  }
}
