/// Where to find an offset or a time in a segment: one entry for about every `intervalBytes` of log.
struct SegmentIndex {
  static let intervalBytes = 16 * 1024

  struct Entry: Equatable {
    /// Base offset of the batch at `position`.
    let offset: Int64
    let position: Int
    /// The greatest timestamp of everything in the segment before `position`.
    let maxTimestampBefore: Int64
  }

  private(set) var entries: [Entry] = []
  private var nextEntryPosition = 0

  init() {}

  init(entries: [Entry]) {
    self.entries = entries
    self.nextEntryPosition = entries.last.map { $0.position + Self.intervalBytes } ?? 0
  }

  /// Notes a batch that was appended at `position`.
  mutating func append(offset: Int64, position: Int, maxTimestampBefore: Int64) {
    guard position >= nextEntryPosition else { return }
    entries.append(Entry(offset: offset, position: position, maxTimestampBefore: maxTimestampBefore))
    nextEntryPosition = position + Self.intervalBytes
  }

  /// Forgets entries at or after `position`.
  mutating func truncate(to position: Int) {
    while let last = entries.last, last.position >= position { entries.removeLast() }
    nextEntryPosition = entries.last.map { $0.position + Self.intervalBytes } ?? 0
  }

  /// A position from which a walk forward meets the batch that holds `offset`.
  func position(notAfterOffset offset: Int64) -> Int { last { $0.offset <= offset } }

  /// The last batch boundary that is known at or before `position`.
  func boundary(notAfterPosition position: Int) -> Int { last { $0.position <= position } }

  /// A position from which a walk forward meets the first batch with a timestamp of `timestamp` or later.
  func position(beforeTimestamp timestamp: Int64) -> Int { last { $0.maxTimestampBefore < timestamp } }

  /// The position of the last entry for which the (monotone) predicate holds; 0 when for none.
  private func last(where holds: (Entry) -> Bool) -> Int {
    var low = 0
    var high = entries.count
    while low < high {
      let middle = (low + high) / 2
      if holds(entries[middle]) { low = middle + 1 } else { high = middle }
    }
    return low == 0 ? 0 : entries[low - 1].position
  }
}
