internal import Model

extension BundleManifest {
  private static let known: Set<String> = [
    "name", "version", "family", "family_version", "inputs", "outputs", "specification", "max_batch_size", "labels", "source", "parameters",
    "quantization", "evaluation",
  ]

  /// As it stands in the file.
  public var json: JSONValue {
    var members = others
    members["name"] = .text(name)
    members["version"] = JSONValue(version)
    members["family"] = .text(family)
    members["family_version"] = JSONValue(familyVersion)
    members["inputs"] = .array(inputs.map(Self.json))
    members["outputs"] = .array(outputs.map(Self.json))
    members["specification"] = specification.map(JSONValue.text)
    members["max_batch_size"] = maxBatchSize.map { JSONValue($0) }
    members["labels"] = JSONValue(labels)
    members["source"] = source.map(Self.json)
    members["parameters"] = parameters
    members["quantization"] = quantization
    members["evaluation"] = evaluation
    return .object(members)
  }

  private static func json(_ input: InputTensor) -> JSONValue {
    var members: [String: JSONValue] = [
      "name": .text(input.name), "datatype": .text(input.element.datatype), "shape": JSONValue(input.shape), "offset": JSONValue(input.offset),
    ]
    if !input.columns.isEmpty { members["columns"] = JSONValue(input.columns) }
    if let absent = input.absent { members["absent"] = JSONValue(absent) }
    if !input.categories.isEmpty {
      members["categories"] = .array(input.categories.map { ["column": JSONValue($0.column), "names": .array($0.names.names.map(JSONValue.init))] })
    }
    return .object(members)
  }

  private static func json(_ output: OutputTensor) -> JSONValue {
    var members: [String: JSONValue] = [
      "name": .text(output.name), "datatype": .text(output.element.datatype), "shape": JSONValue(output.shape),
    ]
    if !output.texts.isEmpty { members["texts"] = JSONValue(output.texts) }
    return .object(members)
  }

  private static func json(_ source: Source) -> JSONValue {
    var members: [String: JSONValue] = ["tool": .text(source.tool)]
    members["tool_version"] = source.toolVersion.map(JSONValue.text)
    members["file"] = source.file.map(JSONValue.text)
    members["bytes"] = source.byteCount.map { JSONValue($0) }
    members["crc32c"] = source.checksum.map { JSONValue.integer(Int64($0)) }
    return .object(members)
  }

  /// Reads and checks one.
  /// - Throws: with the path of the member that is wrong.
  public init(json: JSONValue) throws(BundleError) {
    let place = "manifest"
    name = try Self.text(json, "name", at: place)
    version = try json.int("version", in: 1...Int(Int32.max), at: place)
    family = try Self.text(json, "family", at: place)
    familyVersion = try json.int("family_version", in: 1...Int(UInt16.max), at: place)
    inputs = try Self.tensors(json, "inputs", Self.input)
    outputs = try Self.tensors(json, "outputs", Self.output)
    guard !outputs.isEmpty else { throw BundleError(place: "\(place).outputs", reason: "a model has at least one output") }
    try Self.distinct(inputs.map(\.name), "\(place).inputs")
    try Self.checkCategories(inputs)
    try Self.distinct(outputs.map(\.name), "\(place).outputs")
    specification = json["specification"] == nil ? nil : try json.string("specification", at: place)
    maxBatchSize = json["max_batch_size"] == nil ? nil : try json.int("max_batch_size", in: 1...Int(Int32.max), at: place)
    labels = json["labels"] == nil ? [] : try json.strings("labels", at: place)
    source = try json["source"].map { value throws(BundleError) in try Self.source(value) }
    parameters = json["parameters"] ?? .object([:])
    quantization = json["quantization"]
    evaluation = json["evaluation"]
    others = (json.object ?? [:]).filter { !Self.known.contains($0.key) }
  }

  private static func text(_ json: JSONValue, _ key: String, at place: String) throws(BundleError) -> String {
    let text = try json.string(key, at: place)
    guard !text.isEmpty, text.utf8.count <= textBytesMax else {
      throw BundleError(place: "\(place).\(key)", reason: text.isEmpty ? "empty" : "longer than \(textBytesMax) bytes")
    }
    return text
  }

  private static func tensors<T>(
    _ json: JSONValue, _ key: String, _ read: (JSONValue, String) throws(BundleError) -> T
  ) throws(BundleError) -> [T] {
    let values = try json.array(key, at: "manifest")
    guard values.count <= tensorsMax else { throw BundleError(place: "manifest.\(key)", reason: "more than \(tensorsMax) of them") }
    var tensors: [T] = []
    for (index, value) in values.enumerated() { tensors.append(try read(value, "manifest.\(key)[\(index)]")) }
    return tensors
  }

  private static func distinct(_ names: [String], _ place: String) throws(BundleError) {
    var seen: Set<String> = []
    for (index, name) in names.enumerated() where !seen.insert(name).inserted {
      throw BundleError(place: "\(place)[\(index)].name", reason: "\"\(name)\" is there twice")
    }
  }

  private static func input(_ json: JSONValue, _ place: String) throws(BundleError) -> InputTensor {
    let element = try element(json, place)
    let (shape, count) = try shape(json, place)
    let offset = try json.int("offset", in: 0...dimensionMax, at: place)
    guard offset % element.bytes == 0 else { throw BundleError(place: "\(place).offset", reason: "\(offset) is no multiple of \(element.bytes)") }
    let columns = json["columns"] == nil ? [] : try json.strings("columns", at: place)
    guard columns.isEmpty || columns.count == count else {
      throw BundleError(place: "\(place).columns", reason: "\(columns.count) names for \(count) columns")
    }
    try distinct(columns, "\(place).columns")
    let absent = json["absent"] == nil ? nil : try json.double("absent", at: place)
    return InputTensor(
      name: try text(json, "name", at: place), element: element, shape: shape, offset: offset, columns: columns, absent: absent,
      categories: json["categories"] == nil ? [] : try categories(json, element, count, absent, place))
  }

  private static func output(_ json: JSONValue, _ place: String) throws(BundleError) -> OutputTensor {
    let texts = json["texts"] == nil ? [] : try json.strings("texts", at: place)
    return OutputTensor(
      name: try text(json, "name", at: place), element: try element(json, place), shape: try shape(json, place).shape, texts: texts)
  }

  private static func element(_ json: JSONValue, _ place: String) throws(BundleError) -> TensorElement {
    let datatype = try json.string("datatype", at: place)
    guard let element = TensorElement.allCases.first(where: { $0.datatype == datatype }) else {
      throw BundleError(place: "\(place).datatype", reason: "\"\(datatype)\" is none of \(TensorElement.allCases.map(\.datatype).joined(separator: ", "))")
    }
    return element
  }

  private static func shape(_ json: JSONValue, _ place: String) throws(BundleError) -> (shape: [Int], count: Int) {
    let shape = try json.ints("shape", in: 0...dimensionMax, at: place)
    guard shape.count <= rankMax else { throw BundleError(place: "\(place).shape", reason: "more than \(rankMax) dimensions") }
    var count = 1
    for dimension in shape {
      let (product, overflow) = count.multipliedReportingOverflow(by: dimension)
      guard !overflow, product <= dimensionMax else { throw BundleError(place: "\(place).shape", reason: "more than \(dimensionMax) elements in a row") }
      count = product
    }
    return (shape, count)
  }

  private static func source(_ json: JSONValue) throws(BundleError) -> Source {
    let place = "manifest.source"
    return Source(
      tool: try text(json, "tool", at: place),
      toolVersion: json["tool_version"] == nil ? nil : try json.string("tool_version", at: place),
      file: json["file"] == nil ? nil : try json.string("file", at: place),
      byteCount: json["bytes"] == nil ? nil : try json.int("bytes", in: 0...Int.max, at: place),
      checksum: json["crc32c"] == nil ? nil : UInt32(truncatingIfNeeded: try json.int("crc32c", in: 0...Int(UInt32.max), at: place)))
  }
}
