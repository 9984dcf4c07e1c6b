public import Bundles
public import Families
internal import Kernels
internal import Model

/// A factorization machine or DLRM from weights in a safetensors file and the specification beside it. docs/models.md has the tensors' names.
public struct SafetensorsModel {
  public enum Body {
    case fm(FactorizationModel)
    case dlrm(DLRMModel)
  }

  public let body: Body
  /// What is in it, for people: "tables" "26".
  public let facts: [(name: String, value: String)]

  public var model: LoadedModel {
    switch body {
    case .fm(let model): model
    case .dlrm(let model): model
    }
  }

  public func write(into writer: BundleWriter) {
    switch body {
    case .fm(let model): model.write(into: writer)
    case .dlrm(let model): model.write(into: writer)
    }
  }

  /// - Parameters:
  ///   - bytes: the safetensors file; nothing of it is kept.
  ///   - specification: YAML; `name` names it in errors.
  /// - Throws: the place (a tensor, or the specification's lines) and the reason.
  public static func read(_ bytes: UnsafeRawBufferPointer, specification: String, name: String = "specification") throws(ImportError) -> SafetensorsModel {
    let wanted = try WeightsSpecification.parse(yaml: specification, file: name)
    let reading = WeightsReading(file: try SafetensorsFile(bytes), wanted: wanted)
    let body: Body = switch wanted.family {
    case .fm: .fm(try reading.factorization())
    case .dlrm: .dlrm(try reading.dlrm())
    }
    return SafetensorsModel(body: body, facts: facts(of: body))
  }

  private static func facts(of body: Body) -> [(name: String, value: String)] {
    switch body {
    case .fm(let model):
      [("rows", "\(model.table.rowCount)"), ("factors", "\(model.factors)"), ("rows in", model.table.precision.name), ("link", model.link.name)]
    case .dlrm(let model):
      [
        ("tables", "\(model.tableRows.count), \(model.embeddings.rowCount) rows of \(model.embeddings.width)"),
        ("bottom", sizes(model.bottom)), ("top", sizes(model.top)), ("rows in", model.embeddings.precision.name), ("link", model.link.name),
      ]
    }
  }

  private static func sizes(_ layers: [LayerWeights]) -> String {
    ([layers.first?.inputs ?? 0] + layers.map(\.outputs)).map(String.init).joined(separator: "-")
  }
}

/// The tensors of one model, each asked for by name.
private struct WeightsReading {
  let file: SafetensorsFile
  let wanted: WeightsSpecification

  // MARK: Factorization machines

  func factorization() throws(ImportError) -> FactorizationModel {
    let factorsTensor = try tensor("factors.weight", rank: 2...2)
    let linear = try tensor("linear.weight", rank: 1...2)
    let outputs = linear.shape.count == 2 ? linear.shape[1] : 1
    let rows = linear.shape[0]
    guard (1...FactorizationModel.outputsMax).contains(outputs), (1...EmbeddingTable.rowsMax).contains(rows) else {
      throw ImportError(place: linear.name, reason: "has the shape \(linear.shape), expected [rows] or [rows, outputs]")
    }
    let width = factorsTensor.shape[1]
    guard factorsTensor.shape[0] == rows, width > 0, width % outputs == 0, width <= EmbeddingTable.widthMax else {
      throw ImportError(
        place: factorsTensor.name,
        reason: "has the shape \(factorsTensor.shape), expected [\(rows), \(outputs == 1 ? "factors" : "\(outputs) x factors")] with at most \(EmbeddingTable.widthMax) in a row")
    }
    try compare("rows", wanted.rows, rows)
    try compare("factors", wanted.factors, width / outputs)
    try compare("outputs", wanted.outputs, outputs)
    try nothingElse { $0 == "bias" || $0 == "linear.weight" || $0 == "factors.weight" }
    var bias = [Float](repeating: 0, count: outputs)
    if let given = file["bias"] {
      bias = try file.floats(given)
      guard bias.count == outputs else { throw ImportError(place: "bias", reason: "has the shape \(given.shape), expected [\(outputs)]") }
    }
    let table = try table(rows: rows, width: width, head: outputs)
    try fill(table, from: 0, count: rows, values: factorsTensor, head: linear)
    guard let model = FactorizationModel(table: table, bias: bias, link: wanted.link, specification: wanted.specification) else {
      throw ImportError(place: factorsTensor.name, reason: "does not fit \(linear.name)")
    }
    return model
  }

  // MARK: DLRM

  func dlrm() throws(ImportError) -> DLRMModel {
    let layout = DLRMModel.Layout(wanted.specification)
    var tables: [SafetensorsFile.Tensor] = []
    for name in layout.tables { tables.append(try tensor("embeddings.\(name).weight", rank: 2...2)) }
    guard let width = tables.first?.shape[1], (1...EmbeddingTable.widthMax).contains(width) else {
      throw ImportError(place: tables.first?.name ?? "features", reason: "expected rows of 1 to \(EmbeddingTable.widthMax) numbers, for at least one categorical feature")
    }
    var rows = 0
    for table in tables {
      guard table.shape[1] == width else { throw ImportError(place: table.name, reason: "has rows of \(table.shape[1]) numbers where others have \(width)") }
      guard table.shape[0] > 0, table.shape[0] <= EmbeddingTable.rowsMax - rows else {
        throw ImportError(place: table.name, reason: "has \(table.shape[0]) rows, expected at least 1 and at most \(EmbeddingTable.rowsMax) in all tables")
      }
      rows += table.shape[0]
    }
    let bottom = try layers("bottom")
    let top = try layers("top")
    let known = Set(tables.map(\.name))
    try nothingElse { name in
      known.contains(name)
        || [("bottom", bottom.count), ("top", top.count)].contains { tower, count in
          (0..<count).contains { name == "\(tower).\($0).weight" || name == "\(tower).\($0).bias" }
        }
    }
    let embeddings = try table(rows: rows, width: width, head: 0)
    var first = 0
    for table in tables {
      try fill(embeddings, from: first, count: table.shape[0], values: table, head: nil)
      first += table.shape[0]
    }
    do {
      return try DLRMModel(
        specification: wanted.specification, tableRows: tables.map { $0.shape[0] }, embeddings: embeddings, bottom: bottom, top: top,
        precision: wanted.layers, pooling: wanted.pooling, link: wanted.link, denseCount: wanted.dense)
    } catch {
      throw ImportError(place: error.place, reason: error.reason)
    }
  }

  private func layers(_ tower: String) throws(ImportError) -> [LayerWeights] {
    var layers: [LayerWeights] = []
    while layers.count <= DLRMModel.layersMax, layers.isEmpty || file["\(tower).\(layers.count).weight"] != nil {
      let weight = try tensor("\(tower).\(layers.count).weight", rank: 2...2)
      let bias: [Float]
      if let given = file["\(tower).\(layers.count).bias"] {
        bias = try file.floats(given)
        guard bias.count == weight.shape[0] else {
          throw ImportError(place: given.name, reason: "has the shape \(given.shape), expected [\(weight.shape[0])]")
        }
      } else {
        guard weight.shape[0] <= LayerWeights.sizeMax else { throw ImportError(place: weight.name, reason: "has \(weight.shape[0]) outputs, at most \(LayerWeights.sizeMax)") }
        bias = [Float](repeating: 0, count: weight.shape[0])
      }
      guard let layer = LayerWeights(inputs: weight.shape[1], outputs: weight.shape[0], weights: try file.floats(weight), bias: bias) else {
        throw ImportError(place: weight.name, reason: "has the shape \(weight.shape), expected [outputs, inputs], each 1 to \(LayerWeights.sizeMax)")
      }
      layers.append(layer)
    }
    return layers
  }

  // MARK: Parts

  private func tensor(_ name: String, rank: ClosedRange<Int>) throws(ImportError) -> SafetensorsFile.Tensor {
    guard let tensor = file[name] else {
      throw ImportError(place: name, reason: "there is no such tensor. There are: \(file.tensors.prefix(40).map(\.name).joined(separator: ", "))")
    }
    guard rank.contains(tensor.shape.count) else {
      throw ImportError(place: name, reason: "has the shape \(tensor.shape), expected \(rank.upperBound) dimension\(rank.upperBound == 1 ? "" : "s")")
    }
    return tensor
  }

  /// A tensor that nobody asks for is a name that somebody mistyped.
  private func nothingElse(_ isKnown: (String) -> Bool) throws(ImportError) {
    guard let other = file.tensors.first(where: { !isKnown($0.name) }) else { return }
    throw ImportError(place: other.name, reason: "is no tensor of family \(wanted.family.rawValue): take it out, or give it its name (docs/models.md)")
  }

  private func compare(_ key: String, _ given: Int?, _ found: Int) throws(ImportError) {
    guard let given, given != found else { return }
    throw ImportError(place: "family.\(wanted.family.rawValue).\(key)", reason: "is \(given), and the tensors have \(found)")
  }

  private func table(rows: Int, width: Int, head: Int) throws(ImportError) -> EmbeddingTable {
    guard let table = EmbeddingTable(rowCount: rows, precision: wanted.precision, width: width, headWidth: head) else {
      throw ImportError(place: "rows", reason: "there is no memory for \(rows) rows of \(width) numbers")
    }
    return table
  }

  /// Row by row: the file may be as large as memory.
  private func fill(
    _ table: EmbeddingTable, from first: Int, count: Int, values: SafetensorsFile.Tensor, head: SafetensorsFile.Tensor?
  ) throws(ImportError) {
    let heads = table.headWidth, width = table.width
    let numbers = UnsafeMutablePointer<Float>.allocate(capacity: heads + width)
    defer { numbers.deallocate() }
    for row in 0..<count {
      if let head { try file.read(head, from: row * heads, count: heads, into: numbers) }
      try file.read(values, from: row * width, count: width, into: numbers + heads)
      table.setRow(first + row, head: numbers, values: numbers + heads)
    }
  }
}
