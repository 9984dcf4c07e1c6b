/// A topic: its partitions and settings. Owned by the broker's event loop.
final class Topic {
  let name: String
  let id: TopicID
  private(set) var configuration: TopicConfiguration
  private(set) var partitions: [Partition]

  init(name: String, id: TopicID, configuration: TopicConfiguration, partitions: [Partition]) {
    self.name = name
    self.id = id
    self.configuration = configuration
    self.partitions = partitions
  }

  func partition(_ index: Int32) -> Partition? {
    index >= 0 && Int(index) < partitions.count ? partitions[Int(index)] : nil
  }

  func configure(_ configuration: TopicConfiguration) {
    self.configuration = configuration
    for partition in partitions { partition.log.configuration = configuration }
  }

  func add(_ more: [Partition]) { partitions += more }
}

/// A partition: its log, and the fetches that wait for it to grow.
final class Partition {
  let log: PartitionLog
  /// Set when the topic is deleted; who still holds the partition answers "unknown topic".
  var isDeleted = false
  private(set) var waits: [FetchWait] = []

  init(log: PartitionLog) { self.log = log }

  func add(_ wait: FetchWait) { waits.append(wait) }

  func remove(_ wait: FetchWait) {
    guard let index = waits.firstIndex(where: { $0 === wait }) else { return }
    waits.swapAt(index, waits.count - 1)
    waits.removeLast()
  }
}
