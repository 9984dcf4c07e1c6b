// Hot: no allocation, existential, Foundation or String once the outputs are known.
internal import Glibc
public import Model

/// The outputs of a model as answers and predictions carry them, in each form. One for each thread and model.
///
/// `tensors` are the elements of each output, [rows] + shape, in the order of the model; what is written is `rows` rows from `first` on.
public final class ModelOutputs {
  private let count: Int
  private let elements: [TensorElement]
  private let elementCounts: [Int]
  private let rowBytes: [Int]
  private let names: [OutputBuffer]
  /// Of each output: fields 1 and 2 of its V2 tensor, its sizes without the rows as varints, and `"name":`.
  private let heads: [OutputBuffer]
  private let sizes: [OutputBuffer]
  private let keys: [OutputBuffer]
  private let texts: [TextTable?]
  /// The first output that has numbers, whose first one is the score; -1: there are only texts.
  private let scored: Int
  /// Whether the score is all there is to say.
  public let isOneNumber: Bool

  public init(_ outputs: [OutputTensor]) {
    func written(_ write: (OutputTensor, OutputBuffer) -> Void) -> [OutputBuffer] {
      outputs.map { output in
        let buffer = OutputBuffer(capacity: 64)
        write(output, buffer)
        return buffer
      }
    }
    count = outputs.count
    elements = outputs.map(\.element)
    elementCounts = outputs.map(\.count)
    rowBytes = outputs.map { $0.count * $0.element.bytes }
    names = written { $1.append($0.name) }
    heads = written { output, head in
      head.appendField(1, text: output.name)
      head.appendField(2, text: output.element.datatype)
    }
    sizes = written { output, sizes in for size in output.shape { sizes.appendVarint(UInt64(size)) } }
    keys = written { output, key in
      key.appendJSON(output.name)
      key.append(byte: UInt8(ascii: ":"))
    }
    texts = outputs.map { $0.element == .text ? TextTable($0.texts) : nil }
    scored = outputs.firstIndex { $0.element != .text && $0.count > 0 } ?? -1
    isOneNumber = outputs.count == 1 && scored == 0 && outputs[0].count == 1
  }

  /// The output with this name.
  public func index(of name: UnsafeRawBufferPointer) -> Int? {
    for index in 0..<count where names[index].count == name.count {
      if name.count == 0 { return index }
      if let base = name.baseAddress, memcmp(names[index].pointer, base, name.count) == 0 { return index }
    }
    return nil
  }

  /// The first number of the first output that has any; NaN when there are only texts.
  public func score(_ tensors: [UnsafeMutableRawPointer], row: Int) -> Float {
    guard scored >= 0 else { return .nan }
    return Float(number(tensors, scored, row * elementCounts[scored]))
  }

  /// Tensors of a V2 response, fields 5 and then fields 6, of the outputs whose bits are set in `mask`.
  public func appendTensors(_ tensors: [UnsafeMutableRawPointer], mask: UInt64 = .max, first: Int, rows: Int, to output: OutputBuffer) {
    for index in 0..<count where mask & (1 << UInt64(index)) != 0 {
      let tensor = output.beginMessage(5)
      output.append(heads[index].bytes)
      let shape = output.beginMessage(3)
      output.appendVarint(UInt64(rows))
      output.append(sizes[index].bytes)
      output.endMessage(shape)
      output.endMessage(tensor)
    }
    for index in 0..<count where mask & (1 << UInt64(index)) != 0 {
      let start = tensors[index] + first * rowBytes[index]
      if let table = texts[index] {
        let raw = output.beginMessage(6)
        for element in 0..<rows * elementCounts[index] {
          let text = table.text(start.load(fromByteOffset: element * 8, as: Int64.self))
          output.reserve(4).storeBytes(of: UInt32(truncatingIfNeeded: text.count).littleEndian, as: UInt32.self)
          output.advance(4)
          output.append(text)
        }
        output.endMessage(raw)
      } else {
        output.appendField(6, bytes: UnsafeRawBufferPointer(start: start, count: rows * rowBytes[index]))
      }
    }
  }

  /// `{"name":value,…}`: a value for one element of one row, a list for several, a list of these for several rows.
  public func appendJSON(_ tensors: [UnsafeMutableRawPointer], first: Int, rows: Int, to output: OutputBuffer) {
    output.append(byte: UInt8(ascii: "{"))
    for index in 0..<count {
      if index > 0 { output.append(byte: UInt8(ascii: ",")) }
      output.append(keys[index].bytes)
      if rows != 1 { output.append(byte: UInt8(ascii: "[")) }
      for row in first..<first + rows {
        if row > first { output.append(byte: UInt8(ascii: ",")) }
        appendJSON(row: row, tensors, index, to: output)
      }
      if rows != 1 { output.append(byte: UInt8(ascii: "]")) }
    }
    output.append(byte: UInt8(ascii: "}"))
  }

  private func appendJSON(row: Int, _ tensors: [UnsafeMutableRawPointer], _ index: Int, to output: OutputBuffer) {
    let count = elementCounts[index]
    if count != 1 { output.append(byte: UInt8(ascii: "[")) }
    for element in row * count..<(row + 1) * count {
      if element > row * count { output.append(byte: UInt8(ascii: ",")) }
      if let table = texts[index] {
        output.appendJSON(table.text(tensors[index].load(fromByteOffset: element * 8, as: Int64.self)))
      } else if elements[index] == .float32 {
        output.appendDecimal(tensors[index].load(fromByteOffset: element * 4, as: Float.self))
      } else if elements[index] == .int64 {
        output.appendDecimal(tensors[index].load(fromByteOffset: element * 8, as: Int64.self))
      } else {
        output.appendDecimal(number(tensors, index, element))
      }
    }
    if count != 1 { output.append(byte: UInt8(ascii: "]")) }
  }

  /// `PredictionOutput` messages, as field `field`.
  public func appendProtobuf(_ field: UInt32, _ tensors: [UnsafeMutableRawPointer], first: Int, rows: Int, to output: OutputBuffer) {
    for index in 0..<count {
      let message = output.beginMessage(field)
      output.appendField(1, bytes: names[index].bytes)
      let range = first * elementCounts[index]..<(first + rows) * elementCounts[index]
      if let table = texts[index] {
        for element in range { output.appendField(3, bytes: table.text(tensors[index].load(fromByteOffset: element * 8, as: Int64.self))) }
      } else {
        let values = output.beginMessage(2)
        for element in range {
          output.reserve(8).storeBytes(of: number(tensors, index, element).bitPattern.littleEndian, as: UInt64.self)
          output.advance(8)
        }
        output.endMessage(values)
      }
      output.endMessage(message)
    }
  }

  private func number(_ tensors: [UnsafeMutableRawPointer], _ index: Int, _ element: Int) -> Double {
    let bytes = elements[index].bytes
    return elements[index].number(UnsafeRawBufferPointer(start: tensors[index] + element * bytes, count: bytes), at: 0)
  }
}

/// Texts that elements are indices into, end to end.
private final class TextTable {
  private let bytes = OutputBuffer(capacity: 64)
  private var starts: [Int] = [0]

  init(_ texts: [String]) {
    for text in texts {
      bytes.append(text)
      starts.append(bytes.count)
    }
  }

  /// An index beyond the table, which a good model does not give, is an empty text.
  func text(_ index: Int64) -> UnsafeRawBufferPointer {
    guard index >= 0, index < Int64(starts.count - 1) else { return UnsafeRawBufferPointer(start: nil, count: 0) }
    return UnsafeRawBufferPointer(rebasing: bytes.bytes[starts[Int(index)]..<starts[Int(index) + 1]])
  }
}
