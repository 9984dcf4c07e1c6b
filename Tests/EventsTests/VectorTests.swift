import Events
import Model
import Testing

/// A vector's numbers in every form give the same row.
@Suite struct VectorTests {
  private static let model = ModelSpecification(
    name: "dense", family: .linear(loss: .squared),
    features: [.vector("x", size: 3, NumericTransform(divide: 3)), .numeric("y"), .categorical("tags", valuesMax: 4)])

  private func decode(_ bytes: [UInt8]) -> (rows: [Row], problem: EventProblem?) {
    let decoder = EventDecoder(specification: Self.model)
    let batch = RowBatch()
    return bytes.withUnsafeBytes { payload in
      let ok = decoder.decode(payload, contentType: nil, into: batch).ok
      return (rows(of: batch), ok ? nil : decoder.problem())
    }
  }

  private func row(_ form: EventForm, _ write: (EventWriter) -> Void) -> (rows: [Row], problem: EventProblem?) {
    let writer = EventWriter(form: form)
    writer.begin(id: "e")
    write(writer)
    return decode(Array(writer.finish()))
  }

  @Test func everyFormGivesTheSameRow() throws {
    let expected = decode(utf8(#"{"id":"e","features":{"x":[0.1,-2,3e2],"y":4}}"#)).rows
    #expect(expected.count == 1 && expected[0].ids.count == 5)
    #expect(expected[0].values[0...2] == [Float(0.1 / 3), Float(-2.0 / 3), 100])
    for form in EventForm.allCases {
      let written = row(form) {
        $0.numbers("x", [0.1, -2, 300])
        $0.integer("y", 4)
      }
      #expect(written.problem == nil && written.rows == expected, "\(form)")
      let whole = row(form) { $0.integers("x", [3, 6, 9]) }
      #expect(whole.rows == decode(utf8(#"{"id":"e","features":{"x":[3,6,9]}}"#)).rows, "\(form)")
      #expect(whole.rows.first?.values == [1, 2, 3, 1], "\(form)")
      // Whole numbers are values of a category too.
      let tags = row(form) { $0.integers("tags", [7, 8]) }
      #expect(tags.rows == decode(utf8(#"{"id":"e","features":{"tags":["7","8"]}}"#)).rows, "\(form)")
    }
  }

  @Test func wrongLengthsAndValuesNameTheVector() {
    for form in EventForm.allCases {
      let short = row(form) { $0.numbers("x", [1, 2]) }
      #expect(short.problem?.reason == .invalidShape && short.problem?.field == "x" && short.rows.isEmpty, "\(form)")
      let long = row(form) { $0.numbers("x", [1, 2, 3, 4]) }
      #expect(long.problem?.reason == .tooManyValues && long.problem?.field == "x", "\(form)")
      let one = row(form) { $0.number("x", 1) }
      #expect(one.problem?.reason == .invalidShape, "\(form)")
      let text = row(form) { $0.text("x", "1") }
      #expect(text.problem?.reason == .wrongType, "\(form)")
      // Absent is fine.
      #expect(row(form) { $0.number("y", 1) }.problem == nil)
    }
    let nan = V2Request(id: "e", inputs: [.init(name: "x", datatype: "FP32", shape: [1, 3], raw: V2Request.rawFloats([1, .nan, 3]))])
    #expect(decode(nan.bytes).problem?.reason == .notFinite)
  }

  @Test func rowsOfATensorAreThoseOfEvents() {
    let tensor = V2Request(
      id: "e", inputs: [.init(name: "x", datatype: "FP32", shape: [2, 3], raw: V2Request.rawFloats([1, 2, 3, 4, 5, 6]))])
    let events = [#"{"id":"e","features":{"x":[1,2,3]}}"#, #"{"id":"e","features":{"x":[4,5,6]}}"#]
    #expect(decode(tensor.bytes).rows == events.flatMap { decode(utf8($0)).rows })
    // Any shape of as many numbers for each row.
    var deep = tensor
    deep.inputs[0].shape = [2, 1, 3]
    #expect(decode(deep.bytes).rows == decode(tensor.bytes).rows)
  }
}
