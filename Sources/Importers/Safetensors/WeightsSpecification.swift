internal import Families
internal import Kernels
internal import Model
internal import Settings

/// What a user writes beside a file of weights: the features, as every specification has them, and which family the weights are.
///
///     model: clicks
///     family:
///       dlrm: {pooling: mean, layers: int8}
///     loss: logistic                # or link, in the family's map
///     features:
///       country: categorical
///       age: {type: numeric, divide: 100}
struct WeightsSpecification {
  enum Family: String { case fm, dlrm }

  var family: Family
  var specification: ModelSpecification
  var link: OutputLink
  /// FM: what must be so, when it is given.
  var rows: Int?
  var factors: Int?
  var outputs: Int?
  /// Of rows.
  var precision: RowPrecision
  /// Of towers.
  var layers: MatrixPrecision
  var pooling: EmbeddingTable.Pooling
  /// Numbers of the tensor `dense`.
  var dense: Int

  static func parse(yaml: String, file: String) throws(ImportError) -> WeightsSpecification {
    do {
      return try SettingsReader.read(yaml: yaml, file: file) { node, reader in read(node, &reader) }
    } catch {
      throw ImportError(place: file, reason: "\(error)")
    }
  }

  private static let links = [
    ("identity", OutputLink.identity), ("sigmoid", .sigmoid), ("softmax", .softmax), ("exp", .exponential),
  ]
  private static let losses = Loss.allCases.map { ($0.name, $0) }
  private static let precisions: [(String, MatrixPrecision)] = [("float32", .float32), ("bfloat16", .bfloat16), ("int8", .int8)]

  private static func read(_ node: SettingsNode, _ reader: inout SettingsReader) -> WeightsSpecification? {
    let problemsBefore = reader.problems.count
    guard let child = reader.require(node, "family", "fm or dlrm") else { return nil }
    guard let (family, settings) = readFamily(child, &reader) else { return nil }
    // The rest is a specification like any other, of a model from a file.
    let kept = node.entries.filter { $0.key != "family" && $0.key != "loss" }
    let loaded = SettingsNode.Entry(
      key: "family", line: child.line, column: child.column,
      value: SettingsNode(file: child.file, line: child.line, column: child.column, path: child.path, content: .scalar("loaded", isQuoted: false)))
    let rest = SettingsNode(file: node.file, line: node.line, column: node.column, path: node.path, content: .map(kept + [loaded]))
    let specification = ModelSpecification.read(rest, &reader)
    reader.keys(
      settings, family == .fm ? ["rows", "factors", "outputs", "link", "precision"] : ["link", "precision", "layers", "pooling", "dense"])
    let loss = node.child("loss").flatMap { reader.choice($0, losses) }
    let link = settings.child("link").flatMap { reader.choice($0, links) }
    if link == nil, loss == nil, settings.child("link") == nil, node.child("loss") == nil {
      reader.problem(node, "loss", "is missing: expected logistic, squared or poisson, or a link in the family's map")
    }
    let whole = { (key: String, range: ClosedRange<Int>, reader: inout SettingsReader) in settings.child(key).flatMap { reader.int($0, in: range) } }
    let read = WeightsSpecification(
      family: family, specification: specification ?? ModelSpecification(name: "", family: .loaded),
      link: link ?? loss.map { OutputLink($0) } ?? .identity, rows: whole("rows", 1...EmbeddingTable.rowsMax, &reader),
      factors: whole("factors", 1...EmbeddingTable.widthMax, &reader), outputs: whole("outputs", 1...FactorizationModel.outputsMax, &reader),
      precision: settings.child("precision").flatMap { reader.choice($0, RowPrecision.allCases.map { ($0.name, $0) }) } ?? .float32,
      layers: settings.child("layers").flatMap { reader.choice($0, precisions) } ?? .float32,
      pooling: settings.child("pooling").flatMap { reader.choice($0, [("sum", .sum), ("mean", .mean)]) } ?? .sum,
      dense: whole("dense", 0...DLRMModel.columnsMax, &reader) ?? 0)
    guard reader.problems.count == problemsBefore, specification != nil else { return nil }
    return read
  }

  /// `fm`, `{fm: {…}}`, `dlrm` or `{dlrm: {…}}`.
  private static func readFamily(_ node: SettingsNode, _ reader: inout SettingsReader) -> (Family, SettingsNode)? {
    guard node.isMap else {
      guard let family = reader.choice(node, [("fm", Family.fm), ("dlrm", Family.dlrm)]) else { return nil }
      return (family, SettingsNode.emptyMap(file: node.file, path: node.path))
    }
    guard reader.keys(node, ["fm", "dlrm"]) else { return nil }
    guard node.entries.count == 1, let entry = node.entries.first, let family = Family(rawValue: entry.key) else {
      reader.problem(node, "expected one of fm and dlrm")
      return nil
    }
    return (family, reader.section(node, entry.key))
  }
}
