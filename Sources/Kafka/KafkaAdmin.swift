internal import CKafka
internal import Telemetry
public import Logging

/// A topic to create.
public struct TopicSpec: Sendable, Equatable {
  public var name: String
  public var partitions: Int
  public var replication: Int
  /// Topic configuration (`cleanup.policy`, `retention.ms`, …).
  public var config: [String: String]

  public init(name: String, partitions: Int, replication: Int = 1, config: [String: String] = [:]) {
    self.name = name
    self.partitions = partitions
    self.replication = replication
    self.config = config
  }
}

/// A topic as the broker describes it.
public struct TopicDescription: Sendable, Equatable {
  public let name: String
  public let partitions: Int
  public let replication: Int
  /// Empty in lists, and for brokers that do not tell.
  public let config: [String: String]
}

/// What became of one topic of a request.
public struct TopicResult: Sendable, Equatable {
  public let name: String
  public let error: KafkaError?

  public init(name: String, error: KafkaError?) {
    self.name = name
    self.error = error
  }
}

/// Control plane: each call blocks its thread until the broker has answered or the time is over.
/// One thread at a time.
public final class KafkaAdmin: @unchecked Sendable {
  private let client: OpaquePointer
  private let callbacks: ClientCallbacks
  private let settings: KafkaSettings

  public init(_ settings: KafkaSettings, logger: Logger? = nil) throws(KafkaError) {
    self.settings = settings
    let callbacks = ClientCallbacks(log: ClientLog(logger))
    self.callbacks = callbacks
    let configuration = try ClientConfiguration(settings, role: .admin)
    client = try configuration.makeClient(RD_KAFKA_PRODUCER) { native in
      rd_kafka_conf_set_opaque(native, Unmanaged.passUnretained(callbacks).toOpaque())
      ClientLog.install(in: native)
    }
  }

  deinit { rd_kafka_destroy(client) }

  // MARK: Reaching

  /// Asks until a broker answers. `progress` is called about once a second with the time waited
  /// and the last error, and ends the wait by returning false.
  ///
  /// - Returns: whether a broker answered.
  @discardableResult
  public func waitUntilReachable(
    timeoutMilliseconds: Int64 = .max,
    progress: (_ waitedMilliseconds: Int64, _ error: KafkaError) -> Bool = { _, _ in true }
  ) -> Bool {
    let start = MonotonicClock.nanoseconds()
    while true {
      let waited = (MonotonicClock.nanoseconds() - start) / 1_000_000
      guard waited < timeoutMilliseconds else { return false }
      let step = Int32(clamping: min(1_000, timeoutMilliseconds - waited))
      var metadata: UnsafePointer<rd_kafka_metadata>?
      let code = rd_kafka_metadata(client, 0, nil, &metadata, step)
      if let metadata { rd_kafka_metadata_destroy(metadata) }
      if !code.isError { return true }
      let error = KafkaError(code, "No Kafka broker answers at \(settings.bootstrapServers)")
      let after = (MonotonicClock.nanoseconds() - start) / 1_000_000
      if after < timeoutMilliseconds && !progress(after, error) { return false }
      if after - waited < 500 { waitMilliseconds(UInt32(clamping: min(500, max(0, timeoutMilliseconds - after)))) }
    }
  }

  // MARK: Describing

  /// Every topic with its partition count, by name.
  public func listTopics(timeoutMilliseconds: Int32 = 10_000) throws(KafkaError) -> [TopicDescription] {
    try metadata(nil, timeoutMilliseconds).filter { $0.error == nil }
      .map { TopicDescription(name: $0.name, partitions: $0.partitions, replication: $0.replication, config: [:]) }
      .sorted { $0.name < $1.name }
  }

  /// One topic with its configuration; nil when there is none of that name.
  public func describeTopic(
    _ name: String, timeoutMilliseconds: Int32 = 10_000
  ) throws(KafkaError) -> TopicDescription? {
    // Listing all does not create it, as asking for one might.
    guard let found = try metadata(nil, timeoutMilliseconds).first(where: { $0.name == name }) else { return nil }
    if let error = found.error { throw error }
    return TopicDescription(
      name: name, partitions: found.partitions, replication: found.replication,
      config: try topicConfig(name, timeoutMilliseconds))
  }

  /// Partition count of a topic; nil when it does not exist.
  public func partitionCount(
    _ name: String, timeoutMilliseconds: Int32 = 10_000
  ) throws(KafkaError) -> Int? {
    guard let found = try metadata(nil, timeoutMilliseconds).first(where: { $0.name == name }) else { return nil }
    if let error = found.error { throw error }
    return found.partitions
  }

  private struct Seen {
    let name: String
    let partitions: Int
    let replication: Int
    let error: KafkaError?
  }

  private func metadata(_ topic: OpaquePointer?, _ timeoutMilliseconds: Int32) throws(KafkaError) -> [Seen] {
    var metadata: UnsafePointer<rd_kafka_metadata>?
    let code = rd_kafka_metadata(client, 1, topic, &metadata, timeoutMilliseconds)
    guard !code.isError, let metadata else {
      throw KafkaError(code, "Topics cannot be listed at \(settings.bootstrapServers)")
    }
    defer { rd_kafka_metadata_destroy(metadata) }
    return (0..<Int(metadata.pointee.topic_cnt)).map { index in
      let topic = metadata.pointee.topics[index]
      let name = String(cString: topic.topic)
      return Seen(
        name: name, partitions: Int(topic.partition_cnt),
        replication: topic.partition_cnt > 0 ? Int(topic.partitions[0].replica_cnt) : 0,
        error: topic.err.isError ? KafkaError(topic.err, "Topic \"\(name)\" is not available") : nil)
    }
  }

  private func topicConfig(_ name: String, _ timeoutMilliseconds: Int32) throws(KafkaError) -> [String: String] {
    var resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name)
    defer { rd_kafka_ConfigResource_destroy(resource) }
    return try request("Configuration of \"\(name)\" is not known", timeoutMilliseconds) { options, queue in
      rd_kafka_DescribeConfigs(client, &resource, 1, options, queue)
    } answer: { event throws(KafkaError) in
      var config: [String: String] = [:]
      var count = 0
      let resources = rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event), &count)
      for index in 0..<count {
        guard let resource = resources?[index] else { continue }
        let code = rd_kafka_ConfigResource_error(resource)
        if code.isError { throw KafkaError(code, "Configuration of \"\(name)\" is not known") }
        var entryCount = 0
        let entries = rd_kafka_ConfigResource_configs(resource, &entryCount)
        for entryIndex in 0..<entryCount {
          guard let entry = entries?[entryIndex], let key = rd_kafka_ConfigEntry_name(entry),
            let value = rd_kafka_ConfigEntry_value(entry)
          else { continue }
          config[String(cString: key)] = String(cString: value)
        }
      }
      return config
    }
  }

  // MARK: Creating and deleting

  /// Creates topics; each has its own result (`KafkaError.Code.topicAlreadyExists` among them).
  /// - Throws: when the request as a whole failed.
  public func createTopics(
    _ specs: [TopicSpec], timeoutMilliseconds: Int32 = 15_000
  ) throws(KafkaError) -> [TopicResult] {
    guard !specs.isEmpty else { return [] }
    var native: [OpaquePointer?] = []
    defer { rd_kafka_NewTopic_destroy_array(&native, native.count) }
    for spec in specs {
      var reason = [CChar](repeating: 0, count: 512)
      guard
        let topic = rd_kafka_NewTopic_new(
          spec.name, Int32(clamping: spec.partitions), Int32(clamping: spec.replication), &reason, reason.count)
      else {
        throw KafkaError(code: .invalidSetting, message: "Topic \"\(spec.name)\" cannot be created: \(string(reason))")
      }
      native.append(topic)
      for (key, value) in spec.config.sorted(by: { $0.key < $1.key }) {
        let code = rd_kafka_NewTopic_set_config(topic, key, value)
        if code.isError { throw KafkaError(code, "Topic \"\(spec.name)\" cannot be created with \(key)=\(value)") }
      }
    }
    return try request("Topics are not created", timeoutMilliseconds) { options, queue in
      rd_kafka_CreateTopics(client, &native, native.count, options, queue)
    } answer: { event throws(KafkaError) in
      var count = 0
      let results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count)
      return topicResults(results, count, "not created")
    }
  }

  /// Makes sure that these topics exist with these partition counts: creates the missing ones and
  /// waits until they can be used.
  /// - Throws: for the first topic that cannot be created or has another partition count.
  public func ensureTopics(_ specs: [TopicSpec], timeoutMilliseconds: Int32 = 15_000) throws(KafkaError) {
    let deadline = MonotonicClock.nanoseconds() + Int64(timeoutMilliseconds) * 1_000_000
    let existing = Set(try metadata(nil, timeoutMilliseconds).map(\.name))
    for result in try createTopics(specs.filter { !existing.contains($0.name) }, timeoutMilliseconds: timeoutMilliseconds) {
      if let error = result.error, error.code != .topicAlreadyExists { throw error }
    }
    for spec in specs {
      while true {
        let seen = try metadata(nil, timeoutMilliseconds).first { $0.name == spec.name }
        if let seen, seen.error == nil, seen.partitions > 0 {
          guard seen.partitions == spec.partitions else {
            throw KafkaError(
              code: .invalidPartitions,
              message: "Topic \"\(spec.name)\" has \(seen.partitions) partitions where \(spec.partitions) are expected. "
                + "Partition counts are fixed: use another name, or delete the topic if its records are not needed.")
          }
          break
        }
        guard MonotonicClock.nanoseconds() < deadline else {
          throw seen?.error
            ?? KafkaError(code: .timedOut, message: "Topic \"\(spec.name)\" did not appear in \(timeoutMilliseconds) ms")
        }
        waitMilliseconds(50)
      }
    }
  }

  /// Deletes topics with all their records; each has its own result.
  public func deleteTopics(
    _ names: [String], timeoutMilliseconds: Int32 = 15_000
  ) throws(KafkaError) -> [TopicResult] {
    guard !names.isEmpty else { return [] }
    var native: [OpaquePointer?] = names.map { rd_kafka_DeleteTopic_new($0) }
    defer { rd_kafka_DeleteTopic_destroy_array(&native, native.count) }
    return try request("Topics are not deleted", timeoutMilliseconds) { options, queue in
      rd_kafka_DeleteTopics(client, &native, native.count, options, queue)
    } answer: { event throws(KafkaError) in
      var count = 0
      let results = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count)
      return topicResults(results, count, "not deleted")
    }
  }

  /// Deletes the records below these offsets (`.exact`, or `.end` for all).
  /// - Throws: for the first partition that failed.
  public func deleteRecords(
    before offsets: [TopicPartitionOffset], timeoutMilliseconds: Int32 = 15_000
  ) throws(KafkaError) {
    guard !offsets.isEmpty else { return }
    let list = PartitionList(offsets)
    var native: OpaquePointer? = rd_kafka_DeleteRecords_new(list.native)
    defer { rd_kafka_DeleteRecords_destroy(native) }
    try request("Records are not deleted", timeoutMilliseconds) { options, queue in
      rd_kafka_DeleteRecords(client, &native, 1, options, queue)
    } answer: { event throws(KafkaError) in
      guard let results = rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(event)) else { return }
      for index in 0..<Int(results.pointee.cnt) {
        let result = results.pointee.elems[index]
        if result.err.isError {
          throw KafkaError(
            result.err, "Records of \(String(cString: result.topic))/\(result.partition) are not deleted")
        }
      }
    }
  }

  private func topicResults(
    _ results: UnsafeMutablePointer<OpaquePointer?>?, _ count: Int, _ failure: String
  ) -> [TopicResult] {
    (0..<count).compactMap { index in
      guard let result = results?[index] else { return nil }
      let name = String(cString: rd_kafka_topic_result_name(result))
      let code = rd_kafka_topic_result_error(result)
      guard code.isError else { return TopicResult(name: name, error: nil) }
      let reason = rd_kafka_topic_result_error_string(result).map { String(cString: $0) }
      return TopicResult(
        name: name,
        error: KafkaError(
          code: KafkaError.Code(code),
          message: "Topic \"\(name)\" is \(failure): \(reason ?? String(cString: rd_kafka_err2str(code)))"))
    }
  }

  // MARK: Requests

  private func request<Answer>(
    _ attempt: String, _ timeoutMilliseconds: Int32, send: (OpaquePointer?, OpaquePointer?) -> Void,
    answer: (OpaquePointer) throws(KafkaError) -> Answer
  ) throws(KafkaError) -> Answer {
    let options = rd_kafka_AdminOptions_new(client, RD_KAFKA_ADMIN_OP_ANY)
    defer { rd_kafka_AdminOptions_destroy(options) }
    var reason = [CChar](repeating: 0, count: 512)
    let code = rd_kafka_AdminOptions_set_request_timeout(options, timeoutMilliseconds, &reason, reason.count)
    if code.isError { throw KafkaError(code: .invalidSetting, message: "\(attempt): \(string(reason))") }
    let queue = rd_kafka_queue_new(client)
    defer { rd_kafka_queue_destroy(queue) }
    send(options, queue)
    guard let event = rd_kafka_queue_poll(queue, timeoutMilliseconds.addingReportingOverflow(1_000).partialValue) else {
      throw KafkaError(code: .timedOut, message: "\(attempt): no answer in \(timeoutMilliseconds) ms")
    }
    defer { rd_kafka_event_destroy(event) }
    let failed = rd_kafka_event_error(event)
    if failed.isError {
      let said = rd_kafka_event_error_string(event).map { String(cString: $0) }
      throw KafkaError(
        code: KafkaError.Code(failed), message: "\(attempt): \(said ?? String(cString: rd_kafka_err2str(failed)))")
    }
    return try answer(event)
  }
}
