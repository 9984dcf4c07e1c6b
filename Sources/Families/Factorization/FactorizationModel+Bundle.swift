public import Bundles
internal import Kernels
internal import Model

/// Sections: `rows` [rows, row bytes] (bytes; see `mr_embedding_row_bytes`), `bias` [outputs]. Parameters: `rows`, `factors`, `outputs`,
/// `link`, `precision`. The manifest's specification says what the features are.
extension FactorizationModel {
  static let bundleVersion = 1

  /// - Throws: what of the bundle is not such a model; every size is checked before it is used.
  public convenience init(bundle: ModelBundle, residence: TableResidence = .hugePages()) throws(BundleError) {
    try bundle.manifest.require(family: "fm", versionMax: Self.bundleVersion)
    let place = "manifest.parameters"
    let parameters = bundle.manifest.parameters
    let outputs = try parameters.int("outputs", in: 1...Self.outputsMax, at: place)
    let factors = try parameters.int("factors", in: 1...EmbeddingTable.widthMax / outputs, at: place)
    let rows = try parameters.int("rows", in: 1...EmbeddingTable.rowsMax, at: place)
    let link = try ManifestNames.link(parameters, at: place)
    let table = try EmbeddingTable.read(
      bundle, section: "rows", rowCount: rows, precision: ManifestNames.precision(parameters, "precision", at: place), width: outputs * factors,
      headWidth: outputs, residence: residence)
    let bias = try bundle.tensor("bias", of: Float.self, element: .float32, shape: [outputs])
    let specification = try ManifestNames.specification(bundle.manifest)
    guard Self.fits(table: table, bias: Array(bias)) else {
      throw BundleError(place: "section \"rows\"", reason: "the rows do not fit the \(outputs) outputs")
    }
    self.init(checked: table, bias: Array(bias), link: link, specification: specification)
  }

  /// Adds the sections, and says in the manifest what they are.
  public func write(into writer: BundleWriter) {
    writer.manifest.family = family
    writer.manifest.familyVersion = Self.bundleVersion
    writer.manifest.inputs = inputs
    writer.manifest.outputs = outputs
    writer.manifest.specification = specification?.text
    writer.manifest.parameters = [
      "rows": JSONValue(table.rowCount), "factors": JSONValue(factors), "outputs": JSONValue(bias.count), "link": JSONValue(link.name),
      "precision": JSONValue(table.precision.name),
    ]
    table.write("rows", into: writer)
    writer.add("bias", element: .float32, bias)
  }
}
