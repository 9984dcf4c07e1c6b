// Hot: no allocation, String, existential or Foundation between `begin` and `finish`.

/// The dense row of the event at hand: elements as they are given, and what stands for those that are not. One for each assembler.
///
/// A slot is a tensor, one of its columns, or a numeric feature that stands in the row. Given as a list, a tensor's elements come in their
/// order; given by columns, in any.
final class DenseRow {
  struct Slot {
    var offset: Int
    var count: Int32
    /// The slot of the tensor that a column is of; -1: it is no column.
    var parent: Int32 = -1
    var element: TensorElement
    var refusesNonFinite: Bool
    /// A column's is its own; of a tensor that has columns, they speak.
    var refusesAbsence: Bool
    /// The first of its elements' lookups; -1: no element has names of categories.
    var categories: Int32 = -1
  }

  let byteCount: Int
  let slotCount: Int
  let slots: UnsafeMutablePointer<Slot>
  /// What stands in a row of which nothing is given.
  let template: UnsafeMutableRawPointer
  private let row: UnsafeMutableRawPointer
  /// Elements given of each slot; of these, nulls.
  private let counts: UnsafeMutablePointer<Int32>
  private let nulls: UnsafeMutablePointer<Int32>
  /// Columns given of each tensor.
  private let columnsGiven: UnsafeMutablePointer<Int32>
  /// For all elements of each tensor that has names of categories; `owners` keep what they point to.
  let lookups: UnsafeMutablePointer<CategoryLookup?>
  private let owners: [CategoryNames]

  init(slots: [Slot], places: [TensorPlace], byteCount: Int) {
    self.byteCount = byteCount
    slotCount = slots.count
    self.slots = .allocate(capacity: max(1, slots.count))
    self.slots.initialize(from: slots, count: slots.count)
    counts = .allocate(capacity: max(1, slots.count))
    nulls = .allocate(capacity: max(1, slots.count))
    columnsGiven = .allocate(capacity: max(1, slots.count))
    row = .allocate(byteCount: max(64, byteCount), alignment: 64)
    template = .allocate(byteCount: max(64, byteCount), alignment: 64)
    template.initializeMemory(as: UInt8.self, repeating: 0, count: max(64, byteCount))
    for place in places {
      let value: Double = switch place.absent {
      case .refused: 0
      case .nan: .nan
      case .value(let value): value
      }
      for index in 0..<place.count {
        _ = Self.store(value, place.element, template + place.offset + index * place.element.bytes, refusesNonFinite: false)
      }
    }
    owners = places.flatMap { $0.categories.map(\.names) }
    let named = places.filter { !$0.categories.isEmpty }
    lookups = .allocate(capacity: max(1, named.reduce(0) { $0 + $1.count }))
    var next = lookups
    for place in named {
      next.initialize(repeating: nil, count: place.count)
      for column in place.categories { next[column.column] = column.names.lookup }
      next += place.count
    }
    begin()
  }

  deinit {
    lookups.deallocate()
    slots.deallocate()
    counts.deallocate()
    nulls.deallocate()
    columnsGiven.deallocate()
    row.deallocate()
    template.deallocate()
  }

  func begin() {
    counts.update(repeating: 0, count: slotCount)
    nulls.update(repeating: 0, count: slotCount)
    columnsGiven.update(repeating: 0, count: slotCount)
    row.copyMemory(from: template, byteCount: byteCount)
  }

  // MARK: One element

  @inline(__always)
  func number(_ slot: Int, _ value: Double) -> FeatureAssembler.Problem {
    if let lookup = lookup(ofColumn: slot), lookup.hasNumbers { return coded(slot, lookup.code(number: value)) }
    let (place, problem) = next(slot)
    guard let place else { return problem }
    return given(slot, Self.store(value, slots[slot].element, place, refusesNonFinite: slots[slot].refusesNonFinite))
  }

  /// As `number`, for whole numbers that a double may not hold.
  func integer(_ slot: Int, _ value: Int64) -> FeatureAssembler.Problem {
    if let lookup = lookup(ofColumn: slot), lookup.hasNumbers { return coded(slot, lookup.code(integer: value)) }
    let (place, problem) = next(slot)
    guard let place else { return problem }
    switch slots[slot].element {
    case .int64: place.storeBytes(of: value, as: Int64.self)
    case .uint64:
      guard value >= 0 else { return .notExact }
      place.storeBytes(of: UInt64(value), as: UInt64.self)
    default: return given(slot, Self.store(Double(value), slots[slot].element, place, refusesNonFinite: false))
    }
    return given(slot, .none)
  }

  func unsigned(_ slot: Int, _ value: UInt64) -> FeatureAssembler.Problem {
    if let small = Int64(exactly: value) { return integer(slot, small) }
    guard slots[slot].element == .uint64 else { return slots[slot].element == .int64 ? .notExact : number(slot, Double(value)) }
    let (place, problem) = next(slot)
    guard let place else { return problem }
    place.storeBytes(of: value, as: UInt64.self)
    return given(slot, .none)
  }

  func text(_ slot: Int, _ value: UnsafeRawBufferPointer) -> FeatureAssembler.Problem {
    let isText = slots[slot].element == .text
    guard isText || slots[slot].categories >= 0 else { return .wrongType }
    let (place, problem) = next(slot)
    guard let place else { return problem }
    if !isText {
      guard let lookup = lookups[Int(slots[slot].categories + counts[slot])] else { return .wrongType }
      return coded(slot, lookup.code(text: value))
    }
    place.storeBytes(of: RowID.text(value), as: UInt64.self)
    return given(slot, .none)
  }

  /// True and false: 1 and 0, but no code of a category that has a text as its name.
  func boolean(_ slot: Int, _ value: Bool) -> FeatureAssembler.Problem {
    if let lookup = lookup(ofColumn: slot), !lookup.hasNumbers { return .wrongType }
    return number(slot, value ? 1 : 0)
  }

  /// Of a column that is given by its own name: numbers may be names there, while in whole tensors they are codes.
  @inline(__always)
  private func lookup(ofColumn slot: Int) -> CategoryLookup? {
    guard slots[slot].categories >= 0, slots[slot].parent >= 0 else { return nil }
    return lookups[Int(slots[slot].categories)]
  }

  /// The code of a category, or what is absent when there is none (-1).
  @inline(__always)
  private func coded(_ slot: Int, _ code: Int32) -> FeatureAssembler.Problem {
    let (place, problem) = next(slot)
    guard let place else { return problem }
    return given(slot, Self.store(code < 0 ? .nan : Double(code), slots[slot].element, place, refusesNonFinite: false))
  }

  /// An element that is said not to be there.
  func null(_ slot: Int) -> FeatureAssembler.Problem {
    let (place, problem) = next(slot)
    guard place != nil else { return problem }
    nulls[slot] += 1
    return given(slot, .none)
  }

  /// Where the next element of the slot goes; or why there is no place for it.
  @inline(__always)
  private func next(_ slot: Int) -> (UnsafeMutableRawPointer?, FeatureAssembler.Problem) {
    let count = counts[slot]
    guard count < slots[slot].count else { return (nil, .tooManyValues) }
    let parent = Int(slots[slot].parent)
    guard parent < 0 ? columnsGiven[slot] == 0 : counts[parent] == 0 else { return (nil, .givenTwice) }
    return (row + slots[slot].offset + Int(count) * slots[slot].element.bytes, .none)
  }

  @inline(__always)
  private func given(_ slot: Int, _ problem: FeatureAssembler.Problem) -> FeatureAssembler.Problem {
    guard problem == .none else { return problem }
    counts[slot] += 1
    let parent = Int(slots[slot].parent)
    if parent >= 0 { columnsGiven[parent] += 1 }
    return .none
  }

  // MARK: The row

  /// The first slot of which too few elements are given, or none where there must be one; -1: the row is good.
  func missing() -> (slot: Int, problem: FeatureAssembler.Problem) {
    for slot in 0..<slotCount {
      let parent = Int(slots[slot].parent)
      if counts[slot] == slots[slot].count, nulls[slot] == 0 || !slots[slot].refusesAbsence { continue }
      // Nulls alone, or nothing.
      if counts[slot] == nulls[slot], counts[slot] <= 1 || !slots[slot].refusesAbsence {
        if !slots[slot].refusesAbsence || (parent >= 0 && counts[parent] > 0 && nulls[parent] == 0) { continue }
        return (slot, .absent)
      }
      return (slot, counts[slot] == slots[slot].count ? .absent : .tooFewValues)
    }
    return (-1, .none)
  }

  func copy(to batch: RowBatch) {
    precondition(batch.denseRowBytes == byteCount, "a batch with rows of \(batch.denseRowBytes) bytes for a model with \(byteCount)")
    batch.reserveDenseRow().copyMemory(from: row, byteCount: byteCount)
  }

  /// Writes `value` as `element` at `place`, or says why it cannot be one.
  @inline(__always)
  static func store(
    _ value: Double, _ element: TensorElement, _ place: UnsafeMutableRawPointer, refusesNonFinite: Bool
  ) -> FeatureAssembler.Problem {
    switch element {
    case .float32:
      let rounded = Float(value)
      if !rounded.isFinite, refusesNonFinite || value.isFinite { return .notFinite }
      place.storeBytes(of: rounded, as: Float.self)
    case .float64:
      if refusesNonFinite, !value.isFinite { return .notFinite }
      place.storeBytes(of: value, as: Double.self)
    case .int64: return whole(value, Int64.self, place)
    case .int32: return whole(value, Int32.self, place)
    case .int16: return whole(value, Int16.self, place)
    case .int8: return whole(value, Int8.self, place)
    case .uint64: return whole(value, UInt64.self, place)
    case .uint32: return whole(value, UInt32.self, place)
    case .uint16: return whole(value, UInt16.self, place)
    case .uint8: return whole(value, UInt8.self, place)
    case .boolean:
      guard value == 0 || value == 1 else { return .notExact }
      place.storeBytes(of: value == 1 ? 1 : 0, as: UInt8.self)
    case .text, .bfloat16, .float16: return .wrongType
    }
    return .none
  }

  @inline(__always)
  private static func whole<Value: FixedWidthInteger & BitwiseCopyable>(
    _ value: Double, _ type: Value.Type, _ place: UnsafeMutableRawPointer
  ) -> FeatureAssembler.Problem {
    guard let exact = Value(exactly: value) else { return .notExact }
    place.storeBytes(of: exact, as: Value.self)
    return .none
  }
}
