import Events
import Model

private let specification = ModelSpecification(
  name: "fuzz", version: 1, family: .linear(loss: .logistic),
  features: [
    .categorical("carrier"), .categorical("flight", lowercase: true), .categorical("tags", valuesMax: 8), .numeric("temp"), .numeric("wind"),
  ],
  crosses: [Cross(["carrier", "tags"])])

/// Rows of a record are whole or none, finite, and slices can be read.
private func events(_ contentType: StaticString) -> (UnsafeRawBufferPointer) -> Void {
  let decoder = EventDecoder(specification: specification)
  let batch = RowBatch()
  let transcoders = EventForm.allCases.map { EventTranscoder(form: $0) }
  let again = EventDecoder(specification: specification)
  let copy = RowBatch()
  let header = UnsafeRawBufferPointer(start: contentType.utf8Start, count: contentType.utf8CodeUnitCount)
  let dense = EventDecoder(specification: Seeds.named)
  let denseRows = RowBatch(rowCapacity: 1, entryCapacity: 1, denseRowBytes: Seeds.named.denseRowBytes, hasFields: false)
  return { input in
    denseRows.removeAll()
    let asked = dense.decode(input, contentType: header, into: denseRows)
    check(asked.rowCount == denseRows.rowCount && (asked.ok || denseRows.rowCount == 0), "dense rows and their count")
    for named in [header, nil] as [UnsafeRawBufferPointer?] {
      batch.removeAll()
      let event = decoder.decode(input, contentType: named, into: batch)
      check(event.ok || (batch.rowCount == 0 && batch.entryCount == 0), "a refused record left rows")
      check(event.rowCount == batch.rowCount, "rows and their count")
      guard event.ok else {
        check(!decoder.problem().message.isEmpty, "a problem without words")
        continue
      }
      check(event.id.count > 0 && event.key.count > 0, "an event without an id")
      var sum: UInt8 = 0
      for byte in event.id { sum &+= byte }
      for byte in event.key { sum &+= byte }
      for entry in 0..<batch.entryCount { check(batch.values[entry].isFinite, "a value that is not finite") }
      // Written again in any form it is the same event (lists of numbers aside: those are texts in the other forms).
      for transcoder in transcoders where event.rowCount == 1 && transcoder.event(input, contentType: named) {
        copy.removeAll()
        let second = again.decode(transcoder.record, contentType: nil, into: copy)
        guard second.ok else { continue }
        check(second.label == event.label, "another label after transcoding")
        check(event.label == nil || second.weight == event.weight, "another weight after transcoding")
      }
    }
  }
}

func eventsJSON() -> (UnsafeRawBufferPointer) -> Void { events("application/json") }
func eventsProtobuf() -> (UnsafeRawBufferPointer) -> Void { events("application/x-protobuf") }
func eventsV2() -> (UnsafeRawBufferPointer) -> Void { events("application/vnd.kserve.v2+protobuf") }

func labels() -> (UnsafeRawBufferPointer) -> Void {
  let decoder = LabelDecoder()
  let again = LabelDecoder()
  let writers = [LabelWriter(form: .json), LabelWriter(form: .protobuf)]
  return { input in
    let label = decoder.decode(input, contentType: nil)
    guard label.ok else {
      check(!decoder.problem().message.isEmpty, "a problem without words")
      return
    }
    check(label.value.isFinite && label.weight.isFinite && label.weight >= 0, "a label that is not finite")
    for writer in writers {
      let second = again.decode(
        writer.write(
          id: label.id, key: label.key, eventTimeMilliseconds: label.eventTimeMilliseconds == .min ? nil : label.eventTimeMilliseconds,
          label: label.value, weight: label.weight), contentType: nil)
      check(second.ok, "a label that was written cannot be read: \(again.problem())")
      check(second.value == label.value && second.weight == label.weight, "another label after writing")
      check(second.id.elementsEqual(label.id), "another id after writing")
    }
  }
}

func examples() -> (UnsafeRawBufferPointer) -> Void {
  let reader = ExampleReader()
  let again = ExampleReader()
  let writer = ExampleWriter()
  return { input in
    guard reader.read(input) else {
      check(!reader.problem().message.isEmpty, "a problem without words")
      return
    }
    let header = reader.header
    writer.begin()
    var view = ExampleView()
    var count: UInt32 = 0
    while reader.next(&view) {
      count += 1
      check(view.label.isFinite && view.weight.isFinite && !view.id.isEmpty, "an example that is not whole")
      writer.append(view)
    }
    check(count == header.count, "\(count) examples, the header says \(header.count)")
    let isRead = again.read(writer.finish(header))
    check(isRead, "a batch that was written cannot be read: \(again.problem())")
    check(again.header == header, "another header after writing")
  }
}

func predictions() -> (UnsafeRawBufferPointer) -> Void {
  let reader = PredictionReader()
  let output = OutputBuffer()
  var tilings = PredictionTilings()
  return { input in
    guard reader.read(input) else {
      check(!reader.problem().message.isEmpty, "a problem without words")
      return
    }
    check(reader.prediction.to > reader.prediction.from, "an empty range")
    output.removeAll()
    reader.prediction.writeJSON(into: output)
    _ = tilings.accepts(partition: 0, reader.prediction)
    if tilings.duplicates > 100 { tilings = PredictionTilings() }
  }
}

func table() -> (UnsafeRawBufferPointer) -> Void {
  return { input in
    let text = String(decoding: input, as: UTF8.self)
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    guard let table = try? CSVTable(header: lines[0], columns: .init(id: "id", eventTime: "t", label: "y"), form: .json) else { return }
    for line in lines.dropFirst() {
      _ = CSVTable.isOpen(line)
      try? table.event(line)
      try? table.label(line)
    }
  }
}
