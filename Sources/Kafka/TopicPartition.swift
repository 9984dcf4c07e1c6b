/// A partition of a named topic.
public struct TopicPartition: Sendable, Hashable, CustomStringConvertible {
  public let topic: String
  public let partition: Int32

  public init(topic: String, partition: Int32) {
    self.topic = topic
    self.partition = partition
  }

  public var description: String { "\(topic)/\(partition)" }
}

/// Where reading starts.
public enum StartOffset: Sendable, Hashable {
  /// The oldest record still in the log.
  case beginning
  /// After the newest record.
  case end
  /// What the consumer's group committed last; without one the partition reports
  /// `ConsumerEvent.offsetOutOfRange` and waits to be told.
  case committed
  /// This offset is the next one read.
  case exact(Int64)

  /// librdkafka's number for it.
  var native: Int64 {
    switch self {
    case .beginning: -2
    case .end: -1
    case .committed: -1000
    case .exact(let offset): offset
    }
  }

  init(native: Int64) {
    switch native {
    case -2: self = .beginning
    case -1: self = .end
    case 0...: self = .exact(native)
    default: self = .committed
    }
  }
}

/// A partition and where to start reading it.
public struct TopicPartitionOffset: Sendable, Hashable, CustomStringConvertible {
  public let topic: String
  public let partition: Int32
  public let offset: StartOffset

  public init(topic: String, partition: Int32, offset: StartOffset) {
    self.topic = topic
    self.partition = partition
    self.offset = offset
  }

  public var topicPartition: TopicPartition { TopicPartition(topic: topic, partition: partition) }
  public var description: String { "\(topic)/\(partition)@\(offset)" }
}
