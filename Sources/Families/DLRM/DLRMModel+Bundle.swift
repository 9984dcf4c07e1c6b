public import Bundles
internal import Kernels
internal import Model

/// Sections: `embeddings` [rows of all tables, row bytes] (bytes; see `mr_embedding_row_bytes`), and of each layer `bottom.N.weight` or
/// `top.N.weight` [outputs, inputs] and `….bias` [outputs], in float32 whatever the towers are computed in. Parameters: `width`, `tables`
/// (`feature`, `rows`), `bottom` and `top` (how many layers), `precision` (of rows), `layers` (of towers), `pooling`, `link`, `dense`.
extension DLRMModel {
  static let bundleVersion = 1

  /// - Throws: what of the bundle is not such a model; every size is checked before it is used.
  public convenience init(bundle: ModelBundle, residence: TableResidence = .hugePages()) throws(BundleError) {
    try bundle.manifest.require(family: "dlrm", versionMax: Self.bundleVersion)
    let place = "manifest.parameters"
    let parameters = bundle.manifest.parameters
    let specification = try ManifestNames.specification(bundle.manifest)
    let width = try parameters.int("width", in: 1...EmbeddingTable.widthMax, at: place)
    let tableRows = try Self.tableRows(parameters, Layout(specification), at: place)
    // Bounded: at most `tablesMax` numbers of 32 bits.
    let rows = tableRows.reduce(0, +)
    let table = try EmbeddingTable.read(
      bundle, section: "embeddings", rowCount: rows, precision: ManifestNames.precision(parameters, "precision", at: place), width: width,
      headWidth: 0, residence: residence)
    let bottom = try Self.layers(bundle, "bottom", count: parameters.int("bottom", in: 1...Self.layersMax, at: place))
    let top = try Self.layers(bundle, "top", count: parameters.int("top", in: 1...Self.layersMax, at: place))
    let precision = try parameters.string("layers", at: place)
    guard let layers = Self.precisions.first(where: { $0.name == precision })?.precision else {
      throw BundleError(place: "\(place).layers", reason: "\"\(precision.prefix(40))\" is no precision: \(Self.precisions.map(\.name))")
    }
    let pooling = try parameters.string("pooling", at: place)
    guard pooling == "sum" || pooling == "mean" else {
      throw BundleError(place: "\(place).pooling", reason: "\"\(pooling.prefix(40))\" is neither sum nor mean")
    }
    let link = try ManifestNames.link(parameters, at: place)
    let denseCount = try parameters.int("dense", in: 0...Self.columnsMax, at: place)
    do {
      try self.init(
        specification: specification, tableRows: tableRows, embeddings: table, bottom: bottom, top: top, precision: layers,
        pooling: pooling == "mean" ? .mean : .sum, link: link, denseCount: denseCount)
    } catch {
      throw BundleError(place: error.place, reason: error.reason)
    }
  }

  static let precisions: [(name: String, precision: MatrixPrecision)] = [("float32", .float32), ("bfloat16", .bfloat16), ("int8", .int8)]

  private static func tableRows(_ parameters: JSONValue, _ layout: Layout, at place: String) throws(BundleError) -> [Int] {
    let tables = try parameters.array("tables", at: place)
    guard tables.count == layout.tables.count, tables.count <= tablesMax else {
      throw BundleError(place: "\(place).tables", reason: "\(tables.count) tables where the specification has \(layout.tables.count)")
    }
    var rows: [Int] = []
    for (index, table) in tables.enumerated() {
      let at = "\(place).tables[\(index)]"
      let feature = try table.string("feature", at: at)
      guard feature == layout.tables[index] else {
        throw BundleError(place: "\(at).feature", reason: "\"\(feature.prefix(100))\" where \"\(layout.tables[index])\" is due")
      }
      rows.append(try table.int("rows", in: 1...EmbeddingTable.rowsMax, at: at))
    }
    return rows
  }

  private static func layers(_ bundle: ModelBundle, _ tower: String, count: Int) throws(BundleError) -> [LayerWeights] {
    var layers: [LayerWeights] = []
    for index in 0..<count {
      let name = "\(tower).\(index).weight"
      let shape = try bundle.section(name).shape
      guard shape.count == 2 else { throw BundleError(place: "section \"\(name)\"", reason: "has the shape \(shape), expected [outputs, inputs]") }
      let weights = try bundle.tensor(name, of: Float.self, element: .float32, shape: shape)
      let bias = try bundle.tensor("\(tower).\(index).bias", of: Float.self, element: .float32, shape: [shape[0]])
      guard let layer = LayerWeights(inputs: shape[1], outputs: shape[0], weights: Array(weights), bias: Array(bias)) else {
        throw BundleError(place: "section \"\(name)\"", reason: "has the shape \(shape), expected sizes of 1 to \(LayerWeights.sizeMax)")
      }
      layers.append(layer)
    }
    return layers
  }

  /// Adds the sections, and says in the manifest what they are.
  public func write(into writer: BundleWriter) {
    writer.manifest.family = family
    writer.manifest.familyVersion = Self.bundleVersion
    writer.manifest.inputs = inputs
    writer.manifest.outputs = outputs
    writer.manifest.specification = specification?.text
    writer.manifest.parameters = [
      "width": JSONValue(embeddings.width),
      "tables": .array(zip(layout.tables, tableRows).map { ["feature": JSONValue($0), "rows": JSONValue($1)] }),
      "bottom": JSONValue(bottom.count), "top": JSONValue(top.count), "precision": JSONValue(embeddings.precision.name),
      "layers": JSONValue(Self.precisions.first { $0.precision == precision }?.name ?? ""), "pooling": JSONValue(pooling == .mean ? "mean" : "sum"),
      "link": JSONValue(link.name), "dense": JSONValue(denseCount),
    ]
    embeddings.write("embeddings", into: writer)
    for (tower, layers) in [("bottom", bottom), ("top", top)] {
      for (index, layer) in layers.enumerated() {
        writer.add("\(tower).\(index).weight", element: .float32, shape: [layer.outputs, layer.inputs], layer.weights)
        writer.add("\(tower).\(index).bias", element: .float32, layer.bias)
      }
    }
  }
}
