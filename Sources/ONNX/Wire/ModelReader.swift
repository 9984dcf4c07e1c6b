internal import Model

/// ModelProto and what it holds, from untrusted bytes.
struct ModelReader {
  /// Kept by every borrowed tensor.
  let owner: AnyObject
  /// Gives tensors that lie elsewhere; nil: refused.
  let external: TensorSource?
  /// Texts of string tensors and attributes, by hash.
  let texts: TextTable

  static let nameBytesMax = 4096

  func model(_ bytes: UnsafeRawBufferPointer) throws(ONNXError) -> ONNXModel {
    var reader = ProtobufReader(bytes, place: "file")
    var irVersion = 0
    var producer = ""
    var producerVersion = ""
    var operatorSets: [String: Int] = [:]
    var metadata: [String: String] = [:]
    var graph: GraphDefinition?
    while let field = try reader.next() {
      switch field.number {
      case 1: irVersion = try reader.int(field)
      case 2: producer = try reader.string(field)
      case 3: producerVersion = try reader.string(field)
      case 7:
        // A message that comes twice is merged by protobuf; no exporter writes that.
        guard graph == nil else { throw ONNXError(place: "file", reason: "has more than one graph") }
        graph = try self.graph(try reader.bytes(field))
      case 8:
        let (domain, version) = try operatorSet(try reader.bytes(field))
        operatorSets[domain] = version
      case 14:
        let (key, value) = try pair(try reader.bytes(field), place: "metadata_props")
        metadata[key] = value
      default: try reader.skip(field)
      }
    }
    guard let graph else { throw ONNXError(place: "file", reason: "has no graph: is it an ONNX model?") }
    return ONNXModel(
      irVersion: irVersion, producer: producer, producerVersion: producerVersion, operatorSets: operatorSets, metadata: metadata,
      graph: graph, bytes: bytes, owner: owner, texts: texts)
  }

  private func operatorSet(_ bytes: UnsafeRawBufferPointer) throws(ONNXError) -> (String, Int) {
    var reader = ProtobufReader(bytes, place: "opset_import")
    var domain = ""
    var version = 0
    while let field = try reader.next() {
      switch field.number {
      case 1: domain = try reader.string(field)
      case 2: version = try reader.int(field)
      default: try reader.skip(field)
      }
    }
    return (domain == "ai.onnx" ? "" : domain, version)
  }

  func pair(_ bytes: UnsafeRawBufferPointer, place: String) throws(ONNXError) -> (String, String) {
    var reader = ProtobufReader(bytes, place: place)
    var key = ""
    var value = ""
    while let field = try reader.next() {
      switch field.number {
      case 1: key = try reader.string(field)
      case 2: value = try reader.string(field)
      default: try reader.skip(field)
      }
    }
    return (key, value)
  }

  private func graph(_ bytes: UnsafeRawBufferPointer) throws(ONNXError) -> GraphDefinition {
    var reader = ProtobufReader(bytes, place: "graph")
    var graph = GraphDefinition()
    var inputs: [ValueDefinition] = []
    while let field = try reader.next() {
      switch field.number {
      case 1:
        graph.nodes.append(try node(try reader.bytes(field), index: graph.nodes.count))
        guard graph.nodes.count <= ONNXLimits.nodesMax else { throw reader.error("more than \(ONNXLimits.nodesMax) nodes") }
      case 2: graph.name = try reader.string(field)
      case 5: graph.initializers.append(try tensor(try reader.bytes(field), place: "initializer \(graph.initializers.count)"))
      case 11: inputs.append(try value(try reader.bytes(field), place: "graph.input[\(inputs.count)]"))
      case 12: graph.outputs.append(try value(try reader.bytes(field), place: "graph.output[\(graph.outputs.count)]"))
      case 15: throw ONNXError(place: "graph", reason: "sparse_initializer is not supported: store the tensor dense")
      default: try reader.skip(field)
      }
    }
    // Models of IR version 3 list initializers among the inputs.
    let given = Set(graph.initializers.map(\.name))
    graph.inputs = inputs.filter { !given.contains($0.name) }
    return graph
  }

  private func node(_ bytes: UnsafeRawBufferPointer, index: Int) throws(ONNXError) -> NodeDefinition {
    var reader = ProtobufReader(bytes, place: "graph.node[\(index)]")
    var node = NodeDefinition()
    while let field = try reader.next() {
      switch field.number {
      case 1: node.inputs.append(try reader.string(field))
      case 2: node.outputs.append(try reader.string(field))
      case 3: node.name = try reader.string(field)
      case 4: node.operation = try reader.string(field)
      case 5:
        let (name, attribute) = try attribute(try reader.bytes(field), place: reader.place)
        node.attributes[name] = attribute
      case 7:
        node.domain = try reader.string(field)
        if node.domain == "ai.onnx" { node.domain = "" }
      default: try reader.skip(field)
      }
    }
    return node
  }

  private func attribute(_ bytes: UnsafeRawBufferPointer, place: String) throws(ONNXError) -> (String, ONNXAttribute) {
    var reader = ProtobufReader(bytes, place: place + ".attribute")
    var name = ""
    var type = 0
    var int = 0
    var float: Float = 0
    var string: [UInt8] = []
    var tensor: ConstantTensor?
    var ints: [Int] = []
    var floats: [Float] = []
    var strings: [[UInt8]] = []
    var tensors: [ConstantTensor] = []
    var other: String?
    var seen = 0
    while let field = try reader.next() {
      switch field.number {
      case 1: name = try reader.string(field)
      case 2: (float, seen) = (try reader.float(field), 1)
      case 3: (int, seen) = (try reader.int(field), 2)
      case 4: (string, seen) = (Array(try reader.bytes(field)), 3)
      case 5: (tensor, seen) = (try self.tensor(try reader.bytes(field), place: "attribute \(name)").tensor, 4)
      case 7: (_, seen) = (try reader.floats(field, into: &floats), 6)
      case 8: (_, seen) = (try reader.ints(field, into: &ints), 7)
      case 9:
        strings.append(Array(try reader.bytes(field)))
        seen = 8
      case 10:
        tensors.append(try self.tensor(try reader.bytes(field), place: "attribute \(name)").tensor)
        seen = 9
      case 6, 11:
        try reader.skip(field)
        other = "subgraph"
      case 14, 15, 22, 23:
        try reader.skip(field)
        other = "sparse tensor or type"
      case 20: type = try reader.int(field)
      case 21:
        try reader.skip(field)
        other = "reference of a function"
      default: try reader.skip(field)
      }
    }
    if let other { return (name, .other(other)) }
    // The type field came with IR version 2; without it the field that is there tells.
    if type == 0 { type = seen }
    switch type {
    case 1: return (name, .float(float))
    case 2: return (name, .int(int))
    case 3:
      // Others are names of modes.
      if name.contains("string") { texts.add(string) }
      return (name, .string(string))
    case 4:
      guard let tensor else { throw reader.error("attribute \(name) has no tensor") }
      return (name, .tensor(tensor))
    case 6: return (name, .floats(floats))
    case 7: return (name, .ints(ints))
    case 8:
      for text in strings { texts.add(text) }
      return (name, .strings(strings))
    case 9: return (name, .tensors(tensors))
    default: return (name, .other("type \(type)"))
    }
  }
}
