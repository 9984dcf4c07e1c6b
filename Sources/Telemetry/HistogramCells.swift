import Synchronization

/// The counts behind a histogram: one atomic word for each bucket, and the sum of the values.
///
/// Hot: recording is two relaxed atomic additions; it is wait-free and allocates nothing. Readers see
/// every record that happened before they began, and perhaps some that happen meanwhile.
final class HistogramCells: @unchecked Sendable {
  // Unchecked: the pointer is set once and every access through it is atomic.
  private let cells: UnsafeMutablePointer<Atomic<Int>>
  private let sum = Atomic<Int>(0)

  init() {
    cells = .allocate(capacity: LogLinearBuckets.count)
    for index in 0..<LogLinearBuckets.count { (cells + index).initialize(to: Atomic(0)) }
  }

  deinit {
    cells.deinitialize(count: LogLinearBuckets.count)
    cells.deallocate()
  }

  func record(_ value: Int64, count: Int) {
    guard count > 0 else { return }
    let clamped = min(max(value, 0), LogLinearBuckets.valueMax)
    cells[LogLinearBuckets.index(of: clamped)].wrappingAdd(count, ordering: .relaxed)
    sum.wrappingAdd(Int(clamped) &* count, ordering: .relaxed)
  }

  func count() -> Int {
    var total = 0
    for index in 0..<LogLinearBuckets.count { total &+= cells[index].load(ordering: .relaxed) }
    return total
  }

  func snapshot(valuesPerUnit: Double) -> HistogramSnapshot {
    // The sum first: a record between the two reads is then in the counts and not in the sum, and a
    // later difference of snapshots makes it whole again.
    let sum = self.sum.load(ordering: .relaxed)
    let counts = [Int](unsafeUninitializedCapacity: LogLinearBuckets.count) { buffer, initialized in
      for index in 0..<LogLinearBuckets.count {
        buffer.initializeElement(at: index, to: cells[index].load(ordering: .relaxed))
      }
      initialized = LogLinearBuckets.count
    }
    return HistogramSnapshot(counts: counts, rawSum: sum, valuesPerUnit: valuesPerUnit)
  }
}
