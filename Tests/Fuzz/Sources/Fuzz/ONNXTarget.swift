import Families
import Model
import ONNX

/// A model file: read, checked, inferred, folded, planned, and run on rows of zeros and of large numbers. Refusals name a place.
func onnxModels() -> (UnsafeRawBufferPointer) -> Void {
  return { input in
    guard input.count < 1 << 16 else { return }
    do throws(ONNXError) {
      let model = try ONNXGraphModel(model: try ONNXModel.read(input))
      check(!model.outputs.isEmpty, "a model without outputs was taken")
      guard model.denseRowBytes < 1 << 20, model.outputs.allSatisfy({ $0.count < 1 << 16 }) else { return }
      let batch = model.makeBatch(rowCapacity: 3)
      for value in [0, 1, 0x7F] as [UInt8] {
        if model.denseRowBytes > 0 { batch.reserveDenseRow().initializeMemory(as: UInt8.self, repeating: value, count: model.denseRowBytes) }
        batch.endRow()
      }
      model.makeScorer(rowsMax: 2).score(batch)
    } catch {
      check(!error.place.isEmpty && !error.reason.isEmpty, "refused without a place or a reason")
    }
  }
}
