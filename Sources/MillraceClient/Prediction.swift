internal import Events
internal import RPC

/// A server's answer.
public struct Prediction: Sendable, Equatable {
  public var model = ""
  public var version = ""
  public var id = ""
  /// The first output, row by row: one score for each row, or `columns` of them. Empty when it is not FP32.
  public var scores: [Float] = []
  /// Of the first output: [rows, columns].
  public var shape: [Int64] = []
  /// For each shard the update-log offset that the model stood at, at least; empty when not said.
  public var position: [Int64] = []
  /// How far the model may be behind its log; nil when not said.
  public var stalenessMilliseconds: Int64?
  /// No label later than this (milliseconds since 1970) is in the score; nil when not said.
  public var labelsThroughMilliseconds: Int64?
  /// Which of the model's arms answered; nil when not said.
  public var arm: String?
  public var outputs: [Tensor] = []

  init() {}

  /// Reads a ModelInferResponse.
  init(response: [UInt8]) throws(RPCStatus) {
    var names: [(name: String, datatype: String, shape: [Int64], contents: ArraySlice<UInt8>?)] = []
    var raw: [ArraySlice<UInt8>] = []
    do {
      var reader = ProtobufReader(response, of: "ModelInferResponse")
      while let (number, value) = try reader.next() {
        switch number {
        case 1: model = try reader.text(value, "model_name")
        case 2: version = try reader.text(value, "model_version")
        case 3: id = try reader.text(value, "id")
        case 4: try readParameter(try reader.bytes(value, "parameters"))
        case 5: names.append(try Self.readOutput(try reader.bytes(value, "outputs")))
        case 6: raw.append(try reader.bytes(value, "raw_output_contents"))
        default: break
        }
      }
    } catch {
      throw RPCStatus(.internal, "the server's answer cannot be read: \(error.message)")
    }
    for (i, output) in names.enumerated() {
      guard let datatype = TensorDatatype(name: output.datatype) else { continue }
      var bytes = i < raw.count ? Array(raw[i]) : []
      if i >= raw.count, let contents = output.contents { bytes = try Self.rawForm(of: contents, datatype) }
      outputs.append(Tensor(name: output.name, datatype: datatype, shape: output.shape, bytes: bytes))
    }
    if let first = outputs.first {
      shape = first.shape
      scores = first.floats ?? []
    }
  }

  /// Joins the answers for parts of the rows. `rows`: where each of the part's rows belongs.
  mutating func place(_ part: Prediction, at rows: [Int], of count: Int) {
    let columns = rows.isEmpty ? 1 : part.scores.count / rows.count
    if scores.isEmpty {
      let empty = [Float](repeating: .nan, count: count * columns)
      self = part
      scores = empty
      shape = [Int64(count)] + part.shape.dropFirst()
    } else {
      // What holds for every row.
      if position.count == part.position.count { position = zip(position, part.position).map { min($0, $1) } }
      if let theirs = part.stalenessMilliseconds { stalenessMilliseconds = max(stalenessMilliseconds ?? theirs, theirs) }
      if let theirs = part.labelsThroughMilliseconds { labelsThroughMilliseconds = max(labelsThroughMilliseconds ?? theirs, theirs) }
    }
    for (i, row) in rows.enumerated() {
      for column in 0..<columns where (row * columns + column) < scores.count { scores[row * columns + column] = part.scores[i * columns + column] }
    }
    outputs = []
  }

  private mutating func readParameter(_ entry: ArraySlice<UInt8>) throws(RPCStatus) {
    var reader = ProtobufReader(entry, of: "parameters")
    var name = ""
    var text = ""
    var integer: Int64 = 0
    while let (number, value) = try reader.next() {
      if number == 1 { name = try reader.text(value, "key") }
      if number == 2 {
        var inner = ProtobufReader(try reader.bytes(value, "value"), of: "parameters")
        while let (choice, value) = try inner.next() {
          switch choice {
          case 2, 5: integer = Int64(bitPattern: try inner.number(value, name))
          case 3: text = try inner.text(value, name)
          default: break
          }
        }
      }
    }
    switch name {
    case "position": position = text.split(separator: ",").compactMap { Int64($0) }
    case "staleness_ms": stalenessMilliseconds = integer
    case "labels_through": labelsThroughMilliseconds = integer
    case "arm": arm = text
    default: break
    }
  }

  private static func readOutput(
    _ bytes: ArraySlice<UInt8>
  ) throws(RPCStatus) -> (name: String, datatype: String, shape: [Int64], contents: ArraySlice<UInt8>?) {
    var output: (name: String, datatype: String, shape: [Int64], contents: ArraySlice<UInt8>?) = ("", "", [], nil)
    var reader = ProtobufReader(bytes, of: "outputs")
    while let (number, value) = try reader.next() {
      switch number {
      case 1: output.name = try reader.text(value, "name")
      case 2: output.datatype = try reader.text(value, "datatype")
      case 3: output.shape += try reader.numbers(value, "shape").map { Int64(bitPattern: $0) }
      case 5: output.contents = try reader.bytes(value, "contents")
      default: break
      }
    }
    return output
  }

  /// The raw form of `contents`, for the types that models answer with.
  private static func rawForm(of contents: ArraySlice<UInt8>, _ datatype: TensorDatatype) throws(RPCStatus) -> [UInt8] {
    var bytes: [UInt8] = []
    var reader = ProtobufReader(contents, of: "contents")
    func append(_ value: UInt64, _ count: Int) {
      for shift in 0..<count { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * UInt64(shift)))) }
    }
    while let (_, value) = try reader.next() {
      switch (datatype, value) {
      case (.bytes, .slice(let text)):
        append(UInt64(text.count), 4)
        bytes += text
      case (.fp32, .slice(let packed)), (.fp64, .slice(let packed)), (.bool, .slice(let packed)): bytes += packed
      case (.fp32, .fixed32(let bits)): append(UInt64(bits), 4)
      case (.fp64, .fixed64(let bits)): append(bits, 8)
      default: for number in try reader.numbers(value, "contents") { append(number, datatype.byteCount) }
      }
    }
    return bytes
  }
}
