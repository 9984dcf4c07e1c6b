import CMessages
import Endpoint
import Events
import Model
import RPC
import Serving
import Telemetry
import UpdateLog

private let specification = ModelSpecification(
  name: "fuzz", version: 1, family: .linear(loss: .logistic),
  features: [
    .categorical("carrier"), .categorical("flight", lowercase: true), .categorical("tags", valuesMax: 8), .numeric("temp"), .numeric("wind"),
    .vector("x", size: 3),
  ],
  crosses: [Cross(["carrier", "tags"])], shards: 2)

/// What a request says, as one number: every slice is touched and every value read.
private func digest(_ request: mr_infer_request) -> UInt64 {
  var sum: UInt64 = request.rows
  func add(_ text: UnsafePointer<CChar>?, _ count: UInt32) {
    sum = sum &* 31 &+ UInt64(count)
    for byte in UnsafeRawBufferPointer(start: text, count: Int(count)) { sum = sum &* 31 &+ UInt64(byte) }
  }
  add(request.model_name, request.model_name_length)
  add(request.model_version, request.model_version_length)
  add(request.event.id, request.event.id_length)
  add(request.event.key, request.event.key_length)
  for index in 0..<Int(request.parameter_count) {
    guard let parameter = request.parameters?[index] else { continue }
    add(parameter.name, parameter.name_length)
    if parameter.kind == UInt8(MR_PARAMETER_STRING.rawValue) { add(parameter.text, parameter.text_length) }
  }
  for index in 0..<Int(request.output_count) {
    guard let output = request.outputs?[index] else { continue }
    add(output.name, output.name_length)
  }
  guard let tensors = request.tensors else { return sum }
  var field = mr_field()
  for index in 0..<Int(request.tensor_count) {
    add(tensors[index].name, tensors[index].name_length)
    for _ in 0..<request.rows * tensors[index].columns {
      field.kind = UInt8(MR_KIND_ABSENT.rawValue)
      mr_tensor_next(tensors + index, &field)
      sum = sum &* 31 &+ UInt64(field.kind)
      switch mr_kind(UInt32(field.kind)) {
      case MR_KIND_TEXT: add(field.text, field.text_length)
      case MR_KIND_NUMBER: sum = sum &* 31 &+ field.number.bitPattern
      case MR_KIND_INTEGER, MR_KIND_FLAG, MR_KIND_UNSIGNED: sum = sum &* 31 &+ UInt64(bitPattern: field.integer)
      default: check(false, "a value of kind \(field.kind)")
      }
    }
  }
  return sum
}

/// A reader that has seen many requests reads each as a new one does, the first time and again.
func inferRequests() -> (UnsafeRawBufferPointer) -> Void {
  let limits = EventLimits(valuesMax: 1 << 14)
  let seasoned = InferRequestReader(limits: limits, inputsMax: 256)
  return { input in
    let fresh = InferRequestReader(limits: limits, inputsMax: 256)
    let isRead = fresh.read(input)
    let expected = isRead ? digest(fresh.request.pointee) : 0
    for _ in 0..<2 {
      guard seasoned.read(input) else {
        check(!isRead, "a reader that remembers refuses what a new one reads: \(seasoned.problem())")
        check(!seasoned.problem().message.isEmpty, "a problem without words")
        return
      }
      check(isRead, "a reader that remembers takes what a new one refuses: \(fresh.problem())")
      check(digest(seasoned.request.pointee) == expected, "a reader that remembers reads something else")
      var options = mr_infer_options()
      if !seasoned.read(options: &options) { check(!seasoned.problem().message.isEmpty, "a problem without words") }
    }
  }
}

/// Every request of a run is answered once: what was refused with words, what was scored with a response that can be read; and a good
/// request beside it is not disturbed.
func inferenceBatch() -> (UnsafeRawBufferPointer) -> Void {
  let set = ReplicaSet(specification: specification)
  let arm = Arm(name: "online", set: set, isReady: { true })
  let catalog = ModelCatalog([ServedModel(specification: specification, arms: [arm], registry: Registry())])
  let batch = InferenceBatch(catalog: catalog, limits: InferenceLimits(valuesMax: 1 << 14))
  let good = Seeds.inferRequests[0]
  let reader = PredictionReader()
  return { input in
    good.withUnsafeBytes { batch.add($0, token: 1) }
    for token in 2...3 as ClosedRange<UInt64> { batch.add(input, token: token) }
    good.withUnsafeBytes { batch.add($0, token: 4) }
    batch.run()
    check(batch.answerCount == 4, "\(batch.answerCount) answers")
    for index in 0..<batch.answerCount {
      let answer = batch.answer(index)
      check(answer.token == UInt64(index + 1), "an answer out of order")
      check(answer.bytes.count > 0, "an answer without bytes")
      if index == 0 || index == 3 { check(answer.code == .ok, "a good request was refused: \(answer.bytes.map { $0 })") }
      check(batch.answer(1).code == batch.answer(2).code, "another answer to the same request")
      if answer.code == .ok { _ = reader.read(answer.bytes) }
    }
    batch.removeAll()
  }
}
