// Hot: allocates nothing.
internal import CKernels

/// Functions of many floats, in the instruction set in force. x and y may be the same memory. Relative error at most 1e-6 (mr_math.h says where);
/// NaN gives NaN; infinities give the limit.
public enum VectorMath {
  @inline(__always)
  public static func apply(_ activation: Activation, _ x: UnsafePointer<Float>, into y: UnsafeMutablePointer<Float>, count: Int) {
    mr_math_activate(activation.rawValue, x, y, count)
  }

  public static func exp(_ x: UnsafePointer<Float>, into y: UnsafeMutablePointer<Float>, count: Int) { mr_math_exp(x, y, count) }
  public static func erf(_ x: UnsafePointer<Float>, into y: UnsafeMutablePointer<Float>, count: Int) { mr_math_erf(x, y, count) }
  public static func tanh(_ x: UnsafePointer<Float>, into y: UnsafeMutablePointer<Float>, count: Int) { mr_math_tanh(x, y, count) }
  public static func sigmoid(_ x: UnsafePointer<Float>, into y: UnsafeMutablePointer<Float>, count: Int) { mr_math_sigmoid(x, y, count) }

  /// Of one vector of `count` contiguous floats.
  public static func softmax(_ x: UnsafePointer<Float>, into y: UnsafeMutablePointer<Float>, count: Int) { mr_math_softmax(x, y, count) }
  public static func logSoftmax(_ x: UnsafePointer<Float>, into y: UnsafeMutablePointer<Float>, count: Int) {
    mr_math_log_softmax(x, y, count)
  }

  /// Round to nearest even; NaN stays NaN.
  public static func toBFloat16(_ x: UnsafePointer<Float>, into y: UnsafeMutablePointer<UInt16>, count: Int) {
    mr_math_to_bfloat16(x, y, count)
  }
  public static func fromBFloat16(_ x: UnsafePointer<UInt16>, into y: UnsafeMutablePointer<Float>, count: Int) {
    mr_math_from_bfloat16(x, y, count)
  }
}
