import Events
import Testing

@Suite struct BadProtobufTests {
  private func event(_ features: [[UInt8]] = [], id: String = "a", extra: [UInt8] = []) -> [UInt8] {
    V2Request.field(1, utf8(id)) + features.flatMap { V2Request.field(4, $0) } + extra
  }

  private func feature(_ name: String, _ value: [UInt8]) -> [UInt8] { V2Request.field(1, utf8(name)) + value }

  private func problem(_ bytes: [UInt8]) -> EventProblem? { decode(bytes, contentType: "application/x-protobuf").problem }

  @Test func wrongValuesNameTheirFeature() {
    let nan = problem(event([feature("temp", V2Request.field(4, double: .nan))]))
    #expect(nan?.reason == .notFinite && nan?.field == "temp")
    let infinite = problem(event([feature("temp", V2Request.field(4, double: -.infinity))]))
    #expect(infinite?.reason == .notFinite && infinite?.field == "temp")
    let text = problem(event([feature("temp", V2Request.field(2, utf8("1")))]))
    #expect(text?.reason == .wrongType && text?.field == "temp")
    let number = problem(event([feature("carrier", V2Request.field(4, double: 1))]))
    #expect(number?.reason == .wrongType && number?.field == "carrier")
    let twice = problem(event([feature("temp", V2Request.field(4, double: 1)), feature("temp", V2Request.field(4, double: 1))]))
    #expect(twice?.reason == .duplicateFeature && twice?.field == "temp")
    let long = problem(event([feature("carrier", V2Request.field(2, Array(repeating: 65, count: 16385)))]))
    #expect(long?.reason == .textTooLong && long?.field == "carrier")
    let many = problem(event([feature("tags", V2Request.field(7, Array(repeating: 1, count: 4097)))]))
    #expect(many?.reason == .tooManyValues && many?.field == "tags")
    let tags = problem(event([feature("tags", V2Request.field(7, Array(repeating: 1, count: 9)))]))
    #expect(tags?.reason == .tooManyValues && tags?.field == "tags")
  }

  @Test func theEnvelopeIsChecked() {
    #expect(problem(event(id: ""))?.reason == .missingID)
    #expect(problem(V2Request.field(1, [0xFF]))?.reason == .invalidUTF8)
    #expect(problem(event(id: String(repeating: "x", count: 1025)))?.reason == .textTooLong)
    #expect(problem(event(extra: V2Request.field(5, double: .nan)))?.reason == .notFinite)
    #expect(problem(event(extra: V2Request.field(6, double: -1)))?.field == "weight")
    #expect(problem([])?.reason == .emptyPayload)
    #expect(problem(Array(repeating: 0x0A, count: (1 << 20) + 1))?.reason == .payloadTooLarge)
  }

  @Test func wireTypesAreChecked() {
    let id = problem(V2Request.field(1, varint: 1))
    #expect(id?.reason == .invalidProtobuf && id?.field == "id")
    #expect(problem(event(extra: V2Request.field(5, varint: 1)))?.field == "label")
    #expect(problem(event([feature("temp", V2Request.field(4, varint: 1))]))?.reason == .invalidProtobuf)
    // Groups and field number 0 do not exist here.
    #expect(problem(event(extra: [0x7B]))?.reason == .invalidProtobuf)
    #expect(problem(event(extra: [0x02, 0x00]))?.reason == .invalidProtobuf)
    // A varint of eleven bytes, and a tag beyond 32 bits.
    #expect(problem(event(extra: [0x18] + Array(repeating: 0xFF, count: 10) + [0x01]))?.reason == .invalidProtobuf)
    #expect(problem(event(extra: [0xF8, 0xFF, 0xFF, 0xFF, 0x7F, 0x00]))?.reason == .invalidProtobuf)
  }

  @Test func everyPrefixIsRefusedOrEndsBetweenFields() {
    let writer = EventWriter(form: .protobuf)
    writer.begin(id: "a", key: "k", eventTimeMilliseconds: 5)
    writer.text("carrier", "AA")
    writer.number("temp", 1)
    let whole = Array(writer.finish())
    #expect(decode(whole).decoded != nil)
    var refused = 0
    for count in 0..<whole.count where decode(Array(whole[..<count]), contentType: "application/x-protobuf").problem != nil { refused += 1 }
    // A record cut between two of its five fields is a shorter record.
    #expect(refused == whole.count - 4)
  }

  @Test func schemaRegistryFramingIsSkipped() throws {
    let bare = event([feature("carrier", V2Request.field(2, utf8("AA")))])
    let expected = decode(bare)
    #expect(expected.decoded?.rows[0].ids.count == 2)
    for indexes in [[0], [2, 0], [4, 2, 6]] as [[UInt8]] {
      #expect(decode([0, 0, 0, 0, 42] + indexes + bare) == expected)
      #expect(decode([0, 0, 0, 0, 42] + indexes + bare, contentType: "application/x-protobuf") == expected)
    }
    let json = utf8(#"{"id":"a","features":{"carrier":"AA"}}"#)
    #expect(decode([0, 0, 0, 0, 42] + json) == decode(json))
    #expect(decode([0, 0, 0, 0, 42, 0]).problem?.reason == .emptyPayload)
    #expect(decode([0, 0, 0, 0, 42]).problem != nil)
    // A negative number of indexes is none.
    #expect(decode([0, 0, 0, 0, 42, 1] + bare).problem != nil)
  }

  @Test func anUnknownContentTypeIsAProblem() {
    let problem = decode(event(), contentType: "text/csv").problem
    #expect(problem?.reason == .unknownContentType && problem?.field == "content-type")
    #expect(decode(event(), contentType: "Application/X-Protobuf ; x=1").decoded != nil)
    #expect(decode(event(), contentType: "application/octet-stream").decoded != nil)
    #expect(decode(event(), contentType: "application/json").problem?.reason == .invalidJSON)
  }
}
