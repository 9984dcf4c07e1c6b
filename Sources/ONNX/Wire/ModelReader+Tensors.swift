internal import Model

extension ModelReader {
  /// TensorProto. Contents are borrowed when they lie there as bytes.
  func tensor(_ bytes: UnsafeRawBufferPointer, place: String) throws(ONNXError) -> (name: String, tensor: ConstantTensor) {
    var reader = ProtobufReader(bytes, place: place)
    var name = ""
    var sizes: [Int] = []
    var code = 0
    var raw: UnsafeRawBufferPointer?
    var floats: [Float] = []
    var packedFloats: UnsafeRawBufferPointer?
    var packedDoubles: UnsafeRawBufferPointer?
    var ints: [Int] = []
    var doubles: [Double] = []
    var strings: [UnsafeRawBufferPointer] = []
    var keys: [String: String] = [:]
    var isExternal = false
    while let field = try reader.next() {
      switch field.number {
      case 1: try reader.ints(field, into: &sizes)
      case 2: code = try reader.int(field)
      case 3: throw ONNXError(place: place, reason: "tensors in segments are not supported")
      case 4:
        if field.wire == 2, packedFloats == nil, floats.isEmpty {
          packedFloats = try reader.bytes(field)
        } else {
          guard packedFloats == nil else { throw reader.error("float_data in several pieces") }
          try reader.floats(field, into: &floats)
        }
      case 5, 7, 11: try reader.ints(field, into: &ints)
      case 6: strings.append(try reader.bytes(field))
      case 8: name = try reader.string(field)
      case 9: raw = try reader.bytes(field)
      case 10:
        if field.wire == 2, packedDoubles == nil, doubles.isEmpty {
          packedDoubles = try reader.bytes(field)
        } else {
          guard packedDoubles == nil else { throw reader.error("double_data in several pieces") }
          try reader.doubles(field, into: &doubles)
        }
      case 13:
        let (key, value) = try pair(try reader.bytes(field), place: place)
        keys[key] = value
      case 14: isExternal = try reader.int(field) == 1
      default: try reader.skip(field)
      }
    }
    let where_ = name.isEmpty ? place : "tensor \"\(name)\""
    func error(_ reason: String) -> ONNXError { ONNXError(place: where_, reason: reason) }

    guard let element = TensorElement(onnx: code) else { throw error("data type \(code) is not supported") }
    guard sizes.count <= ONNXLimits.rankMax else { throw error("\(sizes.count) dimensions, of at most \(ONNXLimits.rankMax)") }
    var count = 1
    for size in sizes {
      let (product, overflow) = count.multipliedReportingOverflow(by: size)
      guard size >= 0, !overflow, product <= ONNXLimits.elementsMax else { throw error("shape \(sizes)") }
      count = product
    }
    // At most 2^33 * 8.
    let byteCount = count * element.bytes

    if isExternal {
      guard let external else { throw error("its contents lie in another file (external data), which bytes alone do not give") }
      let (found, keeper) = try external.bytes(keys, element: element, sizes: sizes, byteCount: byteCount, place: where_)
      return (name, ConstantTensor(element: element, sizes: sizes, bytes: found, owner: keeper))
    }
    if element == .text {
      guard strings.count == count else { throw error("\(strings.count) strings for shape \(sizes)") }
      return (name, ConstantTensor(strings.map { texts.add(Array($0)) }, element: .text, sizes: sizes))
    }
    if let raw, raw.count > 0 || count == 0 {
      guard raw.count == byteCount else { throw error("\(raw.count) bytes for shape \(sizes) of \(element.onnxName)") }
      return (name, ConstantTensor(element: element, sizes: sizes, bytes: raw, owner: owner))
    }
    switch element {
    case .float32:
      if let packedFloats {
        guard packedFloats.count == byteCount else { throw error("\(packedFloats.count) bytes for shape \(sizes)") }
        return (name, ConstantTensor(element: element, sizes: sizes, bytes: packedFloats, owner: owner))
      }
      guard floats.count == count else { throw error("\(floats.count) floats for shape \(sizes)") }
      return (name, ConstantTensor(floats, element: element, sizes: sizes))
    case .float64:
      if let packedDoubles {
        guard packedDoubles.count == byteCount else { throw error("\(packedDoubles.count) bytes for shape \(sizes)") }
        return (name, ConstantTensor(element: element, sizes: sizes, bytes: packedDoubles, owner: owner))
      }
      guard doubles.count == count else { throw error("\(doubles.count) doubles for shape \(sizes)") }
      return (name, ConstantTensor(doubles, element: element, sizes: sizes))
    default:
      guard ints.count == count else { throw error("\(ints.count) integers for shape \(sizes)") }
      switch element.bytes {
      case 1: return (name, ConstantTensor(ints.map { UInt8(truncatingIfNeeded: $0) }, element: element, sizes: sizes))
      case 2: return (name, ConstantTensor(ints.map { UInt16(truncatingIfNeeded: $0) }, element: element, sizes: sizes))
      case 4: return (name, ConstantTensor(ints.map { UInt32(truncatingIfNeeded: $0) }, element: element, sizes: sizes))
      default: return (name, ConstantTensor(ints.map { UInt64(truncatingIfNeeded: $0) }, element: element, sizes: sizes))
      }
    }
  }
}
