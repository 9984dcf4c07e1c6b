public import Model
public import Serving

/// One input or output as the protocol describes it.
public struct TensorMetadata: Sendable, Equatable {
  public var name: String
  /// A datatype of the protocol: BYTES, FP32, …
  public var datatype: String
  /// -1: any size. The first is the number of rows.
  public var shape: [Int64]

  public init(name: String, datatype: String, shape: [Int64]) {
    self.name = name
    self.datatype = datatype
    self.shape = shape
  }
}

/// What a model says of itself: the answer to ModelMetadata. Inputs are the features in the order of the specification; each may be
/// left out of a request.
public struct ModelMetadata: Sendable, Equatable {
  public static let platform = "millrace"
  /// The one output of every model: the score of each row.
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

  /// A feature as an input: categorical values are BYTES (INT64 and BOOL are taken too), numbers FP32 (any number is taken).
  private static func input(_ feature: Feature) -> TensorMetadata {
    switch feature.kind {
    case .categorical: TensorMetadata(name: feature.name, datatype: "BYTES", shape: [-1, feature.valuesMax > 1 ? -1 : 1])
    case .numeric: TensorMetadata(name: feature.name, datatype: "FP32", shape: [-1, 1])
    case .vector: TensorMetadata(name: feature.name, datatype: "FP32", shape: [-1, Int64(feature.valuesMax)])
    case .tensor:
      TensorMetadata(
        name: feature.name, datatype: feature.tensor?.element.datatype ?? "FP32", shape: [-1] + (feature.tensor?.shape ?? [1]).map { Int64($0) })
    }
  }
}
