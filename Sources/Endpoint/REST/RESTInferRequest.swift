internal import RPC

/// The body of a request to …/infer, turned into the bytes of an inference.ModelInferRequest, so that REST and gRPC are one path with one
/// validation. What is checked here is what has no place in that message: the JSON, and how the binary part is cut.
struct RESTInferRequest {
  /// The header that says how many bytes of a body are JSON; the rest is binary.
  static let jsonBytesHeader = "Inference-Header-Content-Length"

  /// An inference.ModelInferRequest, every input raw.
  private(set) var message: [UInt8]
  /// How the answer's tensors are to travel.
  private(set) var forms = OutputForms()

  struct OutputForms: Equatable {
    var isBinaryByDefault = false
    var isBinary: [String: Bool] = [:]

    func isBinary(_ output: String) -> Bool { isBinary[output] ?? isBinaryByDefault }
  }

  /// - Parameters:
  ///   - body: JSON, then the binary tensors one after another in the order of the inputs. Borrowed until the return.
  ///   - jsonBytes: how many of the body are JSON; nil: all.
  /// - Throws: INVALID_ARGUMENT that names the field.
  init(body: UnsafeRawBufferPointer, jsonBytes: Int?, model: String, version: String, limits: InferenceLimits) throws(RPCStatus) {
    let jsonBytes = jsonBytes ?? body.count
    guard jsonBytes >= 0, jsonBytes <= body.count else {
      throw RPCStatus(.invalidArgument, "\(Self.jsonBytesHeader): \(jsonBytes) is not within the body of \(body.count) bytes")
    }
    guard jsonBytes > 0 else { throw RPCStatus(.invalidArgument, "the body is empty: a JSON object with \"inputs\" is expected") }
    var cursor = try JSONCursor(UnsafeRawBufferPointer(rebasing: body[..<jsonBytes]))
    var parts = Parts(binary: UnsafeRawBufferPointer(rebasing: body[jsonBytes...]), limits: limits)
    try parts.read(&cursor)
    try cursor.end()
    guard parts.binary.isEmpty else {
      throw RPCStatus(
        .invalidArgument, "\(parts.binary.count) bytes follow the last binary tensor: the inputs' binary_data_size do not add up to the body")
    }
    forms = parts.forms
    var writer = ProtobufWriter()
    writer.text(1, model)
    if !version.isEmpty { writer.text(2, version) }
    message = writer.bytes + parts.head.bytes + parts.contents.bytes
  }

  /// What has been read.
  private struct Parts {
    /// Binary tensors that no input has taken yet.
    var binary: UnsafeRawBufferPointer
    let limits: InferenceLimits
    var forms = OutputForms()
    /// Everything but the raw contents, which follow.
    var head = ProtobufWriter()
    var contents = ProtobufWriter()
    private var elements = 0

    init(binary: UnsafeRawBufferPointer, limits: InferenceLimits) {
      self.binary = binary
      self.limits = limits
    }

    mutating func read(_ cursor: inout JSONCursor) throws(RPCStatus) {
      // A local, so that the closure does not hold self.
      var parts = self
      try cursor.object("the body") { cursor, key throws(RPCStatus) in
        switch key {
        case "id":
          guard try cursor.kind() == .string else { throw RPCStatus(.invalidArgument, "id: must be a string") }
          parts.head.text(3, try cursor.string())
        case "parameters":
          try cursor.object("parameters") { cursor, name throws(RPCStatus) in
            if name == "binary_data_output" {
              parts.forms.isBinaryByDefault = try cursor.flag("parameters.binary_data_output")
            } else {
              try Self.parameter(name, &cursor, as: 4, in: "parameters", to: &parts.head)
            }
          }
        case "inputs": try cursor.array("inputs") { cursor, index throws(RPCStatus) in try parts.input(index, &cursor) }
        case "outputs": try cursor.array("outputs") { cursor, index throws(RPCStatus) in try parts.output(index, &cursor) }
        default: try cursor.skip()
        }
      }
      self = parts
    }

    private mutating func input(_ index: Int, _ cursor: inout JSONCursor) throws(RPCStatus) {
      guard index < limits.inputsMax else { throw RPCStatus(.invalidArgument, "inputs: more than \(limits.inputsMax)") }
      var name: String?
      var datatype: String?
      var shape: [UInt64]?
      var binaryBytes: Int?
      var data: Int?
      var parameters = ProtobufWriter()
      func place() -> String { "inputs[\(index)]" + (name.map { " \"\(clipped($0))\"" } ?? "") }
      try cursor.object(place()) { cursor, key throws(RPCStatus) in
        switch key {
        case "name": name = try Self.string(&cursor, "\(place()).name")
        case "datatype": datatype = try Self.string(&cursor, "\(place()).datatype")
        case "shape":
          var sizes: [UInt64] = []
          try cursor.array("\(place()).shape") { cursor, dimension throws(RPCStatus) in
            guard dimension < Self.dimensionsMax else { throw RPCStatus(.invalidArgument, "\(place()).shape: more than \(Self.dimensionsMax) sizes") }
            guard try cursor.kind() == .number, let size = try cursor.number().integer(as: Int64.self) else {
              throw RPCStatus(.invalidArgument, "\(place()).shape: size \(dimension) is no whole number of 64 bits")
            }
            sizes.append(UInt64(bitPattern: size))
          }
          shape = sizes
        case "parameters":
          try cursor.object("\(place()).parameters") { cursor, key throws(RPCStatus) in
            switch key {
            case "binary_data_size":
              guard try cursor.kind() == .number, let bytes = try cursor.number().integer(as: Int.self), bytes >= 0 else {
                throw RPCStatus(.invalidArgument, "\(place()).parameters.binary_data_size: must be a number of bytes")
              }
              binaryBytes = bytes
            case "shared_memory_region", "shared_memory_byte_size", "shared_memory_offset": throw Self.sharedMemory(place())
            default: try Self.parameter(key, &cursor, as: 4, in: "\(place()).parameters", to: &parameters)
            }
          }
        // What it holds can be read once the datatype is known, which may come later.
        case "data": data = try cursor.skip()
        default: try cursor.skip()
        }
      }
      guard let name else { throw RPCStatus(.invalidArgument, "\(place()).name: is missing") }
      guard let datatype else { throw RPCStatus(.invalidArgument, "\(place()).datatype: is missing") }
      guard let shape else { throw RPCStatus(.invalidArgument, "\(place()).shape: is missing") }
      head.message(5) { input in
        input.text(1, name)
        input.text(2, datatype)
        input.packed(3, shape)
        input.append(parameters)
      }
      switch (data, binaryBytes) {
      case (_?, _?): throw RPCStatus(.invalidArgument, "\(place()): has both data and binary_data_size")
      case (nil, nil): throw RPCStatus(.invalidArgument, "\(place()).data: is missing (and there is no parameter binary_data_size)")
      case (nil, let bytes?):
        guard bytes <= binary.count else {
          throw RPCStatus(
            .invalidArgument, "\(place()).parameters.binary_data_size: \(bytes) bytes, but only \(binary.count) of the body are left")
        }
        contents.slice(7, UnsafeRawBufferPointer(rebasing: binary[..<bytes]))
        binary = UnsafeRawBufferPointer(rebasing: binary[bytes...])
      case (let start?, nil):
        var raw: [UInt8] = []
        var values = cursor.at(start)
        elements += try TensorElements.read(
          &values, datatype: datatype, what: place(), elementsMax: max(0, limits.valuesMax - elements), into: &raw)
        contents.slice(7, raw[...])
      }
    }

    private mutating func output(_ index: Int, _ cursor: inout JSONCursor) throws(RPCStatus) {
      guard index < limits.inputsMax else { throw RPCStatus(.invalidArgument, "outputs: more than \(limits.inputsMax)") }
      var name: String?
      var isBinary: Bool?
      var parameters = ProtobufWriter()
      try cursor.object("outputs[\(index)]") { cursor, key throws(RPCStatus) in
        switch key {
        case "name": name = try Self.string(&cursor, "outputs[\(index)].name")
        case "parameters":
          try cursor.object("outputs[\(index)].parameters") { cursor, key throws(RPCStatus) in
            switch key {
            case "binary_data": isBinary = try cursor.flag("outputs[\(index)].parameters.binary_data")
            case "classification":
              throw RPCStatus(.invalidArgument, "outputs[\(index)].parameters.classification: the classification extension is not offered")
            case "shared_memory_region", "shared_memory_byte_size", "shared_memory_offset": throw Self.sharedMemory("outputs[\(index)]")
            default: try Self.parameter(key, &cursor, as: 2, in: "outputs[\(index)].parameters", to: &parameters)
            }
          }
        default: try cursor.skip()
        }
      }
      guard let name else { throw RPCStatus(.invalidArgument, "outputs[\(index)].name: is missing") }
      if let isBinary { forms.isBinary[name] = isBinary }
      head.message(6) { output in
        output.text(1, name)
        output.append(parameters)
      }
    }

    /// Shapes here have two.
    private static let dimensionsMax = 16

    private static func string(_ cursor: inout JSONCursor, _ what: String) throws(RPCStatus) -> String {
      guard try cursor.kind() == .string else { throw RPCStatus(.invalidArgument, "\(what): must be a string") }
      return try cursor.string()
    }

    private static func sharedMemory(_ what: String) -> RPCStatus {
      RPCStatus(.invalidArgument, "\(what): shared memory is not offered; send the tensor in the body")
    }

    /// One entry of a map of inference.InferParameter.
    private static func parameter(
      _ name: String, _ cursor: inout JSONCursor, as number: UInt32, in what: String, to writer: inout ProtobufWriter
    ) throws(RPCStatus) {
      var value = ProtobufWriter()
      switch try cursor.kind() {
      case .flag: value.varint(1, try cursor.flag("") ? 1 : 0)
      case .string: value.text(3, try cursor.string())
      case .number:
        let digits = try cursor.number()
        if digits.isInteger, let integer = digits.integer(as: Int64.self) {
          value.varint(2, UInt64(bitPattern: integer))
        } else if digits.isInteger, let unsigned = digits.integer(as: UInt64.self) {
          value.varint(5, unsigned)
        } else if let double = digits.double {
          value.double(4, double)
        } else {
          throw RPCStatus(.invalidArgument, "\(what).\(clipped(name)): the number is out of range")
        }
      case .object, .array, .null:
        throw RPCStatus(.invalidArgument, "\(what).\(clipped(name)): must be a string, a number, true or false")
      }
      writer.message(number) { entry in
        entry.text(1, name)
        entry.slice(2, value.bytes[...])
      }
    }
  }
}
