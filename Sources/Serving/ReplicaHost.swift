internal import Glibc
public import Kafka
internal import Learning
public import Logging
public import Model
internal import Synchronization
public import Telemetry
public import UpdateLog

/// Holds the replicas of all shards of one model at the position that its policy allows, and trains them
/// if it is asked to.
///
/// One thread of its own with one Kafka consumer applies the records of the update log; the same thread
/// steps the trainer, so that the trainer reads exactly the rows that were applied. Everything public may
/// be called from any thread.
public final class ReplicaHost: @unchecked Sendable {
  public let specification: ModelSpecification
  public let settings: ReplicaHostSettings
  /// The replicas. The same object for the host's whole life, readable without locks while the host writes.
  public let set: ReplicaSet
  /// The greatest label time applied by the model's following arm.
  public let watermark: LabelWatermark
  public let metrics: ReplicaHostMetrics

  let kafka: KafkaSettings
  let logger: Logger
  let board: ReplicaHostProgress
  let checkpoints: CheckpointService?
  private let ready = Atomic<Bool>(false)
  private let answers = Atomic<Bool>(false)
  private let problemText = Mutex<String?>("not started")
  private var thread: OwnerThread?

  /// Loads the newest checkpoint, if there is one, before it returns; reads no log yet.
  ///
  /// - Parameters:
  ///   - watermark: shared by the hosts of one model, so that refreshing ones know the event time.
  /// - Throws: when the checkpoint directory cannot be used at all. A broken checkpoint is passed over
  ///   for the one before it, and said.
  public init(
    specification: ModelSpecification, settings: ReplicaHostSettings, kafka: KafkaSettings,
    watermark: LabelWatermark = LabelWatermark(), registry: Registry, logger: Logger
  ) throws {
    self.specification = specification
    self.settings = settings
    self.kafka = kafka
    self.watermark = watermark
    self.logger = logger
    metrics = ReplicaHostMetrics(registry, model: specification.identifier, arm: settings.arm, shards: specification.shards)
    board = ReplicaHostProgress(shards: specification.shards)
    if let directory = settings.checkpointDirectory {
      checkpoints = CheckpointService(
        directory: directory, specification: specification, settings: settings, kafka: kafka, metrics: metrics, logger: logger)
    } else {
      checkpoints = nil
    }
    set = try checkpoints?.restore() ?? ReplicaSet(specification: specification)
    // Restores later take it over: tables that are exchanged keep their serving form.
    if !set.serve(in: settings.servingPrecision) {
      logger.warning("no memory for weights in smaller numbers: answers read the rows", metadata: ["model": "\(specification.identifier)"])
    }
  }

  // MARK: Life

  /// Starts the host's thread; once.
  public func start() throws {
    let thread = OwnerThread(name: "replica-\(settings.arm)") { [self] thread in run(thread) }
    self.thread = thread
    try thread.start()
  }

  /// Stops reading and training, writes a last checkpoint if there is a directory, and waits for the
  /// thread's end. What was not appended is learned after the next start.
  public func stop() {
    thread?.requestStop()
    thread?.join()
    board.close()
  }

  /// Caught up with the end of the log as it was at start (or as far as the policy goes), and not stalled
  /// or broken since.
  public var isReady: Bool { ready.load(ordering: .acquiring) }

  /// Caught up once, and not restoring: what it answers is a state of the log, however old. A host that stood still for a moment, or
  /// lost Kafka, is not ready, and still answers; how old the answer may be is the request's to say (`max_staleness_ms`).
  public var canAnswer: Bool { answers.load(ordering: .acquiring) }

  /// Why the host is not ready; nil when it is.
  public var problem: String? { isReady ? nil : problemText.withLock { $0 } }

  // MARK: Progress

  /// How far every shard has come in one examples partition: the least of them. Nil before the first record.
  public func progress(_ partition: Int32) -> SourceProgress? { board.source(partition) }

  /// The next offset to apply of each shard.
  public var positions: [Int64] { board.shardPositions }

  /// Waits until the labels below `offset` of the labels partition have been applied on every shard.
  /// - Returns: false when the time passed, or the host was stopped, first.
  public func waitUntil(labelsPartition partition: Int32, offset: Int64, timeoutMilliseconds: Int) -> Bool {
    board.wait(deadlineNanoseconds: deadline(timeoutMilliseconds)) { sources, _, _ in
      (sources[partition]?.labelsTo ?? 0) >= offset
    }
  }

  /// The same for several labels partitions at once: `offsets[p]` for partition p.
  public func waitUntil(labelsOffsets offsets: [Int64], timeoutMilliseconds: Int) -> Bool {
    board.wait(deadlineNanoseconds: deadline(timeoutMilliseconds)) { sources, _, _ in
      for (partition, offset) in offsets.enumerated() where offset > 0 {
        if (sources[Int32(partition)]?.labelsTo ?? 0) < offset { return false }
      }
      return true
    }
  }

  /// Waits until every shard has applied the update log below `positions` (one for each shard), or stands
  /// where its policy holds it by the watermark of now.
  public func waitUntil(positions wanted: [Int64], timeoutMilliseconds: Int) -> Bool {
    let boundary = settings.policy.boundary(watermarkMilliseconds: watermark.milliseconds)
    return board.wait(deadlineNanoseconds: deadline(timeoutMilliseconds)) { _, positions, heldAt in
      for shard in positions.indices where shard < wanted.count && positions[shard] < wanted[shard] {
        if heldAt[shard] == .max || heldAt[shard] < boundary { return false }
      }
      return true
    }
  }

  private func deadline(_ timeoutMilliseconds: Int) -> Int64 {
    MonotonicClock.nanoseconds() + Int64(max(0, timeoutMilliseconds)) * 1_000_000
  }

  /// Asks for a checkpoint as soon as possible.
  /// - Returns: false when there is no checkpoint directory.
  @discardableResult
  public func requestCheckpoint() -> Bool {
    guard let checkpoints else { return false }
    checkpoints.request()
    return true
  }

  // MARK: The thread

  func setReady(_ isReady: Bool, because problem: String?) {
    problemText.withLock { $0 = problem }
    ready.store(isReady, ordering: .releasing)
    if isReady { answers.store(true, ordering: .releasing) }
    metrics.ready.set(isReady ? 1 : 0)
  }

  private func run(_ thread: OwnerThread) {
    var attempt = 0
    while !thread.isStopRequested {
      do {
        let session = try ReplicaHostSession(host: self) { thread.isStopRequested }
        thread.setWakeUp { session.wakeUp() }
        defer {
          thread.setWakeUp(nil)
          session.close()
        }
        try session.run { thread.isStopRequested } onCaughtUp: { attempt = 0 }
      } catch ReplicaHostError.stopped {
        break
      } catch {
        setReady(false, because: "\(error)")
        attempt += 1
        metrics.restarts.add()
        if let error = error as? ReplicaHostError, error.needsRestore { restore() }
        logger.error("replicas stop serving", metadata: ["model": "\(specification.identifier)", "arm": "\(settings.arm)", "reason": "\(error)"])
        pauseBeforeRetry(attempt, thread)
      }
    }
    setReady(false, because: "stopped")
  }

  /// The replicas are not what the log says, or cannot get there: back to the newest checkpoint, or to nothing. What
  /// follows is read from the log again; until then the host is not ready.
  private func restore() {
    answers.store(false, ordering: .releasing)
    do {
      let found = try checkpoints?.restore() ?? ReplicaSet(specification: specification)
      for (replica, restored) in zip(set.shards, found.shards) { replica.become(restored) }
      metrics.restores.add()
    } catch {
      logger.error("replicas are not restored", metadata: ["reason": "\(error)"])
    }
  }

  private func pauseBeforeRetry(_ attempt: Int, _ thread: OwnerThread) {
    let deadline = MonotonicClock.nanoseconds() + min(5_000, 100 << Int64(min(attempt, 6))) * 1_000_000
    while MonotonicClock.nanoseconds() < deadline, !thread.isStopRequested { usleep(10_000) }
  }
}
