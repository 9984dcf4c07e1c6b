import Events
import Model
import Testing

@Suite struct EventRoundTripTests {
  private func written(_ form: EventForm, label: Double? = nil) -> [UInt8] {
    let writer = EventWriter(form: form)
    writer.begin(id: "u1", key: "k\"1\u{1F6EB}", eventTimeMilliseconds: 1_370_000_000_000)
    writer.text("carrier", "A\"A\\\n\u{E9}")
    writer.integer("flight", 5)
    writer.texts("tags", ["a", "b", "c"])
    writer.number("temp", 39.2)
    writer.integer("wind", -3)
    writer.text("nobody knows", "x")
    if let label { writer.outcome(label: label, weight: 2.5) }
    return Array(writer.finish())
  }

  @Test(arguments: EventForm.allCases)
  func everyFormGivesTheSameEvent(form: EventForm) throws {
    let expected = try #require(decode(written(.json), contentType: "application/json").decoded)
    #expect(expected.rows.count == 1)
    // carrier, flight, three tags, temp, wind, the cross, the bias.
    #expect(expected.rows[0].ids.count == 9)
    for contentType in [nil, "\(form.contentType)", "\(form.contentType); charset=utf-8"] as [String?] {
      let event = try #require(decode(written(form), contentType: contentType).decoded)
      #expect(event.form == form)
      #expect(event.id == "u1")
      #expect(event.key == "k\"1\u{1F6EB}")
      #expect(event.time == 1_370_000_000_000)
      #expect(event.label == nil)
      #expect(event.weight == 1)
      #expect(event.unknown == 1)
      #expect(event.rows == expected.rows)
    }
  }

  @Test(arguments: EventForm.allCases)
  func anExampleCarriesItsOutcome(form: EventForm) throws {
    let event = try #require(decode(written(form, label: 1)).decoded)
    #expect(event.label == 1)
    #expect(event.weight == 2.5)
  }
}
