/// What the elements of a tensor are. Raw values stand in bundles and never change.
public enum TensorElement: UInt8, Sendable, Equatable, CaseIterable {
  case float32 = 1
  case float64 = 2
  case int64 = 3
  case int32 = 4
  case int8 = 5
  case uint8 = 6
  case boolean = 7
  /// In rows: the 64-bit hash of the text (`RowID.text`), since models only ask whether texts are equal. In outputs: an index into a table.
  case text = 8
  case bfloat16 = 9
  case float16 = 10
  case int16 = 11
  case uint16 = 12
  case uint32 = 13
  case uint64 = 14

  /// Bytes of one element where it lies in memory or in a bundle.
  public var bytes: Int {
    switch self {
    case .int8, .uint8, .boolean: 1
    case .bfloat16, .float16, .int16, .uint16: 2
    case .float32, .int32, .uint32: 4
    case .float64, .int64, .text, .uint64: 8
    }
  }

  /// The V2 protocol's name.
  public var datatype: String {
    switch self {
    case .float32: "FP32"
    case .float64: "FP64"
    case .int64: "INT64"
    case .int32: "INT32"
    case .int8: "INT8"
    case .uint8: "UINT8"
    case .boolean: "BOOL"
    case .text: "BYTES"
    case .bfloat16: "BF16"
    case .float16: "FP16"
    case .int16: "INT16"
    case .uint16: "UINT16"
    case .uint32: "UINT32"
    case .uint64: "UINT64"
    }
  }
}
