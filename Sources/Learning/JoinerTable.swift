// Hot: no allocation in the steady state.
internal import Events
internal import Glibc
internal import Model

/// What a joiner remembers about one event id.
struct JoinerEntry {
  enum Kind: UInt8 {
    case free
    /// A feature event that waits for its label. Has a payload.
    case waiting
    /// A label that came before its event. Its payload is the label record, for the dead letters.
    case label
    /// Decided; remembered so that duplicates are known.
    case done
  }

  var hash: UInt64 = 0
  /// The feature's offset, or the label's in an early label.
  var offset: Int64 = 0
  /// Event time of the feature, or of the early label.
  var time: Int64 = 0
  /// Closed when the watermark's tick reaches this.
  var tick: Int64 = 0
  /// No decision about this entry stands in `examples` before this offset.
  var mark: Int64 = 0
  /// Of an early label.
  var value: Double = 0
  var weight: Double = 0
  var id = JoinerBytes.Reference.none
  var payload = JoinerBytes.Reference.none
  var kindPrevious: Int32 = -1
  var kindNext: Int32 = -1
  var orderPrevious: Int32 = -1
  var orderNext: Int32 = -1
  var wheelPrevious: Int32 = -1
  var wheelNext: Int32 = -1
  var kind = Kind.free
  var form = EventForm.json
  /// Done without a label.
  var expired = false
}

/// Entries by event id, with what a joiner asks of them: the oldest of a kind, the least feature offset remembered, and
/// those whose window has closed. No policy. Slots are small integers, valid until `remove`.
final class JoinerTable {
  /// First and last entry of a list linked through the entries; oldest first.
  struct List {
    var first: Int32 = -1
    var last: Int32 = -1
    var count = 0
  }

  private(set) var entries: UnsafeMutablePointer<JoinerEntry>
  private var entryCapacity: Int
  private var entriesUsed = 0
  private var freeSlot: Int32 = -1

  /// Open addressing, linear probing: upper half of the hash and slot + 1; 0 is empty.
  private var places: UnsafeMutablePointer<UInt64>
  private var placeMask: Int
  private(set) var count = 0

  let ids = JoinerBytes(chunkBytes: 1 << 16)
  let payloads = JoinerBytes(chunkBytes: 1 << 18)

  private(set) var waiting = List()
  private(set) var labels = List()
  private(set) var done = List()
  /// Waiting and done features in the order of their offsets.
  private(set) var features = List()

  /// A hashed timing wheel: tick modulo size gives the bucket.
  private static let wheelSize = 4096
  private let wheel: UnsafeMutablePointer<(first: Int32, last: Int32)>
  /// Windows that end at this tick or earlier are closed; nil before the first watermark.
  private(set) var closedTick: Int64?

  private static let idSeed: UInt64 = 0x6A6F_696E_6572_3031

  init(capacity: Int = 1 << 12) {
    entryCapacity = max(16, capacity)
    entries = .allocate(capacity: entryCapacity)
    var size = 64
    while size < entryCapacity * 2 { size *= 2 }
    places = .allocate(capacity: size)
    places.initialize(repeating: 0, count: size)
    placeMask = size - 1
    wheel = .allocate(capacity: Self.wheelSize)
    wheel.initialize(repeating: (-1, -1), count: Self.wheelSize)
  }

  deinit {
    entries.deallocate()
    places.deallocate()
    wheel.deallocate()
  }

  /// Forgets everything; the memory stays.
  func removeAll(closedTick: Int64?) {
    entriesUsed = 0
    freeSlot = -1
    places.update(repeating: 0, count: placeMask + 1)
    wheel.update(repeating: (-1, -1), count: Self.wheelSize)
    ids.removeAll()
    payloads.removeAll()
    count = 0
    waiting = List()
    labels = List()
    done = List()
    features = List()
    self.closedTick = closedTick
  }

  // MARK: By id

  @inline(__always)
  static func hash(_ id: UnsafeRawBufferPointer) -> UInt64 { hash64(id, seed: idSeed) }

  /// The slot of `id`; -1 when it is not known.
  func find(_ id: UnsafeRawBufferPointer, hash: UInt64) -> Int32 {
    let tag = hash >> 32
    var place = Int(tag) & placeMask
    while true {
      let word = places[place]
      if word == 0 { return -1 }
      if word >> 32 == tag {
        let slot = Int32(truncatingIfNeeded: word & 0xFFFF_FFFF) - 1
        if entries[Int(slot)].hash == hash && equal(ids.bytes(entries[Int(slot)].id), id) { return slot }
      }
      place = (place + 1) & placeMask
    }
  }

  @inline(__always)
  private func equal(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Bool {
    guard a.count == b.count, let left = a.baseAddress, let right = b.baseAddress else { return a.count == b.count }
    return memcmp(left, right, a.count) == 0
  }

  /// Adds an entry for an id that is not there. The caller sets the other fields, then calls `link`.
  func insert(_ id: UnsafeRawBufferPointer, hash: UInt64) -> Int32 {
    if (count + 1) * 2 > placeMask + 1 { growPlaces() }
    let slot = takeSlot()
    entries[Int(slot)] = JoinerEntry()
    entries[Int(slot)].hash = hash
    entries[Int(slot)].id = ids.store(id, owner: slot)
    place(hash, slot)
    count += 1
    return slot
  }

  private func place(_ hash: UInt64, _ slot: Int32) {
    let tag = hash >> 32
    var place = Int(tag) & placeMask
    while places[place] != 0 { place = (place + 1) & placeMask }
    places[place] = tag << 32 | UInt64(UInt32(slot + 1))
  }

  private func takeSlot() -> Int32 {
    if freeSlot >= 0 {
      let slot = freeSlot
      freeSlot = entries[Int(slot)].kindNext
      return slot
    }
    if entriesUsed == entryCapacity {
      let grown = UnsafeMutablePointer<JoinerEntry>.allocate(capacity: entryCapacity * 2)
      grown.moveInitialize(from: entries, count: entriesUsed)
      entries.deallocate()
      entries = grown
      entryCapacity *= 2
    }
    let slot = Int32(entriesUsed)
    (entries + entriesUsed).initialize(to: JoinerEntry())
    entriesUsed += 1
    return slot
  }

  private func growPlaces() {
    let old = places
    let oldSize = placeMask + 1
    places = .allocate(capacity: oldSize * 2)
    places.initialize(repeating: 0, count: oldSize * 2)
    placeMask = oldSize * 2 - 1
    for index in 0..<oldSize where old[index] != 0 {
      var place = Int(old[index] >> 32) & placeMask
      while places[place] != 0 { place = (place + 1) & placeMask }
      places[place] = old[index]
    }
    old.deallocate()
  }

  /// Forgets the entry and frees its bytes.
  func remove(_ slot: Int32) {
    unlink(slot)
    leaveWheel(slot)
    let entry = entries + Int(slot)
    ids.release(entry.pointee.id)
    payloads.release(entry.pointee.payload)
    unplace(entry.pointee.hash, slot)
    entry.pointee.kind = .free
    entry.pointee.kindNext = freeSlot
    freeSlot = slot
    count -= 1
  }

  /// Takes the entry's place out and moves later ones of its run back, so that no tombstones are needed.
  private func unplace(_ hash: UInt64, _ slot: Int32) {
    let word = (hash >> 32) << 32 | UInt64(UInt32(slot + 1))
    var hole = Int(hash >> 32) & placeMask
    while places[hole] != word { hole = (hole + 1) & placeMask }
    var next = (hole + 1) & placeMask
    while places[next] != 0 {
      let home = Int(places[next] >> 32) & placeMask
      if (next - home) & placeMask >= (next - hole) & placeMask {
        places[hole] = places[next]
        hole = next
      }
      next = (next + 1) & placeMask
    }
    places[hole] = 0
  }

  // MARK: Lists

  /// Puts an entry that stands in no list into those of `kind`.
  func link(_ slot: Int32, as kind: JoinerEntry.Kind) {
    entries[Int(slot)].kind = kind
    switch kind {
    case .waiting:
      append(slot, to: &waiting)
      appendOrder(slot)
    case .label: append(slot, to: &labels)
    case .done:
      append(slot, to: &done)
      appendOrder(slot)
    case .free: preconditionFailure("a free slot in a list")
    }
  }

  /// A waiting entry is decided: its payload goes, its id stays.
  func finish(_ slot: Int32, expired: Bool) {
    assert(entries[Int(slot)].kind == .waiting)
    take(slot, from: &waiting)
    payloads.release(entries[Int(slot)].payload)
    entries[Int(slot)].payload = .none
    entries[Int(slot)].kind = .done
    entries[Int(slot)].expired = expired
    append(slot, to: &done)
  }

  private func unlink(_ slot: Int32) {
    switch entries[Int(slot)].kind {
    case .waiting:
      take(slot, from: &waiting)
      takeOrder(slot)
    case .label: take(slot, from: &labels)
    case .done:
      take(slot, from: &done)
      takeOrder(slot)
    case .free: break
    }
  }

  /// An early label has met its event: the entry goes on as the event's.
  func unlinkLabel(_ slot: Int32) {
    assert(entries[Int(slot)].kind == .label)
    take(slot, from: &labels)
    payloads.release(entries[Int(slot)].payload)
    entries[Int(slot)].payload = .none
    entries[Int(slot)].kind = .free
    leaveWheel(slot)
  }

  private func append(_ slot: Int32, to list: inout List) {
    entries[Int(slot)].kindPrevious = list.last
    entries[Int(slot)].kindNext = -1
    if list.last >= 0 { entries[Int(list.last)].kindNext = slot } else { list.first = slot }
    list.last = slot
    list.count += 1
  }

  private func take(_ slot: Int32, from list: inout List) {
    let previous = entries[Int(slot)].kindPrevious
    let next = entries[Int(slot)].kindNext
    if previous >= 0 { entries[Int(previous)].kindNext = next } else { list.first = next }
    if next >= 0 { entries[Int(next)].kindPrevious = previous } else { list.last = previous }
    list.count -= 1
  }

  private func appendOrder(_ slot: Int32) {
    assert(features.last < 0 || entries[Int(features.last)].offset <= entries[Int(slot)].offset)
    entries[Int(slot)].orderPrevious = features.last
    entries[Int(slot)].orderNext = -1
    if features.last >= 0 { entries[Int(features.last)].orderNext = slot } else { features.first = slot }
    features.last = slot
    features.count += 1
  }

  private func takeOrder(_ slot: Int32) {
    let previous = entries[Int(slot)].orderPrevious
    let next = entries[Int(slot)].orderNext
    if previous >= 0 { entries[Int(previous)].orderNext = next } else { features.first = next }
    if next >= 0 { entries[Int(next)].orderPrevious = previous } else { features.last = previous }
    features.count -= 1
  }

  // MARK: Time

  /// Lets the entry be reported once `tick` is closed. It must not be closed yet.
  func schedule(_ slot: Int32, tick: Int64) {
    let entry = entries + Int(slot)
    entry.pointee.tick = tick
    let bucket = Int(truncatingIfNeeded: tick) & (Self.wheelSize - 1)
    entry.pointee.wheelPrevious = wheel[bucket].last
    entry.pointee.wheelNext = -1
    if wheel[bucket].last >= 0 { entries[Int(wheel[bucket].last)].wheelNext = slot } else { wheel[bucket].first = slot }
    wheel[bucket].last = slot
  }

  func leaveWheel(_ slot: Int32) {
    let entry = entries[Int(slot)]
    let bucket = Int(truncatingIfNeeded: entry.tick) & (Self.wheelSize - 1)
    guard entry.wheelPrevious >= 0 || wheel[bucket].first == slot else { return }
    if entry.wheelPrevious >= 0 {
      entries[Int(entry.wheelPrevious)].wheelNext = entry.wheelNext
    } else {
      wheel[bucket].first = entry.wheelNext
    }
    if entry.wheelNext >= 0 {
      entries[Int(entry.wheelNext)].wheelPrevious = entry.wheelPrevious
    } else {
      wheel[bucket].last = entry.wheelPrevious
    }
    entries[Int(slot)].wheelPrevious = -1
    entries[Int(slot)].wheelNext = -1
  }

  @inline(__always)
  func isClosed(_ tick: Int64) -> Bool {
    guard let closedTick else { return false }
    return tick <= closedTick
  }

  /// Closes ticks up to `target`: calls `body` for each entry that comes due, in the order of ticks (in any order when
  /// `target` is more than a turn of the wheel away). `body` must remove the entry or schedule
  /// it later, and says whether to go on; when it does not, the rest stays for the next call.
  /// - Returns: whether everything up to `target` is closed.
  func close(through target: Int64, _ body: (Int32) -> Bool) -> Bool {
    let size = Int64(Self.wheelSize)
    // A jump over more than a turn meets every bucket once.
    let (earliest, overflow) = target.subtractingReportingOverflow(size)
    let floor = overflow ? Int64.min : earliest
    var tick = max(closedTick ?? floor, floor)
    if closedTick.map({ $0 >= target }) ?? false { return true }
    while tick < target {
      tick += 1
      var slot = wheel[Int(truncatingIfNeeded: tick) & (Self.wheelSize - 1)].first
      while slot >= 0 {
        let next = entries[Int(slot)].wheelNext
        if entries[Int(slot)].tick <= tick {
          leaveWheel(slot)
          if !body(slot) { return false }
        }
        slot = next
      }
      closedTick = tick
    }
    return true
  }

  /// Gives back memory that only a few entries still hold. Once a turn.
  func compact() {
    ids.compact { owner, from, to in
      if self.entries[Int(owner)].id == from { self.entries[Int(owner)].id = to }
    }
    payloads.compact { owner, from, to in
      if self.entries[Int(owner)].payload == from { self.entries[Int(owner)].payload = to }
    }
  }
}
