public import Families
public import Model

/// What a model answers, as numbers: of its first output with numbers that are floating-point, or else of its first.
public struct ScoredRows: Sendable, Equatable {
  /// [rows, width], row-major.
  public var scores: [Float]
  public var width: Int

  /// Which output is the score.
  public static func output(of model: LoadedModel) -> Int {
    model.outputs.firstIndex { $0.element == .float32 || $0.element == .float64 } ?? 0
  }

  public init(of model: LoadedModel, batches: [RowBatch]) {
    let output = Self.output(of: model)
    let tensor = model.outputs[output]
    let count = tensor.count
    // Of two probabilities the second says it all.
    let keepsLast = count == 2
    width = keepsLast ? 1 : count
    var scores: [Float] = []
    scores.reserveCapacity(batches.reduce(0) { $0 + $1.rowCount } * width)
    let scorer = model.makeScorer(rowsMax: batches.map(\.rowCount).max() ?? 1)
    for batch in batches {
      scorer.score(batch)
      for place in 0..<(batch.rowCount * count) where !keepsLast || place % 2 == 1 {
        scores.append(Self.number(scorer.outputs[output], place, tensor.element))
      }
    }
    self.scores = scores
  }

  /// One element as a float.
  public static func number(_ base: UnsafeMutableRawPointer, _ place: Int, _ element: TensorElement) -> Float {
    let at = base + place * element.bytes
    return switch element {
    case .float32: at.load(as: Float.self)
    case .float64: Float(at.load(as: Double.self))
    case .int64, .text: Float(at.load(as: Int64.self))
    case .int32: Float(at.load(as: Int32.self))
    case .int16: Float(at.load(as: Int16.self))
    case .int8: Float(at.load(as: Int8.self))
    case .uint8, .boolean: Float(at.load(as: UInt8.self))
    case .uint16: Float(at.load(as: UInt16.self))
    case .uint32: Float(at.load(as: UInt32.self))
    case .uint64: Float(at.load(as: UInt64.self))
    case .bfloat16: Float(bitPattern: UInt32(at.load(as: UInt16.self)) << 16)
    case .float16: halfFloat(at.load(as: UInt16.self))
    }
  }

  private static func halfFloat(_ bits: UInt16) -> Float {
    let sign: Float = bits & 0x8000 == 0 ? 1 : -1
    let exponent = Int(bits >> 10 & 31)
    let fraction = Float(bits & 1023) / 1024
    if exponent == 31 { return fraction == 0 ? sign * .infinity : .nan }
    return exponent == 0 ? sign * fraction * 0x1p-14 : sign * (1 + fraction) * Float(sign: .plus, exponent: exponent - 15, significand: 1)
  }
}

extension ScoredRows {
  /// One element as JSON writes it.
  public static func text(_ base: UnsafeMutableRawPointer, _ place: Int, _ output: OutputTensor) -> String {
    let at = base + place * output.element.bytes
    switch output.element {
    case .float64: return number(at.load(as: Double.self))
    case .int64: return "\(at.load(as: Int64.self))"
    case .int32: return "\(at.load(as: Int32.self))"
    case .uint64: return "\(at.load(as: UInt64.self))"
    case .boolean: return at.load(as: UInt8.self) == 0 ? "false" : "true"
    case .text:
      let index = at.load(as: Int64.self)
      let text = index >= 0 && index < Int64(output.texts.count) ? output.texts[Int(index)] : ""
      return "\"\(text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\""))\""
    default:
      let float = number(base, place, output.element)
      return float.isFinite ? "\(float)" : "null"
    }
  }

  private static func number(_ value: Double) -> String { value.isFinite ? "\(value)" : "null" }
}
