internal import CKafka

/// A librdkafka configuration being filled. Defaults of librdkafka that lose data or time are
/// overridden here and nowhere else; the reasons stand beside them.
struct ClientConfiguration: ~Copyable {
  private let native: OpaquePointer

  /// Both kinds of client.
  private static let common: [(String, String)] = [
    ("socket.nagle.disable", "true"),  // else small records wait 40 ms for an acknowledgement
    ("socket.keepalive.enable", "true"),
    ("reconnect.backoff.max.ms", "1000"),
    ("topic.metadata.refresh.fast.interval.ms", "50"),
    ("log.connection.close", "false"),
  ]

  private static let consumer: [(String, String)] = [
    ("fetch.error.backoff.ms", "20"),
    ("fetch.wait.max.ms", "100"),
    ("fetch.min.bytes", "1"),
    ("auto.offset.reset", "error"),  // never skip silently: the caller decides
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),  // only what was acknowledged is stored
    ("session.timeout.ms", "6000"),
    ("heartbeat.interval.ms", "1500"),
    ("max.poll.interval.ms", "10000"),  // the rebalance timeout that a stuck member costs its group
    ("partition.assignment.strategy", "range"),
    // Two seconds of a quarter of a million records a second: a full prefetch queue backs off for
    // a whole second in 2.0.2.
    ("queued.min.messages", "500000"),
    ("queued.max.messages.kbytes", "262144"),
    ("allow.auto.create.topics", "false"),
  ]

  private static let producer: [(String, String)] = [
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("message.timeout.ms", "0"),  // wait for the broker; a full queue is the back-pressure
    ("queue.buffering.max.messages", "500000"),
    ("queue.buffering.max.kbytes", "262144"),
  ]

  enum Role {
    case consumer(group: String, isolation: IsolationLevel, reportsPartitionEnds: Bool)
    case producer(lingerMilliseconds: Double)
    case admin
  }

  init(_ settings: KafkaSettings, role: Role) throws(KafkaError) {
    native = rd_kafka_conf_new()
    try set("bootstrap.servers", settings.bootstrapServers)
    try set("client.id", settings.clientID)
    for (name, value) in Self.common { try set(name, value) }
    switch role {
    case .consumer(let group, let isolation, let reportsPartitionEnds):
      for (name, value) in Self.consumer { try set(name, value) }
      try set("group.id", group)
      try set("isolation.level", isolation.rawValue)
      try set("enable.partition.eof", reportsPartitionEnds ? "true" : "false")
    case .producer(let lingerMilliseconds):
      for (name, value) in Self.producer { try set(name, value) }
      try set("linger.ms", String(lingerMilliseconds))
    case .admin:
      break
    }
    for (name, value) in settings.properties.sorted(by: { $0.key < $1.key }) {
      try set(name, value)
    }
  }

  deinit { rd_kafka_conf_destroy(native) }

  /// Throws an error that names the property.
  private func set(_ name: String, _ value: String) throws(KafkaError) {
    var reason = [CChar](repeating: 0, count: 512)
    let result = rd_kafka_conf_set(native, name, value, &reason, reason.count)
    guard result == RD_KAFKA_CONF_OK else {
      let said = string(reason)
      throw KafkaError(
        code: .invalidSetting,
        message: "Kafka property \"\(name)\" cannot be \"\(Self.shown(name, value))\": \(said)")
    }
  }

  /// Secrets stay out of messages and logs.
  private static func shown(_ name: String, _ value: String) -> String {
    let secret = ["password", "secret", "key.pem", "oauthbearer.config"].contains { name.contains($0) }
    return secret ? "…" : value
  }

  /// Lets the caller set callbacks, then creates the client. The configuration is used up, also
  /// by a failure.
  func makeClient(
    _ type: rd_kafka_type_t, callbacks: (OpaquePointer) -> Void
  ) throws(KafkaError) -> OpaquePointer {
    // rd_kafka_new takes the configuration over only when it succeeds: give it a copy, so that
    // ours is always ours to destroy.
    let copy: OpaquePointer = rd_kafka_conf_dup(native)
    callbacks(copy)
    var reason = [CChar](repeating: 0, count: 512)
    guard let client = rd_kafka_new(type, copy, &reason, reason.count) else {
      rd_kafka_conf_destroy(copy)
      throw KafkaError(
        code: .invalidSetting, message: "The Kafka client cannot be created: \(string(reason))")
    }
    return client
  }
}

/// The text of a C buffer up to its terminator.
func string(_ buffer: [CChar]) -> String {
  String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
