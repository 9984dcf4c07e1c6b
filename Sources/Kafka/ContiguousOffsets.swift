/// Which offsets of one partition are done, when they are done in any order: gives the end of the
/// contiguous prefix, which is all that may be committed.
///
/// Records begin in ascending order (offsets may have gaps) and are acknowledged in any order. A
/// ring of fixed size: `begin` says when too many are under way, which is the moment for
/// back-pressure. Allocates only when created.
public struct ContiguousOffsets: Sendable {
  private struct Entry {
    var from: Int64
    var to: Int64
    var isAcknowledged: Bool
  }

  /// So many may be under way at once.
  public let inFlightMax: Int
  private var ring: [Entry]
  private var first = 0
  private var count = 0

  /// The next offset that may be committed: everything below that was begun is acknowledged. nil
  /// until something is.
  public private(set) var committable: Int64?

  public init(inFlightMax: Int) {
    precondition(inFlightMax > 0, "inFlightMax \(inFlightMax)")
    self.inFlightMax = inFlightMax
    ring = Array(repeating: Entry(from: 0, to: 0, isAcknowledged: false), count: inFlightMax)
  }

  public var inFlightCount: Int { count }
  public var isFull: Bool { count == inFlightMax }

  /// The record at `offset` is under way. false: too many are, and it is not noted.
  @discardableResult
  public mutating func begin(_ offset: Int64) -> Bool { begin(from: offset, to: offset + 1) }

  /// The records in `[from, to)` are under way and will be acknowledged together.
  @discardableResult
  public mutating func begin(from: Int64, to: Int64) -> Bool {
    precondition(from < to, "range [\(from), \(to))")
    if count > 0 {
      let last = ring[slot(count - 1)]
      precondition(from >= last.to, "offset \(from) begins after \(last.to) began")
    }
    guard count < inFlightMax else { return false }
    ring[slot(count)] = Entry(from: from, to: to, isAcknowledged: false)
    count += 1
    return true
  }

  /// The record (or the range that begins) at `offset` is done. false: it is not under way, as
  /// after `removeAll`, or was acknowledged before.
  @discardableResult
  public mutating func acknowledge(_ offset: Int64) -> Bool {
    guard let index = index(of: offset), !ring[slot(index)].isAcknowledged else { return false }
    ring[slot(index)].isAcknowledged = true
    while count > 0 && ring[first].isAcknowledged {
      committable = ring[first].to
      first = first + 1 == inFlightMax ? 0 : first + 1
      count -= 1
    }
    return true
  }

  /// Forgets everything, as when the partition is taken away or sought.
  public mutating func removeAll() {
    first = 0
    count = 0
    committable = nil
  }

  private func slot(_ index: Int) -> Int {
    let slot = first + index
    return slot >= inFlightMax ? slot - inFlightMax : slot
  }

  /// Where offsets have no gaps the place is known; else by halving.
  private func index(of offset: Int64) -> Int? {
    guard count > 0 else { return nil }
    let guess = offset &- ring[first].from
    if guess >= 0 && guess < Int64(count) && ring[slot(Int(guess))].from == offset { return Int(guess) }
    var low = 0
    var high = count
    while low < high {
      let middle = (low + high) / 2
      if ring[slot(middle)].from < offset { low = middle + 1 } else { high = middle }
    }
    return low < count && ring[slot(low)].from == offset ? low : nil
  }
}
