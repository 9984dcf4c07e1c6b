import Events
import Testing

@Suite struct ExampleRecordTests {
  struct Owned: Equatable {
    var id: String
    var time: Int64
    var labelTime: Int64
    var label: Double
    var weight: Double
    var featureOffset: Int64
    var labelOffset: Int64
    var expired: Bool
    var form: EventForm
    var event: [UInt8]
  }

  private func write(_ examples: [Owned], header: ExampleBatchHeader) -> [UInt8] {
    let writer = ExampleWriter()
    writer.begin()
    for each in examples {
      utf8(each.id).withUnsafeBytes { id in
        each.event.withUnsafeBytes { event in
          var view = ExampleView()
          view.id = id
          view.eventTimeMilliseconds = each.time
          view.labelTimeMilliseconds = each.labelTime
          view.label = each.label
          view.weight = each.weight
          view.featureOffset = each.featureOffset
          view.labelOffset = each.labelOffset
          view.expired = each.expired
          view.form = each.form
          view.event = event
          writer.append(view)
        }
      }
    }
    return Array(writer.finish(header))
  }

  private func read(_ record: [UInt8], contentType: String? = nil) -> (ExampleBatchHeader, [Owned])? {
    let reader = ExampleReader()
    return record.withUnsafeBytes { bytes in
      guard reader.read(bytes) else { return nil }
      var examples: [Owned] = []
      var view = ExampleView()
      while reader.next(&view) {
        examples.append(
          Owned(
            id: String(decoding: view.id, as: UTF8.self), time: view.eventTimeMilliseconds, labelTime: view.labelTimeMilliseconds,
            label: view.label, weight: view.weight, featureOffset: view.featureOffset, labelOffset: view.labelOffset,
            expired: view.expired, form: view.form, event: Array(view.event)))
      }
      return (reader.header, examples)
    }
  }

  private var examples: [Owned] {
    [
      Owned(
        id: "a", time: 5, labelTime: 9, label: 1, weight: 2, featureOffset: 0, labelOffset: 7, expired: false, form: .json,
        event: utf8(#"{"id":"a"}"#)),
      Owned(
        id: "é", time: .min, labelTime: .min, label: 0, weight: 0, featureOffset: 12, labelOffset: -1, expired: true, form: .v2,
        event: Array(repeating: 7, count: 5000)),
      Owned(
        id: "c", time: -1, labelTime: .max, label: -1.5, weight: 1, featureOffset: -1, labelOffset: -1, expired: false, form: .protobuf,
        event: [1]),
    ]
  }

  private var header: ExampleBatchHeader {
    var header = ExampleBatchHeader()
    header.featuresFrom = 0
    header.featuresTo = 13
    header.labelsFrom = 7
    header.labelsTo = 7
    header.rebuildFeatures = 3
    header.rebuildExamples = 0
    header.watermarkMilliseconds = -17
    header.featuresCRC = 0xFFFF_FFFF
    header.labelsCRC = 1
    header.count = 3
    return header
  }

  @Test func comesBack() throws {
    let (header, examples) = try #require(read(write(self.examples, header: self.header)))
    #expect(header == self.header)
    #expect(!header.isDirect)
    #expect(examples == self.examples)
    let (empty, none) = try #require(read(write([], header: ExampleBatchHeader())))
    #expect(empty == ExampleBatchHeader())
    #expect(empty.isDirect)
    #expect(none.isEmpty)
  }

  @Test func aPrefixIsRefused() {
    let whole = write(examples, header: header)
    for count in 0..<whole.count { #expect(read(Array(whole[..<count])) == nil) }
  }

  @Test func oneBadExampleRefusesTheBatch() {
    for change in [{ $0.id = "" }, { $0.event = [] }, { $0.label = .nan }, { $0.weight = -1 }] as [(inout Owned) -> Void] {
      var examples = self.examples
      change(&examples[2])
      #expect(read(write(examples, header: header)) == nil)
    }
    var header = self.header
    header.featuresTo = -1
    #expect(read(write(examples, header: header)) == nil)
    header.featuresTo = -2
    #expect(read(write(examples, header: header)) == nil)
    var record = write(examples, header: self.header)
    record[1] = 2
    #expect(read(record) == nil)
  }

  @Test(arguments: EventForm.allCases)
  func anEventWithItsLabelIsAnExample(form: EventForm) throws {
    let writer = EventWriter(form: form)
    writer.begin(id: "a", key: "k", eventTimeMilliseconds: 5)
    writer.text("carrier", "AA")
    let without = Array(writer.finish())
    #expect(read(without) == nil)
    writer.begin(id: "a", key: "k", eventTimeMilliseconds: 5)
    writer.text("carrier", "AA")
    writer.outcome(label: 1, weight: 3)
    let record = Array(writer.finish())
    let (header, examples) = try #require(read(record))
    #expect(header.isDirect)
    #expect(
      examples == [
        Owned(
          id: "a", time: 5, labelTime: 5, label: 1, weight: 3, featureOffset: -1, labelOffset: -1, expired: false, form: form,
          event: record)
      ])
  }
}
