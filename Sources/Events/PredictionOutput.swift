// Hot: no allocation, existential or String.
import CSimdJSON
internal import Model

/// One output of a model, as a prediction has it by name: the elements of all rows, row by row. Borrowed like the prediction.
public struct PredictionOutput {
  public var name: UnsafeRawBufferPointer
  /// Its numbers; empty when it has texts.
  public var values = UnsafeBufferPointer<Double>(start: nil, count: 0)
  var texts = UnsafeBufferPointer<mr_json_text>(start: nil, count: 0)

  public var isText: Bool { !texts.isEmpty }
  public var count: Int { isText ? texts.count : values.count }

  /// Element `index` of an output of texts, UTF-8.
  public func text(_ index: Int) -> UnsafeRawBufferPointer { .init(start: texts[index].bytes, count: texts[index].length) }
}

/// Where the outputs of one record lie while it is read and afterwards. Owned by one thread. Room for all that the bounds allow is
/// reserved, and what no record has needed is never touched.
final class PredictionOutputs {
  static let outputsMax = 64
  /// Numbers and texts of all outputs of one record.
  static let elementsMax = 1 << 19

  let outputs: UnsafeMutablePointer<PredictionOutput> = .allocate(capacity: outputsMax)
  let values: UnsafeMutablePointer<Double> = .allocate(capacity: elementsMax)
  let texts: UnsafeMutablePointer<mr_json_text> = .allocate(capacity: elementsMax)
  /// Filled by the JSON reader.
  let found: UnsafeMutablePointer<mr_json_output> = .allocate(capacity: outputsMax)
  @exclusivity(unchecked) private(set) var count = 0
  @exclusivity(unchecked) private var valueCount = 0
  @exclusivity(unchecked) private var textCount = 0
  @exclusivity(unchecked) private var chosen = 0
  @exclusivity(unchecked) private var valueStart = 0
  @exclusivity(unchecked) private var textStart = 0

  deinit {
    outputs.deallocate()
    values.deallocate()
    texts.deallocate()
    found.deallocate()
  }

  var all: UnsafeBufferPointer<PredictionOutput> { UnsafeBufferPointer(start: outputs, count: count) }

  func removeAll() {
    count = 0
    valueCount = 0
    textCount = 0
  }

  /// What the JSON reader found.
  func take(_ read: mr_json_prediction) {
    count = Int(read.output_count)
    for index in 0..<count {
      let output = found[index]
      outputs[index] = PredictionOutput(
        name: .init(start: output.name.bytes, count: output.name.length),
        values: .init(start: values + Int(output.value_start), count: Int(output.value_count)),
        texts: .init(start: texts + Int(output.text_start), count: Int(output.text_count)))
    }
  }

  // MARK: One after the other

  /// Begins the next output; false beyond the bound.
  func begin(_ name: UnsafeRawBufferPointer) -> Bool {
    guard count < Self.outputsMax else { return false }
    outputs[count] = PredictionOutput(name: name)
    count += 1
    choose(count - 1)
    return true
  }

  /// What is added from now on is that output's; each may be chosen once.
  func choose(_ index: Int) {
    chosen = index
    valueStart = valueCount
    textStart = textCount
  }

  /// An element of the chosen output; false beyond the bound.
  @inline(__always) func add(_ value: Double) -> Bool {
    guard valueCount + textCount < Self.elementsMax else { return false }
    values[valueCount] = value
    valueCount += 1
    return true
  }

  func add(_ text: UnsafeRawBufferPointer) -> Bool {
    guard valueCount + textCount < Self.elementsMax else { return false }
    texts[textCount] = mr_json_text(bytes: text.baseAddress?.assumingMemoryBound(to: CChar.self), length: text.count)
    textCount += 1
    return true
  }

  /// Ends the chosen output.
  func end() {
    guard chosen < count else { return }
    outputs[chosen].values = .init(start: values + valueStart, count: valueCount - valueStart)
    outputs[chosen].texts = .init(start: texts + textStart, count: textCount - textStart)
  }

  // MARK: V2

  /// The elements of a tensor's raw contents, for the chosen output; false when they are broken or too many.
  func add(_ element: TensorElement, raw: UnsafeRawBufferPointer) -> Bool {
    if element == .text { return addTexts(raw) }
    guard raw.count % element.bytes == 0 else { return false }
    for at in stride(from: 0, to: raw.count, by: element.bytes) {
      guard add(element.number(raw, at: at)) else { return false }
    }
    return true
  }

  /// Each text has its length before it, in four bytes.
  private func addTexts(_ raw: UnsafeRawBufferPointer) -> Bool {
    var at = 0
    while at < raw.count {
      guard raw.count - at >= 4 else { return false }
      let length = Int(UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: at, as: UInt32.self)))
      guard length <= raw.count - at - 4, add(UnsafeRawBufferPointer(rebasing: raw[(at + 4)..<(at + 4 + length)])) else { return false }
      at += 4 + length
    }
    return true
  }
}

extension TensorElement {
  /// The kind that the V2 protocol gives this name; nil: none.
  init?(datatype: UnsafeRawBufferPointer) {
    let known: TensorElement? =
      if datatype.equals("fp32") { .float32 } else if datatype.equals("fp64") { .float64 } else if datatype.equals("int64") { .int64 }
      else if datatype.equals("int32") { .int32 } else if datatype.equals("bytes") { .text } else if datatype.equals("bool") { .boolean }
      else if datatype.equals("int16") { .int16 } else if datatype.equals("int8") { .int8 } else if datatype.equals("uint64") { .uint64 }
      else if datatype.equals("uint32") { .uint32 } else if datatype.equals("uint16") { .uint16 } else if datatype.equals("uint8") { .uint8 }
      else if datatype.equals("fp16") { .float16 } else if datatype.equals("bf16") { .bfloat16 } else { nil }
    guard let known else { return nil }
    self = known
  }

  /// The number that begins at byte `at`; texts are their index.
  func number(_ bytes: UnsafeRawBufferPointer, at: Int) -> Double {
    switch self {
    case .float32: Double(bytes.loadUnaligned(fromByteOffset: at, as: Float.self))
    case .float64: bytes.loadUnaligned(fromByteOffset: at, as: Double.self)
    case .int64, .text: Double(bytes.loadUnaligned(fromByteOffset: at, as: Int64.self))
    case .int32: Double(bytes.loadUnaligned(fromByteOffset: at, as: Int32.self))
    case .int16: Double(bytes.loadUnaligned(fromByteOffset: at, as: Int16.self))
    case .int8: Double(bytes.load(fromByteOffset: at, as: Int8.self))
    case .uint64: Double(bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self))
    case .uint32: Double(bytes.loadUnaligned(fromByteOffset: at, as: UInt32.self))
    case .uint16: Double(bytes.loadUnaligned(fromByteOffset: at, as: UInt16.self))
    case .uint8: Double(bytes[at])
    case .boolean: bytes[at] != 0 ? 1 : 0
    case .bfloat16: Double(Float(bitPattern: UInt32(bytes.loadUnaligned(fromByteOffset: at, as: UInt16.self)) << 16))
    case .float16: Double(Self.half(bytes.loadUnaligned(fromByteOffset: at, as: UInt16.self)))
    }
  }

  private static func half(_ bits: UInt16) -> Float {
    let sign = UInt32(bits & 0x8000) << 16
    let exponent = UInt32(bits >> 10 & 0x1F)
    let fraction = UInt32(bits & 0x3FF)
    if exponent == 0x1F { return Float(bitPattern: sign | 0x7F80_0000 | fraction << 13) }
    if exponent != 0 { return Float(bitPattern: sign | (exponent + 112) << 23 | fraction << 13) }
    let value = Float(fraction) * 0x1p-24
    return sign == 0 ? value : -value
  }
}
