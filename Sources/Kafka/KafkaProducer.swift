// Hot: `produce` and `poll`. No allocation of ours per record without headers.
internal import CKafka
internal import Synchronization
internal import Telemetry
public import Logging

/// What became of one call of `produce`.
public enum ProduceResult: Sendable, Equatable {
  /// Taken; a delivery report will follow.
  case queued
  /// Not taken: as many records wait as the queue holds. Poll for delivery reports, then try again.
  case queueFull
  /// Not taken, and trying again will not help.
  case failed(KafkaError)
}

/// Who keeps a payload's bytes until it is delivered.
public enum PayloadOwnership: Sendable {
  /// librdkafka copies it: the caller's bytes are free when `produce` returns.
  case copied
  /// The caller keeps the bytes, unchanged, until the delivery report (or, when `produce` did not
  /// take the record, until it returns).
  case borrowedUntilDelivery
}

/// What a producer met that is not a delivery report.
public enum ProducerEvent: Sendable {
  /// No broker answers. Said once in five seconds; librdkafka goes on trying.
  case brokersUnreachable(KafkaError)
  case error(KafkaError)
  /// The producer can send nothing more (`needsRecreation`).
  case fatal(KafkaError)
}

/// An idempotent producer: `acks=all`, in order and without duplicates within its session.
///
/// `produce` may be called from any number of threads. One thread polls (it gets the delivery
/// reports) and is the one that flushes, recreates and closes.
public final class KafkaProducer: @unchecked Sendable {
  private var client: OpaquePointer
  private var queue: OpaquePointer
  private let callbacks: ClientCallbacks
  private let settings: KafkaSettings
  private let lingerMilliseconds: Double
  private let topics = Mutex<[String: ProducerTopic]>([:])
  private let fatal = Atomic<Bool>(false)
  private let reports: UnsafeMutablePointer<UnsafePointer<rd_kafka_message_t>?>
  private var unreachable = Repetition(intervalMilliseconds: 5_000)
  private var isClosed = false

  /// Reports are taken from librdkafka in groups of at most so many.
  private static let reportsMax = 1_024

  /// Takes what is not a delivery report, on the polling thread. Set it before polling.
  public var onEvent: (ProducerEvent) -> Void = { _ in }

  /// - Parameter lingerMilliseconds: how long a record may wait for others to share its request.
  ///   0 sends at once; records gather all the same while earlier requests are on the way.
  /// - Throws: an error that names the property that librdkafka refuses.
  public init(
    _ settings: KafkaSettings, lingerMilliseconds: Double = 0, logger: Logger? = nil
  ) throws(KafkaError) {
    self.settings = settings
    self.lingerMilliseconds = lingerMilliseconds
    callbacks = ClientCallbacks(log: ClientLog(logger))
    client = try Self.makeClient(settings, lingerMilliseconds, callbacks)
    queue = rd_kafka_queue_get_main(client)
    reports = .allocate(capacity: Self.reportsMax)
    reports.initialize(repeating: nil, count: Self.reportsMax)
  }

  deinit {
    if !isClosed {
      rd_kafka_purge(client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT)
      destroyClient()
    }
    reports.deallocate()
  }

  private static func makeClient(
    _ settings: KafkaSettings, _ lingerMilliseconds: Double, _ callbacks: ClientCallbacks
  ) throws(KafkaError) -> OpaquePointer {
    let configuration = try ClientConfiguration(
      settings, role: .producer(lingerMilliseconds: lingerMilliseconds))
    return try configuration.makeClient(RD_KAFKA_PRODUCER) { native in
      rd_kafka_conf_set_opaque(native, Unmanaged.passUnretained(callbacks).toOpaque())
      rd_kafka_conf_set_events(native, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR)
      ClientLog.install(in: native)
    }
  }

  private func destroyClient() {
    topics.withLock { topics in
      for topic in topics.values { rd_kafka_topic_destroy(topic.handle) }
    }
    rd_kafka_queue_destroy(queue)
    rd_kafka_destroy(client)
  }

  // MARK: Topics

  /// Resolves a topic and waits until its partitions are known. Repeated calls give the same
  /// object.
  /// - Throws: when the topic does not exist, or no broker answers, within the time.
  public func topic(
    _ name: String, timeoutMilliseconds: Int32 = 10_000
  ) throws(KafkaError) -> ProducerTopic {
    if let known = topics.withLock({ $0[name] }) { return known }
    guard let handle = rd_kafka_topic_new(client, name, nil) else {
      throw KafkaError(rd_kafka_last_error(), "Topic \"\(name)\" is refused")
    }
    let count: Int
    do throws(KafkaError) {
      count = try partitionCount(name, handle, timeoutMilliseconds)
    } catch {
      rd_kafka_topic_destroy(handle)
      throw error
    }
    return topics.withLock { topics in
      if let known = topics[name] {
        rd_kafka_topic_destroy(handle)
        return known
      }
      let topic = ProducerTopic(name: name, handle: handle, partitionCount: count)
      topics[name] = topic
      return topic
    }
  }

  /// Asks again how many partitions the topic has.
  public func refresh(_ topic: ProducerTopic, timeoutMilliseconds: Int32 = 10_000) throws(KafkaError) {
    topic.setPartitionCount(try partitionCount(topic.name, topic.handle, timeoutMilliseconds))
  }

  private func partitionCount(
    _ name: String, _ handle: OpaquePointer, _ timeoutMilliseconds: Int32
  ) throws(KafkaError) -> Int {
    let deadline = MonotonicClock.nanoseconds() + Int64(timeoutMilliseconds) * 1_000_000
    while true {
      let left = max(1, (deadline - MonotonicClock.nanoseconds()) / 1_000_000)
      var metadata: UnsafePointer<rd_kafka_metadata>?
      var code = rd_kafka_metadata(client, 0, handle, &metadata, Int32(clamping: left))
      defer { if let metadata { rd_kafka_metadata_destroy(metadata) } }
      if !code.isError, let metadata, metadata.pointee.topic_cnt > 0 {
        let topic = metadata.pointee.topics[0]
        code = topic.err
        if !code.isError && topic.partition_cnt > 0 { return Int(topic.partition_cnt) }
        if !code.isError { code = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE }
      }
      // A topic that was just created may not be known to the broker asked.
      guard MonotonicClock.nanoseconds() < deadline else {
        throw KafkaError(code, "Topic \"\(name)\" is not available")
      }
      waitMilliseconds(50)
    }
  }

  // MARK: Producing

  /// Hands a record over for sending to an explicit partition (see `partition(forKey:count:)` in
  /// Model: our key hash, the same for all languages).
  ///
  /// - Parameters:
  ///   - value: nil is a tombstone.
  ///   - headers: copied.
  ///   - timestampMilliseconds: 0 for now.
  ///   - opaque: comes back in the delivery report.
  public func produce(
    _ topic: ProducerTopic, partition: Int32, key: UnsafeRawBufferPointer? = nil,
    value: UnsafeRawBufferPointer?, headers: KafkaHeaders? = nil, timestampMilliseconds: Int64 = 0,
    opaque: UInt = 0, ownership: PayloadOwnership = .copied
  ) -> ProduceResult {
    // librdkafka 2.0.2 must never see a partition that does not exist.
    guard partition >= 0 && Int(partition) < topic.partitionCount else {
      return .failed(unknownPartition(topic, partition))
    }
    let flags = ownership == .copied ? RD_KAFKA_MSG_F_COPY : 0
    // An empty value needs an address to be told from a tombstone; its bytes are never read.
    let payload = value.map { $0.baseAddress ?? Self.emptyPayload }
    let keyAddress = key.map { $0.baseAddress ?? Self.emptyPayload }
    let code: rd_kafka_resp_err_t
    if headers == nil && timestampMilliseconds == 0 {
      let result = rd_kafka_produce(
        topic.handle, partition, flags, UnsafeMutableRawPointer(mutating: payload), value?.count ?? 0,
        keyAddress, key?.count ?? 0, UnsafeMutableRawPointer(bitPattern: opaque))
      if result == 0 { return .queued }
      code = rd_kafka_last_error()
    } else {
      code = millrace_kafka_produce(
        client, topic.handle, partition, flags, payload, value?.count ?? 0, keyAddress, key?.count ?? 0,
        timestampMilliseconds, headers.flatMap { rd_kafka_headers_copy($0.native) },
        UnsafeMutableRawPointer(bitPattern: opaque))
      if !code.isError { return .queued }
    }
    return refused(code, topic, partition)
  }

  // Written once, here.
  private nonisolated(unsafe) static let emptyPayload: UnsafeRawPointer = {
    let byte = UnsafeMutableRawPointer.allocate(byteCount: 1, alignment: 1)
    byte.storeBytes(of: 0, as: UInt8.self)
    return UnsafeRawPointer(byte)
  }()

  private func refused(
    _ code: rd_kafka_resp_err_t, _ topic: ProducerTopic, _ partition: Int32
  ) -> ProduceResult {
    if code == RD_KAFKA_RESP_ERR__QUEUE_FULL { return .queueFull }
    let isFatal = code == RD_KAFKA_RESP_ERR__FATAL
    if isFatal { fatal.store(true, ordering: .releasing) }
    return .failed(
      KafkaError(code, "A record for \(topic.name)/\(partition) is not taken", isFatal: isFatal))
  }

  private func unknownPartition(_ topic: ProducerTopic, _ partition: Int32) -> KafkaError {
    KafkaError(
      code: .unknownPartitionLocally,
      message: "\(topic.name) has \(topic.partitionCount) partitions: there is no partition \(partition)")
  }

  // MARK: Delivery

  /// Waits up to `timeoutMilliseconds` for delivery reports, then hands out all that are there:
  /// the record's opaque word, partition, offset (negative when unknown) and, if it was not
  /// delivered, why. Reports of one partition come in order; across partitions they do not.
  ///
  /// - Returns: the number of reports.
  @discardableResult
  public func poll(
    timeoutMilliseconds: Int32 = 0,
    _ onDelivery: (_ opaque: UInt, _ partition: Int32, _ offset: Int64, _ error: KafkaError?) -> Void
  ) -> Int {
    var total = 0
    var timeout = timeoutMilliseconds
    while let event = rd_kafka_queue_poll(queue, timeout) {
      timeout = 0
      switch rd_kafka_event_type(event) {
      case RD_KAFKA_EVENT_DR:
        total += deliver(event, onDelivery)
      case RD_KAFKA_EVENT_ERROR:
        report(event)
      default:
        break
      }
      rd_kafka_event_destroy(event)
    }
    return total
  }

  private func deliver(
    _ event: OpaquePointer, _ onDelivery: (UInt, Int32, Int64, KafkaError?) -> Void
  ) -> Int {
    var total = 0
    while true {
      let count = rd_kafka_event_message_array(event, reports, Self.reportsMax)
      guard count > 0 else { return total }
      for index in 0..<count {
        guard let message = reports[index] else { continue }
        let code = message.pointee.err
        onDelivery(
          UInt(bitPattern: message.pointee._private), message.pointee.partition, message.pointee.offset,
          code.isError ? undelivered(message.pointee) : nil)
      }
      total += count
    }
  }

  private func undelivered(_ message: rd_kafka_message_t) -> KafkaError {
    let name = message.rkt.map { String(cString: rd_kafka_topic_name($0)) } ?? "?"
    let isFatal = message.err == RD_KAFKA_RESP_ERR__FATAL
    if isFatal { fatal.store(true, ordering: .releasing) }
    return KafkaError(
      message.err, "A record for \(name)/\(message.partition) is not delivered", isFatal: isFatal)
  }

  private func report(_ event: OpaquePointer) {
    let code = rd_kafka_event_error(event)
    let text = rd_kafka_event_error_string(event).map { String(cString: $0) } ?? ""
    if rd_kafka_event_error_is_fatal(event) != 0 || code == RD_KAFKA_RESP_ERR__FATAL {
      fatal.store(true, ordering: .releasing)
      var reason = [CChar](repeating: 0, count: 512)
      let cause = rd_kafka_fatal_error(client, &reason, reason.count)
      onEvent(.fatal(KafkaError(code: KafkaError.Code(cause), message: string(reason), isFatal: true)))
      return
    }
    let error = KafkaError(code: KafkaError.Code(code), message: text)
    if error.isUnreachable {
      if unreachable.passes() { onEvent(.brokersUnreachable(error)) }
    } else {
      onEvent(.error(error))
    }
  }

  /// Ends a `poll` that waits in another thread. Callable from any thread before `close`.
  public func wakeUp() { rd_kafka_queue_yield(queue) }

  /// Records and delivery reports that are still inside.
  public var outstandingCount: Int { Int(rd_kafka_outq_len(client)) }

  /// Polls until every record taken so far is reported, at most so long.
  /// - Returns: whether nothing is outstanding any more.
  @discardableResult
  public func flush(
    timeoutMilliseconds: Int32,
    _ onDelivery: (_ opaque: UInt, _ partition: Int32, _ offset: Int64, _ error: KafkaError?) -> Void
  ) -> Bool {
    let deadline = MonotonicClock.nanoseconds() + Int64(timeoutMilliseconds) * 1_000_000
    while true {
      poll(timeoutMilliseconds: 0, onDelivery)
      if outstandingCount == 0 { return true }
      let left = (deadline - MonotonicClock.nanoseconds()) / 1_000_000
      if left <= 0 { return false }
      poll(timeoutMilliseconds: Int32(clamping: min(left, 50)), onDelivery)
    }
  }

  // MARK: Ends

  /// A fatal error happened (with librdkafka before 2.3 also a spurious one, after a lost
  /// connection): nothing more is sent. Go back to what the log says and `recreate`.
  public var needsRecreation: Bool { fatal.load(ordering: .acquiring) }

  /// Replaces the client by a new one. What was outstanding is reported as not delivered (it may
  /// have been: resume from the log). Topics stay valid. Call it on the polling thread while no
  /// other produces.
  public func recreate(
    _ onDelivery: (_ opaque: UInt, _ partition: Int32, _ offset: Int64, _ error: KafkaError?) -> Void
  ) throws(KafkaError) {
    precondition(!isClosed, "a closed Kafka producer used")
    let fresh = try Self.makeClient(settings, lingerMilliseconds, callbacks)
    purge(onDelivery)
    let old = client
    topics.withLock { topics in
      for (name, topic) in topics {
        rd_kafka_topic_destroy(topic.handle)
        // It was accepted under the same settings before.
        if let handle = rd_kafka_topic_new(fresh, name, nil) { topic.handle = handle }
      }
    }
    rd_kafka_queue_destroy(queue)
    rd_kafka_destroy(old)
    client = fresh
    queue = rd_kafka_queue_get_main(fresh)
    fatal.store(false, ordering: .releasing)
  }

  private func purge(_ onDelivery: (UInt, Int32, Int64, KafkaError?) -> Void) {
    rd_kafka_purge(client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT)
    flush(timeoutMilliseconds: 1_000, onDelivery)
  }

  /// Flushes for at most so long, then reports what is left as not delivered and frees the client.
  /// Nothing may be used afterwards.
  /// - Returns: whether everything was delivered or reported within the time.
  @discardableResult
  public func close(
    flushMilliseconds: Int32 = 5_000,
    _ onDelivery: (_ opaque: UInt, _ partition: Int32, _ offset: Int64, _ error: KafkaError?) -> Void = { _, _, _, _ in }
  ) -> Bool {
    guard !isClosed else { return true }
    let flushed = flush(timeoutMilliseconds: flushMilliseconds, onDelivery)
    if !flushed { purge(onDelivery) }
    isClosed = true
    destroyClient()
    return flushed
  }
}
