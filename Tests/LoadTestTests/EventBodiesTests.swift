import Events
import Model
import Testing

@testable import LoadTest

@Suite struct EventBodiesTests {
  @Test(arguments: EventForm.allCases) func everyBodyDecodesWithItsOwnId(form: EventForm) throws {
    let specification = try StandardModel.specification()
    #expect(specification.features.count == 19)
    let mark = EventBodies.runMark(seed: 5)
    let bodies = EventBodies(specification, form: form, count: EventBodies.countMin, partitions: 4, mark: mark, seed: 1)
    let decoder = EventDecoder(specification: specification)
    let batch = RowBatch()
    var distinct = Set<[UInt8]>()
    for index in [0, 1, 17, 9_999, 10_000, 123_456_789] + Array(2..<300) {
      let event = bodies.patch(index)
      let id = String(decoding: mark, as: UTF8.self) + String(repeating: "0", count: 16 - String(index, radix: 16).count) + String(index, radix: 16)
      batch.removeAll()
      let decoded = decoder.decode(event.value, contentType: nil, into: batch)
      #expect(decoded.ok, "\(index): \(decoder.problem())")
      #expect(decoded.form == form)
      #expect(String(decoding: decoded.id, as: UTF8.self) == id)
      #expect(Array(decoded.key) == Array(event.key))
      #expect(decoded.unknownFeatures == 0)
      #expect(batch.rowCount == 1)
      // 19 features and the bias.
      #expect(batch.entryCount == 20)
      #expect(Int(event.partition) == partition(forKey: event.key, count: 4))
      #expect(EventBodies.index(in: event.value, mark: EventBodies.word(mark)) == index)
      if index < 300 { distinct.insert(Array(event.value)) }
    }
    #expect(distinct.count == 300)
  }

  @Test func foreignAndTornRecordsHaveNoIndex() {
    let mark = EventBodies.runMark(seed: 5)
    let word = EventBodies.word(mark)
    let cases: [[UInt8]] = [
      [], Array("{}".utf8), mark, mark + Array("0123".utf8), mark + Array("000000000000000g".utf8), Array("~~~~~~~~~~~~~~~~~~~~~~~~~~~~~".utf8),
      EventBodies.runMark(seed: 6) + Array("0000000000000001".utf8),
    ]
    for bytes in cases { #expect(bytes.withUnsafeBytes { EventBodies.index(in: $0, mark: word) } == nil) }
    let found = Array("~~".utf8) + mark + Array("00000000000000ff".utf8) + [1]
    #expect(found.withUnsafeBytes { EventBodies.index(in: $0, mark: word) } == 255)
  }
}
