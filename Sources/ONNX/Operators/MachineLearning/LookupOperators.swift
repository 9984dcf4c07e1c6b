// Hot: `run` of each batch.
internal import Model

/// What turns categories into numbers, and numbers into labels.
extension MachineLearningOperators {
  /// [...] to [..., categories]: 1 at the place of its category.
  static let oneHotEncoder = ONNXOperator(
    "OneHotEncoder", domain: domain, versions: versions, attributes: ["cats_int64s", "cats_strings", "zeros"]
  ) { node throws(ONNXError) in
    let type = try node.type(0)
    try node.require(0, [.float32, .float64, .int64, .int32, .text])
    let keys = try encodedKeys(node)
    guard type.rank < ONNXLimits.rankMax else { throw node.error("\(type.rank + 1) dimensions") }
    let shape = type.shape + [Dimension(keys.count)]
    _ = try node.elementCount(shape)
    return [TensorType(.float32, shape)]
  } compile: { node throws(ONNXError) in
    let keys = try encodedKeys(node)
    let index = KeyIndex(keys)
    let takesUnknown = try node.flag("zeros", true)
    switch try node.element(0) {
    case .float32: return EncoderKernel<Float>(index, keys.count, takesUnknown) { UInt64(bitPattern: $0.whole) }
    case .float64: return EncoderKernel<Double>(index, keys.count, takesUnknown) { UInt64(bitPattern: $0.whole) }
    case .int32: return EncoderKernel<Int32>(index, keys.count, takesUnknown) { UInt64(bitPattern: $0.whole) }
    default: return EncoderKernel<UInt64>(index, keys.count, takesUnknown) { $0 }
    }
  }

  private static func encodedKeys(_ node: NodeContext) throws(ONNXError) -> [UInt64] {
    let keys: [UInt64]
    if try node.element(0) == .text {
      keys = (try node.strings("cats_strings") ?? []).map { node.texts.add($0) }
    } else {
      keys = (try node.ints("cats_int64s") ?? []).map { UInt64(bitPattern: Int64($0)) }
    }
    guard !keys.isEmpty, keys.count <= 1 << 24 else { throw node.error("\(keys.count) categories of its input's kind") }
    return keys
  }

  /// LabelEncoder: 1 (places in a list of texts), 2 (lists of keys and values), 4 (tensors).
  static let labelEncoder = ONNXOperator(
    "LabelEncoder", domain: domain, versions: versions,
    attributes: [
      "classes_strings", "keys_strings", "keys_int64s", "keys_floats", "keys_tensor", "values_strings", "values_int64s", "values_floats",
      "values_tensor", "default_string", "default_int64", "default_float", "default_tensor",
    ]
  ) { node throws(ONNXError) in
    let table = try LabelTable(encoder: node)
    guard try node.element(0) == table.from else { throw node.error("keys are \(table.from.onnxName), its input \(try node.element(0).onnxName)") }
    return [TensorType(table.to, try node.shape(0))]
  } compile: { node throws(ONNXError) in
    try LabelTable(encoder: node).kernel(node)
  }

  /// Texts to whole numbers or back.
  static let categoryMapper = ONNXOperator(
    "CategoryMapper", domain: domain, versions: versions, attributes: ["cats_int64s", "cats_strings", "default_int64", "default_string"]
  ) { node throws(ONNXError) in
    try node.require(0, [.int64, .text])
    return [TensorType(try LabelTable(mapper: node).to, try node.shape(0))]
  } compile: { node throws(ONNXError) in
    try LabelTable(mapper: node).kernel(node)
  }

  /// Rows of scores to maps from label to score: left out. The scores are served as they are, in the order of the labels.
  static let zipMap = ONNXOperator("ZipMap", domain: domain, versions: versions, attributes: ["classlabels_int64s", "classlabels_strings"]) { node throws(ONNXError) in
    let shape = try RowShape(node)
    let labels = max(try node.ints("classlabels_int64s")?.count ?? 0, try node.strings("classlabels_strings")?.count ?? 0)
    guard labels == shape.columns else { throw node.error("\(labels) labels for \(shape.columns) columns") }
    return [try node.type(0)]
  } compile: { _ throws(ONNXError) in
    ViewKernel()
  }
}

/// Keys and what they become.
private struct LabelTable {
  var from: TensorElement
  var to: TensorElement
  var keys: [UInt64] = []
  /// Bits of the values: hashes, floats, whole numbers.
  var values: [UInt64] = []
  var usual: UInt64 = 0

  init(encoder node: NodeContext) throws(ONNXError) {
    let unused = Array("_Unused".utf8)
    if node.version == 1 {
      let classes = (try node.strings("classes_strings") ?? []).map { node.texts.add($0) }
      let places = classes.indices.map { UInt64($0) }
      if try node.element(0) == .text {
        (from, to, keys, values) = (.text, .int64, classes, places)
        usual = UInt64(bitPattern: Int64(try node.int("default_int64", -1)))
      } else {
        (from, to, keys, values) = (.int64, .text, places, classes)
        usual = node.texts.add(try node.bytes("default_string") ?? unused)
      }
      return
    }
    if let texts = try node.strings("keys_strings") {
      (from, keys) = (.text, texts.map { node.texts.add($0) })
    } else if let whole = try node.ints("keys_int64s") {
      (from, keys) = (.int64, whole.map { KeyIndex.key(Int64($0)) })
    } else if let floats = try node.floats("keys_floats") {
      // Until version 4 no NaN is equal to another.
      (from, keys) = (.float32, floats.map { $0.isNaN && node.version < 4 ? KeyIndex.noKey : KeyIndex.key(Double($0)) })
    } else if let tensor = try node.tensor("keys_tensor") {
      (from, keys) = (tensor.element, try Self.keys(tensor, node))
    } else {
      throw node.error("has no keys")
    }
    if let texts = try node.strings("values_strings") {
      (to, values) = (.text, texts.map { node.texts.add($0) })
      usual = node.texts.add(try node.bytes("default_string") ?? unused)
    } else if let whole = try node.ints("values_int64s") {
      (to, values) = (.int64, whole.map { UInt64(bitPattern: Int64($0)) })
      usual = UInt64(bitPattern: Int64(try node.int("default_int64", -1)))
    } else if let floats = try node.floats("values_floats") {
      (to, values) = (.float32, floats.map { UInt64($0.bitPattern) })
      usual = UInt64(try node.float("default_float", -0.0).bitPattern)
    } else if let tensor = try node.tensor("values_tensor") {
      (to, values) = (tensor.element, Self.bits(tensor))
      switch tensor.element {
      case .text: usual = node.texts.add(try node.bytes("default_string") ?? unused)
      case .float32: usual = UInt64(try node.float("default_float", -0.0).bitPattern)
      case .float64: usual = Double(try node.float("default_float", -0.0)).bitPattern
      default: usual = UInt64(bitPattern: Int64(try node.int("default_int64", -1)))
      }
    } else {
      throw node.error("has no values")
    }
    if let tensor = try node.tensor("default_tensor") {
      guard tensor.count == 1, tensor.element == to else { throw node.error("default_tensor is no single \(to.onnxName)") }
      usual = Self.bits(tensor)[0]
    }
    guard keys.count == values.count else { throw node.error("\(keys.count) keys and \(values.count) values") }
  }

  init(mapper node: NodeContext) throws(ONNXError) {
    let texts = (try node.strings("cats_strings") ?? []).map { node.texts.add($0) }
    let numbers = (try node.ints("cats_int64s") ?? []).map { UInt64(bitPattern: Int64($0)) }
    guard texts.count == numbers.count else { throw node.error("\(texts.count) cats_strings and \(numbers.count) cats_int64s") }
    if try node.element(0) == .text {
      (from, to, keys, values) = (.text, .int64, texts, numbers)
      usual = UInt64(bitPattern: Int64(try node.int("default_int64", -1)))
    } else {
      (from, to, keys, values) = (.int64, .text, numbers, texts)
      usual = node.texts.add(try node.bytes("default_string") ?? Array("_Unused".utf8))
    }
  }

  private static func keys(_ tensor: ConstantTensor, _ node: NodeContext) throws(ONNXError) -> [UInt64] {
    switch tensor.element {
    case .text: return tensor.array(UInt64.self)
    case .float32, .float64: return (tensor.doubles ?? []).map { KeyIndex.key($0) }
    case .int64, .int32, .int16: return (tensor.integers ?? []).map { KeyIndex.key(Int64($0)) }
    default: throw node.error("keys of type \(tensor.element.onnxName)")
    }
  }

  private static func bits(_ tensor: ConstantTensor) -> [UInt64] {
    switch tensor.element.bytes {
    case 1: tensor.array(UInt8.self).map { UInt64($0) }
    case 2: tensor.array(UInt16.self).map { UInt64($0) }
    case 4: tensor.array(UInt32.self).map { UInt64($0) }
    default: tensor.array(UInt64.self)
    }
  }

  func kernel(_ node: NodeContext) throws(ONNXError) -> Kernel {
    guard let reader = KeyReader(try node.element(0)) else { throw node.error("keys of type \(try node.element(0).onnxName)") }
    switch to.bytes {
    case 1: return LookupKernel<UInt8>(reader, KeyIndex(keys), values.map { UInt8(truncatingIfNeeded: $0) }, UInt8(truncatingIfNeeded: usual))
    case 2: return LookupKernel<UInt16>(reader, KeyIndex(keys), values.map { UInt16(truncatingIfNeeded: $0) }, UInt16(truncatingIfNeeded: usual))
    case 4: return LookupKernel<UInt32>(reader, KeyIndex(keys), values.map { UInt32(truncatingIfNeeded: $0) }, UInt32(truncatingIfNeeded: usual))
    default: return LookupKernel<UInt64>(reader, KeyIndex(keys), values, usual)
    }
  }
}

private final class LookupKernel<Value: BitwiseCopyable>: Kernel, @unchecked Sendable {
  let reader: KeyReader
  let index: KeyIndex
  let values: ModelNumbers<Value>
  let usual: Value

  init(_ reader: KeyReader, _ index: KeyIndex, _ values: [Value], _ usual: Value) {
    self.reader = reader
    self.index = index
    self.values = ModelNumbers(values)
    self.usual = usual
  }

  override func run(_ call: Call) {
    let input = call.input(0)
    let output = call.output().pointer(Value.self)
    for at in 0..<input.count {
      let place = index.find(reader.key(input, at))
      output[at] = place < 0 ? usual : values[place]
    }
  }
}

private final class EncoderKernel<X: BitwiseCopyable>: Kernel, @unchecked Sendable {
  let index: KeyIndex
  let categories: Int
  let takesUnknown: Bool
  let key: (X) -> UInt64

  init(_ index: KeyIndex, _ categories: Int, _ takesUnknown: Bool, key: @escaping (X) -> UInt64) {
    self.index = index
    self.categories = categories
    self.takesUnknown = takesUnknown
    self.key = key
  }

  override func run(_ call: Call) {
    let input = call.input(0)
    let values = input.pointer(X.self)
    let output = call.output()
    output.floats.update(repeating: 0, count: output.count)
    for at in 0..<input.count {
      let place = index.find(key(values[at]))
      if place >= 0 { output.floats[at &* categories &+ place] = 1 } else if !takesUnknown { call.problem(.indexOutOfRange) }
    }
  }
}
