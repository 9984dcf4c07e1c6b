internal import CKernels
public import Kernels
public import Model

/// A deep learning recommendation model (Naumov et al., "Deep Learning Recommendation Model for Personalization and Recommendation Systems",
/// 2019): the bottom tower makes a vector of the numbers, each table one of its feature's values, the dot products of all pairs and the first
/// vector go through the top tower, then the link.
///
/// Tables and columns follow the specification: each categorical or bucketized feature, then each cross, has a table; each other numeric
/// feature is a column of the dense part's input `numerics`, each vector as many columns behind them as it has places. The numbers of a tensor
/// `dense` come before all those. A numeric feature or a vector that is not given is 0.
public final class DLRMModel: LoadedModel, @unchecked Sendable {
  public static let tablesMax = 1024
  public static let columnsMax = 65_536
  public static let layersMax = 32
  public static let outputsMax = 256

  /// How a feature's several values become one vector.
  public typealias Pooling = EmbeddingTable.Pooling

  /// Which fields have tables, and which numbers are columns; in order.
  public struct Layout: Sendable, Equatable {
    /// The feature's name, or those of a cross joined by "*".
    public private(set) var tables: [String] = []
    /// Numeric features without buckets: columns of the dense part.
    public private(set) var numerics: [String] = []
    /// As `RowBatch.fields` has it, of each table.
    let tableFields: [Int]
    /// Of the vectors, and how many columns each has: they come as sparse entries.
    let vectorFields: [Int]
    let vectorSizes: [Int]

    /// - Parameter hasDense: whether a tensor `dense` stands behind the features: then fields of crosses stand behind it.
    public init(_ specification: ModelSpecification, hasDense: Bool = false) {
      var tableFields: [Int] = [], vectorFields: [Int] = [], vectorSizes: [Int] = []
      for (field, feature) in specification.features.enumerated() {
        if feature.isCrossable {
          tables.append(feature.name)
          tableFields.append(field)
        } else if feature.kind == .vector {
          vectorFields.append(field)
          vectorSizes.append(feature.valuesMax)
        } else {
          numerics.append(feature.name)
        }
      }
      for (index, cross) in specification.crosses.enumerated() {
        tables.append(cross.features.joined(separator: "*"))
        tableFields.append(specification.features.count + (hasDense ? 1 : 0) + index)
      }
      self.tableFields = tableFields
      self.vectorFields = vectorFields
      self.vectorSizes = vectorSizes
    }

    /// Columns that come from the specification.
    public var columnCount: Int { numerics.count + vectorCount }
    var vectorCount: Int { vectorSizes.reduce(0, +) }
  }

  public let layout: Layout
  /// Of each table, in the order of `layout.tables`.
  public let tableRows: [Int]
  /// All tables end to end.
  public let embeddings: EmbeddingTable
  public let bottom: [LayerWeights]
  public let top: [LayerWeights]
  /// What the towers are computed in.
  public let precision: MatrixPrecision
  public let pooling: Pooling
  public let link: OutputLink
  /// Numbers of the tensor `dense`, which stands before the columns of the specification; 0: there is none.
  public let denseCount: Int

  let bottomChain: DenseChain
  let topChain: DenseChain
  /// By field: slots counted from the first table, and from the dense vector before it.
  let accumulatorFields: [mr_embedding_field]
  let vectorFields: [mr_embedding_field]

  /// - Parameters:
  ///   - embeddings: all tables end to end, no head.
  ///   - bottom: from `denseCount` and the specification's columns to vectors of the embeddings' width; ReLU after each layer.
  ///   - top: from the interaction to the outputs; ReLU after each layer but the last.
  /// - Throws: which parts do not fit.
  public init(
    specification: ModelSpecification, tableRows: [Int], embeddings: EmbeddingTable, bottom: [LayerWeights], top: [LayerWeights],
    precision: MatrixPrecision = .float32, pooling: Pooling = .sum, link: OutputLink = .sigmoid, denseCount: Int = 0
  ) throws(FamilyError) {
    let layout = Layout(specification, hasDense: denseCount > 0)
    let tables = layout.tables.count
    guard (1...Self.tablesMax).contains(tables) else {
      throw FamilyError(place: "tables", reason: "the specification has \(tables) features with a table, expected 1 to \(Self.tablesMax)")
    }
    guard tableRows.count == tables else { throw FamilyError(place: "tables", reason: "rows of \(tableRows.count) tables where \(tables) are due") }
    var rows = 0
    for (index, count) in tableRows.enumerated() {
      guard (1...EmbeddingTable.rowsMax).contains(count), rows + count <= EmbeddingTable.rowsMax else {
        throw FamilyError(place: "tables[\(index)].rows", reason: "\(count) rows, expected at least 1 and at most \(EmbeddingTable.rowsMax) in all tables")
      }
      rows += count
    }
    guard embeddings.rowCount == rows, embeddings.headWidth == 0 else {
      throw FamilyError(place: "embeddings", reason: "\(embeddings.rowCount) rows where the tables have \(rows)")
    }
    let columns = layout.columnCount
    guard denseCount >= 0, denseCount <= Self.columnsMax, columns <= Self.columnsMax else {
      throw FamilyError(place: "dense", reason: "\(denseCount) numbers and \(columns) columns, at most \(Self.columnsMax) each")
    }
    guard denseCount + columns > 0 else {
      throw FamilyError(place: "dense", reason: "there are no numbers, and the bottom tower needs some: add a numeric feature")
    }
    let width = embeddings.width
    bottomChain = try Self.chain("bottom", bottom, inputs: denseCount + columns, outputs: width, precision, last: .relu)
    let outputs = top.last?.outputs ?? 1
    topChain = try Self.chain("top", top, inputs: width + (tables + 1) * tables / 2, outputs: outputs, precision, last: .none)
    guard outputs <= Self.outputsMax else { throw FamilyError(place: "top", reason: "\(outputs) outputs, at most \(Self.outputsMax)") }

    var fields = [mr_embedding_field](
      repeating: mr_embedding_field(), count: specification.features.count + (denseCount > 0 ? 1 : 0) + specification.crosses.count)
    var firstRow = 0
    for (table, field) in layout.tableFields.enumerated() {
      fields[field] = mr_embedding_field(
        first_row: UInt32(firstRow), table_rows: UInt32(tableRows[table]), slot: UInt32(table), column: 0, columns: 0)
      firstRow += tableRows[table]
    }
    var column = denseCount + layout.numerics.count
    for (field, count) in zip(layout.vectorFields, layout.vectorSizes) {
      fields[field] = mr_embedding_field(first_row: 0, table_rows: 0, slot: 0, column: UInt32(column), columns: UInt32(count))
      column += count
    }
    accumulatorFields = fields
    for field in layout.tableFields { fields[field].slot += 1 }
    vectorFields = fields

    self.layout = layout
    self.tableRows = tableRows
    self.embeddings = embeddings
    self.bottom = bottom
    self.top = top
    self.precision = precision
    self.pooling = pooling
    self.link = link
    self.denseCount = denseCount
    super.init(
      inputs: Self.inputs(layout, denseCount),
      outputs: [OutputTensor(name: "score", shape: [outputs])], specification: specification, accumulatorWidth: tables * width,
      shards: specification.shards)
  }

  /// What stands in the dense part: the tensor, then the numeric features.
  private static func inputs(_ layout: Layout, _ denseCount: Int) -> [InputTensor] {
    var inputs: [InputTensor] = []
    if denseCount > 0 { inputs.append(InputTensor(name: "dense", shape: [denseCount])) }
    if !layout.numerics.isEmpty {
      inputs.append(InputTensor(name: "numerics", shape: [layout.numerics.count], offset: denseCount * 4, columns: layout.numerics, absent: 0))
    }
    return inputs
  }

  private static func chain(
    _ name: String, _ layers: [LayerWeights], inputs: Int, outputs: Int, _ precision: MatrixPrecision, last: Activation
  ) throws(FamilyError) -> DenseChain {
    guard (1...layersMax).contains(layers.count) else {
      throw FamilyError(place: name, reason: "\(layers.count) layers, expected 1 to \(layersMax)")
    }
    var wanted = inputs
    for (index, layer) in layers.enumerated() {
      guard layer.inputs == wanted else {
        throw FamilyError(place: "\(name).\(index).weight", reason: "takes \(layer.inputs) numbers where \(wanted) come")
      }
      wanted = layer.outputs
    }
    guard wanted == outputs else { throw FamilyError(place: "\(name).\(layers.count - 1).weight", reason: "gives \(wanted) numbers where \(outputs) are due") }
    let packed = layers.enumerated().map { index, layer in
      PackedMatrix(
        weights: layer.weights, bias: layer.bias, inputs: layer.inputs, outputs: layer.outputs,
        activation: index == layers.count - 1 ? last : .relu, precision: precision)
    }
    guard let chain = DenseChain(layers: packed) else { throw FamilyError(place: name, reason: "the layers do not fit each other") }
    return chain
  }

  public override var family: String { "dlrm" }
  public override var parameterBytes: Int { embeddings.byteCount + bottomChain.byteCount + topChain.byteCount }
  public override func makeScorer(rowsMax: Int) -> Scorer { DLRMScorer(self, rowsMax: rowsMax) }

  /// The same model with its rows or towers in another precision.
  public func converted(rows: RowPrecision? = nil, layers: MatrixPrecision? = nil) throws(FamilyError) -> DLRMModel {
    var table = embeddings
    if let rows, rows != table.precision {
      guard let converted = table.converted(to: rows) else { throw FamilyError(place: "embeddings", reason: "no memory for rows in \(rows.name)") }
      table = converted
    }
    return try DLRMModel(
      specification: specification ?? ModelSpecification(name: "", family: .count), tableRows: tableRows, embeddings: table, bottom: bottom, top: top,
      precision: layers ?? precision, pooling: pooling, link: link, denseCount: denseCount)
  }
}
