public import Model

/// What is known of a value before it is computed.
public struct TensorType: Sendable, Equatable, CustomStringConvertible {
  public var element: TensorElement
  public var shape: Shape

  public init(_ element: TensorElement, _ shape: Shape) {
    self.element = element
    self.shape = shape
  }

  public var rank: Int { shape.count }
  public var description: String { "\(element.onnxName)\(shape.text)" }
}

extension TensorElement {
  /// TensorProto.DataType (onnx.proto3) to ours; nil: complex numbers, 8-bit floats and 4-bit integers.
  public init?(onnx: Int) {
    switch onnx {
    case 1: self = .float32
    case 2: self = .uint8
    case 3: self = .int8
    case 4: self = .uint16
    case 5: self = .int16
    case 6: self = .int32
    case 7: self = .int64
    case 8: self = .text
    case 9: self = .boolean
    case 10: self = .float16
    case 11: self = .float64
    case 12: self = .uint32
    case 13: self = .uint64
    case 16: self = .bfloat16
    default: return nil
    }
  }

  /// TensorProto.DataType.
  public var onnxCode: Int {
    switch self {
    case .float32: 1
    case .uint8: 2
    case .int8: 3
    case .uint16: 4
    case .int16: 5
    case .int32: 6
    case .int64: 7
    case .text: 8
    case .boolean: 9
    case .float16: 10
    case .float64: 11
    case .uint32: 12
    case .uint64: 13
    case .bfloat16: 16
    }
  }

  /// As the ONNX specification writes it.
  public var onnxName: String {
    switch self {
    case .float32: "float"
    case .float64: "double"
    case .int64: "int64"
    case .int32: "int32"
    case .int8: "int8"
    case .uint8: "uint8"
    case .boolean: "bool"
    case .text: "string"
    case .bfloat16: "bfloat16"
    case .float16: "float16"
    case .int16: "int16"
    case .uint16: "uint16"
    case .uint32: "uint32"
    case .uint64: "uint64"
    }
  }

  public var isFloating: Bool {
    switch self {
    case .float32, .float64, .float16, .bfloat16: true
    default: false
    }
  }

  /// Two bytes of float: computed in single precision and rounded, by casts around the node.
  public var isHalf: Bool { self == .float16 || self == .bfloat16 }
  public var isSignedInteger: Bool { self == .int8 || self == .int16 || self == .int32 || self == .int64 }
  public var isUnsignedInteger: Bool { self == .uint8 || self == .uint16 || self == .uint32 || self == .uint64 }
  public var isNumber: Bool { self != .boolean && self != .text }
}
