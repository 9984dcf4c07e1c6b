// Hot: no allocation, existential, String, await or Foundation per request in the steady state. What is said of bad requests allocates.
internal import CMessages
internal import Events
internal import Glibc
internal import Model
internal import ModelStore
public import RPC
internal import Serving
internal import Telemetry

/// One answered request. Slices live until the batch is emptied.
public struct InferenceAnswer {
  public var token: UInt64
  public var code: RPCCode
  /// OK: a ModelInferResponse. Otherwise the message for people, in UTF-8.
  public var bytes: UnsafeRawBufferPointer
  /// The request's id; empty when it has none, or could not be read.
  public var id: UnsafeRawBufferPointer
}

/// The requests of one read, from bytes to answers: decoded into rows as they are added, scored once for each model and arm, encoded one
/// by one. Sans-IO, for any number of models; owned by one thread and reused.
///
///     batch.add(bytes, token: call)        // … any number, until `isFull`
///     batch.run()
///     for index in 0..<batch.answerCount { … batch.answer(index) … }
///     batch.removeAll()
public final class InferenceBatch {
  public let catalog: ModelCatalog
  public let limits: InferenceLimits
  private let sink: ServedRequestSink?

  private let reader: InferRequestReader
  @exclusivity(unchecked) private var snapshot: ModelCatalog.Snapshot
  @exclusivity(unchecked) private var slots: [ModelSlot] = []
  /// The slot that was meant last: the next request most often means it too.
  @exclusivity(unchecked) private var lastSlot = 0
  /// Lanes with requests in this run.
  @exclusivity(unchecked) private var lanes: [ModelLane] = []

  @exclusivity(unchecked) private var requests: UnsafeMutablePointer<BatchedRequest>
  @exclusivity(unchecked) private var requestCapacity = 256
  @exclusivity(unchecked) private var requestCount = 0
  @exclusivity(unchecked) private var isRun = false
  @exclusivity(unchecked) private var rowCount = 0
  @exclusivity(unchecked) private var valueCount = 0
  /// What scoring the rows gathered so far may take, by what rows of their models took lately.
  @exclusivity(unchecked) private var costNanoseconds: Int64 = 0
  /// When the first request of this run was added.
  @exclusivity(unchecked) private var beganNanoseconds: Int64 = 0

  /// Ids of requests, offsets of wanted positions, requests to be told to the sink, and answers: all end to end.
  private let ids = OutputBuffer()
  private let kept = OutputBuffer(capacity: 64)
  private let output = OutputBuffer(capacity: 1 << 16)
  @exclusivity(unchecked) private var wanted: [Int64] = []

  /// `InferenceBatch` writes the one-row output tensor from this; see `appendOutput`.
  private let oneRowOutput = OutputBuffer(capacity: 64)

  public init(catalog: ModelCatalog, limits: InferenceLimits = InferenceLimits(), sink: ServedRequestSink? = nil) {
    self.catalog = catalog
    self.limits = limits
    self.sink = sink
    reader = InferRequestReader(
      limits: EventLimits(
        payloadBytesMax: limits.requestBytesMax, valuesMax: max(limits.valuesMax, LoadedVersion.requestElementsMax), textBytesMax: limits.textBytesMax,
        idBytesMax: limits.idBytesMax),
      inputsMax: limits.inputsMax)
    requests = .allocate(capacity: requestCapacity)
    snapshot = catalog.snapshot()
    Self.appendOutputTensor(rows: 1, to: oneRowOutput)
    makeSlots()
  }

  deinit { requests.deallocate() }

  /// Whether the cap on rows or values of one run is reached: run and empty the batch before more is added. A refused request counts as
  /// a row.
  public var isFull: Bool {
    max(rowCount, requestCount) >= limits.rowsPerRunMax || valueCount >= limits.valuesPerRunMax || costNanoseconds >= limits.runNanosecondsMax
  }

  /// Nothing was added since the batch was emptied.
  public var isEmpty: Bool { requestCount == 0 }

  /// Forgets requests and answers, keeps the memory.
  public func removeAll() {
    if !lanes.isEmpty {
      for index in lanes.indices { lanes[index].removeAll() }
      lanes.removeAll(keepingCapacity: true)
    }
    requestCount = 0
    rowCount = 0
    valueCount = 0
    costNanoseconds = 0
    isRun = false
    ids.removeAll()
    kept.removeAll()
    output.removeAll()
    if !wanted.isEmpty { wanted.removeAll(keepingCapacity: true) }
  }

  // MARK: Gathering

  /// Takes a ModelInferRequest; `request` is borrowed until the return. `token` comes back with its answer. A request whose deadline
  /// (`MonotonicClock`) has passed is not scored.
  public func add(_ request: UnsafeRawBufferPointer, token: UInt64, deadlineNanoseconds: Int64 = .max) {
    precondition(!isRun, "the batch has been run: empty it first")
    if requestCount == 0 { begin() }
    if requestCount == requestCapacity { grow() }
    let place = requests + requestCount
    requestCount += 1
    place.initialize(to: BatchedRequest(token: token, deadlineNanoseconds: deadlineNanoseconds))
    guard deadlineNanoseconds > beganNanoseconds else { return refuse(place, nil, .deadlineExceeded, "the deadline passed before the request was read") }
    guard request.count <= limits.requestBytesMax else {
      return refuse(place, nil, .resourceExhausted, "the request has \(request.count) bytes, at most \(limits.requestBytesMax) are taken")
    }
    guard reader.read(request) else { return refuse(place, nil, reader.problem()) }
    guard takeID(place), let slot = findSlot(place) else { return }
    var lane = slot.lanes[0]
    if reader.request.pointee.parameter_count > 0 {
      guard let wantedLane = readOptions(place, slot) else { return }
      lane = wantedLane
    }
    if lane.requestCount == 0 {
      lane.begin()
      lanes.append(lane)
    }
    lane.requestCount += 1
    guard lane.isReady else {
      return refuse(place, lane.model, .unavailable, "model \"\(lane.model.name)\" is not ready: arm \"\(lane.armName)\" has not caught up with its update log")
    }
    if reader.request.pointee.output_count > 0, !checkOutputs(place, lane) { return }
    guard reader.request.pointee.values <= UInt64(slot.valuesMax), reader.request.pointee.rows <= UInt64(slot.rowsMax) else {
      return refuseSize(place, slot)
    }
    take(request, place, slot, lane)
  }

  /// Everything has been checked but the inputs.
  @inline(__always)
  private func take(_ request: UnsafeRawBufferPointer, _ place: UnsafeMutablePointer<BatchedRequest>, _ slot: ModelSlot, _ lane: ModelLane) {
    let message = reader.request
    let event = message.pointee.event
    let firstRow = lane.rows.rowCount
    let firstEntry = lane.rows.entryCount
    guard slot.rows.append(message, to: lane.rows) else { return refuse(place, lane.model, slot.rows.problem()) }
    place.pointee.lane = Unmanaged.passUnretained(lane)
    place.pointee.firstRow = Int32(truncatingIfNeeded: firstRow)
    let rows = lane.rows.rowCount - firstRow
    place.pointee.rowCount = Int32(truncatingIfNeeded: rows)
    rowCount += rows
    if lane.loaded == nil {
      valueCount += lane.rows.entryCount - firstEntry
    } else {
      valueCount += Int(message.pointee.values)
      costNanoseconds += Int64(rows) &* lane.nanosecondsPerRow
    }
    // What learns from nothing is told nothing.
    if sink != nil, lane.loaded == nil, event.id_length > 0, place.pointee.logs { keep(request, event, place) }
  }

  /// The answer carries the id.
  @inline(__always)
  private func takeID(_ place: UnsafeMutablePointer<BatchedRequest>) -> Bool {
    let count = Int(reader.request.pointee.event.id_length)
    guard count > 0 else { return true }
    let id = UnsafeRawBufferPointer(start: reader.request.pointee.event.id, count: count)
    guard mr_is_utf8(id.baseAddress?.assumingMemoryBound(to: UInt8.self), count) else {
      refuse(place, nil, .invalidArgument, "id: not valid UTF-8")
      return false
    }
    place.pointee.idStart = Int32(truncatingIfNeeded: ids.count)
    place.pointee.idLength = Int32(truncatingIfNeeded: count)
    ids.append(id)
    return true
  }

  private func begin() {
    beganNanoseconds = MonotonicClock.nanoseconds()
    refresh()
  }

  /// Takes the catalog as it is now, and lets go of models that are in it no more. Nothing while requests are in the batch: they are answered
  /// by what they were decoded for.
  public func refresh() {
    guard requestCount <= 1, lanes.isEmpty, catalog.generation != snapshot.generation else { return }
    snapshot = catalog.snapshot()
    makeSlots()
  }

  /// Slots of the models served now; those that were there before keep their buffers.
  private func makeSlots() {
    let old = slots
    slots = []
    for (index, model) in snapshot.models.enumerated() {
      let isNormal = snapshot.isNormal(index)
      let labels = snapshot.labels(of: index)
      let known = old.first { $0.model === model }
      known?.update(isNormal: isNormal, labels: labels)
      slots.append(known ?? ModelSlot(model: model, isNormal: isNormal, labels: labels, limits: limits))
    }
    lastSlot = 0
  }

  @inline(__always)
  private func findSlot(_ place: UnsafeMutablePointer<BatchedRequest>) -> ModelSlot? {
    if lastSlot < slots.count, slots[lastSlot].isMeant(by: reader.request) { return slots[lastSlot] }
    return findOtherSlot(place)
  }

  private func findOtherSlot(_ place: UnsafeMutablePointer<BatchedRequest>) -> ModelSlot? {
    for index in slots.indices where slots[index].isMeant(by: reader.request) {
      lastSlot = index
      return slots[index]
    }
    let request = reader.request.pointee
    let name = text(request.model_name, request.model_name_length)
    do {
      _ = try snapshot.find(name: name, version: text(request.model_version, request.model_version_length))
      refuse(place, nil, .notFound, "model \"\(clipped(name))\" is not served")
    } catch {
      refuse(place, nil, error.code, error.message)
    }
    return nil
  }

  /// What the parameters ask; the lane of the arm that they name.
  private func readOptions(_ place: UnsafeMutablePointer<BatchedRequest>, _ slot: ModelSlot) -> ModelLane? {
    var options = mr_infer_options()
    guard reader.read(options: &options) else {
      refuse(place, slot.model, reader.problem())
      return nil
    }
    place.pointee.logs = options.logs
    place.pointee.maxStalenessMilliseconds = options.max_staleness_ms
    if options.timeout_us > 0 {
      let (nanoseconds, overflow) = options.timeout_us.multipliedReportingOverflow(by: 1000)
      let (deadline, passed) = beganNanoseconds.addingReportingOverflow(nanoseconds)
      if !overflow && !passed { place.pointee.deadlineNanoseconds = min(place.pointee.deadlineNanoseconds, deadline) }
    }
    var lane = slot.lanes[0]
    if slot.model.loaded != nil, options.arm != nil || options.min_position != nil {
      let name = options.arm != nil ? "arm" : "min_position"
      refuse(
        place, slot.model, .invalidArgument,
        "parameters[\"\(name)\"]: model \"\(slot.model.name)\" comes from a bundle and learns nothing while it is served: it has versions, no arms and positions")
      return nil
    }
    // It is never behind.
    if slot.model.loaded != nil { place.pointee.maxStalenessMilliseconds = -1 }
    if let arm = options.arm {
      let name = UnsafeRawBufferPointer(start: arm, count: Int(options.arm_length))
      guard let named = slot.lane(named: name) else {
        refuse(
          place, slot.model, .invalidArgument,
          "parameters[\"arm\"]: model \"\(slot.model.name)\" has no arm \"\(clipped(text(arm, options.arm_length)))\"; it has \(slot.model.arms.map(\.name).joined(separator: ", "))")
        return nil
      }
      place.pointee.namesArm = true
      lane = named
    }
    if let position = options.min_position {
      let bytes = UnsafeRawBufferPointer(start: position, count: Int(options.min_position_length))
      guard readPosition(bytes, place, lane) else { return nil }
    }
    return lane
  }

  /// "12,7": one offset for each shard.
  private func readPosition(_ bytes: UnsafeRawBufferPointer, _ place: UnsafeMutablePointer<BatchedRequest>, _ lane: ModelLane) -> Bool {
    let start = wanted.count
    var value: Int64 = 0
    var hasDigit = false
    var isGood = bytes.count > 0
    for index in 0...bytes.count where isGood {
      if index == bytes.count || bytes[index] == UInt8(ascii: ",") {
        isGood = hasDigit && wanted.count - start < lane.shards
        wanted.append(value)
        value = 0
        hasDigit = false
        continue
      }
      let digit = bytes[index] &- UInt8(ascii: "0")
      let (tens, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, passed) = tens.addingReportingOverflow(Int64(digit))
      isGood = digit <= 9 && !overflow && !passed
      value = sum
      hasDigit = true
    }
    guard isGood, wanted.count - start == lane.shards else {
      wanted.removeLast(wanted.count - start)
      refuse(
        place, lane.model, .invalidArgument,
        "parameters[\"min_position\"]: expected \(lane.shards) offset\(lane.shards == 1 ? "" : "s") with commas between them, as a response's position is")
      return false
    }
    place.pointee.wantedStart = Int32(truncatingIfNeeded: start)
    return true
  }

  private static let outputName: StaticString = "score"

  /// Cold: more rows or values than the model takes.
  private func refuseSize(_ place: UnsafeMutablePointer<BatchedRequest>, _ slot: ModelSlot) {
    let request = reader.request.pointee
    if request.values > UInt64(slot.valuesMax) {
      var values: UInt64 = 0
      for index in 0..<Int(request.tensor_count) {
        guard let tensor = request.tensors?[index] else { continue }
        values += tensor.elements
        guard values > UInt64(slot.valuesMax) else { continue }
        let name = text(tensor.name, tensor.name_length)
        return refuse(
          place, slot.model, .invalidArgument,
          "inputs[\(index)] \"\(clipped(name))\": the request has more values than the bound (expected \(slot.valuesMax), found \(values))")
      }
    }
    refuse(
      place, slot.model, .invalidArgument,
      "the request has \(request.rows) rows; model \"\(slot.model.name)\" takes at most \(slot.rowsMax) in one (max_batch_size)")
  }

  /// Whether the model has the outputs that the request names; which they are, of a model from a bundle. Every other has one.
  private func checkOutputs(_ place: UnsafeMutablePointer<BatchedRequest>, _ lane: ModelLane) -> Bool {
    let request = reader.request.pointee
    let model = lane.model
    if let outputs = lane.outputs { return checkOutputs(place, model, outputs) }
    for index in 0..<Int(request.output_count) {
      guard let output = request.outputs?[index] else { continue }
      let name = UnsafeRawBufferPointer(start: output.name, count: Int(output.name_length))
      if name.count == Self.outputName.utf8CodeUnitCount, let base = name.baseAddress, memcmp(base, Self.outputName.utf8Start, name.count) == 0 {
        continue
      }
      refuse(
        place, model, .invalidArgument,
        "outputs[\(index)] \"\(clipped(text(output.name, output.name_length)))\": model \"\(model.name)\" has no such output; it has score")
      return false
    }
    return true
  }

  private func checkOutputs(_ place: UnsafeMutablePointer<BatchedRequest>, _ model: ServedModel, _ outputs: ModelOutputs) -> Bool {
    let request = reader.request.pointee
    var mask: UInt64 = 0
    for index in 0..<Int(request.output_count) {
      guard let output = request.outputs?[index] else { continue }
      guard let known = outputs.index(of: UnsafeRawBufferPointer(start: output.name, count: Int(output.name_length))) else {
        refuse(
          place, model, .invalidArgument,
          "outputs[\(index)] \"\(clipped(text(output.name, output.name_length)))\": model \"\(model.name)\" has no such output; it has \(model.metadata.outputs.map(\.name).joined(separator: ", "))")
        return false
      }
      mask |= 1 << UInt64(known)
    }
    place.pointee.outputs = mask
    return true
  }

  /// The sink is told after the answer, when the caller's bytes are gone.
  private func keep(_ request: UnsafeRawBufferPointer, _ event: mr_event, _ place: UnsafeMutablePointer<BatchedRequest>) {
    let base = UnsafeRawPointer(request.baseAddress)
    place.pointee.keptStart = kept.count
    place.pointee.keptLength = request.count
    if let base, let id = event.id { place.pointee.keptID = UnsafeRawPointer(id) - base }
    place.pointee.keptKeyLength = Int(event.key_length)
    if let base, let key = event.key, event.key_length > 0 { place.pointee.keptKey = UnsafeRawPointer(key) - base }
    kept.append(request)
  }

  private func grow() {
    let capacity = requestCapacity * 2
    let new = UnsafeMutablePointer<BatchedRequest>.allocate(capacity: capacity)
    new.initialize(from: requests, count: requestCount)
    requests.deallocate()
    requests = new
    requestCapacity = capacity
  }

  // MARK: Answering

  /// Scores and answers everything added since the batch was emptied.
  public func run() {
    precondition(!isRun, "the batch has been run: empty it first")
    isRun = true
    guard requestCount > 0 else { return }
    let ran = MonotonicClock.nanoseconds()
    var scored = ran
    for index in lanes.indices {
      let lane = lanes[index]
      lane.score(now: scored)
      let now = MonotonicClock.nanoseconds()
      lane.statistics.gatherNanoseconds = ran - beganNanoseconds
      lane.statistics.inferNanoseconds = now - scored
      scored = now
    }
    for index in 0..<requestCount { answer(requests + index, ran) }
    let ended = MonotonicClock.nanoseconds()
    let wall = WallClock.milliseconds()
    for index in lanes.indices {
      let lane = lanes[index]
      lane.statistics.outputNanoseconds = ended - scored
      lane.model.statistics.add(lane.statistics, nowMilliseconds: wall)
    }
    if let sink { tell(sink) }
  }

  /// Answers, in the order of `add`, after `run`.
  public var answerCount: Int { isRun ? requestCount : 0 }

  public func answer(_ index: Int) -> InferenceAnswer {
    precondition(isRun && index >= 0 && index < requestCount, "answer \(index) of \(answerCount)")
    let request = requests[index]
    return InferenceAnswer(
      token: request.token, code: request.code,
      bytes: UnsafeRawBufferPointer(start: output.pointer + request.answerStart, count: request.answerLength),
      id: UnsafeRawBufferPointer(start: ids.pointer + Int(request.idStart), count: Int(request.idLength)))
  }

  @inline(__always)
  private func answer(_ place: UnsafeMutablePointer<BatchedRequest>, _ now: Int64) {
    guard let lane = place.pointee.lane?._withUnsafeGuaranteedRef({ $0 }) else { return }
    guard lane.isScored, place.pointee.deadlineNanoseconds > now, place.pointee.wantedStart < 0, place.pointee.maxStalenessMilliseconds < 0
    else { return answerCarefully(place, lane, now) }
    encode(place, lane)
  }

  /// A request that asks for something, or cannot be answered.
  private func answerCarefully(_ place: UnsafeMutablePointer<BatchedRequest>, _ lane: ModelLane, _ now: Int64) {
    guard lane.isScored else {
      return refuse(
        place, lane.model, .unavailable, "the shards of model \"\(lane.model.name)\" stand in different epochs just now: try again",
        counting: .notReady)
    }
    guard place.pointee.deadlineNanoseconds > now else {
      return refuse(place, lane.model, .deadlineExceeded, "the deadline passed before the request was scored")
    }
    if place.pointee.wantedStart >= 0 {
      let start = Int(place.pointee.wantedStart)
      for shard in 0..<lane.shards where lane.positions[shard] < wanted[start + shard] {
        let asked = wanted[start..<start + lane.shards].map(String.init).joined(separator: ",")
        return refuse(
          place, lane.model, .failedPrecondition, "parameters[\"min_position\"]: \(asked) is asked for; arm \"\(lane.armName)\" stands at \(lane.positionText)",
          counting: .tooStale)
      }
    }
    let most = place.pointee.maxStalenessMilliseconds
    if most >= 0, lane.stalenessMilliseconds < 0 || lane.stalenessMilliseconds > most {
      let has = lane.stalenessMilliseconds < 0 ? "has not heard of its update log yet" : "is \(lane.stalenessMilliseconds) ms behind it at most"
      return refuse(
        place, lane.model, .unavailable, "parameters[\"max_staleness_ms\"]: \(most) is asked for; arm \"\(lane.armName)\" \(has)",
        counting: .tooStale)
    }
    encode(place, lane)
  }

  /// A ModelInferResponse.
  @inline(__always)
  private func encode(_ place: UnsafeMutablePointer<BatchedRequest>, _ lane: ModelLane) {
    let start = output.count
    output.append(lane.names.bytes)
    if place.pointee.idLength > 0 {
      output.appendField(3, bytes: UnsafeRawBufferPointer(start: ids.pointer + Int(place.pointee.idStart), count: Int(place.pointee.idLength)))
    }
    output.append(lane.parameters.bytes)
    if place.pointee.namesArm { output.append(lane.armParameter.bytes) }
    let rows = Int(place.pointee.rowCount)
    if let outputs = lane.outputs {
      lane.append(outputs, mask: place.pointee.outputs, first: Int(place.pointee.firstRow), rows: rows, to: output)
      return finish(place, lane, start, rows)
    }
    if rows == 1 { output.append(oneRowOutput.bytes) } else { Self.appendOutputTensor(rows: rows, to: output) }
    output.appendField(6, bytes: UnsafeRawBufferPointer(start: lane.scores + Int(place.pointee.firstRow), count: rows * 4))
    finish(place, lane, start, rows)
  }

  @inline(__always)
  private func finish(_ place: UnsafeMutablePointer<BatchedRequest>, _ lane: ModelLane, _ start: Int, _ rows: Int) {
    place.pointee.code = .ok
    place.pointee.answerStart = start
    place.pointee.answerLength = output.count - start
    lane.statistics.requests += 1
    lane.statistics.rows += rows
  }

  private static func appendOutputTensor(rows: Int, to output: OutputBuffer) {
    let tensor = output.beginMessage(5)
    output.appendField(1, text: outputName)
    output.appendField(2, text: "FP32")
    let shape = output.beginMessage(3)
    output.appendVarint(UInt64(rows))
    output.appendVarint(1)
    output.endMessage(shape)
    output.endMessage(tensor)
  }

  private func tell(_ sink: ServedRequestSink) {
    for index in 0..<requestCount where requests[index].keptLength > 0 && requests[index].code == .ok {
      let request = requests[index]
      let bytes = UnsafeRawBufferPointer(start: kept.pointer + request.keptStart, count: request.keptLength)
      let id = UnsafeRawBufferPointer(rebasing: bytes[request.keptID..<request.keptID + Int(request.idLength)])
      let key = request.keptKeyLength > 0 ? UnsafeRawBufferPointer(rebasing: bytes[request.keptKey..<request.keptKey + request.keptKeyLength]) : id
      sink.served(request: bytes, id: id, key: key, rows: Int(request.rowCount))
    }
  }

  // MARK: Refusing: cold

  private static let messageBytesMax = 2048

  private func refuse(_ place: UnsafeMutablePointer<BatchedRequest>, _ model: ServedModel?, _ problem: EventProblem) {
    let message = problem.field.isEmpty ? problem.message : "\(problem.field): \(problem.message)"
    switch problem.reason {
    case .sharedMemory: refuse(place, model, .unimplemented, message)
    case .noMemory: refuse(place, model, .resourceExhausted, message)
    default: refuse(place, model, .invalidArgument, message)
    }
  }

  private func refuse(
    _ place: UnsafeMutablePointer<BatchedRequest>, _ model: ServedModel?, _ code: RPCCode, _ message: String,
    counting failure: InferenceStatistics.Failure? = nil
  ) {
    place.pointee.lane = nil
    place.pointee.code = code
    place.pointee.answerStart = output.count
    output.append(message.utf8.count <= Self.messageBytesMax ? message : message.prefix(Self.messageBytesMax / 4) + "…")
    place.pointee.answerLength = output.count - place.pointee.answerStart
    guard let model else { return }
    let reason: InferenceStatistics.Failure =
      switch code {
      case .deadlineExceeded: .deadline
      case .unavailable: .notReady
      case .resourceExhausted: .rejected
      default: .invalid
      }
    model.statistics.fail(failure ?? reason, nanoseconds: MonotonicClock.nanoseconds() - beganNanoseconds)
  }

  private func text(_ bytes: UnsafePointer<CChar>?, _ count: UInt32) -> String {
    String(decoding: UnsafeRawBufferPointer(start: bytes, count: Int(count)), as: UTF8.self)
  }
}

/// One request of a batch.
struct BatchedRequest {
  var token: UInt64
  var deadlineNanoseconds: Int64
  /// What scores it; nil for one that was refused. The batch's slots hold it.
  var lane: Unmanaged<ModelLane>?
  var firstRow: Int32 = 0
  var rowCount: Int32 = 0
  var idStart: Int32 = 0
  var idLength: Int32 = 0
  /// Into the batch's `wanted`; -1: no position is asked for.
  var wantedStart: Int32 = -1
  var namesArm = false
  /// Of a model from a bundle: those asked for, a bit for each.
  var outputs = UInt64.max
  var logs = true
  var code = RPCCode.unknown
  /// -1: any.
  var maxStalenessMilliseconds: Int64 = -1
  var answerStart = 0
  var answerLength = 0
  /// Of the copy that the sink gets: 0 bytes, none.
  var keptStart = 0
  var keptLength = 0
  var keptID = 0
  var keptKey = 0
  var keptKeyLength = 0

  init(token: UInt64, deadlineNanoseconds: Int64) {
    self.token = token
    self.deadlineNanoseconds = deadlineNanoseconds
  }
}
