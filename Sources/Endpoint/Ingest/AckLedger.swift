// Hot: no allocation in the steady state; the tables grow to what was in flight at most and stay.

/// Who waits for what: streams, the requests of each in order, and the records of each request. Sans-IO; owned by one thread.
///
/// A record settles once: Kafka has it at an offset, or it was refused. A request is complete when it is sealed and all its records
/// have settled. `nextComplete` gives the first request of a stream when it is complete: so each request is answered once, and in
/// order. A stream that was closed is forgotten; its records may settle later, to nobody.
final class AckLedger {
  /// Names a stream, request or record while it is there; used again afterwards.
  typealias Index = UInt32
  static let none = Index.max

  /// Where a record is.
  enum State: UInt8 {
    /// Its delivery report is awaited.
    case sent
    /// It was refused; the delivery report of its dead letter is awaited.
    case refusing
    case delivered
    case refused
  }

  /// Why a record was not written.
  struct Refusal: Equatable {
    var problem: PublishProblem
    /// Trying again may help.
    var isRetryable: Bool
  }

  private struct Record: LedgerEntry {
    var offset: Int64 = -1
    var partition: Int32 = -1
    var request: Index = AckLedger.none
    var next: Index = AckLedger.none
    var state = State.sent
  }

  private struct Request: LedgerEntry {
    var sequence: UInt64 = 0
    var startNanoseconds: Int64 = 0
    /// `none`: its stream was closed.
    var stream: Index = AckLedger.none
    var first: Index = AckLedger.none
    var last: Index = AckLedger.none
    var next: Index = AckLedger.none
    var records: Int32 = 0
    var unsettled: Int32 = 0
    var bytes: Int = 0
    var isSealed = false

    var isComplete: Bool { isSealed && unsettled == 0 }
  }

  private struct Stream: LedgerEntry {
    var first: Index = AckLedger.none
    var last: Index = AckLedger.none
    var next: Index = AckLedger.none
    var records = 0
    var bytes = 0
  }

  @exclusivity(unchecked) private var records = LedgerTable<Record>()
  @exclusivity(unchecked) private var requests = LedgerTable<Request>()
  @exclusivity(unchecked) private var streams = LedgerTable<Stream>()
  /// Of records that were refused; few.
  @exclusivity(unchecked) private var refusals: [Index: Refusal] = [:]
  /// Records whose request has not been answered or forgotten.
  @exclusivity(unchecked) private(set) var recordCount = 0
  /// Reports of records that are not waiting: a bug of whoever reports, counted rather than trusted.
  @exclusivity(unchecked) private(set) var strayReports = 0

  init() {}

  deinit {
    records.deallocate()
    requests.deallocate()
    streams.deallocate()
  }

  var streamCount: Int { streams.inUse }
  var requestCount: Int { requests.inUse }

  // MARK: Streams

  func open() -> Index { streams.take(Stream()) }

  /// Records of the stream that are not answered yet.
  func records(of stream: Index) -> Int { streams[stream].pointee.records }
  /// Bytes of its requests that are not answered yet.
  func bytes(of stream: Index) -> Int { streams[stream].pointee.bytes }
  func isIdle(_ stream: Index) -> Bool { streams[stream].pointee.first == Self.none }

  /// Forgets the stream. What has not settled is forgotten when it does; a request that was not sealed counts as sealed.
  func close(_ stream: Index) {
    var request = streams[stream].pointee.first
    streams.giveBack(stream)
    while request != Self.none {
      let next = requests[request].pointee.next
      requests[request].pointee.stream = Self.none
      requests[request].pointee.next = Self.none
      requests[request].pointee.isSealed = true
      if requests[request].pointee.isComplete { free(request) }
      request = next
    }
  }

  // MARK: Requests

  /// A request begins, the last of its stream. `bytes`: what it counts for in `bytes(of:)`.
  func begin(_ stream: Index, sequence: UInt64, bytes: Int, nowNanoseconds: Int64) -> Index {
    let request = requests.take(Request(sequence: sequence, startNanoseconds: nowNanoseconds, stream: stream, bytes: bytes))
    if streams[stream].pointee.first == Self.none { streams[stream].pointee.first = request } else { requests[streams[stream].pointee.last].pointee.next = request }
    streams[stream].pointee.last = request
    streams[stream].pointee.bytes += bytes
    return request
  }

  /// The request's next record. It is under way until it settles.
  func add(to request: Index) -> Index {
    let record = records.take(Record(request: request))
    if requests[request].pointee.first == Self.none { requests[request].pointee.first = record } else { records[requests[request].pointee.last].pointee.next = record }
    requests[request].pointee.last = record
    requests[request].pointee.records += 1
    requests[request].pointee.unsettled += 1
    recordCount += 1
    let stream = requests[request].pointee.stream
    if stream != Self.none { streams[stream].pointee.records += 1 }
    return record
  }

  /// All its records were added.
  func seal(_ request: Index) { requests[request].pointee.isSealed = true }

  /// The stream's first request, when it is complete; else nil.
  func nextComplete(_ stream: Index) -> Index? {
    let request = streams[stream].pointee.first
    return request != Self.none && requests[request].pointee.isComplete ? request : nil
  }

  /// Forgets the stream's first request, which has been answered.
  func removeFirst(of stream: Index) {
    let request = streams[stream].pointee.first
    precondition(request != Self.none && requests[request].pointee.isComplete, "a request is answered when it is complete")
    streams[stream].pointee.first = requests[request].pointee.next
    if streams[stream].pointee.first == Self.none { streams[stream].pointee.last = Self.none }
    streams[stream].pointee.records -= Int(requests[request].pointee.records)
    streams[stream].pointee.bytes -= requests[request].pointee.bytes
    free(request)
  }

  func sequence(of request: Index) -> UInt64 { requests[request].pointee.sequence }
  func startNanoseconds(of request: Index) -> Int64 { requests[request].pointee.startNanoseconds }
  func recordCount(of request: Index) -> Int { Int(requests[request].pointee.records) }

  /// The request's records in order.
  @inline(__always)
  func forEachRecord(of request: Index, _ body: (_ record: Index, _ state: State, _ partition: Int32, _ offset: Int64) -> Void) {
    var record = requests[request].pointee.first
    while record != Self.none {
      let entry = records[record].pointee
      body(record, entry.state, entry.partition, entry.offset)
      record = entry.next
    }
  }

  func refusal(of record: Index) -> Refusal? { refusals[record] }

  // MARK: Records

  /// What settling a record meant.
  enum Settled: Equatable {
    /// Its stream is gone, or its request waits for more.
    case waiting
    /// The request is complete; it is of this stream, and need not be the first there.
    case complete(stream: Index)
  }

  /// Kafka confirmed the record, or the dead letter of a refused one.
  @discardableResult
  func confirm(_ record: Index, partition: Int32, offset: Int64) -> Settled {
    guard isUnderWay(record) else { return stray() }
    if records[record].pointee.state == .refusing {
      records[record].pointee.state = .refused
    } else {
      records[record].pointee.state = .delivered
      records[record].pointee.partition = partition
      records[record].pointee.offset = max(-1, offset)
    }
    return settle(record)
  }

  /// The record is refused; its dead letter is on the way, and is confirmed or given up.
  func refuse(_ record: Index, _ problem: PublishProblem) {
    records[record].pointee.state = .refusing
    refusals[record] = Refusal(problem: problem, isRetryable: false)
  }

  /// Kafka did not confirm the record, or the dead letter of a refused one (which stays refused for its own reason).
  @discardableResult
  func fail(_ record: Index, _ problem: PublishProblem, isRetryable: Bool) -> Settled {
    guard isUnderWay(record) else { return stray() }
    if records[record].pointee.state == .sent { refusals[record] = Refusal(problem: problem, isRetryable: isRetryable) }
    records[record].pointee.state = .refused
    return settle(record)
  }

  /// A delivery report of the record would be of a dead letter.
  func isRefused(_ record: Index) -> Bool { records.isInUse(record) && records[record].pointee.state == .refusing }

  private func isUnderWay(_ record: Index) -> Bool {
    records.isInUse(record) && (records[record].pointee.state == .sent || records[record].pointee.state == .refusing)
  }

  private func stray() -> Settled {
    strayReports += 1
    return .waiting
  }

  private func settle(_ record: Index) -> Settled {
    let request = records[record].pointee.request
    requests[request].pointee.unsettled -= 1
    guard requests[request].pointee.isComplete else { return .waiting }
    let stream = requests[request].pointee.stream
    guard stream != Self.none else {
      free(request)
      return .waiting
    }
    return .complete(stream: stream)
  }

  private func free(_ request: Index) {
    var record = requests[request].pointee.first
    while record != Self.none {
      let next = records[record].pointee.next
      if records[record].pointee.state == .refused { refusals[record] = nil }
      records.giveBack(record)
      record = next
    }
    recordCount -= Int(requests[request].pointee.records)
    requests.giveBack(request)
  }
}

/// What the ledger's tables hold: `next` also links what is free.
private protocol LedgerEntry: BitwiseCopyable {
  var next: AckLedger.Index { get set }
}

/// Entries by index, the free ones in a list. Grows by doubling.
private struct LedgerTable<Entry: LedgerEntry> {
  private var entries: UnsafeMutablePointer<Entry>
  private var isTaken: UnsafeMutablePointer<Bool>
  private var capacity = 16
  private var count = 0
  private var free = AckLedger.none
  private(set) var inUse = 0

  init() {
    entries = .allocate(capacity: capacity)
    isTaken = .allocate(capacity: capacity)
  }

  func deallocate() {
    entries.deallocate()
    isTaken.deallocate()
  }

  @inline(__always)
  subscript(index: AckLedger.Index) -> UnsafeMutablePointer<Entry> {
    assert(isInUse(index))
    return entries + Int(index)
  }

  @inline(__always)
  func isInUse(_ index: AckLedger.Index) -> Bool { Int(index) < count && isTaken[Int(index)] }

  mutating func take(_ entry: Entry) -> AckLedger.Index {
    inUse += 1
    if free != AckLedger.none {
      let index = free
      free = entries[Int(index)].next
      entries[Int(index)] = entry
      isTaken[Int(index)] = true
      return index
    }
    if count == capacity { grow() }
    entries[count] = entry
    isTaken[count] = true
    count += 1
    return AckLedger.Index(count - 1)
  }

  mutating func giveBack(_ index: AckLedger.Index) {
    precondition(isInUse(index), "entry \(index) given back twice")
    isTaken[Int(index)] = false
    entries[Int(index)].next = free
    free = index
    inUse -= 1
  }

  private mutating func grow() {
    let wanted = capacity * 2
    let grown = UnsafeMutablePointer<Entry>.allocate(capacity: wanted)
    grown.initialize(from: entries, count: count)
    entries.deallocate()
    entries = grown
    let marks = UnsafeMutablePointer<Bool>.allocate(capacity: wanted)
    marks.initialize(from: isTaken, count: count)
    isTaken.deallocate()
    isTaken = marks
    capacity = wanted
  }
}
