internal import Families
public import Model
public import ModelStore
public import Serving

/// One input or output as the protocol describes it.
public struct TensorMetadata: Sendable, Equatable {
  public var name: String
  /// A datatype of the protocol: BYTES, FP32, …
  public var datatype: String
  /// -1: any size. The first is the number of rows.
  public var shape: [Int64]
  /// Whether a request may leave the input out.
  public var isOptional: Bool

  public init(name: String, datatype: String, shape: [Int64], isOptional: Bool = true) {
    self.name = name
    self.datatype = datatype
    self.shape = shape
    self.isOptional = isOptional
  }
}

/// What a model says of itself: the answer to ModelMetadata. Inputs are the features in the order of the specification; each may be
/// left out of a request, but for tensors with nothing to put in their place.
public struct ModelMetadata: Sendable, Equatable {
  public static let platform = "millrace"
  /// The one output of every model that learns: the score of each row.
  public static let output = TensorMetadata(name: "score", datatype: "FP32", shape: [-1, 1])

  public var name: String
  /// Decimal numbers, ascending.
  public var versions: [String]
  public var platform: String
  public var inputs: [TensorMetadata]
  public var outputs: [TensorMetadata]
  /// What the protocol has no field for: family, loss, shards, arms (the first answers unless a request names another), the
  /// specification's hash in hexadecimal.
  public var properties: [String: String]

  public init(specification: ModelSpecification, arms: [Arm]) {
    name = specification.name
    versions = [String(specification.version)]
    platform = Self.platform
    inputs = specification.features.map(Self.input)
    outputs = [Self.output]
    properties = [
      "family": specification.loss == nil ? "count" : "linear", "shards": String(specification.shards),
      "arms": arms.map(\.name).joined(separator: ","), "specification_hash": String(specification.hash, radix: 16),
    ]
    if let loss = specification.loss { properties["loss"] = loss.name }
  }

  public init(loaded: LoadedVersion) {
    name = loaded.name
    versions = [String(loaded.version)]
    platform = Self.platform
    inputs = loaded.specification.features.map(Self.input)
    outputs = loaded.model.outputs.map {
      TensorMetadata(name: $0.name, datatype: $0.element.datatype, shape: [-1] + $0.shape.map { Int64($0) }, isOptional: false)
    }
    properties = [
      "family": loaded.model.family, "specification_hash": String(loaded.specification.hash, radix: 16),
      "max_batch_size": String(loaded.maxBatchSize),
    ]
    // Tensors can be given by their columns instead.
    for case let feature in loaded.specification.features {
      guard let place = feature.tensor, !place.columns.isEmpty, place.columns.count <= Self.columnsShownMax,
        !place.columns.contains(where: { $0.contains(",") })
      else { continue }
      properties["columns.\(feature.name)"] = place.columns.joined(separator: ",")
      // These take BYTES, the names of categories, besides numbers.
      let named = place.categories.map { place.columns[$0.column] }
      if !named.isEmpty { properties["categories.\(feature.name)"] = named.joined(separator: ",") }
    }
  }

  /// Of an input with more, the names are not shown; nor are those that have commas, which stand between them.
  private static let columnsShownMax = 1024

  /// A feature as an input: categorical values are BYTES (INT64 and BOOL are taken too), numbers FP32 (any number is taken).
  private static func input(_ feature: Feature) -> TensorMetadata {
    switch feature.kind {
    case .categorical: TensorMetadata(name: feature.name, datatype: "BYTES", shape: [-1, feature.valuesMax > 1 ? -1 : 1])
    case .numeric: TensorMetadata(name: feature.name, datatype: "FP32", shape: [-1, 1], isOptional: feature.tensor?.absent != .refused)
    case .vector: TensorMetadata(name: feature.name, datatype: "FP32", shape: [-1, Int64(feature.valuesMax)])
    case .tensor:
      TensorMetadata(
        name: feature.name, datatype: feature.tensor?.element.datatype ?? "FP32", shape: [-1] + (feature.tensor?.shape ?? [1]).map { Int64($0) },
        isOptional: feature.tensor?.absent != .refused)
    }
  }
}
