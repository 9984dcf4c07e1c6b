internal import CKafka

/// Headers for produced records. Built once and used for many records (each gets librdkafka's
/// copy), or refilled for each. Build it on one thread; once built it can be used from several.
public final class KafkaHeaders: @unchecked Sendable {
  private(set) var native: OpaquePointer

  public init() { native = rd_kafka_headers_new(4) }

  public convenience init(_ headers: KeyValuePairs<String, String>) {
    self.init()
    for (name, value) in headers { append(name, value) }
  }

  deinit { rd_kafka_headers_destroy(native) }

  public var count: Int { rd_kafka_header_cnt(native) }

  public func removeAll() {
    rd_kafka_headers_destroy(native)
    native = rd_kafka_headers_new(4)
  }

  public func append(_ name: StaticString, _ value: UnsafeRawBufferPointer) {
    name.withUTF8Buffer { name in
      guard let start = name.baseAddress else { return }
      start.withMemoryRebound(to: CChar.self, capacity: name.count) { start in
        // A null value is a header without one; an empty value is not null.
        _ = rd_kafka_header_add(native, start, name.count, value.baseAddress ?? UnsafeRawPointer(start), value.count)
      }
    }
  }

  public func append(_ name: String, _ value: String) {
    var value = value
    value.withUTF8 { bytes in append(name, UnsafeRawBufferPointer(bytes)) }
  }

  public func append(_ name: String, _ value: UnsafeRawBufferPointer) {
    var name = name
    name.withUTF8 { name in
      guard let start = name.baseAddress else { return }
      start.withMemoryRebound(to: CChar.self, capacity: name.count) { start in
        _ = rd_kafka_header_add(native, start, name.count, value.baseAddress ?? UnsafeRawPointer(start), value.count)
      }
    }
  }
}
