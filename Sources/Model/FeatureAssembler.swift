// Hot: no allocation, String, existential or Foundation between `begin` and `finish` once buffers have grown.

/// Turns the named values of one event into a row. One for each thread.
///
///     assembler.begin()
///     let index = assembler.index(ofName: name)        // -1: not of this model
///     if index >= 0, !assembler.categorical(index, value) { … assembler.problem … }
///     assembler.finish(into: batch)
///
/// The row has the features in the order of the specification (values of one feature in the order of the event), then the crosses, then
/// the bias: the same event gives the same entries in the same order, whatever form and order it came in. A count model's row is the
/// count row alone.
public final class FeatureAssembler {
  /// Why a value was refused.
  public enum Problem: UInt8, Sendable {
    case none
    /// NaN, an infinity, or a number that its transform or the precision of rows makes one.
    case notFinite
    /// A text for a number, a fraction for a category, …
    case wrongType
    /// More values than the feature declares.
    case tooManyValues
    /// A vector or tensor with fewer numbers than it declares; found out by `finish`.
    case tooFewValues
    /// A number that the tensor's elements do not hold: a fraction or a number out of their range.
    case notExact
    /// What every event must give and this one did not; found out by `finish`.
    case absent
    /// A tensor and one of its columns.
    case givenTwice
  }

  /// The last refusal since `begin`, and the feature that it is about (-1: none).
  @exclusivity(unchecked) public private(set) var problem = Problem.none
  @exclusivity(unchecked) public private(set) var problemFeature = -1

  public let specification: ModelSpecification
  public let featureCount: Int
  /// Names that `index(ofName:)` knows: the features, and behind them the columns of tensors.
  public let nameCount: Int
  private let isCount: Bool
  private let hasBias: Bool
  /// Of models that take dense rows.
  let dense: DenseRow?
  private let entriesMax: Int

  let slots: UnsafeMutablePointer<FeatureSlot>
  private let names: FeatureNames
  /// Bounds and row ids of all buckets of all features, end to end.
  private let bounds: UnsafeMutablePointer<Double>
  private let bucketIDs: UnsafeMutablePointer<UInt64>
  /// Cross c has the parts from `crossEnds[c - 1]` to `crossEnds[c]`.
  private let crossCount: Int
  private let crossEnds: UnsafeMutablePointer<Int32>
  private let crossParts: UnsafeMutablePointer<Int32>

  /// Vectors, by feature; the row ids of all their places, end to end; and the values at hand there.
  private let vectorCount: Int
  private let vectors: UnsafeMutablePointer<Int32>
  private let placeIDs: UnsafeMutablePointer<UInt64>
  private let placeValues: UnsafeMutablePointer<Float>

  // The event at hand. The first value of a feature stands in its place, further ones in a list.
  private let counts: UnsafeMutablePointer<Int32>
  private let firstIDs: UnsafeMutablePointer<UInt64>
  private let firstValues: UnsafeMutablePointer<Float>
  private let moreHead: UnsafeMutablePointer<Int32>
  private let moreTail: UnsafeMutablePointer<Int32>
  private let moreIDs: UnsafeMutablePointer<UInt64>
  private let moreNext: UnsafeMutablePointer<Int32>
  @exclusivity(unchecked) private var moreCount: Int32 = 0

  @exclusivity(unchecked) private var scratch: UnsafeMutablePointer<UInt8>
  @exclusivity(unchecked) private var scratchCapacity = 256

  /// `specification` must be valid (`problems()` is empty).
  public init(specification: ModelSpecification) {
    precondition(specification.problems().isEmpty, "an invalid specification: \(specification.problems())")
    self.specification = specification
    let features = specification.features
    featureCount = features.count
    isCount = specification.family == .count
    hasBias = specification.loss != nil
    entriesMax = specification.entriesPerRowMax

    let columns = features.reduce(0) { $0 + ($1.tensor?.columns.count ?? 0) }
    nameCount = features.count + columns
    slots = .allocate(capacity: max(1, nameCount))
    names = FeatureNames(features.map(\.name) + features.flatMap { $0.tensor?.columns ?? [] })
    var denseSlots: [DenseRow.Slot] = []
    var columnIndex = features.count
    var lookupCount = 0
    let buckets = features.reduce(0) { $0 + ($1.transform.buckets.isEmpty ? 0 : $1.transform.buckets.count + 1) }
    bounds = .allocate(capacity: max(1, buckets))
    bucketIDs = .allocate(capacity: max(1, buckets))
    let vectors = features.indices.filter { features[$0].kind == .vector }
    vectorCount = vectors.count
    self.vectors = .allocate(capacity: max(1, vectors.count))
    let places = vectors.reduce(0) { $0 + features[$1].valuesMax }
    placeIDs = .allocate(capacity: max(1, places))
    placeValues = .allocate(capacity: max(1, places))
    for (index, vector) in vectors.enumerated() { self.vectors[index] = Int32(vector) }
    var bucketStart = 0
    var placeStart = 0
    for (index, feature) in features.enumerated() {
      let seed = RowID.seed(feature: feature.name)
      let transform = feature.transform
      (slots + index).initialize(to: FeatureSlot(
        seed: seed, numericID: RowID.numeric(seed: seed), steps: NumericSteps(transform), valuesMax: Int32(feature.valuesMax),
        start: Int32(feature.kind == .vector ? placeStart : bucketStart), boundCount: Int32(transform.buckets.count), kind: feature.kind,
        lowercase: feature.lowercase))
      if let place = feature.tensor { Self.appendSlots(of: place, index, slots, &denseSlots, &columnIndex, &lookupCount) }
      if feature.kind == .vector {
        for place in 0..<feature.valuesMax { placeIDs[placeStart + place] = RowID.place(place, seed: seed) }
        placeStart += feature.valuesMax
      }
      guard !transform.buckets.isEmpty else { continue }
      for (bucket, bound) in (transform.buckets + [.infinity]).enumerated() {
        bounds[bucketStart + bucket] = bound
        var text = String(bucket)
        bucketIDs[bucketStart + bucket] = text.withUTF8 { RowID.categorical(UnsafeRawBufferPointer($0), seed: seed) }
      }
      bucketStart += transform.buckets.count + 1
    }

    dense =
      denseSlots.isEmpty
      ? nil : DenseRow(slots: denseSlots, places: features.compactMap(\.tensor), byteCount: specification.denseRowBytes)

    crossCount = specification.crosses.count
    crossEnds = .allocate(capacity: max(1, crossCount))
    crossParts = .allocate(capacity: max(1, specification.crosses.reduce(0) { $0 + $1.features.count }))
    var part = 0
    for (index, cross) in specification.crosses.enumerated() {
      for name in cross.features {
        crossParts[part] = Int32(features.firstIndex { $0.name == name } ?? 0)
        part += 1
      }
      crossEnds[index] = Int32(part)
    }

    let more = max(1, features.reduce(0) { $0 + ($1.kind == .vector ? 0 : $1.valuesMax - 1) })
    counts = .allocate(capacity: max(1, features.count))
    counts.initialize(repeating: 0, count: max(1, features.count))
    firstIDs = .allocate(capacity: max(1, features.count))
    firstValues = .allocate(capacity: max(1, features.count))
    moreHead = .allocate(capacity: max(1, features.count))
    moreTail = .allocate(capacity: max(1, features.count))
    moreIDs = .allocate(capacity: more)
    moreNext = .allocate(capacity: more)
    scratch = .allocate(capacity: scratchCapacity)
  }

  deinit {
    slots.deallocate()
    bounds.deallocate()
    bucketIDs.deallocate()
    vectors.deallocate()
    placeIDs.deallocate()
    placeValues.deallocate()
    crossEnds.deallocate()
    crossParts.deallocate()
    counts.deallocate()
    firstIDs.deallocate()
    firstValues.deallocate()
    moreHead.deallocate()
    moreTail.deallocate()
    moreIDs.deallocate()
    moreNext.deallocate()
    scratch.deallocate()
  }

  /// The index of the feature with these name bytes; -1 when the model has none. Names that come in the order of the specification are
  /// found by one comparison.
  public func index(ofName name: UnsafeRawBufferPointer) -> Int { names.index(of: name) }

  public func kind(of index: Int) -> Feature.Kind { slots[checked(index)].kind }

  /// Forgets the event at hand and starts another.
  public func begin() {
    counts.update(repeating: 0, count: featureCount)
    moreCount = 0
    problem = .none
    problemFeature = -1
    names.begin()
    dense?.begin()
  }

  /// A text for feature `index`. False when it was refused; `problem` says why.
  @discardableResult
  public func categorical(_ index: Int, _ value: UnsafeRawBufferPointer) -> Bool {
    let slot = slots + checked(index)
    guard slot.pointee.kind == .categorical else {
      guard let dense, slot.pointee.kind == .tensor else { return refuse(.wrongType, index) }
      return note(dense.text(Int(slot.pointee.dense), value), index)
    }
    if slot.pointee.lowercase { return add(index, RowID.categorical(lowercased(value), seed: slot.pointee.seed)) }
    return add(index, RowID.categorical(value, seed: slot.pointee.seed))
  }

  /// A whole number for feature `index`: the number of a numeric feature, the decimal text of a categorical one.
  @discardableResult
  public func integer(_ index: Int, _ value: Int64) -> Bool {
    if let dense, slots[checked(index)].kind == .tensor {
      let slot = Int(slots[index].dense)
      guard dense.slots[slot].element == .text else { return note(dense.integer(slot, value), index) }
    } else if slots[checked(index)].kind != .categorical {
      return numeric(index, Double(value))
    }
    return decimal(index, value.magnitude, isNegative: value < 0)
  }

  /// As `integer`, for numbers that need all 64 bits.
  @discardableResult
  public func unsigned(_ index: Int, _ value: UInt64) -> Bool {
    if let dense, slots[checked(index)].kind == .tensor {
      let slot = Int(slots[index].dense)
      guard dense.slots[slot].element == .text else { return note(dense.unsigned(slot, value), index) }
    } else if slots[checked(index)].kind != .categorical {
      return numeric(index, Double(value))
    }
    return decimal(index, value, isNegative: false)
  }

  /// The value "true" or "false" of categorical feature `index`; 1 or 0 in a tensor.
  @discardableResult
  public func boolean(_ index: Int, _ value: Bool) -> Bool {
    let slot = slots + checked(index)
    guard slot.pointee.kind == .categorical else {
      guard let dense, slot.pointee.kind == .tensor else { return refuse(.wrongType, index) }
      return note(dense.boolean(Int(slot.pointee.dense), value), index)
    }
    let text: StaticString = value ? "true" : "false"
    let bytes = UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
    return add(index, RowID.categorical(bytes, seed: slot.pointee.seed))
  }

  /// A number for numeric feature `index`, or the next one of a vector. False when it was refused; `problem` says why.
  @discardableResult
  public func numeric(_ index: Int, _ value: Double) -> Bool {
    let slot = slots + checked(index)
    guard slot.pointee.kind != .categorical else { return refuse(.wrongType, index) }
    if let dense, slot.pointee.dense >= 0 {
      let number = slot.pointee.kind == .tensor ? value : slot.pointee.steps.apply(value)
      return note(dense.number(Int(slot.pointee.dense), number), index)
    }
    let number = slot.pointee.steps.apply(value)
    guard number.isFinite else { return refuse(.notFinite, index) }
    if slot.pointee.kind == .vector { return addPlace(index, number) }
    if slot.pointee.boundCount > 0 {
      let start = Int(slot.pointee.start)
      return add(index, bucketIDs[start + bucketIndex(number, bounds + start, Int(slot.pointee.boundCount))])
    }
    let rounded = Float(number)
    guard rounded.isFinite else { return refuse(.notFinite, index) }
    guard add(index, slot.pointee.numericID) else { return false }
    firstValues[index] = rounded
    return true
  }

  /// `count` numbers of vector `index`, or the one of a numeric feature, in single precision as they lie in memory (at any address): the
  /// same as `numeric` for each of them.
  @discardableResult
  public func floats(_ index: Int, _ bytes: UnsafeRawPointer, count: Int) -> Bool {
    for i in 0..<count {
      let bits = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: i &* 4, as: UInt32.self))
      guard numeric(index, Double(Float(bitPattern: bits))) else { return false }
    }
    return true
  }

  /// Appends the event's row to `batch`. False, and nothing is appended, when a vector or tensor is not whole or something that must be
  /// given is not; `problem` says so. `checkingAbsence`: false when the caller has seen to the dense row's inputs.
  @discardableResult
  public func finish(into batch: RowBatch, checkingAbsence: Bool = true) -> Bool {
    if let dense {
      if checkingAbsence {
        let (slot, problem) = dense.missing()
        if slot >= 0 { return refuse(problem, feature(ofDense: slot)) }
      }
      dense.copy(to: batch)
    }
    for vector in 0..<vectorCount {
      let index = Int(vectors[vector])
      guard counts[index] == 0 || counts[index] == slots[index].valuesMax else { return refuse(.tooFewValues, index) }
    }
    batch.reserve(entriesMax)
    if isCount {
      batch.appendUnchecked(id: RowID.count, value: 1)
      if let fields = batch.fields { fields[batch.entryCount - 1] = RowBatch.biasField }
      batch.endRow()
      return true
    }
    for index in 0..<featureCount where counts[index] > 0 {
      if slots[index].kind == .vector {
        let start = Int(slots[index].start)
        batch.appendUnchecked(ids: placeIDs + start, values: placeValues + start, count: Int(counts[index]))
        continue
      }
      batch.appendUnchecked(id: firstIDs[index], value: firstValues[index])
      if counts[index] > 1 { appendMore(index, batch) }
    }
    var start = 0
    for cross in 0..<crossCount {
      let end = Int(crossEnds[cross])
      appendCross(from: start, to: end, batch)
      start = end
    }
    if hasBias { batch.appendUnchecked(id: RowID.bias, value: 1) }
    if batch.fields != nil { writeFields(batch) }
    batch.endRow()
    return true
  }

  /// The last refusal in words, with the feature's name; empty when there was none. May allocate.
  public func problemText() -> String {
    guard problemFeature >= 0 else { return "" }
    guard problemFeature < featureCount, specification.features[problemFeature].tensor == nil else { return denseProblemText() }
    let feature = specification.features[problemFeature]
    return switch problem {
    case .none, .notExact, .absent, .givenTwice: ""
    case .notFinite: "the value of \"\(feature.name)\" is not a finite number after its transform"
    case .wrongType:
      switch feature.kind {
      case .numeric: "\"\(feature.name)\" is numeric: expected a number"
      case .vector: "\"\(feature.name)\" is a vector: expected \(feature.valuesMax) numbers"
      case .tensor: ""
      case .categorical: "\"\(feature.name)\" is categorical: expected a text, a whole number or a boolean"
      }
    case .tooFewValues: "\"\(feature.name)\" has fewer numbers than its size, \(feature.valuesMax)"
    case .tooManyValues where feature.kind == .vector: "\"\(feature.name)\" has more numbers than its size, \(feature.valuesMax)"
    case .tooManyValues:
      "\"\(feature.name)\" has more than \(feature.valuesMax) value\(feature.valuesMax == 1 ? "" : "s"): declare `values` in the model to allow more"
    }
  }

  /// The name of the feature that was refused; empty when none was.
  public var problemField: String { problemFeature < 0 ? "" : name(problemFeature) }

  /// The name of a feature or column. Allocates.
  public func name(_ index: Int) -> String {
    if index < featureCount { return specification.features[index].name }
    var column = index - featureCount
    for case let place? in specification.features.map(\.tensor) {
      if column < place.columns.count { return place.columns[column] }
      column -= place.columns.count
    }
    return ""
  }

  // MARK: Parts

  @inline(__always)
  func checked(_ index: Int) -> Int {
    precondition(index >= 0 && index < nameCount, "feature \(index) of \(nameCount)")
    return index
  }

  @inline(__always)
  func note(_ why: Problem, _ index: Int) -> Bool { why == .none ? true : refuse(why, index) }

  private func refuse(_ why: Problem, _ index: Int) -> Bool {
    problem = why
    problemFeature = index
    return false
  }

  @inline(__always)
  private func add(_ index: Int, _ id: UInt64) -> Bool {
    let count = counts[index]
    if count == 0 {
      counts[index] = 1
      firstIDs[index] = id
      firstValues[index] = 1
      return true
    }
    guard count < slots[index].valuesMax else { return refuse(.tooManyValues, index) }
    let node = moreCount
    moreCount += 1
    moreIDs[Int(node)] = id
    moreNext[Int(node)] = -1
    if count == 1 { moreHead[index] = node } else { moreNext[Int(moreTail[index])] = node }
    moreTail[index] = node
    counts[index] = count + 1
    return true
  }

  @inline(__always)
  private func addPlace(_ index: Int, _ number: Double) -> Bool {
    let rounded = Float(number)
    guard rounded.isFinite else { return refuse(.notFinite, index) }
    let count = counts[index]
    guard count < slots[index].valuesMax else { return refuse(.tooManyValues, index) }
    placeValues[Int(slots[index].start) + Int(count)] = rounded
    counts[index] = count + 1
    return true
  }

  private func appendMore(_ index: Int, _ batch: RowBatch) {
    var node = moreHead[index]
    while node >= 0 {
      batch.appendUnchecked(id: moreIDs[Int(node)], value: 1)
      node = moreNext[Int(node)]
    }
  }

  /// The fields of the row's entries, which stand in the order of `finish`. Apart from them: models that learn have none, and pay nothing.
  private func writeFields(_ batch: RowBatch) {
    guard var next = batch.fields else { return }
    next += batch.start(ofRow: batch.rowCount)
    for index in 0..<featureCount where counts[index] > 0 {
      next.update(repeating: UInt16(truncatingIfNeeded: index), count: Int(counts[index]))
      next += Int(counts[index])
    }
    var start = 0
    for cross in 0..<crossCount {
      let end = Int(crossEnds[cross])
      // One entry for each combination; none when a part is absent. The specification bounds their number.
      var combinations = 1
      for part in start..<end { combinations *= Int(counts[Int(crossParts[part])]) }
      next.update(repeating: UInt16(truncatingIfNeeded: featureCount + cross), count: combinations)
      next += combinations
      start = end
    }
    if hasBias { next.pointee = RowBatch.biasField }
  }

  @inline(__always)
  private func appendCross(from start: Int, to end: Int, _ batch: RowBatch) {
    var isSingle = true
    for part in start..<end {
      let count = counts[Int(crossParts[part])]
      if count == 0 { return }
      if count > 1 { isSingle = false }
    }
    guard isSingle else { return appendCombinations(start, end, nil, batch) }
    var id = firstIDs[Int(crossParts[start])]
    for part in start + 1..<end { id = RowID.combine(id, firstIDs[Int(crossParts[part])]) }
    batch.appendUnchecked(id: id, value: 1)
  }

  /// All combinations of the parts from `part` on, each joined to `accumulated`. As deep as a cross has parts.
  private func appendCombinations(_ part: Int, _ end: Int, _ accumulated: UInt64?, _ batch: RowBatch) {
    guard part < end else {
      if let accumulated { batch.appendUnchecked(id: accumulated, value: 1) }
      return
    }
    let index = Int(crossParts[part])
    var id = firstIDs[index]
    var node = counts[index] > 1 ? moreHead[index] : -1
    while true {
      appendCombinations(part + 1, end, accumulated.map { RowID.combine($0, id) } ?? id, batch)
      guard node >= 0 else { return }
      id = moreIDs[Int(node)]
      node = moreNext[Int(node)]
    }
  }

  private func decimal(_ index: Int, _ magnitude: UInt64, isNegative: Bool) -> Bool {
    var position = 32
    var rest = magnitude
    repeat {
      position -= 1
      scratch[position] = UInt8(truncatingIfNeeded: rest % 10) + 48
      rest /= 10
    } while rest > 0
    if isNegative {
      position -= 1
      scratch[position] = 45
    }
    let text = UnsafeRawBufferPointer(start: scratch + position, count: 32 - position)
    if let dense, slots[index].kind == .tensor { return note(dense.text(Int(slots[index].dense), text), index) }
    return add(index, RowID.categorical(text, seed: slots[index].seed))
  }

  private func lowercased(_ value: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
    if value.count > scratchCapacity {
      scratch.deallocate()
      scratchCapacity = max(value.count, scratchCapacity * 2)
      scratch = .allocate(capacity: scratchCapacity)
    }
    for position in 0..<value.count {
      let byte = value[position]
      scratch[position] = byte >= 65 && byte <= 90 ? byte + 32 : byte
    }
    return UnsafeRawBufferPointer(start: scratch, count: value.count)
  }
}

struct FeatureSlot {
  var seed: UInt64
  var numericID: UInt64
  var steps: NumericSteps
  var valuesMax: Int32
  /// Of its buckets or of its places.
  var start: Int32
  var boundCount: Int32
  var kind: Feature.Kind
  var lowercase: Bool
  /// Its slot in the dense row; -1: it has none.
  var dense: Int32 = -1
}
