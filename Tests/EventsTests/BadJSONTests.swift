import Events
import Testing

/// Each kind of bad JSON gives its reason and names its field; none leaves rows behind (the helper `decode` checks).
@Suite struct BadJSONTests {
  struct Case: CustomTestStringConvertible, Sendable {
    var json: String
    var reason: EventProblem.Reason
    var field = ""
    var testDescription: String { "\(reason.rawValue): \(json.prefix(60))" }
  }

  static let cases: [Case] = [
    Case(json: "", reason: .emptyPayload),
    Case(json: "   ", reason: .truncated),
    Case(json: "{", reason: .invalidJSON),
    Case(json: #"{"id":"a""#, reason: .invalidJSON),
    Case(json: #"{"id":"a"} x"#, reason: .invalidJSON),
    Case(json: #"{"id":"a"}{"id":"b"}"#, reason: .invalidJSON),
    Case(json: #"[{"id":"a"}]"#, reason: .invalidJSON),
    Case(json: "null", reason: .invalidJSON),
    Case(json: #"{"id":"a","features":{"temp":NaN}}"#, reason: .invalidJSON, field: "temp"),
    Case(json: #"{"id":"a","features":{"temp":-Infinity}}"#, reason: .numberOutOfRange, field: "temp"),
    Case(json: #"{"id":"a","features":{"temp":1e999}}"#, reason: .numberOutOfRange, field: "temp"),
    Case(json: #"{"id":"a","features":{"wind":1,"temp":01}}"#, reason: .numberOutOfRange, field: "temp"),
    Case(json: #"{"id":"a","features":{"carrier":123456789012345678901234567890}}"#, reason: .numberOutOfRange, field: "carrier"),
    Case(json: #"{"id":"a","features":{"carrier":nul}}"#, reason: .invalidJSON, field: "carrier"),
    Case(json: #"{"id":"a","features":{"temp":"NaN"}}"#, reason: .wrongType, field: "temp"),
    Case(json: #"{"id":"a","features":{"temp":"39.2"}}"#, reason: .wrongType, field: "temp"),
    Case(json: #"{"id":"a","features":{"temp":1e300}}"#, reason: .notFinite, field: "temp"),
    Case(json: #"{"id":"a","features":{"temp":{"a":1}}}"#, reason: .wrongType, field: "temp"),
    Case(json: #"{"id":"a","features":{"temp":[[1]]}}"#, reason: .wrongType, field: "temp"),
    Case(json: #"{"id":"a","features":{"carrier":0.5}}"#, reason: .wrongType, field: "carrier"),
    Case(json: #"{"id":"a","features":{"temp":[1,2]}}"#, reason: .tooManyValues, field: "temp"),
    Case(json: #"{"id":"a","features":{"temp":1,"temp":1}}"#, reason: .duplicateFeature, field: "temp"),
    Case(json: #"{"id":"a","features":{"te\u006dp":1,"temp":1}}"#, reason: .duplicateFeature, field: "temp"),
    Case(json: #"{"id":"a","features":[]}"#, reason: .wrongType, field: "features"),
    Case(json: #"{"id":"a","id":"b"}"#, reason: .duplicateField, field: "id"),
    Case(json: #"{"features":{}}"#, reason: .missingID, field: "id"),
    Case(json: #"{"id":""}"#, reason: .missingID, field: "id"),
    Case(json: #"{"id":7}"#, reason: .wrongType, field: "id"),
    Case(json: #"{"id":"a","key":7}"#, reason: .wrongType, field: "key"),
    Case(json: #"{"id":"a","event_time":"yesterday"}"#, reason: .invalidTime, field: "event_time"),
    Case(json: #"{"id":"a","event_time":"2013-02-29T00:00:00Z"}"#, reason: .invalidTime, field: "event_time"),
    Case(json: #"{"id":"a","event_time":"2013-02-28T12:00:00"}"#, reason: .invalidTime, field: "event_time"),
    Case(json: #"{"id":"a","event_time":1.5}"#, reason: .wrongType, field: "event_time"),
    Case(json: #"{"id":"a","event_time":18446744073709551615}"#, reason: .wrongType, field: "event_time"),
    Case(json: #"{"id":"a","label":"yes"}"#, reason: .wrongType, field: "label"),
    Case(json: #"{"id":"a","label":1,"weight":-1}"#, reason: .notFinite, field: "weight"),
    Case(json: #"{"id":"\#(String(repeating: "x", count: 1025))"}"#, reason: .textTooLong, field: "id"),
    Case(json: #"{"id":"a","features":{"carrier":"\#(String(repeating: "x", count: 16385))"}}"#, reason: .textTooLong, field: "carrier"),
    Case(
      json: #"{"id":"a","features":{"tags":[\#(Array(repeating: "1", count: 4097).joined(separator: ","))]}}"#,
      reason: .tooManyValues, field: "tags"),
    Case(json: #"{"id":"a","x":"# + String(repeating: "[", count: 100) + String(repeating: "]", count: 100) + "}", reason: .nestedTooDeep),
    Case(json: #"{"id":"a","x":"# + String(repeating: #"{"a":"#, count: 500_000) , reason: .payloadTooLarge),
    Case(json: String(repeating: "[", count: 500_000) + String(repeating: "]", count: 500_000), reason: .nestedTooDeep),
    Case(json: String(repeating: "[", count: 1_000_000), reason: .invalidJSON),
  ]

  @Test(arguments: cases)
  func isRefused(case each: Case) {
    let outcome = decode(json: each.json)
    #expect(outcome.problem?.reason == each.reason)
    #expect(outcome.problem?.field == each.field)
    #expect(outcome.problem?.message.isEmpty == false)
  }

  @Test func brokenUTF8() {
    for bytes in [[0xC3], [0xFF], [0xC0, 0xAF], [0xED, 0xA0, 0x80], [0xF5, 0x80, 0x80, 0x80]] as [[UInt8]] {
      let problem = decode(utf8(#"{"id":""#) + bytes + utf8(#""}"#)).problem
      #expect(problem?.reason == .invalidUTF8)
    }
    // A lone surrogate can only be escaped.
    #expect(decode(json: #"{"id":"\ud800"}"#).problem?.reason == .invalidJSON)
  }

  @Test func oneDecoderGoesOnAfterEachProblem() {
    let decoder = EventDecoder(specification: specification)
    let good = utf8(#"{"id":"a","features":{"carrier":"AA","temp":1}}"#)
    let expected = decode(good)
    #expect(expected.decoded != nil)
    for each in Self.cases {
      _ = decode(utf8(each.json), contentType: "application/json", with: decoder)
      #expect(decode(good, with: decoder) == expected)
    }
  }

  @Test func everyPrefixIsRefused() {
    let whole = utf8(#"{"id":"a","key":"k","event_time":"2013-06-01T12:00:00Z","features":{"carrier":"AA","tags":["a",5],"temp":1.5}}"#)
    #expect(decode(whole).decoded != nil)
    for count in 0..<whole.count { #expect(decode(Array(whole[..<count]), contentType: "application/json").problem != nil) }
  }
}
