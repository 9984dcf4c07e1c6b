internal import CKafka

/// What librdkafka or a broker refused, with the code, its name and a sentence.
public struct KafkaError: Error, Sendable, Equatable, CustomStringConvertible {
  /// librdkafka's or the protocol's number (negative: local to the client).
  public struct Code: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
    public let rawValue: Int32
    public init(rawValue: Int32) { self.rawValue = rawValue }

    /// `_QUEUE_FULL`, `UNKNOWN_TOPIC_OR_PART`, …
    public var description: String { String(cString: rd_kafka_err2name(native)) }

    init(_ native: rd_kafka_resp_err_t) { rawValue = native.rawValue }
    var native: rd_kafka_resp_err_t { rd_kafka_resp_err_t(rawValue: rawValue) }

    /// A setting that librdkafka does not know, or a value it does not take.
    public static let invalidSetting = Code(RD_KAFKA_RESP_ERR__INVALID_ARG)
    public static let brokerTransport = Code(RD_KAFKA_RESP_ERR__TRANSPORT)
    public static let allBrokersDown = Code(RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
    public static let cannotResolve = Code(RD_KAFKA_RESP_ERR__RESOLVE)
    public static let timedOut = Code(RD_KAFKA_RESP_ERR__TIMED_OUT)
    public static let messageTimedOut = Code(RD_KAFKA_RESP_ERR__MSG_TIMED_OUT)
    public static let queueFull = Code(RD_KAFKA_RESP_ERR__QUEUE_FULL)
    public static let fatal = Code(RD_KAFKA_RESP_ERR__FATAL)
    public static let purgedFromQueue = Code(RD_KAFKA_RESP_ERR__PURGE_QUEUE)
    public static let purgedInFlight = Code(RD_KAFKA_RESP_ERR__PURGE_INFLIGHT)
    public static let wrongState = Code(RD_KAFKA_RESP_ERR__STATE)
    public static let noOffset = Code(RD_KAFKA_RESP_ERR__NO_OFFSET)
    public static let partitionEnd = Code(RD_KAFKA_RESP_ERR__PARTITION_EOF)
    public static let offsetReset = Code(RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET)
    public static let unknownPartitionLocally = Code(RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION)
    public static let unknownTopicLocally = Code(RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC)
    public static let offsetOutOfRange = Code(RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE)
    public static let unknownTopicOrPartition = Code(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
    public static let leaderNotAvailable = Code(RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE)
    public static let messageTooLarge = Code(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
    public static let topicAlreadyExists = Code(RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
    public static let invalidPartitions = Code(RD_KAFKA_RESP_ERR_INVALID_PARTITIONS)
  }

  public let code: Code
  /// One sentence: what was tried and what came back.
  public let message: String
  /// The client that gave it can do no more work: recreate it.
  public let isFatal: Bool

  public init(code: Code, message: String, isFatal: Bool = false) {
    self.code = code
    self.message = message
    self.isFatal = isFatal
  }

  init(_ native: rd_kafka_resp_err_t, _ attempt: String, isFatal: Bool = false) {
    self.init(
      code: Code(native), message: "\(attempt): \(String(cString: rd_kafka_err2str(native)))",
      isFatal: isFatal)
  }

  /// Takes over (destroys) `native`.
  init(consuming native: OpaquePointer, _ attempt: String) {
    self.init(
      code: Code(rd_kafka_error_code(native)),
      message: "\(attempt): \(String(cString: rd_kafka_error_string(native)))",
      isFatal: rd_kafka_error_is_fatal(native) != 0)
    rd_kafka_error_destroy(native)
  }

  /// The broker cannot be reached now: librdkafka goes on trying by itself.
  public var isUnreachable: Bool {
    code == .brokerTransport || code == .allBrokersDown || code == .cannotResolve
  }

  public var description: String { "\(message) (\(code))" }
}

extension rd_kafka_resp_err_t {
  var isError: Bool { self != RD_KAFKA_RESP_ERR_NO_ERROR }
}
