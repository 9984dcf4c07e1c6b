// Hot: every call with a deadline is put in and taken out once. No allocation but when the table of calls grows.

/// When calls' deadlines pass: a hashed timing wheel (Varghese and Lauck, 1987, scheme 6) over small numbers (slots). Put in and take out
/// are a few stores; looking for the next deadline walks the wheel and is rare. Ticks are 2^20 ns; no deadline comes early, and
/// none later than one tick and the timer that asks.
final class DeadlineWheel {
  private static let tickShift: Int64 = 20
  private static let buckets = 1024
  private static let none: Int32 = -1

  private struct Entry {
    var next: Int32
    var previous: Int32
    /// The tick at which it is due; -1 when it is in no list.
    var tick: Int64
  }

  private let heads: UnsafeMutablePointer<Int32>
  @exclusivity(unchecked) private var entries: UnsafeMutablePointer<Entry>
  @exclusivity(unchecked) private var capacity: Int
  /// Every entry due before this tick has been handed out.
  @exclusivity(unchecked) private var current: Int64
  @exclusivity(unchecked) private(set) var count = 0

  init(capacity: Int, now: Int64) {
    heads = .allocate(capacity: Self.buckets)
    heads.initialize(repeating: Self.none, count: Self.buckets)
    self.capacity = max(1, capacity)
    entries = .allocate(capacity: self.capacity)
    entries.initialize(repeating: Entry(next: Self.none, previous: Self.none, tick: -1), count: self.capacity)
    current = now >> Self.tickShift
  }

  deinit {
    heads.deallocate()
    entries.deallocate()
  }

  /// Room for slots `0 ..< capacity`.
  func reserve(_ capacity: Int) {
    guard capacity > self.capacity else { return }
    let grown = UnsafeMutablePointer<Entry>.allocate(capacity: capacity)
    grown.moveInitialize(from: entries, count: self.capacity)
    (grown + self.capacity).initialize(
      repeating: Entry(next: Self.none, previous: Self.none, tick: -1), count: capacity - self.capacity)
    entries.deallocate()
    entries = grown
    self.capacity = capacity
  }

  /// The slot must be in no list. `deadline`: nanoseconds of the monotonic clock, below `Int64.max`.
  @inline(__always)
  func insert(_ slot: Int32, deadline: Int64) {
    let tick = max((deadline >> Self.tickShift) &+ 1, current)
    let bucket = Int(tick & Int64(Self.buckets - 1))
    let head = heads[bucket]
    entries[Int(slot)] = Entry(next: head, previous: Self.none, tick: tick)
    if head >= 0 { entries[Int(head)].previous = slot }
    heads[bucket] = slot
    count &+= 1
  }

  /// Does nothing for a slot that is in no list.
  @inline(__always)
  func remove(_ slot: Int32) {
    let entry = entries[Int(slot)]
    guard entry.tick >= 0 else { return }
    if entry.previous >= 0 {
      entries[Int(entry.previous)].next = entry.next
    } else {
      heads[Int(entry.tick & Int64(Self.buckets - 1))] = entry.next
    }
    if entry.next >= 0 { entries[Int(entry.next)].previous = entry.previous }
    entries[Int(slot)].tick = -1
    count &-= 1
  }

  /// Takes out one slot whose deadline has passed; -1 when there is none (left).
  func popExpired(now: Int64) -> Int32 {
    let tick = now >> Self.tickShift
    // After a long pause one turn of the wheel sees everything.
    if tick &- current >= Int64(Self.buckets) { current = tick &- Int64(Self.buckets) &+ 1 }
    while current <= tick {
      if count == 0 {
        current = tick
        return Self.none
      }
      var slot = heads[Int(current & Int64(Self.buckets - 1))]
      while slot >= 0 {
        let entry = entries[Int(slot)]
        if entry.tick <= tick {
          remove(slot)
          return slot
        }
        slot = entry.next
      }
      if current == tick { break }
      current &+= 1
    }
    return Self.none
  }

  /// When to ask again, in nanoseconds of the clock; `Int64.max` when nothing waits. At most one turn of the wheel ahead (about a
  /// second): a look at an empty turn costs a microsecond.
  func nextWake() -> Int64 {
    guard count > 0 else { return .max }
    for ahead in 0..<Int64(Self.buckets) {
      let tick = current &+ ahead
      var slot = heads[Int(tick & Int64(Self.buckets - 1))]
      while slot >= 0 {
        let entry = entries[Int(slot)]
        if entry.tick <= tick { return tick << Self.tickShift }
        slot = entry.next
      }
    }
    return (current &+ Int64(Self.buckets)) << Self.tickShift
  }
}
