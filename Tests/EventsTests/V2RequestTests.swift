import Events
import Model
import Testing

@Suite struct V2RequestTests {
  private typealias Input = V2Request.Input

  private func text(_ name: String, _ values: [String], columns: Int = 1) -> V2Request.Input {
    Input(name: name, datatype: "BYTES", shape: [Int64(values.count / columns), Int64(columns)], raw: V2Request.rawTexts(values))
  }

  private func problem(_ inputs: [V2Request.Input], id: String = "r") -> EventProblem? {
    decode(V2Request(id: id, inputs: inputs).bytes, contentType: "application/vnd.kserve.v2+protobuf").problem
  }

  @Test func rowsAreThoseOfSingleEvents() throws {
    let request = V2Request(id: "r", inputs: [
      text("carrier", ["AA", "UA", "5"]),
      Input(name: "temp", datatype: "FP32", shape: [3, 1], raw: V2Request.rawFloats([1, 2.5, -3])),
      text("tags", ["a", "b", "c", "", "", ""], columns: 2),
      Input(name: "unknown", datatype: "INT64", shape: [3], raw: Array(repeating: 0, count: 24)),
    ])
    let decoded = try #require(decode(request.bytes).decoded)
    #expect(decoded.unknown == 1)
    let singles = [
      #"{"id":"r","features":{"carrier":"AA","temp":1,"tags":["a","b"]}}"#,
      #"{"id":"r","features":{"carrier":"UA","temp":2.5,"tags":["c"]}}"#,
      #"{"id":"r","features":{"carrier":5,"temp":-3}}"#,
    ]
    #expect(decoded.rows == singles.map { decode(json: $0).decoded!.rows[0] })
  }

  /// Each datatype, raw and in its list, gives the same row as the JSON number.
  @Test func datatypes() throws {
    func list(_ number: UInt64, _ bytes: [UInt8]) -> [UInt8] { V2Request.field(number, bytes) }
    func both(_ datatype: String, raw: [UInt8], contents: [UInt8]?) -> [V2Request.Input] {
      [Input(name: "temp", datatype: datatype, shape: [1, 1], raw: raw)]
        + (contents.map { [Input(name: "temp", datatype: datatype, shape: [1], contents: $0)] } ?? [])
    }
    let two = V2Request.varint(2)
    let inputs =
      both("INT8", raw: [2], contents: list(2, two)) + both("INT16", raw: [2, 0], contents: list(2, two))
      + both("INT32", raw: [2, 0, 0, 0], contents: list(2, two)) + both("INT64", raw: V2Request.little(Int64(2)), contents: list(3, two))
      + both("UINT8", raw: [2], contents: list(4, two)) + both("UINT16", raw: [2, 0], contents: list(4, two))
      + both("UINT32", raw: [2, 0, 0, 0], contents: list(4, two)) + both("UINT64", raw: V2Request.little(Int64(2)), contents: list(5, two))
      + both("FP16", raw: [0x00, 0x40], contents: nil) + both("BF16", raw: [0x00, 0x40], contents: nil)
      + both("FP32", raw: V2Request.rawFloats([2]), contents: list(6, V2Request.rawFloats([2])))
      + both("FP64", raw: V2Request.little(Double(2).bitPattern), contents: list(7, V2Request.little(Double(2).bitPattern)))
    let expected = decode(json: #"{"id":"r","features":{"temp":2}}"#).decoded?.rows
    for input in inputs {
      let outcome = decode(V2Request(id: "r", inputs: [input]).bytes)
      #expect(outcome.decoded?.rows == expected, "\(input): \(outcome)")
    }
    let flag = decode(json: #"{"id":"r","features":{"carrier":true,"temp":true}}"#).decoded?.rows
    let bools = [
      Input(name: "carrier", datatype: "BOOL", shape: [1, 1], raw: [1]), Input(name: "temp", datatype: "BOOL", shape: [1, 1], raw: [7]),
    ]
    #expect(decode(V2Request(id: "r", inputs: bools).bytes).decoded?.rows == flag)
    let texts = Input(name: "carrier", datatype: "BYTES", shape: [1], contents: list(8, utf8("AA")))
    #expect(
      decode(V2Request(id: "r", inputs: [texts]).bytes).decoded?.rows
        == decode(json: #"{"id":"r","features":{"carrier":"AA"}}"#).decoded?.rows)
  }

  @Test(arguments: [
    (UInt16(0x0001), 0x1p-24), (0x03FF, 0x1.FF8p-15), (0x0400, 0x1p-14), (0x3C00, 1), (0xC000, -2), (0x7BFF, 65504), (0x8001, -0x1p-24),
  ])
  func halves(bits: UInt16, value: Double) throws {
    let half = Input(name: "temp", datatype: "FP16", shape: [1], raw: V2Request.little(bits))
    let double = Input(name: "temp", datatype: "FP64", shape: [1], raw: V2Request.little(value.bitPattern))
    let expected = try #require(decode(V2Request(id: "r", inputs: [double]).bytes).decoded)
    #expect(decode(V2Request(id: "r", inputs: [half]).bytes).decoded?.rows == expected.rows)
  }

  @Test func parametersCarryTheEnvelope() throws {
    var request = V2Request(id: "r", inputs: [text("carrier", ["AA"])])
    request.parameters = [
      ("key", V2Request.field(3, utf8("k"))), ("event_time", V2Request.field(5, varint: 7)), ("label", V2Request.field(2, varint: 1)),
      ("weight", V2Request.field(4, double: 0.5)), ("priority", V2Request.field(5, varint: .max)), ("other", []),
    ]
    let decoded = try #require(decode(request.bytes).decoded)
    #expect(decoded.key == "k" && decoded.time == 7 && decoded.label == 1 && decoded.weight == 0.5)
    request.parameters = [("event_time", V2Request.field(3, utf8("2013-06-01T12:00:00Z")))]
    #expect(decode(request.bytes).decoded?.time == 1_370_088_000_000)
    request.parameters = [("event_time", V2Request.field(3, utf8("noon")))]
    #expect(decode(request.bytes).problem?.reason == .invalidTime)
    request.parameters = [("label", V2Request.field(3, utf8("1")))]
    #expect(decode(request.bytes).problem?.reason == .wrongType)
    request.parameters = [("key", V2Request.field(2, varint: 1))]
    #expect(decode(request.bytes).problem?.field == "key")
  }

  @Test func contentsAndShapesMustAgree() {
    let floats = V2Request.rawFloats([1, 2])
    func fp32(_ shape: [Int64], raw: [UInt8]?, contents: [UInt8]? = nil) -> V2Request.Input {
      Input(name: "temp", datatype: "FP32", shape: shape, raw: raw, contents: contents)
    }
    #expect(problem([fp32([2, 1], raw: floats, contents: V2Request.field(6, floats))])?.reason == .bothContents)
    #expect(problem([fp32([2, 1], raw: Array(floats.dropLast()))])?.reason == .truncated)
    #expect(problem([fp32([1, 1], raw: floats)])?.reason == .invalidShape)
    #expect(problem([fp32([3, 1], raw: nil, contents: V2Request.field(6, floats))])?.reason == .invalidShape)
    #expect(problem([fp32([2, 1], raw: nil, contents: V2Request.field(7, floats))])?.reason == .invalidDatatype)
    #expect(problem([fp32([], raw: floats)])?.reason == .invalidShape)
    #expect(problem([fp32([-1, 1], raw: floats)])?.reason == .invalidShape)
    #expect(problem([fp32([0, 1], raw: [])])?.reason == .invalidShape)
    #expect(problem([fp32([.max, .max, 4], raw: floats)])?.reason == .invalidShape)
    #expect(problem([fp32([1 << 32, 1 << 31], raw: floats)])?.reason == .tooManyValues)
    #expect(problem([fp32([.max, 0], raw: [])])?.reason == .tooManyValues)
    #expect(problem([fp32([5000, 1], raw: Array(repeating: 0, count: 20000))])?.reason == .tooManyValues)
    #expect(problem([fp32([2, 1], raw: floats), text("carrier", ["AA"])])?.field == "carrier")
    #expect(problem([fp32([2, 1], raw: floats), Input(name: "carrier", datatype: "BYTES", shape: [2, 1])])?.field == "raw_input_contents")
    #expect(problem([Input(name: "temp", datatype: "FP8", shape: [1], raw: [0])])?.reason == .invalidDatatype)
    #expect(problem([Input(name: "temp", datatype: "FP16", shape: [1], contents: V2Request.field(6, floats))])?.reason == .invalidDatatype)
    #expect(problem([])?.field == "inputs")
    #expect(problem([text("carrier", ["AA"])], id: "")?.reason == .missingID)
    #expect(problem([text("carrier", ["AA"]), text("carrier", ["AA"])])?.reason == .duplicateFeature)
  }

  @Test func rawTextsMustFill() {
    func bytes(_ raw: [UInt8], rows: Int64 = 1) -> V2Request.Input {
      Input(name: "carrier", datatype: "BYTES", shape: [rows, 1], raw: raw)
    }
    #expect(problem([bytes([2, 0, 0])])?.reason == .truncated)
    #expect(problem([bytes([2, 0, 0, 0, 65])])?.reason == .truncated)
    #expect(problem([bytes([0xFF, 0xFF, 0xFF, 0xFF, 65])])?.reason == .truncated)
    #expect(problem([bytes([1, 0, 0, 0, 65, 0])])?.reason == .invalidShape)
    #expect(problem([bytes([1, 0, 0, 0, 65], rows: 2)])?.reason == .truncated)
    #expect(problem([bytes(V2Request.rawTexts([String(repeating: "x", count: 16385)]))])?.reason == .textTooLong)
  }

  @Test func valuesAreCheckedInEveryRow() {
    let nan = Input(name: "temp", datatype: "FP32", shape: [3], raw: V2Request.rawFloats([1, 2, .nan]))
    #expect(problem([nan])?.reason == .notFinite)
    #expect(problem([text("temp", ["1"])])?.reason == .wrongType)
    #expect(problem([Input(name: "carrier", datatype: "FP64", shape: [1], raw: Array(repeating: 0, count: 8))])?.field == "carrier")
  }

  @Test func everyPrefixIsRefused() {
    let whole = V2Request(id: "r", inputs: [text("carrier", ["AA", "UA"]), text("flight", ["1", "2"])]).bytes
    #expect(decode(whole).decoded?.rows.count == 2)
    for count in 0..<whole.count {
      #expect(decode(Array(whole[..<count]), contentType: "application/vnd.kserve.v2+protobuf").problem != nil)
    }
  }
}
