import Events
import Foundation
import Model
import Testing

/// Predictions of models with more than one number for each row, written as the stream predictor writes them and read back.
@Suite struct PredictionOutputTests {
  private let encoder = PredictionEncoder(model: "fraud", version: 2, arm: "bundle")
  private let reader = PredictionReader()

  /// What was read of one output.
  private struct Read: Equatable {
    var name: String
    var values: [Double] = []
    var texts: [String] = []
  }

  private static let kinds: [TensorElement] = [
    .float32, .float64, .int64, .int32, .int16, .int8, .uint64, .uint32, .uint16, .uint8, .boolean, .bfloat16, .float16,
  ]

  /// Numbers that every kind has: as bits of that kind.
  private static func bytes(_ element: TensorElement, _ numbers: [Double]) -> [UInt8] {
    numbers.flatMap { number -> [UInt8] in
      switch element {
      case .float32: withUnsafeBytes(of: Float(number)) { Array($0) }
      case .float64: withUnsafeBytes(of: number) { Array($0) }
      case .int64, .uint64, .text: withUnsafeBytes(of: Int64(number)) { Array($0) }
      case .int32, .uint32: withUnsafeBytes(of: Int32(number)) { Array($0) }
      case .int16, .uint16: withUnsafeBytes(of: Int16(number)) { Array($0) }
      case .int8, .uint8, .boolean: [UInt8(number)]
      case .bfloat16: withUnsafeBytes(of: UInt16(Float(number).bitPattern >> 16)) { Array($0) }
      // 0 and 1.
      case .float16: withUnsafeBytes(of: UInt16(number == 1 ? 0x3C00 : 0)) { Array($0) }
      }
    }
  }

  /// One record of `rows` rows of these outputs.
  private func record(_ form: EventForm, _ outputs: [(OutputTensor, [Double])], rows: Int) -> [UInt8] {
    let tensors = outputs.map { output, numbers in
      let memory = UnsafeMutableRawPointer.allocate(byteCount: max(8, numbers.count * 8), alignment: 64)
      memory.copyMemory(from: Self.bytes(output.element, numbers), byteCount: numbers.count * output.element.bytes)
      return memory
    }
    defer { for tensor in tensors { tensor.deallocate() } }
    let buffer = OutputBuffer()
    Array("e1".utf8).withUnsafeBytes { id in
      encoder.outputs(form: form, id: id, from: 4, to: 5, ModelOutputs(outputs.map(\.0)), tensors, first: 0, rows: rows, into: buffer)
    }
    return Array(buffer.bytes)
  }

  private func read(_ record: [UInt8]) -> (outputs: [Read], scores: [Float], json: String)? {
    record.withUnsafeBytes { bytes in
      guard reader.read(bytes) else { return nil }
      let buffer = OutputBuffer()
      reader.prediction.writeJSON(into: buffer)
      let outputs = reader.prediction.outputs.map { output in
        Read(
          name: String(decoding: output.name, as: UTF8.self), values: Array(output.values),
          texts: output.isText ? (0..<output.count).map { String(decoding: output.text($0), as: UTF8.self) } : [])
      }
      return (outputs, Array(reader.prediction.scores), String(decoding: buffer.bytes, as: UTF8.self))
    }
  }

  @Test(arguments: EventForm.allCases) func everyKindOfOutputComesBack(form: EventForm) throws {
    for element in Self.kinds {
      let outputs = [(OutputTensor(name: "\(element)", element: element, shape: [2]), [1.0, 0]), (OutputTensor(name: "se\"cond", element: .float32), [0.25])]
      let found = try #require(read(record(form, outputs, rows: 1)), "\(reader.problem())")
      #expect(found.outputs == [Read(name: "\(element)", values: [1, 0]), Read(name: "se\"cond", values: [0.25])])
      #expect(found.json.contains(#""outputs":{"\#(element)":[1.0,0.0],"se\"cond":0.25}"#) || found.json.contains(#""outputs":{"\#(element)":[1,0],"se\"cond":0.25}"#), "\(found.json)")
    }
  }

  @Test(arguments: EventForm.allCases) func textsAndSeveralRowsComeBack(form: EventForm) throws {
    let label = OutputTensor(name: "label", element: .text, texts: ["low", "high \u{E9}\""])
    let probabilities = OutputTensor(name: "probabilities", element: .float32, shape: [2])
    let one = try #require(read(record(form, [(probabilities, [0.25, 0.75]), (label, [1])], rows: 1)), "\(reader.problem())")
    #expect(one.outputs == [Read(name: "probabilities", values: [0.25, 0.75]), Read(name: "label", texts: ["high \u{E9}\""])])
    #expect(one.scores.first == 0.25)
    #expect(one.json.contains(#""outputs":{"probabilities":[0.25,0.75],"label":"high \#u{E9}\""}"#), "\(one.json)")
    let three = try #require(read(record(form, [(label, [1, 0, 0]), (probabilities, [0.5, 0.5, 1, 0, 0, 1])], rows: 3)), "\(reader.problem())")
    #expect(three.outputs[1].values == [0.5, 0.5, 1, 0, 0, 1] && three.outputs[0].texts == ["high \u{E9}\"", "low", "low"])
    let object = try #require(try JSONSerialization.jsonObject(with: Data(three.json.utf8)) as? [String: Any])
    let shown = try #require(object["outputs"] as? [String: Any])
    #expect((shown["probabilities"] as? [[Double]]) == [[0.5, 0.5], [1, 0], [0, 1]] && (shown["label"] as? [String])?.count == 3)
  }

  /// The score says it all.
  @Test(arguments: EventForm.allCases) func oneNumberHasNoOutputs(form: EventForm) throws {
    let found = try #require(read(record(form, [(OutputTensor(name: "score", element: .float32), [0.5])], rows: 1)))
    #expect(found.outputs.isEmpty && found.scores == [0.5] && !found.json.contains("outputs"))
    // Nothing stays of the record before.
    _ = read(record(form, [(OutputTensor(name: "a", element: .float32, shape: [2]), [1, 2])], rows: 1))
    #expect(try #require(read(record(form, [(OutputTensor(name: "score", element: .float32), [0.5])], rows: 1))).outputs.isEmpty)
  }

  /// A model may answer NaN, for which JSON has `null` alone.
  @Test(arguments: EventForm.allCases) func whatIsNoNumberComesBack(form: EventForm) throws {
    let outputs = [(OutputTensor(name: "a", element: .float32, shape: [2]), [Double.nan, 1])]
    let found = try #require(read(record(form, outputs, rows: 1)), "\(reader.problem())")
    #expect(found.scores[0].isNaN && found.outputs[0].values[0].isNaN && found.outputs[0].values[1] == 1)
    #expect(found.json.contains("[null,1"))
    let single = try #require(read(record(form, [(OutputTensor(name: "score", element: .float32), [.nan])], rows: 1)), "\(reader.problem())")
    #expect(single.scores.count == 1 && single.scores[0].isNaN)
  }

  @Test(arguments: EventForm.allCases) func everyPrefixIsReadOrRefused(form: EventForm) {
    let label = OutputTensor(name: "label", element: .text, texts: ["low", "high"])
    let whole = record(form, [(OutputTensor(name: "p", element: .float64, shape: [2]), [0.25, 0.75]), (label, [1])], rows: 1)
    for count in 0..<whole.count {
      let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 1)
      bytes.copyBytes(from: whole[..<count])
      if !reader.read(UnsafeRawBufferPointer(bytes)) { #expect(!reader.problem().message.isEmpty) }
      bytes.deallocate()
    }
  }

  @Test func outputsOfOtherKindsAreRefused() {
    func refusal(_ outputs: String) -> String {
      let text = Array(#"{"from":0,"to":1,"score":1,"outputs":\#(outputs)}"#.utf8)
      return text.withUnsafeBytes { reader.read($0) } ? "" : reader.problem().message
    }
    #expect(refusal(#"{"a":[1,[2,3]],"b":["x"],"c":[]}"#) == "")
    #expect(refusal("[1]").contains("must be an object"))
    #expect(refusal(#"{"a":{"b":1}}"#).contains("numbers or texts"))
    #expect(refusal(#"{"a":[1,"x"]}"#).contains("numbers or texts"))
    #expect(refusal(#"{"a":["x",1]}"#).contains("numbers or texts"))
    #expect(refusal(#"{"a":true}"#).contains("numbers or texts"))
    #expect(refusal("{" + (0...64).map { "\"o\($0)\":1" }.joined(separator: ",") + "}").contains("more outputs"))
    // V2: contents that are no whole elements, texts longer than what is there, more outputs than the bound.
    func v2(_ outputs: [(String, [UInt8])]) -> Bool {
      let buffer = OutputBuffer()
      for (datatype, _) in outputs {
        let tensor = buffer.beginMessage(5)
        buffer.appendField(1, text: "t")
        buffer.appendField(2, text: datatype)
        buffer.endMessage(tensor)
      }
      for (_, raw) in outputs { raw.withUnsafeBytes { buffer.appendField(6, bytes: $0) } }
      return reader.readAnswer(buffer.bytes)
    }
    #expect(v2([("INT64", [UInt8](repeating: 1, count: 16)), ("NEW", [1])]))
    #expect(!v2([("BOOL", [1]), ("INT64", [1, 2, 3])]))
    #expect(!v2([("BYTES", [255, 255, 255, 255, 1])]) && !v2([("BYTES", [1, 0])]))
    #expect(!v2([(String, [UInt8])](repeating: ("BOOL", [1]), count: 65)))
  }
}
