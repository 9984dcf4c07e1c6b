internal import Model

extension ModelReader {
  /// ValueInfoProto.
  func value(_ bytes: UnsafeRawBufferPointer, place: String) throws(ONNXError) -> ValueDefinition {
    var reader = ProtobufReader(bytes, place: place)
    var value = ValueDefinition()
    while let field = try reader.next() {
      switch field.number {
      case 1: value.name = try reader.string(field)
      case 2: try type(try reader.bytes(field), place: place, into: &value)
      default: try reader.skip(field)
      }
    }
    return value
  }

  /// TypeProto.
  private func type(_ bytes: UnsafeRawBufferPointer, place: String, into value: inout ValueDefinition) throws(ONNXError) {
    var reader = ProtobufReader(bytes, place: place + ".type")
    while let field = try reader.next() {
      switch field.number {
      case 1:
        value.kind = "tensor"
        try tensorType(try reader.bytes(field), place: place, into: &value)
      case 4, 5, 7, 8, 9:
        try reader.skip(field)
        value.kind = [4: "sequence", 5: "map", 7: "opaque", 8: "sparse tensor", 9: "optional"][field.number] ?? "other"
      default: try reader.skip(field)
      }
    }
  }

  private func tensorType(_ bytes: UnsafeRawBufferPointer, place: String, into value: inout ValueDefinition) throws(ONNXError) {
    var reader = ProtobufReader(bytes, place: place + ".tensor_type")
    while let field = try reader.next() {
      switch field.number {
      case 1:
        let code = try reader.int(field)
        value.element = TensorElement(onnx: code)
        if value.element == nil { value.kind = "tensor of data type \(code)" }
      case 2:
        var shape = ProtobufReader(try reader.bytes(field), place: place + ".shape")
        var sizes: [ValueDefinition.Size] = []
        while let dimension = try shape.next() {
          if dimension.number == 1 {
            sizes.append(try size(try shape.bytes(dimension), place: place))
            guard sizes.count <= 64 else { throw shape.error("more than 64 dimensions") }
          } else {
            try shape.skip(dimension)
          }
        }
        value.sizes = sizes
      default: try reader.skip(field)
      }
    }
  }

  private func size(_ bytes: UnsafeRawBufferPointer, place: String) throws(ONNXError) -> ValueDefinition.Size {
    var reader = ProtobufReader(bytes, place: place + ".dim")
    var size = ValueDefinition.Size.unknown
    while let field = try reader.next() {
      switch field.number {
      case 1:
        let number = try reader.int(field)
        // Some exporters write 0 or -1 for what they do not know.
        size = number > 0 || number == 0 ? .fixed(number) : .unknown
      case 2:
        let name = try reader.string(field)
        size = name.isEmpty ? .unknown : .named(name)
      default: try reader.skip(field)
      }
    }
    return size
  }
}
