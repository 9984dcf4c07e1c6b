internal import Events
internal import RPC

/// An inference.ModelInferResponse as REST writes it: a JSON object, and behind it the tensors that were asked for in binary.
struct RESTInferResponse {
  private(set) var body: [UInt8]
  /// How many bytes of the body are JSON; nil: all.
  private(set) var jsonBytes: Int?

  private struct Output {
    var name = ""
    var datatype = ""
    var shape: [Int64] = []
  }

  /// - Throws: what the message is not, which would be our own mistake.
  init(_ message: UnsafeRawBufferPointer, forms: RESTInferRequest.OutputForms) throws(RPCStatus) {
    var model = ""
    var version = ""
    var id = ""
    var parameters: [(String, ArraySlice<UInt8>)] = []
    var outputs: [Output] = []
    var raws: [ArraySlice<UInt8>] = []
    var reader = ProtobufReader(Array(message), of: "ModelInferResponse")
    while let (number, value) = try reader.next() {
      switch number {
      case 1: model = try reader.text(value, "model_name")
      case 2: version = try reader.text(value, "model_version")
      case 3: id = try reader.text(value, "id")
      case 4: parameters.append(try mapEntry(try reader.bytes(value, "parameters"), of: "ModelInferResponse.parameters"))
      case 5: outputs.append(try Self.output(try reader.bytes(value, "outputs")))
      case 6: raws.append(try reader.bytes(value, "raw_output_contents"))
      default: break
      }
    }
    guard raws.count == outputs.count else { throw RPCStatus(.internal, "\(outputs.count) outputs have \(raws.count) contents") }
    let json = OutputBuffer()
    json.append("{\"model_name\":")
    json.appendJSON(model)
    json.append(",\"model_version\":")
    json.appendJSON(version)
    if !id.isEmpty {
      json.append(",\"id\":")
      json.appendJSON(id)
    }
    if !parameters.isEmpty {
      json.append(",\"parameters\":{")
      for (index, (name, value)) in parameters.enumerated() {
        if index > 0 { json.append(",") }
        json.appendJSON(name)
        json.append(":")
        try Self.write(parameter: value, to: json)
      }
      json.append("}")
    }
    json.append(",\"outputs\":[")
    var binary: [UInt8] = []
    var hasBinary = false
    for (index, (output, raw)) in zip(outputs, raws).enumerated() {
      json.append(index > 0 ? ",{\"name\":" : "{\"name\":")
      json.appendJSON(output.name)
      json.append(",\"datatype\":")
      json.appendJSON(output.datatype)
      json.append(",\"shape\":")
      ControlMessage.writeList(output.shape, to: json) { json.appendDecimal($0) }
      if forms.isBinary(output.name) {
        json.append(",\"parameters\":{\"binary_data_size\":")
        json.appendDecimal(Int64(raw.count))
        json.append("}}")
        binary += raw
        hasBinary = true
      } else {
        json.append(",\"data\":")
        guard raw.withUnsafeBytes({ TensorElements.write($0, datatype: output.datatype, to: json) }) else {
          throw RPCStatus(.internal, "outputs \"\(output.name)\": \(output.datatype) of \(raw.count) bytes cannot be written as JSON")
        }
        json.append("}")
      }
    }
    json.append("]}")
    jsonBytes = hasBinary ? json.count : nil
    body = Array(json.bytes) + binary
  }

  private static func output(_ bytes: ArraySlice<UInt8>) throws(RPCStatus) -> Output {
    var output = Output()
    var reader = ProtobufReader(bytes, of: "ModelInferResponse.outputs")
    while let (number, value) = try reader.next() {
      switch number {
      case 1: output.name = try reader.text(value, "name")
      case 2: output.datatype = try reader.text(value, "datatype")
      case 3: output.shape += try reader.numbers(value, "shape").map { Int64(bitPattern: $0) }
      default: break
      }
    }
    return output
  }

  private static func write(parameter: ArraySlice<UInt8>, to json: OutputBuffer) throws(RPCStatus) {
    var reader = ProtobufReader(parameter, of: "ModelInferResponse.parameters")
    // The member of a oneof that comes last counts.
    var last: (number: UInt32, value: ProtobufReader.Value)?
    while let field = try reader.next() { last = field }
    switch last {
    case (1, let value)?: json.append(try reader.number(value, "bool_param") != 0 ? "true" : "false")
    case (2, let value)?: json.appendDecimal(Int64(bitPattern: try reader.number(value, "int64_param")))
    case (3, let value)?: json.appendJSON(try reader.text(value, "string_param"))
    case (4, .fixed64(let bits))?: json.appendDecimal(Double(bitPattern: bits))
    case (5, let value)?: json.append(String(try reader.number(value, "uint64_param")))
    default: json.append("null")
    }
  }
}
