// Hot: `run` of each batch.
internal import Model

/// What prepares columns of numbers.
extension MachineLearningOperators {
  /// (x - offset) * scale, one of each for all columns or one for each.
  static let scaler = ONNXOperator("Scaler", domain: domain, versions: versions, attributes: ["offset", "scale"]) { node throws(ONNXError) in
    try node.requireNumbers()
    _ = try RowShape(node)
    return [TensorType(.float32, try node.shape(0))]
  } compile: { node throws(ONNXError) in
    let columns = try RowShape(node).columns
    let offsets = try node.perColumn(try node.floats("offset") ?? [0], columns, "offset")
    let scales = try node.perColumn(try node.floats("scale") ?? [1], columns, "scale")
    switch try node.element(0) {
    case .float64: return ScalerKernel<Double>(offsets, scales)
    case .int64: return ScalerKernel<Int64>(offsets, scales)
    case .int32: return ScalerKernel<Int32>(offsets, scales)
    default: return FloatScalerKernel(offsets, scales)
    }
  }

  enum Norm: Sendable { case max, absolutes, squares }

  static let normalizer = ONNXOperator("Normalizer", domain: domain, versions: versions, attributes: ["norm"]) { node throws(ONNXError) in
    try node.requireNumbers()
    _ = try RowShape(node)
    return [TensorType(.float32, try node.shape(0))]
  } compile: { node throws(ONNXError) in
    let norm: Norm
    switch try node.string("norm", "MAX") {
    case "MAX": norm = .max
    case "L1": norm = .absolutes
    case "L2": norm = .squares
    case let other: throw node.error("norm \(other)")
    }
    switch try node.element(0) {
    case .float64: return NormalizerKernel<Double>(norm)
    case .int64: return NormalizerKernel<Int64>(norm)
    case .int32: return NormalizerKernel<Int32>(norm)
    default: return NormalizerKernel<Float>(norm)
    }
  }

  /// Puts a value where one is missing. Elements stay what they are.
  static let imputer = ONNXOperator(
    "Imputer", domain: domain, versions: versions,
    attributes: ["imputed_value_floats", "imputed_value_int64s", "replaced_value_float", "replaced_value_int64"]
  ) { node throws(ONNXError) in
    try node.requireNumbers()
    _ = try RowShape(node)
    return [try node.type(0)]
  } compile: { node throws(ONNXError) in
    let columns = try RowShape(node).columns
    switch try node.element(0) {
    case .int64, .int32:
      let given = try node.ints("imputed_value_int64s") ?? []
      guard given.count == columns || given.count == 1 else { throw node.error("\(given.count) imputed_value_int64s for \(columns) columns") }
      let values = given.count == columns ? given : Array(repeating: given[0], count: columns)
      let missing = try node.int("replaced_value_int64", 0)
      if try node.element(0) == .int64 {
        return ImputerKernel<Int64>(values.map { Int64($0) }) { $0 == Int64(missing) }
      }
      return ImputerKernel<Int32>(values.map { Int32(truncatingIfNeeded: $0) }) { Int($0) == missing }
    default:
      let values = try node.perColumn(try node.floats("imputed_value_floats") ?? [], columns, "imputed_value_floats")
      let missing = try node.float("replaced_value_float", 0)
      if try node.element(0) == .float64 {
        return ImputerKernel<Double>(values.map { Double($0) }) { missing.isNaN ? $0.isNaN : $0 == Double(missing) }
      }
      return ImputerKernel<Float>(values) { missing.isNaN ? $0.isNaN : $0 == missing }
    }
  }

  /// 1 above the threshold, else 0.
  static let binarizer = ONNXOperator("Binarizer", domain: domain, versions: versions, attributes: ["threshold"]) { node throws(ONNXError) in
    try node.requireNumbers()
    return [try node.type(0)]
  } compile: { node throws(ONNXError) in
    let threshold = try node.float("threshold", 0)
    switch try node.element(0) {
    case .float64: return MapKernel<Double> { $0 > Double(threshold) ? 1 : 0 }
    case .int64: return MapKernel<Int64> { Double($0) > Double(threshold) ? 1 : 0 }
    case .int32: return MapKernel<Int32> { Double($0) > Double(threshold) ? 1 : 0 }
    default: return MapKernel<Float> { $0 > threshold ? 1 : 0 }
    }
  }

  /// Columns of several inputs, one after the other, as floats. An input that has fewer columns than are told is filled up with zeros.
  static let featureVectorizer = ONNXOperator("FeatureVectorizer", domain: domain, versions: versions, attributes: ["inputdimensions"]) { node throws(ONNXError) in
    let widths = try vectorizerWidths(node)
    var rows: Dimension?
    for index in 0..<node.inputCount {
      try node.requireNumbers(index)
      let shape = try RowShape(node, input: index)
      guard rows == nil || rows == shape.rows else { throw node.error("input \(index) has \(shape.rows) rows, input 0 \(rows ?? shape.rows)") }
      rows = shape.rows
    }
    guard let rows else { throw node.error("has no inputs") }
    return [TensorType(.float32, [rows, Dimension(widths.reduce(0, +))])]
  } compile: { node throws(ONNXError) in
    FeatureVectorizerKernel(widths: try vectorizerWidths(node))
  }

  private static func vectorizerWidths(_ node: NodeContext) throws(ONNXError) -> [Int] {
    var widths: [Int] = []
    let told = try node.ints("inputdimensions")
    for index in 0..<node.inputCount {
      let columns = try RowShape(node, input: index).columns
      let width = told.map { $0.indices.contains(index) ? $0[index] : -1 } ?? columns
      guard width >= 0, width <= 1 << 24 else { throw node.error("inputdimensions of \(told ?? []) for \(node.inputCount) inputs") }
      widths.append(width)
    }
    return widths
  }

  /// Columns by their places; of any type. The places are a list of whatever shape.
  static let arrayFeatureExtractor = ONNXOperator("ArrayFeatureExtractor", domain: domain, versions: versions, halves: .itself) { node throws(ONNXError) in
    let type = try node.type(0)
    try node.require(1, [.int64])
    let places = try node.elementCount(try node.shape(1))
    guard type.rank > 0, type.shape[type.rank - 1].fixed != nil else { throw node.error("takes entries of \(type)") }
    let shape = type.rank == 1 ? [Dimension(1), places] : Array(type.shape.dropLast()) + [places]
    _ = try node.elementCount(shape)
    return [TensorType(type.element, shape)]
  } compile: { _ throws(ONNXError) in
    ArrayFeatureKernel()
  }
}

private final class FloatScalerKernel: Kernel, @unchecked Sendable {
  let offsets: ModelNumbers<Float>
  let scales: ModelNumbers<Float>

  init(_ offsets: [Float], _ scales: [Float]) {
    self.offsets = ModelNumbers(offsets)
    self.scales = ModelNumbers(scales)
  }

  override var inPlaceInputs: [Int] { [0] }

  override func run(_ call: Call) {
    let input = call.input(0)
    let columns = input.rowColumns
    var from = input.floats
    var to = call.output().floats
    let offset = offsets.pointer
    let scale = scales.pointer
    for _ in 0..<input.rowCount {
      var column = 0
      while column < columns {
        to[column] = (from[column] - offset[column]) * scale[column]
        column &+= 1
      }
      from += columns
      to += columns
    }
  }
}

private final class ScalerKernel<X: RowNumber>: Kernel, @unchecked Sendable {
  let offsets: ModelNumbers<Float>
  let scales: ModelNumbers<Float>

  init(_ offsets: [Float], _ scales: [Float]) {
    self.offsets = ModelNumbers(offsets)
    self.scales = ModelNumbers(scales)
  }

  override func run(_ call: Call) {
    let input = call.input(0)
    let columns = input.rowColumns
    let from = input.pointer(X.self)
    let to = call.output().floats
    for index in 0..<input.count {
      let column = index % columns
      to[index] = Float((from[index].wide - Double(offsets[column])) * Double(scales[column]))
    }
  }
}

private final class NormalizerKernel<X: RowNumber>: Kernel, @unchecked Sendable {
  let norm: MachineLearningOperators.Norm

  init(_ norm: MachineLearningOperators.Norm) { self.norm = norm }

  override func run(_ call: Call) {
    let input = call.input(0)
    let columns = input.rowColumns
    for row in 0..<input.rowCount {
      let from = input.pointer(X.self) + row &* columns
      let to = call.output().floats + row &* columns
      var size: Float = norm == .max ? -.infinity : 0
      for column in 0..<columns {
        let value = from[column].single
        switch norm {
        case .max: size = max(size, value)
        case .absolutes: size += abs(value)
        case .squares: size += value * value
        }
      }
      if norm == .squares { size = size.squareRoot() }
      for column in 0..<columns { to[column] = size == 0 ? from[column].single : from[column].single / size }
    }
  }
}

private final class ImputerKernel<T: BitwiseCopyable>: Kernel, @unchecked Sendable {
  let values: ModelNumbers<T>
  let isMissing: (T) -> Bool

  init(_ values: [T], isMissing: @escaping (T) -> Bool) {
    self.values = ModelNumbers(values)
    self.isMissing = isMissing
  }

  override var inPlaceInputs: [Int] { [0] }

  override func run(_ call: Call) {
    let input = call.input(0)
    let columns = input.rowColumns
    var from = input.pointer(T.self)
    var to = call.output().pointer(T.self)
    for _ in 0..<input.rowCount {
      for column in 0..<columns { to[column] = isMissing(from[column]) ? values[column] : from[column] }
      from += columns
      to += columns
    }
  }
}

/// One function of each element.
private final class MapKernel<T: BitwiseCopyable>: Kernel, @unchecked Sendable {
  let map: (T) -> T

  init(_ map: @escaping (T) -> T) { self.map = map }

  override var inPlaceInputs: [Int] { [0] }

  override func run(_ call: Call) {
    let input = call.input(0)
    let from = input.pointer(T.self)
    let to = call.output().pointer(T.self)
    for index in 0..<input.count { to[index] = map(from[index]) }
  }
}

private final class FeatureVectorizerKernel: Kernel, @unchecked Sendable {
  let widths: [Int]

  init(widths: [Int]) { self.widths = widths }

  override func run(_ call: Call) {
    let output = call.output()
    let total = output.rowColumns
    var start = output.floats
    for index in 0..<call.inputCount {
      let input = call.input(index)
      switch input.element {
      case .float64: copy(input.pointer(Double.self), input, start, widths[index], total)
      case .int64: copy(input.pointer(Int64.self), input, start, widths[index], total)
      case .int32: copy(input.pointer(Int32.self), input, start, widths[index], total)
      default: copy(input.floats, input, start, widths[index], total)
      }
      start += widths[index]
    }
  }

  private func copy<X: RowNumber>(_ from: UnsafeMutablePointer<X>, _ input: Tensor, _ to: UnsafeMutablePointer<Float>, _ width: Int, _ total: Int) {
    let columns = input.rowColumns
    for row in 0..<input.rowCount {
      for column in 0..<width { to[row &* total &+ column] = column < columns ? from[row &* columns &+ column].single : 0 }
    }
  }
}

private final class ArrayFeatureKernel: Kernel, @unchecked Sendable {
  override func run(_ call: Call) {
    let input = call.input(0)
    let output = call.output()
    let places = call.input(1).pointer(Int64.self)
    let taken = call.input(1).count
    let columns = input.dims[input.rank - 1]
    let bytes = input.element.bytes
    if columns == 0 {
      if output.count > 0 { call.problem(.indexOutOfRange) }
      output.data.initializeMemory(as: UInt8.self, repeating: 0, count: output.byteCount)
      return
    }
    let rows = input.count / columns
    var to = output.data
    for row in 0..<rows {
      let from = input.data + row &* columns &* bytes
      for index in 0..<taken {
        var place = Int(places[index])
        if place < 0 || place >= columns {
          call.problem(.indexOutOfRange)
          place = 0
        }
        ElementCopy.run(to, 1, from + place &* bytes, 1, 1, bytes: bytes)
        to += bytes
      }
    }
  }
}
