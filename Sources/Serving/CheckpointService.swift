import Glibc
import Kafka
import Logging
import Model
import Synchronization
import Telemetry
import UpdateLog

/// Writes a host's checkpoints and trims the log behind them.
///
/// The host's thread copies rows in slices between records; a thread of the writer's own does the disk. When a
/// generation is whole and verified, records below the older of the two kept ones are deleted from the log, by a thread
/// that ends when it is done. Nothing here stops learning or serving: what fails is said, counted and tried again.
final class CheckpointService: @unchecked Sendable {
  let store: CheckpointStore
  private let writer: CheckpointWriter
  private let settings: ReplicaHostSettings
  private let kafka: KafkaSettings
  private let metrics: ReplicaHostMetrics
  private let logger: Logger
  private let requested = Atomic<Bool>(false)
  private let trimming = Atomic<Bool>(false)
  // The host's thread only.
  private var nextNanoseconds: Int64
  private var lastOffsets: [Int64] = []

  /// After a failure the next attempt waits so long: a full disk is rarely emptied within a second.
  static let retryNanoseconds: Int64 = 30_000_000_000

  init(
    directory: String, specification: ModelSpecification, settings: ReplicaHostSettings, kafka: KafkaSettings,
    metrics: ReplicaHostMetrics, logger: Logger
  ) {
    store = CheckpointStore(directory: directory, specification: specification)
    writer = CheckpointWriter(store)
    self.settings = settings
    self.kafka = kafka
    self.metrics = metrics
    self.logger = logger
    nextNanoseconds = MonotonicClock.nanoseconds() + Self.period(settings)
  }

  private static func period(_ settings: ReplicaHostSettings) -> Int64 {
    settings.checkpointEverySeconds.map { Int64(max(1, $0)) * 1_000_000_000 } ?? .max / 2
  }

  /// The newest checkpoint that is whole, as replicas; nil when there is none.
  func restore() throws -> ReplicaSet? {
    let found = try store.restore()
    for (number, error) in found.passedOver {
      logger.error("a checkpoint is passed over", metadata: ["generation": "\(number)", "reason": "\(error)"])
    }
    if let generation = found.generation {
      lastOffsets = generation.offsets
      logger.info("checkpoint restored", metadata: ["generation": "\(generation.number)", "offsets": "\(generation.offsets)"])
    }
    return found.set
  }

  /// Asks for a checkpoint; from any thread.
  func request() { requested.store(true, ordering: .releasing) }

  var isCapturing: Bool { writer.isCapturing }

  /// Between records, on the host's thread.
  func step(_ set: ReplicaSet, caughtUp: Bool, nowNanoseconds now: Int64) {
    switch writer.step() {
    case .idle:
      let wanted = requested.load(ordering: .acquiring)
      guard wanted || (caughtUp && now >= nextNanoseconds) else { return }
      requested.store(false, ordering: .releasing)
      nextNanoseconds = now + Self.period(settings)
      // A model that stands still needs no second copy.
      guard wanted || set.shards.map(\.nextOffset) != lastOffsets else { return }
      do throws(CheckpointError) {
        try writer.begin(set)
      } catch {
        failed(error, now)
      }
    case .capturing, .writing: break
    case .finished(let generation): finished(generation)
    case .failed(let error): failed(error, now)
    }
  }

  /// A last checkpoint at a clean stop. Waits for the disk.
  func finish(_ set: ReplicaSet) {
    do throws(CheckpointError) {
      if writer.isBusy { finished(try writer.finish()) }
      guard set.shards.map(\.nextOffset) != lastOffsets else { return }
      finished(try store.write(set))
    } catch {
      failed(error, MonotonicClock.nanoseconds())
    }
  }

  private func finished(_ generation: CheckpointGeneration) {
    lastOffsets = generation.offsets
    metrics.checkpoints.add()
    logger.info("checkpoint written", metadata: ["generation": "\(generation.number)", "offsets": "\(generation.offsets)"])
    if settings.trimsLog { trim() }
  }

  private func failed(_ error: CheckpointError, _ now: Int64) {
    metrics.checkpointsFailed.add()
    nextNanoseconds = min(nextNanoseconds, now + Self.retryNanoseconds)
    logger.error("no checkpoint was written; it is tried again", metadata: ["reason": "\(error)", "code": "\(error.reason)"])
  }

  /// Deletes records that no kept checkpoint needs. Reading two generations through and the broker's answer
  /// take their time, so not on the host's thread.
  private func trim() {
    guard trimming.compareExchange(expected: false, desired: true, ordering: .acquiringAndReleasing).exchanged else { return }
    let thread = OwnerThread(name: "trim-log") { [self] _ in
      defer { trimming.store(false, ordering: .releasing) }
      do {
        // The record in front of the older position stays: its checksum tells whether this is the same log.
        guard let offsets = try store.trimOffsets() else { return }
        let targets = offsets.enumerated().compactMap { shard, offset -> TopicPartitionOffset? in
          offset > 1
            ? TopicPartitionOffset(topic: settings.updatesTopic, partition: Int32(shard), offset: .exact(offset - 1)) : nil
        }
        guard !targets.isEmpty else { return }
        let admin = try KafkaAdmin(kafka, logger: logger)
        try admin.deleteRecords(before: targets)
        logger.info("update log trimmed", metadata: ["topic": "\(settings.updatesTopic)", "before": "\(targets.map(\.offset))"])
      } catch {
        logger.warning("the update log was not trimmed; it is tried again after the next checkpoint", metadata: ["reason": "\(error)"])
      }
    }
    do { try thread.start() } catch {
      trimming.store(false, ordering: .releasing)
      logger.warning("the update log was not trimmed", metadata: ["reason": "\(error)"])
    }
  }
}
