internal import Bundles
internal import Model

/// Weights of layers in bundles of models in int8 or bfloat16: `<section>` as int8 with `<section>.scales`, one for each output and of the
/// shape that multiplies it ([outputs, 1] or [1, outputs]), or as bfloat16. They are read back as single precision.
enum NarrowTensor {
  /// - Parameter axis: of the outputs.
  static func write(_ tensor: ConstantTensor, axis: Int, name: String, isInt8: Bool, into writer: BundleWriter) {
    let values = tensor.elements(Float.self)
    guard isInt8 else {
      writer.add(name, element: .bfloat16, shape: tensor.sizes, values.map { value -> UInt16 in
        let bits = value.bitPattern
        return value.isNaN ? 0x7FC0 : UInt16(truncatingIfNeeded: (bits &+ 0x7FFF &+ (bits >> 16 & 1)) >> 16)
      })
      return
    }
    let (rows, columns) = (tensor.sizes[0], tensor.sizes[1])
    var scales = [Float](repeating: 0, count: tensor.sizes[axis])
    for row in 0..<rows {
      for column in 0..<columns {
        let output = axis == 0 ? row : column
        scales[output] = max(scales[output], abs(values[row * columns + column]))
      }
    }
    for output in scales.indices { scales[output] = scales[output].isNormal ? scales[output] / 127 : 1 }
    var narrow = [Int8](repeating: 0, count: values.count)
    for row in 0..<rows {
      for column in 0..<columns {
        let place = row * columns + column
        let quotient = (values[place] / scales[axis == 0 ? row : column]).rounded(.toNearestOrEven)
        narrow[place] = quotient.isFinite ? Int8(clamping: Int(quotient)) : 0
      }
    }
    writer.add(name, element: .int8, shape: tensor.sizes, narrow)
    writer.add("\(name).scales", element: .float32, shape: axis == 0 ? [rows, 1] : [1, columns], scales)
  }

  /// Nil when the section is no narrow form of single precision.
  static func read(_ section: BundleSection, sizes: [Int], from bundle: ModelBundle) throws(BundleError) -> AlignedMemory? {
    guard section.element == .int8 || section.element == .bfloat16, section.shape == sizes, sizes.count == 2 else { return nil }
    // The section is in memory, so four times its bytes are no surprise.
    let memory = AlignedMemory(byteCount: sizes[0] * sizes[1] * 4)
    let out = memory.pointer.assumingMemoryBound(to: Float.self)
    if section.element == .bfloat16 {
      let values = try bundle.array(section.name, of: UInt16.self)
      for place in values.indices { out[place] = Float(bitPattern: UInt32(values[place]) << 16) }
      return memory
    }
    let scalesName = "\(section.name).scales"
    let shape = try bundle.section(scalesName).shape
    guard shape == [sizes[0], 1] || shape == [1, sizes[1]] else {
      throw BundleError(place: "section \"\(scalesName)\"", reason: "the shape \(shape) does not scale \(sizes)")
    }
    let scales = try bundle.tensor(scalesName, of: Float.self, element: .float32, shape: shape)
    let values = try bundle.array(section.name, of: Int8.self)
    let isByRow = shape[0] == sizes[0] && shape[1] == 1
    for row in 0..<sizes[0] {
      for column in 0..<sizes[1] {
        let place = row * sizes[1] + column
        out[place] = Float(values[place]) * scales[isByRow ? row : column]
      }
    }
    return memory
  }
}
