import NIOCore

@testable import EmbeddedBroker

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// A blocking client that sends whatever bytes a test wants. Its patience is bounded: a read that takes longer than
/// `patienceSeconds` fails.
final class RawClient {
  struct Failure: Error { let message: String }

  private let descriptor: Int32
  private var nextCorrelation: Int32 = 1
  static let patienceSeconds = 30

  init(port: Int, receiveBytes: Int32? = nil) throws {
    #if canImport(Glibc)
      descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    #else
      descriptor = socket(AF_INET, SOCK_STREAM, 0)
    #endif
    guard descriptor >= 0 else { throw Failure(message: "socket: \(errno)") }
    var one: Int32 = 1
    setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, 4)
    var patience = timeval(tv_sec: Self.patienceSeconds, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    if var receiveBytes { setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &receiveBytes, 4) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
    guard result == 0 else { throw Failure(message: "connect: \(errno)") }
  }

  deinit { close(descriptor) }

  /// False when the other side has closed.
  @discardableResult
  func send(_ bytes: [UInt8]) -> Bool {
    var done = 0
    while done < bytes.count {
      let sent = bytes.withUnsafeBytes { Glibc_send(descriptor, $0.baseAddress! + done, bytes.count - done) }
      if sent <= 0 { return false }
      done += sent
    }
    return true
  }

  private func Glibc_send(_ descriptor: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int {
    #if canImport(Glibc)
      Glibc.send(descriptor, bytes, count, Int32(MSG_NOSIGNAL))
    #else
      Darwin.send(descriptor, bytes, count, 0)
    #endif
  }

  /// Exactly `count` bytes; nil when the other side closed.
  func receive(_ count: Int) throws -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: count)
    var done = 0
    while done < count {
      let got = bytes.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress! + done, count - done, 0) }
      if got == 0 || (got < 0 && errno == ECONNRESET) { return nil }
      if got < 0 { throw Failure(message: "no answer within \(Self.patienceSeconds) s (errno \(errno))") }
      done += got
    }
    return bytes
  }

  /// A whole request, ready to send.
  func frame(_ key: Int16, _ version: Int16, flexible: Bool, _ body: (inout WireWriter) -> Void) -> (bytes: [UInt8], correlation: Int32) {
    let correlation = nextCorrelation
    nextCorrelation += 1
    var writer = WireWriter(ByteBuffer())
    writer.int32(0)
    writer.int16(key)
    writer.int16(version)
    writer.int32(correlation)
    writer.nullableString("raw")
    writer.flexible = flexible
    writer.tags()
    body(&writer)
    writer.buffer.setInteger(Int32(writer.buffer.readableBytes - 4), at: 0)
    return (Array(writer.buffer.readableBytesView), correlation)
  }

  /// The next reply's bytes after its size; nil when the other side closed.
  func receiveFrame() throws -> [UInt8]? {
    guard let head = try receive(4) else { return nil }
    let size = head.reduce(0) { $0 << 8 | Int($1) }
    return try receive(size)
  }

  /// Sends a request and reads its reply with `read`, which must take all of it.
  func call<T>(_ key: APIKey, _ version: Int16, _ body: (inout WireWriter) -> Void, _ read: (inout WireReader) throws -> T) throws -> T {
    let flexible = version >= key.versions.flexibleFrom
    let (bytes, correlation) = frame(key.rawValue, version, flexible: flexible, body)
    guard send(bytes) else { throw Failure(message: "closed while sending \(key)") }
    return try answer(to: correlation, key, flexible: flexible, read)
  }

  func answer<T>(to correlation: Int32, _ key: APIKey, flexible: Bool, _ read: (inout WireReader) throws -> T) throws -> T {
    guard let reply = try receiveFrame() else { throw Failure(message: "closed instead of answering \(key)") }
    return try reply.withUnsafeBytes { pointer in
      var reader = WireReader(pointer)
      guard try reader.int32("correlation") == correlation else { throw Failure(message: "answers out of order") }
      reader.flexible = flexible
      if key != .apiVersions { try reader.tags() }
      let value = try read(&reader)
      guard reader.remaining == 0 else { throw Failure(message: "\(reader.remaining) bytes left in the reply to \(key)") }
      return value
    }
  }

  // MARK: The requests that tests use most

  struct Produced: Equatable {
    var error: Int16
    var baseOffset: Int64
  }

  static func writeProduce(_ topic: String, _ partition: Int32, _ records: [UInt8]?, acks: Int16 = -1, version: Int16, _ writer: inout WireWriter) {
    if version >= 3 { writer.nullableString(nil) }
    writer.int16(acks)
    writer.int32(1_000)
    writer.array([topic]) { writer, name in
      writer.string(name)
      writer.array([partition]) { writer, index in
        writer.int32(index)
        if let records { writer.bytes(records) } else { writer.nullArray() }
        writer.tags()
      }
      writer.tags()
    }
    writer.tags()
  }

  func produce(_ topic: String, partition: Int32 = 0, _ records: [UInt8]?, acks: Int16 = -1, version: Int16 = 9) throws -> Produced {
    try call(.produce, version, { Self.writeProduce(topic, partition, records, acks: acks, version: version, &$0) }) { reader in
      var produced = Produced(error: 0, baseOffset: 0)
      for _ in 0..<(try reader.arrayCount("topics", elementBytesMin: 1)) {
        _ = try reader.string("name")
        for _ in 0..<(try reader.arrayCount("partitions", elementBytesMin: 1)) {
          _ = try reader.int32("index")
          produced.error = try reader.int16("error")
          produced.baseOffset = try reader.int64("base")
          if version >= 2 { _ = try reader.int64("append time") }
          if version >= 5 { _ = try reader.int64("log start") }
          if version >= 8 {
            _ = try reader.arrayCount("record errors", elementBytesMin: 1)
            _ = try reader.nullableString("message")
          }
          try reader.tags()
        }
        try reader.tags()
      }
      if version >= 1 { _ = try reader.int32("throttle") }
      try reader.tags()
      return produced
    }
  }

  struct Fetched: Equatable {
    var error: Int16
    var highWatermark: Int64
    var records: [TestBatch.Record]
    var byteCount: Int
  }

  static func writeFetch(
    _ wanted: [(topic: String, partition: Int32, offset: Int64)], waitMilliseconds: Int32, bytesMin: Int32, bytesMax: Int32,
    partitionBytesMax: Int32, sessionID: Int32 = 0, version: Int16, _ writer: inout WireWriter
  ) {
    writer.int32(-1)
    writer.int32(waitMilliseconds)
    writer.int32(bytesMin)
    if version >= 3 { writer.int32(bytesMax) }
    if version >= 4 { writer.int8(0) }
    if version >= 7 {
      writer.int32(sessionID)
      writer.int32(-1)
    }
    writer.array(wanted) { writer, entry in
      writer.string(entry.topic)
      writer.array([entry]) { writer, entry in
        writer.int32(entry.partition)
        if version >= 9 { writer.int32(-1) }
        writer.int64(entry.offset)
        if version >= 12 { writer.int32(-1) }
        if version >= 5 { writer.int64(-1) }
        writer.int32(partitionBytesMax)
        writer.tags()
      }
      writer.tags()
    }
    if version >= 7 { writer.arrayCount(0) }
    if version >= 11 { writer.string("") }
    writer.tags()
  }

  static func readFetch(_ reader: inout WireReader, version: Int16) throws -> [Fetched] {
    var fetched: [Fetched] = []
    if version >= 1 { _ = try reader.int32("throttle") }
    if version >= 7 {
      let error = try reader.int16("error")
      _ = try reader.int32("session")
      if error != 0 { fetched.append(Fetched(error: error, highWatermark: -1, records: [], byteCount: 0)) }
    }
    for _ in 0..<(try reader.arrayCount("topics", elementBytesMin: 1)) {
      _ = try reader.string("name")
      for _ in 0..<(try reader.arrayCount("partitions", elementBytesMin: 1)) {
        _ = try reader.int32("index")
        let error = try reader.int16("error")
        let high = try reader.int64("high watermark")
        if version >= 4 { _ = try reader.int64("last stable") }
        if version >= 5 { _ = try reader.int64("log start") }
        if version >= 4 { _ = try reader.nullableArrayCount("aborted", elementBytesMin: 1) }
        if version >= 11 { _ = try reader.int32("preferred") }
        let bytes = Array(try reader.bytes("records"))
        try reader.tags()
        guard let records = TestBatch.read(bytes) else { throw Failure(message: "fetched batches are damaged") }
        fetched.append(Fetched(error: error, highWatermark: high, records: records, byteCount: bytes.count))
      }
      try reader.tags()
    }
    try reader.tags()
    return fetched
  }

  func fetch(
    _ wanted: [(topic: String, partition: Int32, offset: Int64)], waitMilliseconds: Int32 = 0, bytesMin: Int32 = 1,
    bytesMax: Int32 = 50 << 20, partitionBytesMax: Int32 = 1 << 20, sessionID: Int32 = 0, version: Int16 = 12
  ) throws -> [Fetched] {
    try call(
      .fetch, version,
      {
        Self.writeFetch(
          wanted, waitMilliseconds: waitMilliseconds, bytesMin: bytesMin, bytesMax: bytesMax, partitionBytesMax: partitionBytesMax,
          sessionID: sessionID, version: version, &$0)
      }
    ) { try Self.readFetch(&$0, version: version) }
  }

  /// Creates a topic; the error code.
  func createTopic(
    _ name: String, partitions: Int32 = 1, replication: Int16 = 1, configs: [(String, String)] = [], validateOnly: Bool = false, version: Int16 = 7
  ) throws -> Int16 {
    try call(
      .createTopics, version,
      { writer in
        writer.array([name]) { writer, name in
          writer.string(name)
          writer.int32(partitions)
          writer.int16(replication)
          writer.arrayCount(0)
          writer.array(configs) { writer, setting in
            writer.string(setting.0)
            writer.nullableString(setting.1)
            writer.tags()
          }
          writer.tags()
        }
        writer.int32(1_000)
        if version >= 1 { writer.bool(validateOnly) }
        writer.tags()
      }
    ) { reader in
      var error: Int16 = 0
      if version >= 2 { _ = try reader.int32("throttle") }
      for _ in 0..<(try reader.arrayCount("topics", elementBytesMin: 1)) {
        _ = try reader.string("name")
        if version >= 7 { _ = try reader.uuid("id") }
        error = try reader.int16("error")
        if version >= 1 { _ = try reader.nullableString("message") }
        if version >= 5 {
          _ = try reader.int32("partitions")
          _ = try reader.int16("replication")
          for _ in 0..<(try reader.arrayCount("configs", elementBytesMin: 1)) {
            _ = try reader.string("name")
            _ = try reader.nullableString("value")
            _ = try reader.bool("read only")
            _ = try reader.int8("source")
            _ = try reader.bool("sensitive")
            try reader.tags()
          }
        }
        try reader.tags()
      }
      try reader.tags()
      return error
    }
  }

  /// Start (-2), end (-1) or first at a time.
  func listOffset(_ topic: String, _ partition: Int32 = 0, timestamp: Int64, version: Int16 = 7) throws -> (error: Int16, offset: Int64) {
    try call(
      .listOffsets, version,
      { writer in
        writer.int32(-1)
        if version >= 2 { writer.int8(0) }
        writer.array([topic]) { writer, name in
          writer.string(name)
          writer.array([partition]) { writer, index in
            writer.int32(index)
            if version >= 4 { writer.int32(-1) }
            writer.int64(timestamp)
            writer.tags()
          }
          writer.tags()
        }
        writer.tags()
      }
    ) { reader in
      var answer: (error: Int16, offset: Int64) = (0, -1)
      if version >= 2 { _ = try reader.int32("throttle") }
      for _ in 0..<(try reader.arrayCount("topics", elementBytesMin: 1)) {
        _ = try reader.string("name")
        for _ in 0..<(try reader.arrayCount("partitions", elementBytesMin: 1)) {
          _ = try reader.int32("index")
          answer.error = try reader.int16("error")
          _ = try reader.int64("timestamp")
          answer.offset = try reader.int64("offset")
          if version >= 4 { _ = try reader.int32("epoch") }
          try reader.tags()
        }
        try reader.tags()
      }
      try reader.tags()
      return answer
    }
  }

  /// The error of an ApiVersions request, and the ranges offered.
  func apiVersions(_ version: Int16) throws -> (error: Int16, ranges: [Int16: ClosedRange<Int16>]) {
    let flexible = version >= 3 && version <= 3
    let (bytes, correlation) = frame(APIKey.apiVersions.rawValue, version, flexible: version >= 3) { writer in
      if version >= 3 {
        writer.string("raw")
        writer.string("1")
      }
      writer.tags()
    }
    guard send(bytes) else { throw Failure(message: "closed") }
    return try answer(to: correlation, .apiVersions, flexible: flexible) { reader in
      let error = try reader.int16("error")
      var ranges: [Int16: ClosedRange<Int16>] = [:]
      for _ in 0..<(try reader.arrayCount("keys", elementBytesMin: 6)) {
        let key = try reader.int16("key")
        let low = try reader.int16("low")
        ranges[key] = low...(try reader.int16("high"))
        try reader.tags()
      }
      if version >= 1, version <= 3 { _ = try reader.int32("throttle") }
      try reader.tags()
      return (error, ranges)
    }
  }
}
