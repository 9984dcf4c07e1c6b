internal import Model

/// Numbers that generic kernels compute with. Integers wrap.
protocol TensorNumber: BitwiseCopyable, Comparable, Sendable {
  static var zero: Self { get }
  static func plus(_ a: Self, _ b: Self) -> Self
  static func times(_ a: Self, _ b: Self) -> Self
  /// NaN when either is.
  static func least(_ a: Self, _ b: Self) -> Self
  static func greatest(_ a: Self, _ b: Self) -> Self
  static func quotient(_ a: Self, count: Int) -> Self
  /// For factors that are attributes (Gemm's alpha).
  static func scaled(_ a: Self, by factor: Float) -> Self
}

extension TensorNumber where Self: BinaryFloatingPoint {
  @inline(__always) static func plus(_ a: Self, _ b: Self) -> Self { a + b }
  @inline(__always) static func times(_ a: Self, _ b: Self) -> Self { a * b }
  @inline(__always) static func least(_ a: Self, _ b: Self) -> Self { a < b || a.isNaN ? a : b }
  @inline(__always) static func greatest(_ a: Self, _ b: Self) -> Self { a > b || a.isNaN ? a : b }
  @inline(__always) static func quotient(_ a: Self, count: Int) -> Self { a / Self(count) }
  @inline(__always) static func scaled(_ a: Self, by factor: Float) -> Self { a * Self(factor) }
}

extension TensorNumber where Self: FixedWidthInteger {
  @inline(__always) static func plus(_ a: Self, _ b: Self) -> Self { a &+ b }
  @inline(__always) static func times(_ a: Self, _ b: Self) -> Self { a &* b }
  @inline(__always) static func least(_ a: Self, _ b: Self) -> Self { Swift.min(a, b) }
  @inline(__always) static func greatest(_ a: Self, _ b: Self) -> Self { Swift.max(a, b) }
  @inline(__always) static func quotient(_ a: Self, count: Int) -> Self { a / Self(clamping: Swift.max(1, count)) }
  @inline(__always) static func scaled(_ a: Self, by factor: Float) -> Self {
    factor == 1 ? a : Self(truncatingIfNeeded: Conversion.integer(Double(a) * Double(factor)))
  }
}

extension Float: TensorNumber {}
extension Double: TensorNumber {}
extension Int64: TensorNumber {}
extension Int32: TensorNumber {}
extension Int16: TensorNumber {}
extension Int8: TensorNumber {}
extension UInt64: TensorNumber {}
extension UInt32: TensorNumber {}
extension UInt16: TensorNumber {}
extension UInt8: TensorNumber {}

/// Makes a kernel for an element's number type.
protocol NumberKernelMaker {
  func make<T: TensorNumber>(_: T.Type) -> Kernel
}

extension NumberKernelMaker {
  /// Nil: not a number type that is computed with (halves, booleans, texts).
  func kernel(_ element: TensorElement) -> Kernel? {
    switch element {
    case .float32: make(Float.self)
    case .float64: make(Double.self)
    case .int64: make(Int64.self)
    case .int32: make(Int32.self)
    case .int16: make(Int16.self)
    case .int8: make(Int8.self)
    case .uint64: make(UInt64.self)
    case .uint32: make(UInt32.self)
    case .uint16: make(UInt16.self)
    case .uint8: make(UInt8.self)
    default: nil
    }
  }
}
