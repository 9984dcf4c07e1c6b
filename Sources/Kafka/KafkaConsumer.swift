// Hot: `poll`. No allocation of ours per record in the steady state.
internal import CKafka
internal import Glibc
internal import Synchronization
public import Logging

/// Reads partitions, either assigned by hand or given by a group.
///
/// One OS thread owns it: the first one that calls anything but `wakeUp`, asserted from then on
/// (with librdkafka before 2.1, reading a batch while another thread pauses, seeks or rebalances
/// loses or repeats records). Only `wakeUp` may be called from other threads.
public final class KafkaConsumer: @unchecked Sendable {
  let client: OpaquePointer
  let queue: OpaquePointer
  let topics: ConsumerTopics
  let callbacks: ConsumerCallbacks
  let settings: KafkaSettings
  public let group: String?

  private var owner: pthread_t?
  private var messages: UnsafeMutablePointer<UnsafeMutablePointer<rd_kafka_message_t>?>
  private var topicIndices: UnsafeMutablePointer<Int32>
  private var capacity: Int
  private var errors: [UnsafeMutablePointer<rd_kafka_message_t>] = []
  private var unreachable = Repetition(intervalMilliseconds: 5_000)
  var subscription: Subscription?
  public private(set) var isClosed = false
  private var isPolling = false

  /// Takes what is not a record, on the owner thread, inside `poll`.
  public var onEvent: (ConsumerEvent) -> Void = { _ in }

  /// A group's terms: what to do on a rebalance.
  struct Subscription {
    let startWithoutCommit: StartOffset
    let onRebalance: (KafkaConsumer, Rebalance) -> Void
  }

  /// - Parameters:
  ///   - group: the consumer group whose offsets are committed and which `subscribe` joins; nil for
  ///     a consumer that is only assigned by hand and commits nothing.
  ///   - isolation: set it for what the topics are (see `IsolationLevel`).
  ///   - reportsPartitionEnds: whether `ConsumerEvent.partitionEnd` is told.
  ///   - logger: takes librdkafka's own lines; nil for silence.
  /// - Throws: an error that names the property that librdkafka refuses.
  public init(
    _ settings: KafkaSettings, group: String? = nil, isolation: IsolationLevel = .readCommitted,
    reportsPartitionEnds: Bool = false, logger: Logger? = nil
  ) throws(KafkaError) {
    // librdkafka assigns through its group machinery, which wants a name even when no group is
    // joined and nothing is committed.
    let configuration = try ClientConfiguration(
      settings,
      role: .consumer(
        group: group ?? "\(settings.clientID)-without-group", isolation: isolation,
        reportsPartitionEnds: reportsPartitionEnds))
    let callbacks = ConsumerCallbacks(log: ClientLog(logger))
    let client = try configuration.makeClient(RD_KAFKA_CONSUMER) { native in
      rd_kafka_conf_set_opaque(native, Unmanaged.passUnretained(callbacks as ClientCallbacks).toOpaque())
      ClientLog.install(in: native)
      ConsumerCallbacks.install(in: native)
    }
    rd_kafka_poll_set_consumer(client)
    self.client = client
    self.callbacks = callbacks
    self.settings = settings
    self.group = group
    queue = rd_kafka_queue_get_consumer(client)
    topics = ConsumerTopics(client: client)
    capacity = 1_024
    messages = .allocate(capacity: capacity)
    messages.initialize(repeating: nil, count: capacity)
    topicIndices = .allocate(capacity: capacity)
    topicIndices.initialize(repeating: 0, count: capacity)
  }

  deinit {
    // Nobody can be told any more: give the partitions back and go.
    let client = client
    closeClient { _, _ in _ = rd_kafka_assign(client, nil) }
    messages.deallocate()
    topicIndices.deallocate()
  }

  // MARK: Ownership

  /// The calling thread is the owner, or becomes it if there is none yet.
  @inline(__always)
  func assertOwner() {
    let current = pthread_self()
    if let owner {
      precondition(pthread_equal(owner, current) != 0, "a Kafka consumer used from a second thread")
    } else {
      owner = current
    }
    precondition(!isClosed, "a closed Kafka consumer used")
  }

  /// The owner gives the consumer up; the next thread that calls becomes its owner.
  public func handOver() {
    assertOwner()
    owner = nil
  }

  /// Ends a `poll` that waits in the owner thread, or makes the next one return at once. Callable
  /// from any thread before `close`.
  public func wakeUp() { rd_kafka_queue_yield(queue) }

  // MARK: Reading

  /// Waits up to `timeoutMilliseconds` for records and hands what is there, at most `max`, to
  /// `body`, whose bytes are valid until it returns. Then delivers events and rebalances. `body` is
  /// not called without records. Call it at least every few seconds: a group takes a member that
  /// does not poll for stuck.
  ///
  /// - Returns: the number of records handed out.
  @discardableResult
  public func poll<E: Error>(
    timeoutMilliseconds: Int32, max: Int = 1_024, _ body: (borrowing MessageBatch) throws(E) -> Void
  ) throws(E) -> Int {
    assertOwner()
    precondition(!isPolling, "poll called from inside poll")
    precondition(max > 0, "max \(max)")
    isPolling = true
    defer { isPolling = false }
    let count = drain(timeoutMilliseconds: timeoutMilliseconds, max: max)
    if count > 0 {
      defer { for index in 0..<count { rd_kafka_message_destroy(messages[index]) } }
      try body(MessageBatch(messages: UnsafePointer(messages), topics: UnsafePointer(topicIndices), count: count))
    }
    if !errors.isEmpty { deliverErrors() }
    if callbacks.hasEvents { deliverEvents() }
    return count
  }

  /// Fills `messages` and `topicIndices` with records; what carries an error goes to `errors`.
  private func drain(timeoutMilliseconds: Int32, max: Int) -> Int {
    if max > capacity { grow(to: max) }
    // Reading a batch with a timeout waits for the batch to be full or the whole timeout to pass:
    // wait for the first record alone, then take what is there.
    guard let first = rd_kafka_consume_queue(queue, timeoutMilliseconds) else { return 0 }
    messages[0] = first
    var taken = 1
    if max > 1 {
      let more = rd_kafka_consume_batch_queue(queue, 0, messages + 1, max - 1)
      if more > 0 { taken += more }
    }
    var count = 0
    for index in 0..<taken {
      guard let message = messages[index] else { continue }
      guard !message.pointee.err.isError else {
        errors.append(message)
        continue
      }
      messages[count] = message
      topicIndices[count] = Int32(truncatingIfNeeded: topics.index(of: message.pointee.rkt))
      count += 1
    }
    return count
  }

  private func grow(to larger: Int) {
    messages.deallocate()
    topicIndices.deallocate()
    capacity = larger
    messages = .allocate(capacity: capacity)
    messages.initialize(repeating: nil, count: capacity)
    topicIndices = .allocate(capacity: capacity)
    topicIndices.initialize(repeating: 0, count: capacity)
  }

  // MARK: Events

  private func deliverErrors() {
    let taken = errors
    errors.removeAll(keepingCapacity: true)
    for message in taken {
      let event = event(of: message.pointee)
      rd_kafka_message_destroy(message)
      if let event { onEvent(event) }
    }
  }

  private func event(of message: rd_kafka_message_t) -> ConsumerEvent? {
    let code = KafkaError.Code(message.err)
    let error = KafkaError(
      code: code,
      message: message.payload.map {
        String(decoding: UnsafeRawBufferPointer(start: $0, count: message.len), as: UTF8.self)
      } ?? String(cString: rd_kafka_err2str(message.err)),
      isFatal: code == .fatal)
    guard let topic = message.rkt else { return general(error) }
    let index = topics.index(of: topic)
    switch code {
    case .partitionEnd:
      return .partitionEnd(topic: index, partition: message.partition, offset: message.offset)
    case .offsetReset, .offsetOutOfRange, .noOffset:
      return .offsetOutOfRange(
        topic: index, partition: message.partition, offset: message.offset, error)
    default:
      return .partitionError(topic: index, partition: message.partition, error)
    }
  }

  private func general(_ error: KafkaError) -> ConsumerEvent? {
    if error.isFatal { return .fatal(error) }
    if error.isUnreachable { return unreachable.passes() ? .brokersUnreachable(error) : nil }
    return .error(error)
  }

  private func deliverEvents() {
    for pending in callbacks.take() {
      switch pending {
      case .error(let code, let reason):
        if let event = general(describe(code, reason)) { onEvent(event) }
      case .commit(let error):
        onEvent(.commitFailed(error))
      case .rebalance(let code, let partitions):
        rebalance(code, partitions)
      }
    }
  }

  private func describe(_ code: rd_kafka_resp_err_t, _ reason: String) -> KafkaError {
    guard code == RD_KAFKA_RESP_ERR__FATAL else {
      return KafkaError(code: KafkaError.Code(code), message: reason)
    }
    var text = [CChar](repeating: 0, count: 512)
    let cause = rd_kafka_fatal_error(client, &text, text.count)
    return KafkaError(code: KafkaError.Code(cause), message: string(text), isFatal: true)
  }

  // MARK: Closing

  /// Leaves the group (after the handler has seen its partitions revoked and what it stored is
  /// committed) and frees the client. Nothing but `isClosed` may be used afterwards.
  public func close() {
    assertOwner()
    precondition(!isPolling, "close called from inside poll")
    closeClient { code, partitions in self.rebalance(code, partitions) }
    if callbacks.hasEvents { deliverEvents() }
  }

  private func closeClient(_ rebalanceNow: @escaping (rd_kafka_resp_err_t, [TopicPartition]) -> Void) {
    guard !isClosed else { return }
    callbacks.rebalanceNow = rebalanceNow
    rd_kafka_consumer_close(client)
    callbacks.rebalanceNow = nil
    isClosed = true
    topics.releaseAll()
    rd_kafka_queue_destroy(queue)
    rd_kafka_destroy(client)
  }
}
