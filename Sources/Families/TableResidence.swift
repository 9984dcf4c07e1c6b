internal import Bundles
public import Kernels
internal import Model

/// Where the rows of embedding tables live.
public enum TableResidence: Sendable {
  /// Copied into memory of huge pages, from the pool if there is one: fewest misses of the address translation, loading reads the whole
  /// table.
  case hugePages(PagePool? = nil)
  /// In the bundle's mapping: nothing is read before it is needed, the page cache is shared between processes, look-ups are slower.
  case mapped
}

extension EmbeddingTable {
  /// The rows of a bundle's section [rows, row bytes] of bytes.
  static func read(
    _ bundle: ModelBundle, section name: String, rowCount: Int, precision: RowPrecision, width: Int, headWidth: Int, residence: TableResidence
  ) throws(BundleError) -> EmbeddingTable {
    guard let rowBytes = rowBytes(precision: precision, width: width, headWidth: headWidth) else {
      throw BundleError(place: "section \"\(name)\"", reason: "rows of \(width) numbers: at most \(widthMax), and \(headWidthMax) in the head")
    }
    try bundle.require(name, element: .uint8, shape: [rowCount, rowBytes])
    let table: EmbeddingTable?
    switch residence {
    case .hugePages(let pool):
      table = EmbeddingTable(rowCount: rowCount, precision: precision, width: width, headWidth: headWidth, pool: pool)
      try table?.fill { (rows) throws(BundleError) in try bundle.copy(name, to: rows) }
    case .mapped:
      table = EmbeddingTable(
        borrowing: try bundle.bytes(name), owner: bundle, rowCount: rowCount, precision: precision, width: width, headWidth: headWidth)
    }
    // Bounded: a section of these bytes is in the file.
    guard let table else { throw BundleError(place: "section \"\(name)\"", reason: "there is no memory for its \(rowCount * rowBytes) bytes") }
    return table
  }

  func write(_ name: String, into writer: BundleWriter) {
    writer.add(name, element: .uint8, shape: [rowCount, rowBytes], bytes: bytes, owner: self)
  }
}

/// Names as manifests have them.
enum ManifestNames {
  static func precision(_ parameters: JSONValue, _ key: String, at place: String) throws(BundleError) -> RowPrecision {
    let name = try parameters.string(key, at: place)
    guard let precision = RowPrecision.allCases.first(where: { $0.name == name }) else {
      throw BundleError(place: "\(place).\(key)", reason: "\"\(name.prefix(40))\" is no precision of rows: \(RowPrecision.allCases.map(\.name))")
    }
    return precision
  }

  static func link(_ parameters: JSONValue, at place: String) throws(BundleError) -> OutputLink {
    let name = try parameters.string("link", at: place)
    guard let link = OutputLink(name: name) else {
      throw BundleError(place: "\(place).link", reason: "\"\(name.prefix(40))\" is no link: \(OutputLink.allCases.map(\.name))")
    }
    return link
  }

  static func specification(_ manifest: BundleManifest) throws(BundleError) -> ModelSpecification {
    let place = "manifest.specification"
    guard let text = manifest.specification else { throw BundleError(place: place, reason: "missing") }
    do {
      return try ModelSpecification.parse(yaml: text, file: "specification")
    } catch {
      throw BundleError(place: place, reason: "\(error)")
    }
  }
}
