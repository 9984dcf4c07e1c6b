internal import Model

/// Comparisons, logic, and choosing by a condition.
enum LogicOperators {
  static let all: [ONNXOperator] =
    [equal, greater, greaterOrEqual, less, lessOrEqual, and, or, xor, not, isNaN, isInf, choose]

  /// Equal: 7, 11 (all numbers), 13, 19 (texts).
  static let equal = comparison("Equal", .equal)
  /// Greater, Less: 7, 9 (all numbers), 13. The two with equality: 12, 16.
  static let greater = comparison("Greater", .greater)
  static let greaterOrEqual = comparison("GreaterOrEqual", .greaterOrEqual)
  static let less = comparison("Less", .less)
  static let lessOrEqual = comparison("LessOrEqual", .lessOrEqual)
  static let and = logic("And", .and)
  static let or = logic("Or", .or)
  static let xor = logic("Xor", .xor)

  /// Not: 1.
  static let not = ONNXOperator("Not") { node throws(ONNXError) in
    try node.require(0, [.boolean])
    return [try node.type(0)]
  } compile: { _ throws(ONNXError) in
    NotKernel()
  }

  /// IsNaN: 9, 13, 20.
  static let isNaN = ONNXOperator("IsNaN") { node throws(ONNXError) in
    try node.require(0, [.float32, .float64, .float16, .bfloat16])
    return [TensorType(.boolean, try node.shape(0))]
  } compile: { node throws(ONNXError) in
    try node.element(0) == .float32 ? TestKernel<Float> { $0.isNaN } : TestKernel<Double> { $0.isNaN }
  }

  /// IsInf: 10, 20.
  static let isInf = ONNXOperator("IsInf", versions: 10...ONNXOperator.versionMax, attributes: ["detect_negative", "detect_positive"]) { node throws(ONNXError) in
    try node.require(0, [.float32, .float64, .float16, .bfloat16])
    return [TensorType(.boolean, try node.shape(0))]
  } compile: { node throws(ONNXError) in
    let negative = try node.flag("detect_negative", true)
    let positive = try node.flag("detect_positive", true)
    if try node.element(0) == .float32 {
      return TestKernel<Float> { ($0 == -.infinity && negative) || ($0 == .infinity && positive) }
    }
    return TestKernel<Double> { ($0 == -.infinity && negative) || ($0 == .infinity && positive) }
  }

  /// Where: 9, 16.
  static let choose = ONNXOperator("Where", versions: 9...ONNXOperator.versionMax, halves: .itself) { node throws(ONNXError) in
    try node.require(0, [.boolean])
    let yes = try node.type(1)
    let no = try node.type(2)
    guard yes.element == no.element else { throw node.error("chooses between \(yes.element.onnxName) and \(no.element.onnxName)") }
    let shape = try node.broadcast(try node.broadcast(try node.shape(0), yes.shape), no.shape)
    _ = try node.elementCount(shape)
    return [TensorType(yes.element, shape)]
  } compile: { node throws(ONNXError) in
    switch try node.element(1).bytes {
    case 1: return WhereKernel<UInt8>()
    case 2: return WhereKernel<UInt16>()
    case 4: return WhereKernel<UInt32>()
    default: return WhereKernel<UInt64>()
    }
  } dimensions: { node throws(ONNXError) in
    guard let condition = node.constant(0)?.integers, let yes = node.dimensions(1), let no = node.dimensions(2) else { return nil }
    let count = max(condition.count, yes.count, no.count)
    guard [condition.count, yes.count, no.count].allSatisfy({ $0 == 1 || $0 == count }) else { return nil }
    return (0..<count).map { index in
      condition[condition.count == 1 ? 0 : index] != 0 ? yes[yes.count == 1 ? 0 : index] : no[no.count == 1 ? 0 : index]
    }
  }

  // MARK: Making them

  private static let comparable: Set<TensorElement> = [
    .float32, .float64, .float16, .bfloat16, .int8, .int16, .int32, .int64, .uint8, .uint16, .uint32, .uint64,
  ]

  private static func comparison(_ name: String, _ relation: Relation) -> ONNXOperator {
    ONNXOperator(name, versions: 7...ONNXOperator.versionMax) { node throws(ONNXError) in
      let a = try node.type(0)
      let b = try node.type(1)
      guard a.element == b.element else { throw node.error("compares \(a.element.onnxName) with \(b.element.onnxName)") }
      let isEquality = relation == .equal && (a.element == .boolean || a.element == .text)
      guard isEquality || comparable.contains(a.element) else { throw node.error("compares \(a.element.onnxName)") }
      let shape = try node.broadcast(a.shape, b.shape)
      _ = try node.elementCount(shape)
      return [TensorType(.boolean, shape)]
    } compile: { node throws(ONNXError) in
      switch try node.element(0) {
      case .float32: return CompareKernel<Float>(relation)
      case .float64: return CompareKernel<Double>(relation)
      case .int8: return CompareKernel<Int8>(relation)
      case .int16: return CompareKernel<Int16>(relation)
      case .int32: return CompareKernel<Int32>(relation)
      case .int64: return CompareKernel<Int64>(relation)
      case .uint16: return CompareKernel<UInt16>(relation)
      case .uint32: return CompareKernel<UInt32>(relation)
      case .uint64, .text: return CompareKernel<UInt64>(relation)
      default: return CompareKernel<UInt8>(relation)
      }
    }
  }

  private static func logic(_ name: String, _ combination: LogicKernel.Combination) -> ONNXOperator {
    ONNXOperator(name, versions: 7...ONNXOperator.versionMax) { node throws(ONNXError) in
      try node.require(0, [.boolean])
      try node.require(1, [.boolean])
      let shape = try node.broadcast(try node.shape(0), try node.shape(1))
      _ = try node.elementCount(shape)
      return [TensorType(.boolean, shape)]
    } compile: { _ throws(ONNXError) in
      LogicKernel(combination)
    }
  }
}
