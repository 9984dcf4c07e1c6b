// Hot: no allocation, existential, Foundation or String in the steady state.
public import CMessages
public import Model
internal import Settings

/// Turns the inputs of V2 requests into rows of a model. Owned by one thread and reused.
///
/// A request becomes rows as a whole or not at all. What was found out about inputs whose names, datatypes and shapes come again is kept
/// under the reader's plan: so all requests must come from one `InferRequestReader`.
public final class TensorRows {
  /// What becomes of an input that the model has no feature for.
  public enum UnknownInputs: Sendable { case ignored, refused }

  let assembler: FeatureAssembler
  private let unknown: UnknownInputs
  private let inputsMax: Int
  /// The feature of each input, -1 for none: for each plan, and behind them for requests without one.
  private let features: UnsafeMutablePointer<Int32>
  private let serials: UnsafeMutablePointer<UInt64>
  private let unknownCounts: UnsafeMutablePointer<Int>
  /// Models that take dense rows: for each plan, and behind them for requests without one, what was found out about its dense inputs.
  let denseRowBytes: Int
  let densePlans: UnsafeMutablePointer<DensePlan>
  /// The request in which feature i was last given, to notice one given twice.
  let lastGiven: UnsafeMutablePointer<UInt64>
  @exclusivity(unchecked) private(set) var requestNumber: UInt64 = 0
  /// Inputs of the last request that the model has no feature for.
  @exclusivity(unchecked) public private(set) var unknownInputs = 0
  @exclusivity(unchecked) private(set) var noted = NotedProblem()
  /// The input that the last refusal is about.
  @exclusivity(unchecked) private var notedInput = -1
  @exclusivity(unchecked) private var isUnknown = false
  private var hints: [UInt64: String] = [:]

  private static let plans = Int(MR_PLANS)

  /// `specification` must be valid.
  public convenience init(specification: ModelSpecification, inputsMax: Int, unknownInputs: UnknownInputs) {
    self.init(assembler: FeatureAssembler(specification: specification), inputsMax: inputsMax, unknownInputs: unknownInputs)
  }

  init(assembler: FeatureAssembler, inputsMax: Int, unknownInputs: UnknownInputs) {
    self.assembler = assembler
    self.inputsMax = inputsMax
    unknown = unknownInputs
    // Untouched pages cost nothing.
    features = .allocate(capacity: (Self.plans + 1) * inputsMax)
    serials = .allocate(capacity: Self.plans + 1)
    serials.initialize(repeating: 0, count: Self.plans + 1)
    unknownCounts = .allocate(capacity: Self.plans + 1)
    unknownCounts.initialize(repeating: 0, count: Self.plans + 1)
    lastGiven = .allocate(capacity: max(1, assembler.nameCount))
    lastGiven.initialize(repeating: 0, count: max(1, assembler.nameCount))
    denseRowBytes = assembler.denseRowBytes
    densePlans = .allocate(capacity: Self.plans + 1)
    densePlans.initialize(repeating: DensePlan(), count: Self.plans + 1)
  }

  deinit {
    densePlans.deallocate()
    features.deallocate()
    serials.deallocate()
    unknownCounts.deallocate()
    lastGiven.deallocate()
  }

  /// Appends the request's rows to `batch`, or nothing when it fails: `problem()` says why.
  public func append(_ request: UnsafePointer<mr_infer_request>, to batch: RowBatch) -> Bool {
    guard let tensors = request.pointee.tensors else { return true }
    let count = Int(request.pointee.tensor_count)
    let serial = request.pointee.plan_serial
    let place = serial == 0 ? Self.plans : Int(request.pointee.plan)
    let features = self.features + place * inputsMax
    if denseRowBytes == 0 { assembler.begin() }
    if serial == 0 || serials[place] != serial {
      serials[place] = 0
      guard resolve(tensors, count, features) else { return false }
      if denseRowBytes > 0, !resolveDense(tensors, count, features, densePlans + place) { return false }
      unknownCounts[place] = unknownInputs
      serials[place] = serial
    } else {
      unknownInputs = unknownCounts[place]
    }
    if denseRowBytes > 0 { return appendDense(tensors, count, features, densePlans[place], rows: Int(request.pointee.rows), to: batch) }
    let firstRow = batch.rowCount
    let rows = Int(request.pointee.rows)
    for row in 0..<rows {
      if row > 0 { assembler.begin() }
      for input in 0..<count where features[input] >= 0 {
        guard add(tensors + input, to: Int(features[input])) else {
          batch.rollback(toRow: firstRow)
          return refuse(tensors, input, Int(features[input]))
        }
      }
      guard assembler.finish(into: batch) else {
        batch.rollback(toRow: firstRow)
        return refuseUnfinished(tensors, count, features)
      }
    }
    return true
  }

  /// Why the last `append` failed, for whoever sent the request. Allocates; to be asked for while the request is still there.
  public func problem() -> EventProblem {
    var place = mr_problem()
    place.input = Int32(clamping: notedInput)
    var problem = noted.requestProblem(place)
    if isUnknown { problem.message += hint(noted.field ?? UnsafeRawBufferPointer(start: nil, count: 0)) }
    return problem
  }

  /// What an unknown name may have meant. Comparing names costs time that whoever sends bad requests all day must not get: each name is
  /// compared once, and only so many are.
  private func hint(_ given: UnsafeRawBufferPointer) -> String {
    let names = (0..<min(assembler.nameCount, Self.hintFeaturesMax + 1)).map(assembler.name)
    let hash = hash64(given, seed: 0)
    if let known = hints[hash] { return known }
    let list = "; it has \(names.prefix(8).joined(separator: ", "))\(names.count > 8 ? ", …" : "")"
    guard names.count <= Self.hintFeaturesMax, hints.count < Self.hintsMax else { return list }
    let hint = nearest(to: given.text, in: names).map { "; did you mean \"\($0)\"?" } ?? list
    hints[hash] = hint
    return hint
  }

  private static let hintFeaturesMax = 256
  private static let hintsMax = 64

  // MARK: Parts

  /// Finds the feature of each input.
  private func resolve(_ tensors: UnsafePointer<mr_tensor>, _ count: Int, _ features: UnsafeMutablePointer<Int32>) -> Bool {
    requestNumber += 1
    unknownInputs = 0
    for input in 0..<count {
      let name = tensors[input].nameBytes
      let index = assembler.index(ofName: name)
      features[input] = Int32(index)
      if index < 0 {
        unknownInputs += 1
        guard unknown == .ignored else { return refuse(input, .init(.other, field: name, "the model has no such input"), isUnknown: true) }
        continue
      }
      if lastGiven[index] == requestNumber { return refuse(input, .init(.duplicateFeature, field: name, "two inputs have this name")) }
      lastGiven[index] = requestNumber
    }
    return true
  }

  /// One row's values of an input.
  @inline(__always)
  func add(_ tensor: UnsafeMutablePointer<mr_tensor>, to index: Int) -> Bool {
    let columns = Int(tensor.pointee.columns)
    switch mr_source(UInt32(tensor.pointee.source)) {
    case MR_RAW_BYTES where columns == 1:
      guard let at = UnsafeRawPointer(tensor.pointee.at) else { return true }
      let length = Int(UInt32(littleEndian: at.loadUnaligned(as: UInt32.self)))
      tensor.pointee.at = (at + 4 + length).assumingMemoryBound(to: UInt8.self)
      return assembler.categorical(index, UnsafeRawBufferPointer(start: at + 4, count: length))
    case MR_RAW_FP32:
      guard let at = UnsafeRawPointer(tensor.pointee.at) else { return true }
      tensor.pointee.at = (at + 4 * columns).assumingMemoryBound(to: UInt8.self)
      return assembler.floats(index, at, count: columns)
    default: return addSlowly(tensor, to: index, columns)
    }
  }

  private func addSlowly(_ tensor: UnsafeMutablePointer<mr_tensor>, to index: Int, _ columns: Int) -> Bool {
    var field = mr_field()
    for _ in 0..<columns {
      mr_tensor_next(tensor, &field)
      // A matrix has room for the row with the most values: in the others, empty texts fill it up.
      if columns > 1, field.kind == UInt8(MR_KIND_TEXT.rawValue), field.text_length == 0 { continue }
      guard assembler.add(&field, to: index) else { return false }
    }
    return true
  }

  func refuse(_ tensors: UnsafePointer<mr_tensor>, _ input: Int, _ index: Int) -> Bool {
    refuse(input, .init(refusedBy: assembler, feature: index, name: tensors[input].nameBytes))
  }

  func refuseUnfinished(_ tensors: UnsafePointer<mr_tensor>, _ count: Int, _ features: UnsafePointer<Int32>) -> Bool {
    let index = assembler.problemFeature
    let input = (0..<count).first { Int(features[$0]) == index } ?? 0
    return refuse(tensors, input, index)
  }

  func refuse(_ input: Int, _ problem: NotedProblem, isUnknown: Bool = false) -> Bool {
    noted = problem
    notedInput = input
    self.isUnknown = isUnknown
    return false
  }
}

extension mr_tensor {
  @inline(__always) var nameBytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: name, count: Int(name_length)) }
}
