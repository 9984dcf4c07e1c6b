// Hot: a call with a deadline enters and leaves once.

/// The calls of one loop that have a deadline, the earliest first: a binary heap whose entries know where they stand, so that a call
/// that was answered leaves at once and the heap holds only calls in flight.
final class DeadlineHeap {
  private var entries: UnsafeMutablePointer<UnsafeMutablePointer<CallSlot>>
  private(set) var count = 0
  private var capacity = 256

  init() { entries = .allocate(capacity: capacity) }

  deinit { entries.deallocate() }

  /// The call whose deadline is next; nil when none has one.
  var first: UnsafeMutablePointer<CallSlot>? { count > 0 ? entries[0] : nil }

  /// Enters a call by its `deadlineNanoseconds`. It must not be in the heap.
  func insert(_ slot: UnsafeMutablePointer<CallSlot>) {
    assert(slot.pointee.deadlineIndex < 0, "a call enters the heap once")
    if count == capacity { grow() }
    count &+= 1
    rise(slot, from: count &- 1)
  }

  /// Takes a call out. Does nothing when it is not in the heap.
  func remove(_ slot: UnsafeMutablePointer<CallSlot>) {
    let index = Int(slot.pointee.deadlineIndex)
    guard index >= 0 else { return }
    slot.pointee.deadlineIndex = -1
    count &-= 1
    guard index < count else { return }
    let last = entries[count]
    if index > 0, last.pointee.deadlineNanoseconds < entries[(index - 1) / 2].pointee.deadlineNanoseconds {
      rise(last, from: index)
    } else {
      sink(last, from: index)
    }
  }

  private func rise(_ slot: UnsafeMutablePointer<CallSlot>, from start: Int) {
    var index = start
    while index > 0 {
      let parent = (index &- 1) / 2
      guard slot.pointee.deadlineNanoseconds < entries[parent].pointee.deadlineNanoseconds else { break }
      place(entries[parent], at: index)
      index = parent
    }
    place(slot, at: index)
  }

  private func sink(_ slot: UnsafeMutablePointer<CallSlot>, from start: Int) {
    var index = start
    while true {
      var child = index &* 2 &+ 1
      guard child < count else { break }
      if child &+ 1 < count, entries[child &+ 1].pointee.deadlineNanoseconds < entries[child].pointee.deadlineNanoseconds { child &+= 1 }
      guard entries[child].pointee.deadlineNanoseconds < slot.pointee.deadlineNanoseconds else { break }
      place(entries[child], at: index)
      index = child
    }
    place(slot, at: index)
  }

  @inline(__always)
  private func place(_ slot: UnsafeMutablePointer<CallSlot>, at index: Int) {
    entries[index] = slot
    slot.pointee.deadlineIndex = Int32(truncatingIfNeeded: index)
  }

  private func grow() {
    let grown = UnsafeMutablePointer<UnsafeMutablePointer<CallSlot>>.allocate(capacity: capacity * 2)
    grown.update(from: entries, count: count)
    entries.deallocate()
    entries = grown
    capacity *= 2
  }
}
