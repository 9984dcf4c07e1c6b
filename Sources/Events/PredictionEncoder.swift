// Hot: no allocation once the buffer has grown; what is the same in each record is written beforehand.

/// Writes records of the predictions topic for one model and arm, each in the form that its event came in. Owned by one thread.
///
/// The append position of the output is the caller's: records follow one another.
public final class PredictionEncoder {
  public let model: String
  public let version: Int
  public let arm: String
  /// `,"model":…,"version":…,"arm":…,"from":`
  private let jsonMiddle: [UInt8]
  /// Fields 2 to 4 of a Prediction.
  private let protobufNames: [UInt8]
  /// Fields 1 and 2 of a ModelInferResponse.
  private let v2Names: [UInt8]
  /// Its parameter `arm`.
  private let v2Arm: [UInt8]
  private let scratch = OutputBuffer(capacity: 1024)

  public init(model: String, version: Int, arm: String) {
    self.model = model
    self.version = version
    self.arm = arm
    let buffer = OutputBuffer()
    func written(_ write: () -> Void) -> [UInt8] {
      buffer.removeAll()
      write()
      return Array(buffer.bytes)
    }
    jsonMiddle = written {
      buffer.append("\"model\":")
      buffer.appendJSON(model)
      buffer.append(",\"version\":")
      buffer.appendDecimal(Int64(version))
      buffer.append(",\"arm\":")
      buffer.appendJSON(arm)
      buffer.append(",\"from\":")
    }
    protobufNames = written {
      buffer.appendField(2, text: model)
      buffer.appendField(3, int64: Int64(version))
      buffer.appendField(4, text: arm)
    }
    v2Names = written {
      buffer.appendField(1, text: model)
      buffer.appendField(2, text: String(version))
    }
    v2Arm = written {
      var arm = arm
      arm.withUTF8 { Self.parameter("arm", text: UnsafeRawBufferPointer($0), into: buffer) }
    }
  }

  /// The answer to source offsets `from ..< to`. `scores`: one for each row. `position`: for each shard the next update-log offset to
  /// apply. `labelsThrough`: milliseconds since 1970, `Int64.min` before the first label.
  public func score(
    form: EventForm, id: UnsafeRawBufferPointer, from: Int64, to: Int64, scores: UnsafeBufferPointer<Float>,
    position: UnsafeBufferPointer<Int64>, labelsThrough: Int64, into output: OutputBuffer
  ) {
    switch form {
    case .json:
      beginJSON(id: id, from: from, to: to, output)
      output.append(",\"score\":")
      if scores.count == 1 {
        output.appendDecimal(scores[0])
      } else {
        output.append(byte: UInt8(ascii: "["))
        for i in 0..<scores.count {
          if i > 0 { output.append(byte: UInt8(ascii: ",")) }
          output.appendDecimal(scores[i])
        }
        output.append(byte: UInt8(ascii: "]"))
      }
      output.append(",\"position\":[")
      appendList(position, to: output)
      output.append(byte: UInt8(ascii: "]"))
      if labelsThrough != .min {
        output.append(",\"labels_through\":")
        output.appendDecimal(labelsThrough)
      }
      output.append(byte: UInt8(ascii: "}"))
    case .protobuf:
      beginProtobuf(id: id, from: from, to: to, output)
      output.appendField(7, bytes: UnsafeRawBufferPointer(scores))
      if position.count > 0 {
        let start = output.beginMessage(8)
        for offset in position { output.appendVarint(UInt64(bitPattern: offset)) }
        output.endMessage(start)
      }
      if labelsThrough != .min { output.appendField(9, int64: labelsThrough) }
    case .v2:
      beginV2(id: id, from: from, to: to, output)
      scratch.removeAll()
      appendList(position, to: scratch)
      Self.parameter("position", text: scratch.bytes, into: output)
      if labelsThrough != .min { Self.parameter("labels_through", integer: labelsThrough, into: output) }
      let tensor = output.beginMessage(5)
      output.appendField(1, text: "score")
      output.appendField(2, text: "FP32")
      let shape = output.beginMessage(3)
      output.appendVarint(UInt64(scores.count))
      output.appendVarint(1)
      output.endMessage(shape)
      output.endMessage(tensor)
      output.appendField(6, bytes: UnsafeRawBufferPointer(scores))
    }
  }

  /// The answer of a model from a bundle to source offsets `from ..< to`: `rows` rows from `first` on of `tensors`. Such models have no
  /// position; those of more than one number for each row say all of them by name.
  public func outputs(
    form: EventForm, id: UnsafeRawBufferPointer, from: Int64, to: Int64, _ outputs: ModelOutputs, _ tensors: [UnsafeMutableRawPointer],
    first: Int, rows: Int, into output: OutputBuffer
  ) {
    switch form {
    case .json:
      beginJSON(id: id, from: from, to: to, output)
      output.append(",\"score\":")
      if rows != 1 { output.append(byte: UInt8(ascii: "[")) }
      for row in first..<first + rows {
        if row > first { output.append(byte: UInt8(ascii: ",")) }
        output.appendDecimal(outputs.score(tensors, row: row))
      }
      if rows != 1 { output.append(byte: UInt8(ascii: "]")) }
      if !outputs.isOneNumber {
        output.append(",\"outputs\":")
        outputs.appendJSON(tensors, first: first, rows: rows, to: output)
      }
      output.append(byte: UInt8(ascii: "}"))
    case .protobuf:
      beginProtobuf(id: id, from: from, to: to, output)
      let scores = output.beginMessage(7)
      for row in first..<first + rows {
        output.reserve(4).storeBytes(of: outputs.score(tensors, row: row).bitPattern.littleEndian, as: UInt32.self)
        output.advance(4)
      }
      output.endMessage(scores)
      if !outputs.isOneNumber { outputs.appendProtobuf(12, tensors, first: first, rows: rows, to: output) }
    case .v2:
      beginV2(id: id, from: from, to: to, output)
      outputs.appendTensors(tensors, first: first, rows: rows, to: output)
    }
  }

  /// The stub in place of a prediction: the event went to the dead letters. Allocates nothing either, but `problem` did.
  public func error(form: EventForm, from: Int64, to: Int64, _ problem: EventProblem, into output: OutputBuffer) {
    let nothing = UnsafeRawBufferPointer(start: nil, count: 0)
    switch form {
    case .json:
      beginJSON(id: nothing, from: from, to: to, output)
      output.append(",\"error\":{\"reason\":")
      output.appendJSON(problem.reason.rawValue)
      output.append(",\"field\":")
      output.appendJSON(problem.field)
      output.append(",\"message\":")
      output.appendJSON(problem.message)
      output.append("}}")
    case .protobuf:
      beginProtobuf(id: nothing, from: from, to: to, output)
      let start = output.beginMessage(10)
      output.appendField(1, text: problem.reason.rawValue)
      output.appendField(2, text: problem.field)
      output.appendField(3, text: problem.message)
      output.endMessage(start)
    case .v2:
      beginV2(id: nothing, from: from, to: to, output)
      func parameter(_ name: StaticString, _ text: String) {
        var text = text
        text.withUTF8 { Self.parameter(name, text: UnsafeRawBufferPointer($0), into: output) }
      }
      parameter("error_reason", problem.reason.rawValue)
      parameter("error_field", problem.field)
      parameter("error_message", problem.message)
    }
  }

  /// The record in place of predictions that were shed; `reason` is a stable code.
  public func gap(form: EventForm, from: Int64, to: Int64, reason: StaticString, into output: OutputBuffer) {
    let nothing = UnsafeRawBufferPointer(start: nil, count: 0)
    let reasonBytes = UnsafeRawBufferPointer(start: reason.utf8Start, count: reason.utf8CodeUnitCount)
    switch form {
    case .json:
      beginJSON(id: nothing, from: from, to: to, output)
      output.append(",\"gap\":")
      output.appendJSON(reasonBytes)
      output.append(byte: UInt8(ascii: "}"))
    case .protobuf:
      beginProtobuf(id: nothing, from: from, to: to, output)
      output.appendField(11, bytes: reasonBytes)
    case .v2:
      beginV2(id: nothing, from: from, to: to, output)
      Self.parameter("gap", text: reasonBytes, into: output)
    }
  }

  // MARK: Parts

  private func beginJSON(id: UnsafeRawBufferPointer, from: Int64, to: Int64, _ output: OutputBuffer) {
    output.append(byte: UInt8(ascii: "{"))
    if id.count > 0 {
      output.append("\"id\":")
      output.appendJSON(id)
      output.append(byte: UInt8(ascii: ","))
    }
    output.append(jsonMiddle)
    output.appendDecimal(from)
    output.append(",\"to\":")
    output.appendDecimal(to)
  }

  private func beginProtobuf(id: UnsafeRawBufferPointer, from: Int64, to: Int64, _ output: OutputBuffer) {
    if id.count > 0 { output.appendField(1, bytes: id) }
    output.append(protobufNames)
    output.appendField(5, int64: from)
    output.appendField(6, int64: to)
  }

  private func beginV2(id: UnsafeRawBufferPointer, from: Int64, to: Int64, _ output: OutputBuffer) {
    output.append(v2Names)
    if id.count > 0 { output.appendField(3, bytes: id) }
    output.append(v2Arm)
    Self.parameter("from", integer: from, into: output)
    Self.parameter("to", integer: to, into: output)
  }

  private func appendList(_ offsets: UnsafeBufferPointer<Int64>, to output: OutputBuffer) {
    for i in 0..<offsets.count {
      if i > 0 { output.append(byte: UInt8(ascii: ",")) }
      output.appendDecimal(offsets[i])
    }
  }

  private static func parameter(_ name: StaticString, text: UnsafeRawBufferPointer, into output: OutputBuffer) {
    let entry = output.beginMessage(4)
    output.appendField(1, text: name)
    let value = output.beginMessage(2)
    output.appendField(3, bytes: text)
    output.endMessage(value)
    output.endMessage(entry)
  }

  private static func parameter(_ name: StaticString, integer: Int64, into output: OutputBuffer) {
    let entry = output.beginMessage(4)
    output.appendField(1, text: name)
    let value = output.beginMessage(2)
    output.appendField(2, int64: integer)
    output.endMessage(value)
    output.endMessage(entry)
  }
}
