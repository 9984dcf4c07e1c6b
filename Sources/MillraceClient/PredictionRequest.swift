/// What is asked: rows of named features, or tensors as they are.
///
///     PredictionRequest(model: "flights", features: ["carrier": "AA", "temp": 39.2])
public struct PredictionRequest: Sendable {
  public enum Parameter: Sendable, Equatable {
    case text(String)
    case integer(Int64)
    case number(Double)
    case flag(Bool)
  }

  public var model: String
  /// Empty: the one that the server would serve.
  public var version: String
  /// The event's id. A server that logs requests logs those that carry one.
  public var id: String
  /// One dictionary for each row; features may be missing.
  public var rows: [[String: FeatureValue]]
  /// Instead of rows.
  public var tensors: [Tensor]
  /// `max_staleness_ms`, `min_position`, `arm`, `key`, `event_time`, `log`…
  public var parameters: [String: Parameter] = [:]
  /// Nil: the client's.
  public var timeoutMilliseconds: Int?

  public init(model: String, version: String = "", id: String = "", features: [String: FeatureValue]) {
    self.init(model: model, version: version, id: id, rows: [features])
  }

  public init(model: String, version: String = "", id: String = "", rows: [[String: FeatureValue]]) {
    self.model = model
    self.version = version
    self.id = id
    self.rows = rows
    tensors = []
  }

  public init(model: String, version: String = "", id: String = "", tensors: [Tensor]) {
    self.model = model
    self.version = version
    self.id = id
    rows = []
    self.tensors = tensors
  }
}

/// A tensor in its raw form: little endian, row by row; each element of BYTES is its length in four bytes, then itself.
public struct Tensor: Sendable, Equatable {
  public var name: String
  public var datatype: TensorDatatype
  public var shape: [Int64]
  public var bytes: [UInt8]

  public init(name: String, datatype: TensorDatatype, shape: [Int64], bytes: [UInt8]) {
    self.name = name
    self.datatype = datatype
    self.shape = shape
    self.bytes = bytes
  }

  /// FP32.
  public init(name: String, shape: [Int64], _ values: [Float]) {
    self.init(name: name, datatype: .fp32, shape: shape, bytes: values.flatMap { value in withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) } })
  }

  /// The elements of an FP32 tensor; nil for another.
  public var floats: [Float]? {
    guard datatype == .fp32, bytes.count % 4 == 0 else { return nil }
    return bytes.withUnsafeBytes { bytes in
      (0..<bytes.count / 4).map { Float(bitPattern: UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: $0 * 4, as: UInt32.self))) }
    }
  }
}
