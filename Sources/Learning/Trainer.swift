// Hot: no allocation, existential, String, await or Foundation per example in the steady state.
import Events
public import Model
public import UpdateLog

/// Learns one model: reads examples, computes gradients at the weights that the local replica will
/// have once everything in flight is applied, and asks for update records to be appended.
///
/// Pure: records, outcomes and times go in, actions come out; it does no IO and reads no clock. Safety
/// rests on the acceptance rule of the log alone: whatever the trainer does wrong or late is dropped
/// there. What the trainer owes is that a record's rows are exactly the contributions of its range.
///
/// The shell, on one thread:
/// 1. brings the replicas to the end of the log seen at start, then calls `assign`;
/// 2. offers examples records by `take`, and on `.full` keeps them;
/// 3. calls `flush` when it has no more for now, and performs `nextAction()` until it is nil, before
///    every other call;
/// 4. after the replica has applied, dropped or skipped an update record, calls `observe`;
/// 5. calls `tick` at `deadlineNanoseconds` at the latest.
public final class Trainer {
  public let specification: ModelSpecification
  public let settings: TrainerSettings
  public internal(set) var counters = TrainerCounters()

  // What follows is internal to the trainer's extensions; nothing here is shared between threads.
  let set: ReplicaSet
  let shards: [ShardReplica]
  let shardCount: Int
  let specificationHash: UInt64
  let loss: Loss?
  /// Identifies this trainer in records; the low 16 bits count resyncs, so that records from before a
  /// resync are told from those after it.
  let identity: UInt64
  var incarnation: UInt16 = 0
  var random: SplitMix64
  var mutation: TrainerMutation = []

  var sources: [TrainerSource] = []
  /// The source of the batch being built; -1: none is.
  var openSource = -1
  var openExamples = 0
  var validation = ValidationSample()
  /// Rows ahead of the replica by what is in flight, and the sums of the batch being built.
  let speculation: SpeculativeRows
  /// For each shard: whether the record in hand contributes to it.
  let contributing: UnsafeMutablePointer<UInt8>

  /// The sequence number of the batch being built, or next to be.
  var sequence: Int64 = 1
  /// Own records on their way, for each shard in the order they were handed out.
  var inFlight: [TrainerRing<InFlight>]
  var batches = TrainerRing<Batch>()
  var inFlightExamples = 0
  /// Examples in accepted records, whoever sent them.
  var learnedExamples = 0

  var emission = Emission()
  var seeks: [(partition: Int32, offset: Int64)] = []
  let writer = UpdateRecordWriter()
  let rows = RowBatch()
  let decoder: EventDecoder
  let reader = ExampleReader()

  /// One own record on its way.
  struct InFlight {
    var sequence: Int64
    var source: Int32
    var resolved: Bool
    var from: Int64
    var trainer: UInt64
    var deadlineNanoseconds: Int64
  }

  /// The records of one batch: one for each shard that it touches or covers.
  struct Batch {
    var outstanding: Int32
    var examples: Int32
  }

  /// What remains to be handed out by `nextAction`.
  struct Emission {
    var active = false
    /// Cover every shard, touched or not.
    var drained = false
    /// The source being covered, and the next of its shards.
    var source = -1
    var shard = 0
    var records: Int32 = 0
    /// The other sources are covered too.
    var all = false
  }

  /// - Parameters:
  ///   - set: the replicas that the shell applies the log to, on the thread that calls this trainer.
  ///   - seed: of the trainer's identity and of its back-off. Two trainers must not share one.
  public init(specification: ModelSpecification, set: ReplicaSet, settings: TrainerSettings? = nil, seed: UInt64) {
    self.specification = specification
    self.settings = settings ?? TrainerSettings(specification.learning)
    self.set = set
    shards = set.shards
    shardCount = set.shards.count
    specificationHash = specification.hash
    loss = specification.loss
    random = SplitMix64(seed: seed)
    identity = random.next() & ~0xFFFF
    speculation = SpeculativeRows(specification: specification, set: set)
    contributing = .allocate(capacity: max(1, set.shards.count))
    contributing.initialize(repeating: 1, count: max(1, set.shards.count))
    inFlight = set.shards.map { _ in TrainerRing<InFlight>() }
    decoder = EventDecoder(specification: specification)
    // What the model knows already is not forgotten by a restart of its trainer.
    for partition in set.shards.first?.acceptance.progress.keys.map({ $0 }) ?? [] {
      learnedExamples &+= Int(clamping: set.shards[home(of: partition)].acceptance.progress(of: partition).offset)
    }
  }

  deinit {
    contributing.deallocate()
    for ring in inFlight { ring.deallocate() }
    batches.deallocate()
  }

  /// Starts on an examples partition from where the replicas stand: they must have reached the end of the
  /// log as it was when the partition was given.
  public func assign(partition: Int32, nowNanoseconds: Int64) {
    let source: Int
    if let known = index(of: partition) {
      guard sources[known].phase == .idle else { return }
      source = known
    } else {
      source = sources.count
      sources.append(TrainerSource(partition: partition, shards: shardCount))
    }
    sources[source].attempt = 0
    sources[source].phase = .backingOff(untilNanoseconds: nowNanoseconds)
  }

  /// Stops on a partition: what is in flight may still be applied, and counts if it is.
  public func revoke(partition: Int32) {
    guard let source = index(of: partition), sources[source].phase != .idle else { return }
    abandon(source)
    sources[source].phase = .idle
  }

  /// Examples handed out in records that the replica has not decided about.
  public var examplesInFlight: Int { inFlightExamples }

  /// How many examples may be in flight now: fewer while the model is cold, when each step is large.
  public var inFlightExamplesLimit: Int {
    min(settings.inFlightExamplesMax, settings.inFlightExamplesColdMax &+ learnedExamples / settings.coldExamplesPerStep)
  }

  /// Whether the partition is being read, and from where.
  public func position(of partition: Int32) -> Int64? {
    guard let source = index(of: partition), sources[source].phase == .reading else { return nil }
    return sources[source].position
  }

  @inline(__always)
  func index(of partition: Int32) -> Int? {
    for source in sources.indices where sources[source].partition == partition { return source }
    return nil
  }

  @inline(__always)
  func home(of partition: Int32) -> Int { ValidationSample.homeShard(ofSourcePartition: partition, shards: shardCount) }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same on every machine for a seed.
struct SplitMix64: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
