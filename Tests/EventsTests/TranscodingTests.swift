import Events
import Testing

@Suite struct TranscodingTests {
  @Test(arguments: EventForm.allCases, EventForm.allCases)
  func anyFormIntoAnyOther(from: EventForm, to: EventForm) throws {
    let writer = EventWriter(form: from)
    writer.begin(id: "u1", key: "k", eventTimeMilliseconds: 5)
    writer.text("carrier", "AA")
    writer.integer("flight", 7)
    writer.texts("tags", ["a", "b"])
    writer.number("temp", 39.2)
    writer.flag("wind", true)
    writer.outcome(label: 1, weight: 2)
    let original = Array(writer.finish())
    let transcoder = EventTranscoder(form: to)
    let isRead = original.withUnsafeBytes { transcoder.event($0) }
    try #require(isRead, "\(transcoder.problem())")
    #expect(String(decoding: transcoder.key, as: UTF8.self) == "k")
    var expected = try #require(decode(original).decoded)
    expected.form = to
    original.withUnsafeBytes {
      guard transcoder.event($0) else { return }
      #expect(decode(Array(transcoder.record)).decoded == expected)
    }
  }

  @Test func nestedValuesAreRefused() {
    for form in EventForm.allCases {
      let transcoder = EventTranscoder(form: form)
      for json in [#"{"id":"a","features":{"x":{}}}"#, #"{"id":"a","features":{"x":[1,[2]]}}"#] {
        let isRead = utf8(json).withUnsafeBytes { transcoder.event($0) }
        #expect(!isRead)
        #expect(transcoder.problem().reason == .wrongType)
      }
    }
  }
}

@Suite struct CSVTableTests {
  private func events(_ header: String, _ rows: [String], _ columns: CSVTable.Columns, form: EventForm = .json) throws -> [String] {
    let table = try CSVTable(header: header, columns: columns, form: form)
    return try rows.map { row in
      try table.event(row)
      return String(decoding: table.record, as: UTF8.self)
    }
  }

  @Test func columnsBecomeFeatures() throws {
    let columns = CSVTable.Columns(id: "id", key: "k", eventTime: "at", texts: ["zip"])
    #expect(
      try events(
        #"id,"k",at,a,b,c,d,zip,"q,""x""""#,
        [#"u1,k1,2013-06-01T12:00:00Z,5,007,-1.5e3,NaN,80331,"a ""b"", c"#, "u2,,,,,,,,"].map { $0.hasPrefix("u1") ? $0 + "\"" : $0 }, columns) == [
          #"{"id":"u1","key":"k1","event_time":1370088000000,"features":{"a":5,"b":"007","c":-1500,"d":"NaN","zip":"80331","q,\"x\"":"a \"b\", c"}}"#,
          #"{"id":"u2","features":{}}"#,
        ])
  }

  @Test func labelsAndExamples() throws {
    let columns = CSVTable.Columns(id: "id", label: "y", weight: "w")
    #expect(try events("id,y,w,a", ["u1,1,0.5,x"], columns) == [#"{"id":"u1","features":{"a":"x"},"label":1,"weight":0.5}"#])
    let table = try CSVTable(header: "id,y,w", columns: columns, form: .json)
    try table.label("u1,0,\r")
    #expect(String(decoding: table.record, as: UTF8.self) == #"{"id":"u1","label":0}"#)
    #expect(throws: EventProblem.self) { try table.label("u1,,") }
  }

  @Test func mistakesAreNamed() throws {
    #expect(throws: EventProblem.self) { _ = try CSVTable(header: "a,b", columns: .init(id: "id"), form: .json) }
    #expect(throws: EventProblem.self) { _ = try CSVTable(header: "id,id", columns: .init(id: "id"), form: .json) }
    #expect(throws: EventProblem.self) { _ = try CSVTable(header: "id,\"x", columns: .init(id: "id"), form: .json) }
    let table = try CSVTable(header: "id,at,y", columns: .init(id: "id", eventTime: "at", label: "y"), form: .json)
    for row in ["u1", "u1,1,2,3", ",1,2", "u1,noon,2", "u1,1,x", "u1,1,inf", "\"u1,1,2"] {
      #expect(throws: EventProblem.self) { try table.event(row) }
    }
    #expect(CSVTable.isOpen("a,\"b") && !CSVTable.isOpen("a,\"b\"\"c\""))
  }
}

@Suite struct EventTimeTests {
  @Test(arguments: [
    (0, "1970-01-01T00:00:00Z"), (-1, "1969-12-31T23:59:59.999Z"), (1_370_088_000_250, "2013-06-01T12:00:00.250Z"),
    (951_782_400_000, "2000-02-29T00:00:00Z"), (253_402_300_799_000, "9999-12-31T23:59:59Z"), (-62_167_219_200_000, "0000-01-01T00:00:00Z"),
  ] as [(Int64, String)])
  func texts(milliseconds: Int64, text: String) {
    #expect(EventTime.text(milliseconds) == text)
    #expect(utf8(text).withUnsafeBytes { EventTime.parse($0) } == milliseconds)
    #expect(utf8(String(milliseconds)).withUnsafeBytes { EventTime.parse($0) } == milliseconds)
  }

  @Test func extremesDoNotTrap() {
    for extreme in [Int64.min, .min + 1, .max, .max - 1] { #expect(!EventTime.text(extreme).isEmpty) }
    #expect(utf8("noon").withUnsafeBytes { EventTime.parse($0) } == nil)
  }
}
