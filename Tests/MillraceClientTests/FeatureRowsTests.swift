import Events
@testable import MillraceClient
import RPC
import Testing

@Suite struct FeatureRowsTests {
  static let flights: RemoteModel = {
    var model = RemoteModel()
    model.name = "flights"
    model.inputs = [
      .init(name: "carrier", datatype: "BYTES", shape: [-1, 1]), .init(name: "tags", datatype: "BYTES", shape: [-1, -1]),
      .init(name: "temp", datatype: "FP32", shape: [-1, 1]), .init(name: "count", datatype: "INT64", shape: [-1, 1]),
      .init(name: "place", datatype: "FP32", shape: [-1, 3]),
    ]
    return model
  }()

  private func requests(_ rows: [[String: FeatureValue]]) throws(PredictionError) -> [FeatureRows.Request] {
    try FeatureRows(Self.flights).requests(PredictionRequest(model: "flights", rows: rows), writer: InferRequestWriter())
  }

  private func message(_ rows: [[String: FeatureValue]]) -> String {
    do throws(PredictionError) {
      _ = try requests(rows)
      return "no error"
    } catch { return error.status.message }
  }

  @Test func typesComeFromTheModel() throws {
    let writer = InferRequestWriter()
    writer.begin(model: "flights")
    writer.input("carrier", .bytes, rows: 1, columns: 1)
    writer.text("7")
    writer.input("temp", .fp32, rows: 1, columns: 1)
    writer.number(3.2)
    writer.input("count", .int64, rows: 1, columns: 1)
    writer.integer(5)
    let expected = Array(writer.finish())
    // The same from texts of a command line, and from numbers.
    #expect(try requests([["count": "5", "temp": "3.2", "carrier": "7"]]).map(\.bytes) == [expected])
    #expect(try requests([["count": 5.0, "temp": 3.2, "carrier": 7]]).map(\.bytes) == [expected])
  }

  @Test func rowsWithTheSameFeaturesShareARequest() throws {
    let made = try requests([["carrier": "AA"], ["temp": 1], ["carrier": "UA"], ["carrier": "B6", "temp": 1]])
    #expect(made.map(\.rows) == [[0, 2], [1], [3]])
    #expect(try requests([[String: FeatureValue]](repeating: ["temp": 1], count: 2500)).map(\.rows.count) == [1024, 1024, 452])
    // Short lists of texts are filled up.
    let writer = InferRequestWriter()
    writer.begin(model: "flights")
    writer.input("tags", .bytes, rows: 2, columns: 2)
    for text in ["a", "b", "c", ""] { writer.text(text) }
    let expected = Array(writer.finish())
    #expect(try requests([["tags": ["a", "b"]], ["tags": "c"]]).map(\.bytes) == [expected])
  }

  @Test func namesOfCategoriesAreTextsAndCodesAreNumbers() throws {
    var model = RemoteModel()
    model.name = "flights"
    model.inputs = [.init(name: "input", datatype: "FP32", shape: [-1, 3])]
    model.properties = ["columns.input": "carrier,temp,hour", "categories.input": "carrier,hour"]
    #expect(model.namedInputs.map(\.takesNames) == [false, true, false, true])
    let rows: [[String: FeatureValue]] = [["carrier": "AA", "temp": "3"], ["carrier": 1, "temp": 4], ["carrier": "7", "temp": 5], ["hour": 2.5], ["hour": true]]
    let made = try FeatureRows(model).requests(PredictionRequest(model: "flights", rows: rows), writer: InferRequestWriter())
    #expect(made.map(\.rows) == [[0, 2], [1], [3], [4]])
    let writer = InferRequestWriter()
    writer.begin(model: "flights")
    writer.input("carrier", .bytes, rows: 2, columns: 1)
    writer.text("AA")
    writer.text("7")
    writer.input("temp", .fp32, rows: 2, columns: 1)
    writer.number(3)
    writer.number(5)
    #expect(made[0].bytes == Array(writer.finish()))
    writer.begin(model: "flights")
    writer.input("carrier", .int64, rows: 1, columns: 1)
    writer.integer(1)
    writer.input("temp", .fp32, rows: 1, columns: 1)
    writer.number(4)
    #expect(made[1].bytes == Array(writer.finish()))
    writer.begin(model: "flights")
    writer.input("hour", .fp64, rows: 1, columns: 1)
    writer.number(2.5)
    #expect(made[2].bytes == Array(writer.finish()))
  }

  @Test func namesWhatIsWrong() {
    #expect(message([["carier": "AA"]]).contains("did you mean \"carrier\"?"))
    #expect(message([["weather": 1]]).contains("carrier, tags, temp"))
    #expect(message([["temp": "warm"]]) == "\"temp\": \"warm\" is not a finite number (the model wants FP32)")
    #expect(message([["temp": 1], ["temp": .number(.nan)]]).hasPrefix("row 1: \"temp\""))
    #expect(message([["count": 1.5]]).contains("whole number"))
    #expect(message([["place": [1, 2]]]) == "\"place\": 2 values, expected 3")
    #expect(message([["carrier": ["a", "b"]]]).contains("2 values, expected 1"))
    #expect(message([[:]]) == "the request has no feature" && message([]).contains("neither rows nor tensors"))
  }

  @Test func readsAnswers() throws {
    // What PredictionEncoder writes for the predictions topic is an answer with two parameters more.
    let encoder = PredictionEncoder(model: "flights", version: 1, arm: "online")
    let output = OutputBuffer()
    let id = Array("u1".utf8)
    id.withUnsafeBytes { id in
      [Float(0.25), 0.5].withUnsafeBufferPointer { scores in
        [Int64(7), 9].withUnsafeBufferPointer { position in
          encoder.score(form: .v2, id: id, from: 3, to: 4, scores: scores, position: position, labelsThrough: 1000, into: output)
        }
      }
    }
    let prediction = try Prediction(response: Array(output.bytes))
    #expect(prediction.model == "flights" && prediction.version == "1" && prediction.id == "u1" && prediction.arm == "online")
    #expect(prediction.scores == [0.25, 0.5] && prediction.shape == [2, 1] && prediction.position == [7, 9])
    #expect(prediction.labelsThroughMilliseconds == 1000 && prediction.stalenessMilliseconds == nil)
    // The hot reader gives the same.
    let reader = PredictionReader()
    #expect(reader.readAnswer(output.bytes))
    #expect(Array(reader.prediction.scores) == [0.25, 0.5] && reader.prediction.columns == 1 && Array(reader.prediction.position) == [7, 9])
    // Broken ones throw and do not trap.
    let bytes = Array(output.bytes)
    for count in 0..<bytes.count { _ = try? Prediction(response: Array(bytes[..<count])) }
  }

  @Test func joinsAnswersInTheRowsOrder() {
    var joined = Prediction()
    for (scores, rows, staleness) in [([Float(0.1), 0.3], [0, 2], Int64(5)), ([0.2], [1], 9)] {
      var part = Prediction()
      part.scores = scores
      part.shape = [Int64(rows.count), 1]
      part.position = [Int64(10 - staleness)]
      part.stalenessMilliseconds = staleness
      joined.place(part, at: rows, of: 3)
    }
    #expect(joined.scores == [0.1, 0.2, 0.3] && joined.shape == [3, 1] && joined.position == [1] && joined.stalenessMilliseconds == 9)
  }
}
