internal import Bundles
internal import Model

/// Where tensors lie whose contents are not in the model's own bytes (TensorProto.external_data).
class TensorSource {
  init() {}
  /// `byteCount` bytes and what keeps them.
  func bytes(_ keys: [String: String], element: TensorElement, sizes: [Int], byteCount: Int, place: String) throws(ONNXError) -> (UnsafeRawBufferPointer, AnyObject) {
    throw ONNXError(place: place, reason: "its contents lie in another file (external data), which bytes alone do not give")
  }
}

/// Large initializers of a model in a bundle: sections of their own, aligned and mapped.
final class BundleTensors: TensorSource {
  private let bundle: ModelBundle
  init(_ bundle: ModelBundle) { self.bundle = bundle }

  override func bytes(
    _ keys: [String: String], element: TensorElement, sizes: [Int], byteCount: Int, place: String
  ) throws(ONNXError) -> (UnsafeRawBufferPointer, AnyObject) {
    guard let name = keys["location"] else { throw ONNXError(place: place, reason: "names no section") }
    do throws(BundleError) {
      let section = try bundle.section(name)
      if element == .float32, let floats = try NarrowTensor.read(section, sizes: sizes, from: bundle) {
        return (UnsafeRawBufferPointer(start: floats.pointer, count: byteCount), floats)
      }
      guard section.element == element, section.shape == sizes, section.byteCount == byteCount else {
        throw BundleError(place: "section \"\(name)\"", reason: "\(section.element.datatype) \(section.shape) where \(element.datatype) \(sizes) is due")
      }
      return (try bundle.bytes(name), bundle)
    } catch {
      throw ONNXError(place: place, reason: error.description)
    }
  }
}
