// Hot: `feature`, `label` and `turn` allocate nothing in the steady state.
internal import CKernels
public import Events
internal import Model

/// Joins one partition: matches feature events with labels by event id and decides, once and for all, what becomes an example.
/// Sans-IO: the shell reads the three logs where the joiner says, hands their records in, calls `turn` after each read, and appends the
/// batches that come out. Owned by one thread.
///
/// **Decisions** go out in batches, each chained to the one before (`ExamplesReaderState`), so any number of joiners
/// may work on a partition: one chain is accepted, the others are dropped as a whole. A joiner takes its own batches for granted
/// while they are in flight; when it sees in the log that another's was accepted instead, or does not see its own in time,
/// it forgets everything and starts over, after a random and growing wait.
///
/// **A start** needs no snapshot. The header of every batch names an accepted batch (`rebuildExamples`) after which all decisions stand
/// about what may still wait, and the first feature and label that may (`rebuildFeatures`, `rebuildLabels`). Any header at the end of
/// the log will do, also one of a dropped batch: its writer had seen the batch it names accepted. From there the rule is
/// replayed to the end, which gives the reader state and what was decided; then features and labels are read again up to
/// the accepted ends, and what was not decided waits again.
public final class Joiner {
  /// What a joiner is doing.
  public enum Phase: Sendable, Equatable {
    /// Waits for `start` with the ends of the logs; not before `startNanoseconds`.
    case idle
    /// Looks for the last batch in `examples`.
    case locating
    /// Replays accepted batches.
    case replaying
    /// Reads again what may still wait.
    case rebuildingFeatures
    case rebuildingLabels
    /// Joins.
    case live
  }

  /// The oldest offset and the one after the newest of each log, as the broker says.
  public struct Ends: Sendable, Equatable {
    public var examples: Range<Int64>
    public var features: Range<Int64>
    public var labels: Range<Int64>

    public init(examples: Range<Int64>, features: Range<Int64>, labels: Range<Int64>) {
      self.examples = examples
      self.features = features
      self.labels = labels
    }
  }

  /// Why a joiner cannot go on by itself. It stays idle and is started again later, in case an operator helps.
  public enum Failure: Error, Sendable, Equatable, CustomStringConvertible {
    /// Batches that are needed to know what was decided were trimmed away.
    case examplesTrimmed(needed: Int64, oldest: Int64)
    /// The record that a header names is no batch.
    case notABatch(offset: Int64)
    /// The topic ends before what accepted batches cover: it was truncated or created anew.
    case sourceEnds(topic: Source, at: Int64, covered: Int64)
    /// The last covered record is another than the one that was covered.
    case sourceReplaced(topic: Source, offset: Int64)

    public var description: String {
      switch self {
      case .examplesTrimmed(let needed, let oldest):
        "examples: offset \(needed) is needed to know what was decided, but the oldest record is \(oldest); keep examples longer than the join window, or start over with new topics"
      case .notABatch(let offset):
        "examples: the record at offset \(offset) should be an accepted batch and is not; the topic was replaced or written to by something else"
      case .sourceEnds(let topic, let end, let covered):
        "\(topic.rawValue): the topic ends at offset \(end), but examples cover it up to \(covered); it was truncated or created anew"
      case .sourceReplaced(let topic, let offset):
        "\(topic.rawValue): the record at offset \(offset) is not the one that examples were made from; the topic was created anew"
      }
    }
  }

  public enum Source: String, Sendable {
    case features, labels
  }

  /// Why a label goes to the dead letters.
  public enum LabelProblem: String, Sendable, CaseIterable {
    /// No event with its id came within the window.
    case withoutEvent = "label_without_event"
    /// Too many early labels waited.
    case waitingFull = "label_waiting_full"
    /// Its event had expired because too many events waited.
    case afterExpiry = "label_after_expiry"
  }

  /// A batch that came out. Its record is lent to `onBatch`.
  public struct Batch: Sendable, Equatable {
    public var header: ExampleBatchHeader
    /// Append it only after so many dead letters (of all that were handed out, see `Joiner.deadLetterCount`) are acknowledged or
    /// given up: a label must not count as covered while its dead letter can still be lost.
    public var deadLetterCount: Int
  }

  public let settings: JoinerSettings
  public internal(set) var phase = Phase.idle
  public internal(set) var counts = JoinerCounts()
  /// Where `examples` stands, as far as it was read.
  public internal(set) var accepted = ExamplesReaderState()
  /// Why the last start failed; nil after one that did not.
  public internal(set) var failure: Failure?
  /// When the next `start` may be, on the monotonic clock.
  public internal(set) var startNanoseconds: Int64 = 0
  /// Dead letters handed out since the joiner was made, with those that `badLabel` was told of.
  public internal(set) var deadLetterCount = 0

  /// Where to read next, when that is not simply the next record. The shell seeks and sets them nil; until then, records and ends of that
  /// topic are not taken.
  public var seekExamples: Int64?
  public var seekFeatures: Int64?
  public var seekLabels: Int64?

  /// Takes each batch as it is sealed, in order; the bytes are borrowed.
  public var onBatch: (Batch, UnsafeRawBufferPointer) -> Void = { _, _ in }
  /// Takes the labels that no example can be made from; the record is borrowed.
  public var onDeadLetter: (_ labelOffset: Int64, LabelProblem, EventForm, _ record: UnsafeRawBufferPointer) -> Void = { _, _, _, _ in }

  let table: JoinerTable
  let writer = ExampleWriter()
  let reader = ExampleReader()
  var watermark: JoinerWatermark
  var now: Int64 = 0
  let granule: Int64
  private var random: JoinerRandom
  let instance: UInt64
  var batchNumber: UInt64 = 0

  /// Up to where records were taken.
  var nextFeature: Int64 = 0
  var nextLabel: Int64 = 0
  var featureCRC: UInt32 = 0
  var labelCRC: UInt32 = 0

  /// Up to where batches were sealed.
  var sealedFeatures: Int64 = 0
  var sealedLabels: Int64 = 0
  var sealedBatch: UInt64 = 0
  var sealedNanoseconds: Int64 = 0
  var inFlight = JoinerInFlight()
  /// Offset of the batch accepted last; -1: none.
  var acceptedOffset: Int64 = -1

  /// While starting.
  var ends = Ends(examples: 0..<0, features: 0..<0, labels: 0..<0)
  var probe: (from: Int64, step: Int64) = (0, 64)
  var anchor: Int64 = -1
  var last: ExampleBatchHeader?
  var history = JoinerHistory()
  /// The next label of those read again.
  var rebuildLabel: Int64 = 0

  var pausedFeatures = false
  var pausedLabels = false
  private var attempts = 0

  /// - Parameter seed: gives batches their identities and waits their jitter: random, another in each joiner of the world.
  public init(_ settings: JoinerSettings, seed: UInt64) {
    self.settings = settings
    random = JoinerRandom(seed: seed)
    instance = random.next()
    table = JoinerTable()
    watermark = JoinerWatermark(idleMilliseconds: settings.idleMilliseconds, ceiling: .max, nowNanoseconds: 0)
    granule = max(1, settings.join.windowMilliseconds / 2048)
  }

  // MARK: What the shell asks

  /// Whether features should be read now; otherwise pause them.
  public var readsFeatures: Bool {
    phase == .rebuildingFeatures || (phase == .live && !pausedFeatures && inFlight.count < settings.inFlightBatchesMax)
  }
  public var readsLabels: Bool {
    phase == .rebuildingLabels || (phase == .live && !pausedLabels && inFlight.count < settings.inFlightBatchesMax)
  }
  public var readsExamples: Bool { phase != .idle }

  public var waitingEvents: Int { table.waiting.count }
  public var waitingLabels: Int { table.labels.count }
  public var rememberedIDs: Int { table.count }
  public var inFlightBatches: Int { inFlight.count }
  /// Event time up to which windows are closed, in milliseconds; nil before the first.
  public var watermarkMilliseconds: Int64? { watermark.current }
  /// The next offsets that will be covered.
  public var positions: (features: Int64, labels: Int64) { (nextFeature, nextLabel) }
  /// Everything taken is covered by batches that were seen accepted.
  public var isSettled: Bool {
    phase == .live && inFlight.count == 0 && writer.count == 0 && sealedFeatures == nextFeature && sealedLabels == nextLabel
  }
  /// Both sources are read to their ends and quiet.
  public var isQuiet: Bool { phase == .live && watermark.isQuiet(now) }
  /// Bytes held for ids and payloads.
  public var storedBytes: Int { table.ids.chunkedBytes + table.payloads.chunkedBytes }

  // MARK: Starting over

  /// Forgets everything and waits: another's batch was accepted, or an own one is lost.
  func startOver(isFailure: Bool = false) {
    counts.restarts += 1
    phase = .idle
    seekExamples = nil
    seekFeatures = nil
    seekLabels = nil
    table.removeAll(closedTick: nil)
    writer.begin()
    inFlight.removeAll()
    history = JoinerHistory()
    pausedFeatures = false
    pausedLabels = false
    let doubled = settings.backoffMilliseconds << min(attempts, 12)
    let bound = max(1, min(isFailure ? settings.backoffMillisecondsMax : doubled, settings.backoffMillisecondsMax))
    attempts += 1
    startNanoseconds = now + (bound / 2 + Int64(random.next() % UInt64(bound / 2 + 1))) * 1_000_000
  }

  func fail(_ failure: Failure) {
    startOver(isFailure: true)
    self.failure = failure
  }

  /// An own batch was accepted: rivals, if any, have given way.
  func succeeded() { attempts = 0 }

  /// The shell could not start the joiner now: later.
  public func postpone(nowNanoseconds: Int64) {
    precondition(phase == .idle, "a joiner is postponed in phase \(phase)")
    now = max(now, nowNanoseconds)
    startOver()
  }

  /// The shell lost its place (its producer or consumer failed): starts over.
  public func interrupt(nowNanoseconds: Int64) {
    now = max(now, nowNanoseconds)
    if phase != .idle { startOver() }
  }

  // MARK: Time

  /// The tick at which the window of `time` is closed.
  @inline(__always)
  func tick(_ time: Int64) -> Int64 {
    let (end, overflow) = time.addingReportingOverflow(settings.join.windowMilliseconds)
    if overflow { return .max }
    return end >= 0 ? end / granule + (end % granule == 0 ? 0 : 1) : end / granule
  }

  /// The last tick that has passed at `time`.
  @inline(__always)
  func tickPassed(_ time: Int64) -> Int64 {
    time >= 0 ? time / granule : (time / granule) - (time % granule == 0 ? 0 : 1)
  }
}

/// SplitMix64: identities and jitter.
struct JoinerRandom {
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

/// Batches that are on their way, oldest first.
struct JoinerInFlight {
  private var items: [(batch: UInt64, nanoseconds: Int64)] = []
  private var head = 0

  var count: Int { items.count - head }
  var first: (batch: UInt64, nanoseconds: Int64)? { count > 0 ? items[head] : nil }

  mutating func append(_ batch: UInt64, nanoseconds: Int64) { items.append((batch, nanoseconds)) }

  mutating func removeFirst() {
    head += 1
    if head == items.count {
      items.removeAll(keepingCapacity: true)
      head = 0
    } else if head > 1024 {
      items.removeFirst(head)
      head = 0
    }
  }

  func contains(_ batch: UInt64) -> Bool { items[head...].contains { $0.batch == batch } }

  mutating func removeAll() {
    items.removeAll(keepingCapacity: true)
    head = 0
  }
}
