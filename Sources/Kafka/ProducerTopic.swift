internal import CKafka
internal import Synchronization

/// A topic that a producer has resolved: its partitions are known, so that the first record waits
/// for no metadata. Belongs to the producer that gave it.
public final class ProducerTopic: @unchecked Sendable {
  public let name: String
  // Changed only by `KafkaProducer.recreate`, which nobody may produce beside.
  var handle: OpaquePointer
  private let partitions: Atomic<Int>

  init(name: String, handle: OpaquePointer, partitionCount: Int) {
    self.name = name
    self.handle = handle
    partitions = Atomic(partitionCount)
  }

  /// As last seen (`KafkaProducer.refresh`).
  public var partitionCount: Int { partitions.load(ordering: .relaxed) }
  func setPartitionCount(_ count: Int) { partitions.store(count, ordering: .relaxed) }
}
