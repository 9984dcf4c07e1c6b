// Hot: no allocation, existential, String, await or Foundation per request in the steady state.
internal import CMessages
internal import Events
internal import Glibc
internal import Model
internal import ModelStore
internal import Serving

/// One served model on one event loop: its name as bytes, and what turns its requests into rows.
final class ModelSlot {
  let model: ServedModel
  /// Requests without a version mean this one.
  @exclusivity(unchecked) private(set) var isNormal: Bool
  let rows: TensorRows
  /// By the model's arms; of a model from a bundle one.
  let lanes: [ModelLane]
  private let name = OutputBuffer(capacity: 64)
  private let version = OutputBuffer(capacity: 64)
  /// What the version is called besides.
  @exclusivity(unchecked) private var labels: [OutputBuffer] = []
  /// Values that a request may have over all inputs and rows, and rows.
  let valuesMax: Int
  let rowsMax: Int

  init(model: ServedModel, isNormal: Bool, labels: [String], limits: InferenceLimits) {
    self.model = model
    self.isNormal = isNormal
    valuesMax = model.loaded == nil ? limits.valuesMax : LoadedVersion.requestElementsMax
    rowsMax = model.loaded?.maxBatchSize ?? .max
    rows = TensorRows(specification: model.specification, inputsMax: limits.inputsMax, unknownInputs: .refused)
    lanes = model.loaded.map { [ModelLane(model: model, loaded: $0)] } ?? model.arms.map { ModelLane(model: model, arm: $0) }
    name.append(model.name)
    version.append(model.version)
    update(isNormal: isNormal, labels: labels)
  }

  /// The catalog says anew which requests mean the model.
  func update(isNormal: Bool, labels: [String]) {
    self.isNormal = isNormal
    self.labels = labels.map { label in
      let bytes = OutputBuffer(capacity: 64)
      bytes.append(label)
      return bytes
    }
  }

  /// Whether the request means this model.
  @inline(__always)
  func isMeant(by request: UnsafePointer<mr_infer_request>) -> Bool {
    guard Self.isEqual(name, request.pointee.model_name, request.pointee.model_name_length) else { return false }
    let length = request.pointee.model_version_length
    if length == 0 { return isNormal }
    if Self.isEqual(version, request.pointee.model_version, length) { return true }
    for index in labels.indices where Self.isEqual(labels[index], request.pointee.model_version, length) { return true }
    return false
  }

  /// The lane of the arm with this name; nil when there is none.
  func lane(named bytes: UnsafeRawBufferPointer) -> ModelLane? {
    lanes.first { lane in lane.arm.map { $0.name.utf8.elementsEqual(bytes) } ?? false }
  }

  @inline(__always)
  private static func isEqual(_ own: OutputBuffer, _ bytes: UnsafePointer<CChar>?, _ count: UInt32) -> Bool {
    guard own.count == Int(count), let bytes else { return false }
    return memcmp(own.pointer, bytes, own.count) == 0
  }
}
