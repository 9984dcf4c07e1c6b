public import Bundles
public import Families
internal import Model
internal import ONNX

/// What whoever imports wants the bundle to say.
public struct ImportWish: Sendable {
  public var name: String
  public var version: Int
  public var labels: [String]
  public var maxBatchSize: Int?
  /// YAML that says how named features become rows, for formats that do not know.
  public var specification: String?
  public var path: String

  public init(
    name: String, version: Int = 1, labels: [String] = [], maxBatchSize: Int? = nil, specification: String? = nil, path: String
  ) {
    self.name = name
    self.version = version
    self.labels = labels
    self.maxBatchSize = maxBatchSize
    self.specification = specification
    self.path = path
  }
}

/// A file of another tool, read, checked and made into a model; `writer` has all of its bundle.
public struct ModelImport {
  public let format: ModelFormat
  public let model: LoadedModel
  public let writer: BundleWriter
  /// What is in it: "trees" "300".
  public private(set) var facts: [(name: String, value: String)] = []
  /// What whoever imports should know.
  public private(set) var notes: [String] = []

  /// - Parameter bytes: those of the file at `wish.path`.
  /// - Throws: `ImportError`, `ONNXError`, …: what cannot be served, and where in the file.
  public init(_ bytes: UnsafeRawBufferPointer, format: ModelFormat, wish: ImportWish) throws {
    self.format = format
    var source = BundleManifest.Source(
      tool: format.rawValue, file: wish.path.split(separator: "/").last.map(String.init), byteCount: bytes.count, checksum: BundleManifest.checksum(bytes))
    let manifest = BundleManifest(
      name: wish.name, version: wish.version, family: "none", outputs: [], specification: wish.specification, maxBatchSize: wish.maxBatchSize,
      labels: wish.labels)
    let writer = BundleWriter(manifest: manifest)
    switch format {
    case .lightgbm, .xgboost:
      let imported = try format == .lightgbm ? LightGBMModel.read(bytes) : XGBoostModel.read(bytes)
      source.tool = imported.tool
      source.toolVersion = imported.toolVersion
      model = try Self.write(imported, into: writer, &facts)
      notes = imported.notes
    case .safetensors:
      guard let specification = wish.specification else {
        throw ImportError(
          place: "weights", reason: "alone they do not say which family they are and how features become rows: give a specification (--specification)")
      }
      let imported = try SafetensorsModel.read(bytes, specification: specification)
      model = imported.model
      imported.write(into: writer)
      facts = imported.facts
    case .onnx:
      // From the file itself: tensors may lie in others beside it.
      let graph = try ONNXModel.read(path: wish.path)
      if !graph.producer.isEmpty { source.tool = graph.producer }
      source.toolVersion = graph.producerVersion.isEmpty ? nil : graph.producerVersion
      let served = try ONNXGraphModel(model: graph)
      try served.write(into: writer)
      model = served
      facts = Self.facts(of: served)
      if served.isRowByRow { notes.append("rows are computed one by one, which is slow: \(served.rowByRowReason)") }
    }
    writer.manifest.source = source
    self.writer = writer
  }

  private static func facts(of model: ONNXGraphModel) -> [(name: String, value: String)] {
    let graph = model.model.graph
    let parameters = graph.initializers.reduce(0) { $0 + ($1.tensor.element == .float32 ? $1.tensor.count : 0) }
    let sets = model.model.operatorSets.sorted { $0.key < $1.key }.map { "\($0.key.isEmpty ? "ai.onnx" : $0.key) \($0.value)" }
    return [
      ("nodes", "\(graph.nodes.count), which run as \(model.stepNames.count) steps"), ("weights", "\(parameters)"),
      ("dense layers", "\(model.denseLayerCount)"), ("operators", sets.joined(separator: ", ")),
    ]
  }

  private static func write(
    _ imported: ImportedModel, into writer: BundleWriter, _ facts: inout [(name: String, value: String)]
  ) throws -> LoadedModel {
    facts.append(("objective", imported.objective))
    let model = try imported.makeModel()
    switch imported.body {
    case .trees(let ensemble):
      (model as? TreeModel)?.write(into: writer)
      facts.append(("trees", "\(ensemble.trees.count)"))
      facts.append(("nodes", "\(ensemble.nodes.count)"))
      facts.append(("leaves", "\(ensemble.trees.reduce(0) { $0 + Int($1.leafCount) })"))
    case .linear(let body):
      (model as? LinearModel)?.write(into: writer)
      facts.append(("weights", "\(body.weights.count)"))
    }
    if !imported.categories.isEmpty {
      let names = imported.categories.reduce(0) { $0 + $1.names.names.count }
      facts.append(("categories", "\(names) names in \(imported.categories.count) columns"))
    }
    return model
  }
}
