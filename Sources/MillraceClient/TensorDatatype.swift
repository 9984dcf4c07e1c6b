/// The datatypes of the V2 protocol.
public enum TensorDatatype: UInt8, Sendable, CaseIterable, CustomStringConvertible {
  case bool, uint8, uint16, uint32, uint64, int8, int16, int32, int64, fp16, fp32, fp64, bytes, bf16

  /// As it is written in messages.
  public var name: StaticString {
    switch self {
    case .bool: "BOOL"
    case .uint8: "UINT8"
    case .uint16: "UINT16"
    case .uint32: "UINT32"
    case .uint64: "UINT64"
    case .int8: "INT8"
    case .int16: "INT16"
    case .int32: "INT32"
    case .int64: "INT64"
    case .fp16: "FP16"
    case .fp32: "FP32"
    case .fp64: "FP64"
    case .bytes: "BYTES"
    case .bf16: "BF16"
    }
  }

  public init?(name: String) {
    guard let found = Self.allCases.first(where: { $0.description == name }) else { return nil }
    self = found
  }

  public var description: String { "\(name)" }

  /// Bytes of one raw element; 0 for BYTES, whose elements carry their length.
  public var byteCount: Int {
    switch self {
    case .bool, .uint8, .int8: 1
    case .uint16, .int16, .fp16, .bf16: 2
    case .uint32, .int32, .fp32: 4
    case .uint64, .int64, .fp64: 8
    case .bytes: 0
    }
  }

  /// The list of InferTensorContents that carries it; nil for those that travel raw only.
  var contentsField: UInt32? {
    switch self {
    case .bool: 1
    case .int8, .int16, .int32: 2
    case .int64: 3
    case .uint8, .uint16, .uint32: 4
    case .uint64: 5
    case .fp32: 6
    case .fp64: 7
    case .bytes: 8
    case .fp16, .bf16: nil
    }
  }
}
