import Events
import Model
import Testing

@Suite struct JSONValuesTests {
  private func ids(_ json: String) throws -> [UInt64] {
    let outcome = decode(json: json)
    return try #require(outcome.decoded, "\(outcome)").rows[0].ids
  }

  @Test func aWholeNumberIsItsText() throws {
    #expect(try ids(#"{"id":"a","features":{"carrier":5}}"#) == ids(#"{"id":"a","features":{"carrier":"5"}}"#))
    #expect(try ids(#"{"id":"a","features":{"carrier":true}}"#) == ids(#"{"id":"a","features":{"carrier":"true"}}"#))
    #expect(
      try ids(#"{"id":"a","features":{"carrier":18446744073709551615}}"#)
        == ids(#"{"id":"a","features":{"carrier":"18446744073709551615"}}"#))
    #expect(
      try ids(#"{"id":"a","features":{"carrier":-9223372036854775808}}"#)
        == ids(#"{"id":"a","features":{"carrier":"-9223372036854775808"}}"#))
  }

  @Test func nullsAndEmptyListsAreAbsent() throws {
    #expect(try ids(#"{"id":"a","features":{"carrier":null,"tags":[],"temp":null}}"#) == ids(#"{"id":"a"}"#))
    #expect(try ids(#"{"id":"a"}"#) == [RowID.bias])
    #expect(decode(json: #"{"id":"a","event_time":null,"label":null,"key":null}"#).decoded?.time == .min)
  }

  @Test func escapesAreUndone() throws {
    #expect(
      try ids(#"{"id":"a","features":{"carrier":"\u0041\n\"\\\/\ud83d\udeeb"}}"#)
        == ids("{\"id\":\"a\",\"features\":{\"carrier\":\"A\\n\\\"\\\\/\u{1F6EB}\"}}"))
    let decoded = try #require(decode(json: #"{"id":"a\tb","key":"\u00e9"}"#).decoded)
    #expect(decoded.id == "a\tb")
    #expect(decoded.key == "\u{E9}")
  }

  @Test func aMissingKeyIsTheID() {
    #expect(decode(json: #"{"id":"a"}"#).decoded?.key == "a")
    #expect(decode(json: #"{"id":"a","key":"b"}"#).decoded?.key == "b")
  }

  @Test func unknownFeaturesAreCounted() {
    let decoded = decode(json: #"{"id":"a","other":{"deep":[1,{"x":2}]},"features":{"x":1,"carrier":"AA","y":[1,2],"z":{}}}"#).decoded
    #expect(decoded?.unknown == 3)
    #expect(decoded?.rows[0].ids.count == 2)
  }

  @Test(arguments: [
    ("1370088000000", 1_370_088_000_000), (#""2013-06-01T12:00:00Z""#, 1_370_088_000_000),
    (#""2013-06-01T12:00:00.25Z""#, 1_370_088_000_250), (#""2013-06-01t14:00:00+02:00""#, 1_370_088_000_000),
    (#""2013-06-01 12:00Z""#, 1_370_088_000_000), (#""2013-06-01""#, 1_370_044_800_000), ("0", 0), ("-1", -1),
    (#""1969-12-31T23:59:59.999Z""#, -1), (#""2000-02-29T00:00:00-00:30""#, 951_784_200_000),
    (#""0000-03-01T00:00:00Z""#, -62_162_035_200_000),
  ] as [(String, Int64)])
  func times(text: String, milliseconds: Int64) {
    #expect(decode(json: #"{"id":"a","event_time":\#(text)}"#).decoded?.time == milliseconds)
  }

  @Test func orderDoesNotMatter() throws {
    #expect(
      try ids(#"{"features":{"temp":1,"flight":7,"carrier":"AA"},"id":"a"}"#)
        == ids(#"{"id":"a","features":{"carrier":"AA","flight":7,"temp":1}}"#))
  }
}
