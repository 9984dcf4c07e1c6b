import Logging

/// All topics, on disk and in memory. Owned by the broker's event loop.
///
/// `topics/<name>/topic` holds identity, partition count and settings; it is written last, so a topic exists when it does.
/// `topics/<name>/<partition>/` holds the log.
final class TopicCatalog {
  private let directory: String
  private let deletedDirectory: String
  private let settings: BrokerSettings
  private let logger: Logger
  private(set) var topics: [String: Topic] = [:]
  private(set) var namesByID: [TopicID: String] = [:]

  private static let magic: UInt32 = 0x4D52_5450

  /// What a topic is refused for.
  struct Refusal: Error {
    let code: ErrorCode
    let message: String
  }

  init(settings: BrokerSettings, logger: Logger) {
    self.settings = settings
    self.logger = logger
    directory = settings.dataDirectory + "/topics"
    deletedDirectory = settings.dataDirectory + "/deleted"
  }

  // MARK: Load

  /// Opens every topic, repairing logs.
  func load(now: Int64) throws {
    try LogFile.makeDirectory(directory)
    try LogFile.makeDirectory(deletedDirectory)
    for name in try LogFile.list(deletedDirectory) { try LogFile.removeTree(deletedDirectory + "/" + name) }
    for name in try LogFile.list(directory) where Self.nameProblem(name) == nil { try load(name, now: now) }
  }

  private func load(_ name: String, now: Int64) throws {
    let path = directory + "/" + name
    guard LogFile.exists(path + "/topic") else {
      logger.warning("removing a topic that was never completely created", metadata: ["topic": "\(name)"])
      return try LogFile.removeTree(path)
    }
    guard let payload = ChecksummedFile.read(path + "/topic", magic: Self.magic) else {
      throw EmbeddedBrokerError(
        "\(path)/topic is damaged: restore it or move \(path) away; the partitions beside it are untouched")
    }
    let (id, count, overrides) = try payload.withUnsafeBytes { bytes in
      var reader = WireReader(bytes)
      let id = try reader.uuid("id")
      let count = try reader.int32("partitions")
      var overrides: [String: String] = [:]
      for _ in 0..<(try reader.arrayCount("settings", elementBytesMin: 4)) {
        let name = try reader.string("name")
        overrides[name] = try reader.string("value")
      }
      return (id, count, overrides)
    }
    let configuration: TopicConfiguration
    do {
      configuration = try TopicConfiguration(overrides: overrides, defaults: settings)
    } catch let problem {
      throw EmbeddedBrokerError("\(path)/topic: \(problem.message)")
    }
    var partitions: [Partition] = []
    for index in 0..<max(0, count) { partitions.append(try partition(name, index, configuration, now: now)) }
    insert(Topic(name: name, id: id, configuration: configuration, partitions: partitions))
  }

  private func partition(_ name: String, _ index: Int32, _ configuration: TopicConfiguration, now: Int64) throws(StorageError)
    -> Partition
  {
    Partition(
      log: try PartitionLog(
        directory: "\(directory)/\(name)/\(index)", name: "\(name)-\(index)", configuration: configuration, now: now, logger: logger))
  }

  private func insert(_ topic: Topic) {
    topics[topic.name] = topic
    namesByID[topic.id] = topic.name
  }

  func topic(id: TopicID) -> Topic? { namesByID[id].flatMap { topics[$0] } }

  // MARK: Create and delete

  /// What is wrong with a topic's name; nil when it is fine. Kafka's rule, which also makes it a safe directory name.
  static func nameProblem(_ name: String) -> String? {
    if name.isEmpty || name.utf8.count > 249 { return "a topic name has 1 to 249 characters" }
    if name == "." || name == ".." { return "'\(name)' is not a topic name" }
    let allowed = name.utf8.allSatisfy {
      ($0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "z")) || ($0 >= UInt8(ascii: "A") && $0 <= UInt8(ascii: "Z"))
        || ($0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9")) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "_")
        || $0 == UInt8(ascii: "-")
    }
    return allowed ? nil : "a topic name consists of letters, digits, '.', '_' and '-'"
  }

  /// Checks what `create` would do.
  func check(_ name: String, partitions: Int32, overrides: [String: String]) throws(Refusal) -> TopicConfiguration {
    if let problem = Self.nameProblem(name) { throw Refusal(code: .invalidTopic, message: problem) }
    if topics[name] != nil { throw Refusal(code: .topicAlreadyExists, message: "topic '\(name)' exists") }
    if partitions < 1 || Int(partitions) > settings.partitionsPerTopicMax {
      throw Refusal(
        code: .invalidPartitions, message: "\(partitions) partitions: this broker takes 1 to \(settings.partitionsPerTopicMax)")
    }
    if topics.count >= settings.topicsMax {
      throw Refusal(code: .policyViolation, message: "this broker holds at most \(settings.topicsMax) topics")
    }
    return try configuration(overrides)
  }

  func configuration(_ overrides: [String: String]) throws(Refusal) -> TopicConfiguration {
    do {
      return try TopicConfiguration(overrides: overrides, defaults: settings)
    } catch {
      throw Refusal(code: .invalidConfig, message: error.message)
    }
  }

  @discardableResult
  func create(_ name: String, partitions count: Int32, overrides: [String: String], now: Int64) throws(Refusal) -> Topic {
    let configuration = try check(name, partitions: count, overrides: overrides)
    let path = directory + "/" + name
    do throws(StorageError) {
      if LogFile.exists(path) { try LogFile.removeTree(path) }
      try LogFile.makeDirectory(path)
      var partitions: [Partition] = []
      for index in 0..<count { partitions.append(try partition(name, index, configuration, now: now)) }
      let topic = Topic(name: name, id: .random(), configuration: configuration, partitions: partitions)
      try save(topic)
      insert(topic)
      logger.info("created topic", metadata: ["topic": "\(name)", "partitions": "\(count)"])
      return topic
    } catch {
      try? LogFile.removeTree(path)
      logger.error("could not create topic", metadata: ["topic": "\(name)", "error": "\(error)"])
      throw Refusal(code: .storageError, message: "\(error)")
    }
  }

  private func save(_ topic: Topic) throws(StorageError) {
    try save(topic, count: topic.partitions.count, configuration: topic.configuration)
  }

  private func save(_ topic: Topic, count: Int, configuration: TopicConfiguration) throws(StorageError) {
    try ChecksummedFile.write("\(directory)/\(topic.name)/topic", magic: Self.magic) { writer in
      writer.uuid(topic.id)
      writer.int32(Int32(count))
      writer.array(configuration.overrides.sorted { $0.key < $1.key }) { writer, element in
        writer.string(element.key)
        writer.string(element.value)
      }
    }
  }

  func configure(_ topic: Topic, _ configuration: TopicConfiguration) throws(Refusal) {
    do throws(StorageError) {
      try save(topic, count: topic.partitions.count, configuration: configuration)
    } catch {
      throw Refusal(code: .storageError, message: "\(error)")
    }
    topic.configure(configuration)
  }

  /// Raises the partition count. Existing records stay where they are.
  func grow(_ topic: Topic, to count: Int32, now: Int64) throws(Refusal) {
    do throws(StorageError) {
      var more: [Partition] = []
      for index in Int32(topic.partitions.count)..<count {
        more.append(try partition(topic.name, index, topic.configuration, now: now))
      }
      try save(topic, count: Int(count), configuration: topic.configuration)
      topic.add(more)
    } catch {
      throw Refusal(code: .storageError, message: "\(error)")
    }
  }

  /// Removes a topic. It is gone at once; its files follow.
  func delete(_ topic: Topic) throws(Refusal) {
    let grave = deletedDirectory + "/\(topic.name).\(topic.id.high).\(topic.id.low)"
    do throws(StorageError) {
      try LogFile.rename(directory + "/" + topic.name, grave)
    } catch {
      throw Refusal(code: .storageError, message: "\(error)")
    }
    topics[topic.name] = nil
    namesByID[topic.id] = nil
    for partition in topic.partitions { partition.isDeleted = true }
    do throws(StorageError) {
      try LogFile.removeTree(grave)
    } catch {
      logger.warning("could not remove a deleted topic's files yet", metadata: ["topic": "\(topic.name)", "error": "\(error)"])
    }
    logger.info("deleted topic", metadata: ["topic": "\(topic.name)"])
  }

  // MARK: Upkeep

  func applyRetention(now: Int64) {
    for topic in topics.values {
      for partition in topic.partitions {
        do throws(StorageError) {
          try partition.log.applyRetention(now: now)
        } catch {
          logger.warning("retention failed", metadata: ["partition": "\(partition.log.name)", "error": "\(error)"])
        }
      }
    }
  }

  func synchronize() {
    for topic in topics.values {
      for partition in topic.partitions where partition.log.isDirty {
        do throws(StorageError) {
          try partition.log.synchronize()
        } catch {
          logger.error("flush failed", metadata: ["partition": "\(partition.log.name)", "error": "\(error)"])
        }
      }
    }
  }

  func close() {
    for topic in topics.values { for partition in topic.partitions { partition.log.close() } }
  }
}
