// Hot: no allocation, existential, String, await or Foundation per request in the steady state.
internal import CMessages
internal import Events
internal import Glibc
internal import Model
internal import Serving

/// One served model on one event loop: its name as bytes, and what turns its requests into rows.
final class ModelSlot {
  let model: ServedModel
  /// Requests without a version mean the newest.
  let isNewest: Bool
  let rows: TensorRows
  /// By the model's arms.
  let lanes: [ModelLane]
  private let name = OutputBuffer(capacity: 64)
  private let version = OutputBuffer(capacity: 64)

  init(model: ServedModel, isNewest: Bool, limits: InferenceLimits) {
    self.model = model
    self.isNewest = isNewest
    rows = TensorRows(specification: model.specification, inputsMax: limits.inputsMax, unknownInputs: .refused)
    lanes = model.arms.map { ModelLane(model: model, arm: $0) }
    name.append(model.name)
    version.append(model.version)
  }

  /// Whether the request means this model.
  @inline(__always)
  func isMeant(by request: UnsafePointer<mr_infer_request>) -> Bool {
    guard Self.isEqual(name, request.pointee.model_name, request.pointee.model_name_length) else { return false }
    return request.pointee.model_version_length == 0
      ? isNewest : Self.isEqual(version, request.pointee.model_version, request.pointee.model_version_length)
  }

  /// The lane of the arm with this name; nil when there is none.
  func lane(named bytes: UnsafeRawBufferPointer) -> ModelLane? {
    lanes.first { lane in lane.arm.name.utf8.elementsEqual(bytes) }
  }

  @inline(__always)
  private static func isEqual(_ own: OutputBuffer, _ bytes: UnsafePointer<CChar>?, _ count: UInt32) -> Bool {
    guard own.count == Int(count), let bytes else { return false }
    return memcmp(own.pointer, bytes, own.count) == 0
  }
}
