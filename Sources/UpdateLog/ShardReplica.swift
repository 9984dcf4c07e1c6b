// Hot: no allocation, existential, String or await per record in the steady state.
internal import CKernels
internal import Glibc
public import Kernels
public import Model

/// One shard's state, which is what comes out of applying the records of its partition in order: the same offset means the same
/// bits on every replica.
///
/// One thread owns it and applies; any number of threads read rows through `ScoreReader`, and the properties marked "any
/// thread", without locks.
public final class ShardReplica: @unchecked Sendable {
  /// Offsets whose state hash is remembered, to hold records against.
  static let recentMax = 4096

  public let shard: Int
  public let shardCount: Int
  public let specHash: UInt64
  public let family: ModelSpecification.Family
  let table: RowTable
  let published: OpaquePointer
  /// The optimizer of the linear family.
  public let ftrl: FTRL
  private let gradientBound: Double

  /// Where the shard stands in each source, epoch, freeze. Owner thread.
  @exclusivity(unchecked) public internal(set) var acceptance: Acceptance
  /// The next offset to apply. Owner thread; `publishedOffset` is for others.
  @exclusivity(unchecked) public internal(set) var nextOffset: Int64 = 0
  /// Owner thread.
  @exclusivity(unchecked) public internal(set) var counts = ReplicaCounts()
  /// Progressive validation of the source partitions that are at home in this shard: all, and lately. Owner thread.
  @exclusivity(unchecked) public internal(set) var validation = ValidationTotals()
  @exclusivity(unchecked) public internal(set) var validationWindow: ValidationWindow
  /// CRC-32C of all bytes of the record at `nextOffset - 1`; nil before the first. Owner thread.
  @exclusivity(unchecked) public internal(set) var lastRecordCRC: UInt32?
  /// The first disagreement that a record reported. Owner thread.
  @exclusivity(unchecked) public private(set) var divergence: Divergence?
  /// True after `ApplyOutcome.outOfMemory`: the replica applies nothing any more.
  @exclusivity(unchecked) public private(set) var isBroken = false
  @exclusivity(unchecked) var labelsThrough = Int64.min

  // State hashes at offsets passed lately, at index offset mod recentMax.
  private let recentOffsets: UnsafeMutablePointer<Int64>
  private let recentHashes: UnsafeMutablePointer<UInt64>
  // Columns of the record in hand, aligned.
  private var columns: UnsafeMutableRawPointer
  private var columnRows = 0

  public init(specification: ModelSpecification, shard: Int, rowsExpected: Int = 0) {
    precondition(shard >= 0 && shard < specification.shards, "shard \(shard) of \(specification.shards)")
    guard let table = RowTable(rowsExpected: rowsExpected), let published = mr_published_create() else {
      preconditionFailure("no memory for an empty shard")
    }
    guard case .ftrl(let alpha, let beta, let l1, let l2) = specification.learning.optimizer,
      let ftrl = FTRL(alpha: alpha, beta: beta, l1: l1, l2: l2)
    else { preconditionFailure("a specification that was not checked: \(specification.learning.optimizer)") }
    self.shard = shard
    shardCount = specification.shards
    specHash = specification.hash
    family = specification.family
    self.table = table
    self.published = published
    self.ftrl = ftrl
    gradientBound = specification.learning.gradientBound
    acceptance = Acceptance(specHash: specHash)
    validationWindow = ValidationWindow(examples: specification.learning.validationWindowExamples)
    recentOffsets = .allocate(capacity: Self.recentMax)
    recentOffsets.initialize(repeating: -1, count: Self.recentMax)
    recentHashes = .allocate(capacity: Self.recentMax)
    recentHashes.initialize(repeating: 0, count: Self.recentMax)
    columns = .allocate(byteCount: 64, alignment: 64)
    publish()
  }

  deinit {
    mr_published_destroy(published)
    recentOffsets.deallocate()
    recentHashes.deallocate()
    columns.deallocate()
  }

  // MARK: any thread

  /// The next offset to apply, as readers see it: whoever reads rows after reading this sees all records before it.
  public var publishedOffset: Int64 { mr_published_next_offset(published) }
  /// When the last record or beacon was applied, as told by `noteNews`; 0: none yet. Any thread.
  public var newsNanoseconds: Int64 { mr_published_news(published) }
  /// Owner thread, after applying: the monotonic time.
  public func noteNews(nanoseconds: Int64) { mr_published_set_news(published, nanoseconds) }
  public var publishedStateHash: UInt64 { mr_published_state_hash(published) }
  public var publishedEpoch: UInt32 { UInt32(truncatingIfNeeded: mr_published_epoch(published)) }
  /// The greatest label event time (milliseconds) of any accepted record: set before its rows change. `Int64.min`: none.
  public var labelsThroughMilliseconds: Int64 { mr_published_labels_through(published) }
  public var rowCount: Int { table.rows }
  public var bytes: Int { table.bytes }

  // MARK: owner thread

  /// The state hash: rows, progress, epoch and freeze. Equal on every replica at the same offset.
  public var stateHash: UInt64 {
    StateHash.shard(rows: table.stateHash, progress: acceptance.progressHash, epoch: acceptance.epoch, isFrozen: acceptance.isFrozen)
  }

  /// The state hash from all rows, at the cost of reading them all: equal to `stateHash`, or memory or code is broken.
  public func recomputedStateHash() -> UInt64 {
    StateHash.shard(rows: table.recomputedStateHash(), progress: acceptance.progressHash, epoch: acceptance.epoch, isFrozen: acceptance.isFrozen)
  }

  /// A row; zeros when it is not there, which is its initial value.
  public func row(_ id: UInt64) -> ReplicaRow { table.row(id).map { ReplicaRow($0) } ?? ReplicaRow(id: id) }

  /// Visits all rows, in an order of no meaning.
  public func forEachRow(_ body: (ReplicaRow) -> Void) { table.forEachRow { body(ReplicaRow($0)) } }

  /// Applies the record at `offset`. Offsets only rise; a gap between them (the log's own control records) is nothing.
  /// Never traps, whatever the bytes are.
  public func apply(_ record: UnsafeRawBufferPointer, offset: Int64) -> ApplyOutcome {
    guard offset >= nextOffset, offset < .max else { return .alreadyApplied }
    if isBroken { return .outOfMemory }
    let view: UpdateRecordView
    do {
      view = try UpdateRecordView.parse(record)
    } catch {
      counts.recordsInvalid &+= 1
      passed(offset, checksum: UpdateRecordView.checksum(record))
      return .invalid(error)
    }
    return apply(view, offset: offset)
  }

  /// The same for a record that is parsed already.
  public func apply(_ view: UpdateRecordView, offset: Int64) -> ApplyOutcome {
    guard offset >= nextOffset, offset < .max else { return .alreadyApplied }
    if isBroken { return .outOfMemory }
    compareBasis(view.header, recordOffset: offset)
    let outcome: ApplyOutcome
    if let reason = wrongFamily(view) {
      outcome = .dropped(reason)
    } else {
      switch acceptance.decide(view.header, view.control) {
      case .accept: outcome = take(view) ? .accepted(view.header.kind) : .outOfMemory
      case .drop(let reason): outcome = .dropped(reason)
      }
    }
    switch outcome {
    case .accepted: counts.recordsAccepted &+= 1
    case .dropped(let reason): counts.recordsDropped[Int(reason.rawValue)] &+= 1
    case .outOfMemory:
      isBroken = true
      return outcome
    case .invalid, .alreadyApplied: break
    }
    passed(offset, checksum: view.wholeChecksum)
    return outcome
  }

  /// Between records: goes on growing and frees what readers have left. Applying does its share of this by itself.
  public func work(slotsMax: Int = 4096) { table.work(slotsMax: slotsMax) }

  private func wrongFamily(_ view: UpdateRecordView) -> DropReason? {
    guard view.header.kind == .update, view.rowCount > 0 else { return nil }
    return view.hasCounts == (family == .count) ? nil : .wrongFamily
  }

  private func take(_ view: UpdateRecordView) -> Bool {
    let header = view.header
    switch header.kind {
    case .update: break
    case .freeze, .thaw:
      mr_published_set_epoch(published, UInt64(acceptance.epoch))
      return true
    case .spec, .skip, .beacon, .reset, .expire: return true
    }
    if header.eventTimeThroughMilliseconds > labelsThrough {
      labelsThrough = header.eventTimeThroughMilliseconds
      mr_published_set_labels_through(published, labelsThrough)
    }
    if let section = view.validationBytes {
      validation.add(section: section)
      validation.extend(from: header.eventTimeFromMilliseconds, through: header.eventTimeThroughMilliseconds)
      validationWindow.add(section: section, from: header.eventTimeFromMilliseconds, through: header.eventTimeThroughMilliseconds)
    }
    counts.examples &+= Int64(header.examples)
    let rows = view.rowCount
    guard rows > 0 else { return true }
    reserveColumns(rows)
    let ids = columns.assumingMemoryBound(to: UInt64.self)
    view.ids.copy(to: ids)
    let result: mr_apply_result
    if view.hasCounts {
      let sums = (columns + 8 * rows).assumingMemoryBound(to: Int64.self)
      view.counts.copy(to: sums)
      result = table.add(ids: ids, counts: sums, count: rows, touchedHours: touchedHours(header))
    } else {
      let gradients = (columns + 8 * rows).assumingMemoryBound(to: Float.self)
      let squares = (columns + 12 * rows).assumingMemoryBound(to: Float.self)
      view.gradientSums.copy(to: gradients)
      view.squareSums.copy(to: squares)
      // Somebody else's library may have changed the thread's environment since the last record.
      _ = FloatEnvironment.set()
      let bounds = Self.bounds(gradientBound: gradientBound, examples: header.examples)
      result = table.apply(
        ftrl, ids: ids, gradients: gradients, squares: squares, count: rows, gradientBound: bounds.gradient, squareBound: bounds.square,
        touchedHours: touchedHours(header))
    }
    counts.rowsApplied &+= Int64(rows)
    counts.valuesRefused &+= Int64(clamping: result.refused)
    return !result.out_of_memory
  }

  /// What the sums of a record over `examples` examples may reach: beyond it a value counts as zero. Writers clamp to it.
  public static func bounds(gradientBound: Double, examples: Int32) -> (gradient: Float, square: Float) {
    let bound = gradientBound * Double(max(1, examples))
    let square = gradientBound * gradientBound * Double(max(1, examples))
    let most = Double(Float.greatestFiniteMagnitude)
    return (Float(min(bound, most)), Float(min(square, most)))
  }

  private func touchedHours(_ header: UpdateHeader) -> UInt32 {
    UInt32(clamping: max(0, header.eventTimeThroughMilliseconds) / 3_600_000)
  }

  private func reserveColumns(_ rows: Int) {
    guard rows > columnRows else { return }
    columns.deallocate()
    columnRows = max(rows, columnRows * 2, 1024)
    columns = .allocate(byteCount: columnRows * UpdateRecordLayout.bytesPerRow, alignment: 64)
  }

  // MARK: position

  private func passed(_ offset: Int64, checksum: UInt32) {
    nextOffset = offset + 1
    lastRecordCRC = checksum
    publish()
  }

  func publish() {
    let hash = stateHash
    let at = Int(nextOffset % Int64(Self.recentMax))
    recentOffsets[at] = nextOffset
    recentHashes[at] = hash
    mr_published_set_applied(published, nextOffset, hash)
  }

  private func compareBasis(_ header: UpdateHeader, recordOffset: Int64) {
    guard header.basisOffset >= 0, header.specHash == specHash, divergence == nil else { return }
    let at = Int(header.basisOffset % Int64(Self.recentMax))
    guard recentOffsets[at] == header.basisOffset, recentHashes[at] != header.basisStateHash else { return }
    divergence = Divergence(
      recordOffset: recordOffset, trainer: header.trainer, basisOffset: header.basisOffset, theirs: header.basisStateHash, ours: recentHashes[at])
  }

  /// Takes another replica's state as its own, in place: a restore while readers hold this object. The other is of no use afterwards. Waits
  /// for readers that still look at the old rows (a batch's time).
  public func become(_ other: ShardReplica) {
    precondition(other.shard == shard && other.specHash == specHash, "a replica of another shard or specification")
    let epoch = mr_table_exchange(table.pointer, other.table.pointer)
    divergence = nil
    isBroken = false
    recentOffsets.update(repeating: -1, count: Self.recentMax)
    adopt(
      acceptance: other.acceptance, nextOffset: other.nextOffset, counts: other.counts, validation: other.validation, window: other.validationWindow,
      labelsThrough: other.labelsThrough, lastRecordCRC: other.lastRecordCRC)
    while !mr_reader_quiescent(epoch) { sched_yield() }
  }

  /// For restoring: everything but the rows, which the table has.
  func adopt(
    acceptance: Acceptance, nextOffset: Int64, counts: ReplicaCounts, validation: ValidationTotals, window: ValidationWindow,
    labelsThrough: Int64, lastRecordCRC: UInt32?
  ) {
    self.acceptance = acceptance
    self.nextOffset = nextOffset
    self.counts = counts
    self.validation = validation
    validationWindow = window
    self.labelsThrough = labelsThrough
    self.lastRecordCRC = lastRecordCRC
    mr_published_set_labels_through(published, labelsThrough)
    mr_published_set_epoch(published, UInt64(acceptance.epoch))
    publish()
  }
}
