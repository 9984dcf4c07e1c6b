import AllocationThresholds
import Events
import Model
import Testing

/// After the first records nothing is allocated: decoders, writers and readers reuse what they have.
@Suite struct AllocationTests {
  private static let warmUpRounds = 3
  private static let rounds = 10

  /// Allocations in `rounds` rounds of `body`, after a few that let buffers grow.
  private func steady(_ body: () -> Void) -> Int {
    for _ in 0..<Self.warmUpRounds { body() }
    return AllocationThresholds.ofThread { for _ in 0..<Self.rounds { body() } }
  }

  private func hold(_ name: String, _ count: Int) throws {
    let allowed = try #require(try AllocationThresholds()[name], "Tests/Thresholds/allocations.json has no \(name)")
    #expect(count <= allowed, "\(name): \(count) allocations, \(allowed) allowed")
  }

  /// All records end to end in one block, with slices, so that the loop that measures touches no array.
  private struct Slices {
    let base: UnsafeMutableRawBufferPointer
    let slices: UnsafeMutableBufferPointer<UnsafeRawBufferPointer>

    init(_ records: [[UInt8]]) {
      base = .allocate(byteCount: records.reduce(0) { $0 + $1.count }, alignment: 16)
      slices = .allocate(capacity: records.count)
      var start = 0
      for (i, record) in records.enumerated() {
        base[start..<start + record.count].copyBytes(from: record)
        slices.initializeElement(at: i, to: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(base)[start..<start + record.count]))
        start += record.count
      }
    }

    func deallocate() {
      base.deallocate()
      slices.deallocate()
    }
  }

  @Test func theCounterCounts() {
    guard AllocationThresholds.areCounted else { return }
    final class Object {}
    var objects: [Object] = []
    objects.reserveCapacity(8)
    let ofObjects = AllocationThresholds.ofThread { for _ in 0..<5 { objects.append(Object()) } }
    #expect(ofObjects == 5)
    let ofPointers = AllocationThresholds.ofThread { UnsafeMutablePointer<Int>.allocate(capacity: 100).deallocate() }
    #expect(ofPointers == 1)
    // A library's: simdjson's parser takes memory for its first record.
    let decoder = LabelDecoder()
    let label = utf8(#"{"id":"a","label":1}"#)
    let ofSimdJSON = AllocationThresholds.ofThread { label.withUnsafeBytes { _ = decoder.decode($0, contentType: nil) } }
    #expect(ofSimdJSON > 0)
  }

  @Test(arguments: EventForm.allCases)
  func decodingEvents(form: EventForm) throws {
    let slices = Slices(FlightLikeRecords(form: form).records)
    defer { slices.deallocate() }
    let decoder = EventDecoder(specification: FlightLikeRecords.specification)
    let batch = RowBatch()
    var decoded = 0
    let count = steady {
      batch.removeAll()
      for payload in slices.slices {
        if decoder.decode(payload, contentType: nil, into: batch).ok { decoded += 1 }
      }
    }
    #expect(decoded == slices.slices.count * (Self.warmUpRounds + Self.rounds))
    try hold("events.decode.\(form)", count)
  }

  @Test func decodingManyRows() throws {
    let request = V2Request(id: "r", inputs: [
      .init(name: "carrier", datatype: "BYTES", shape: [64, 1], raw: V2Request.rawTexts((0..<64).map { "c\($0)" })),
      .init(name: "temp", datatype: "FP32", shape: [64, 1], raw: V2Request.rawFloats((0..<64).map { Float($0) })),
    ]).bytes
    let decoder = EventDecoder(specification: specification)
    let batch = RowBatch()
    var rows = 0
    let count = request.withUnsafeBytes { payload in
      steady {
        batch.removeAll()
        rows = decoder.decode(payload, contentType: nil, into: batch).rowCount
      }
    }
    #expect(rows == 64)
    try hold("events.decode.v2-rows", count)
  }

  /// Rows of a model that takes tensors: by the whole tensor, by columns, and from events.
  @Test func decodingDenseRows() throws {
    let whole = V2Request(id: "r", inputs: [
      .init(name: "input", datatype: "FP32", shape: [64, 4], raw: V2Request.rawFloats((0..<256).map { Float($0) }))
    ]).bytes
    let byColumn = V2Request(id: "r", inputs: ["b", "d"].map {
      .init(name: $0, datatype: "FP64", shape: [64, 1], raw: (0..<64).flatMap { V2Request.little(Double($0).bitPattern) })
    }).bytes
    let event = utf8(#"{"id":"e","features":{"a":1,"c":2.5,"d":true}}"#)
    let decoder = EventDecoder(specification: DenseInputs.trees)
    let batch = RowBatch(for: DenseInputs.trees)
    for (name, record, rows) in [("v2", whole, 64), ("v2", byColumn, 64), ("json", event, 1)] {
      try holdDecoding("events.decode.dense.\(name)", record, rows: rows, decoder, batch)
    }
  }

  private func holdDecoding(_ name: String, _ record: [UInt8], rows: Int, _ decoder: EventDecoder, _ batch: RowBatch) throws {
    var decoded = 0
    let count = record.withUnsafeBytes { payload in
      steady {
        batch.removeAll()
        decoded = decoder.decode(payload, contentType: nil, into: batch).rowCount
      }
    }
    #expect(decoded == rows)
    try hold(name, count)
  }

  /// Rows that are given by the names of categories, some of which training never saw.
  @Test func decodingNamesOfCategories() throws {
    let columns = V2Request(id: "r", inputs: [
      .init(name: "a", datatype: "BYTES", shape: [64, 1], raw: V2Request.rawTexts((0..<64).map { "v\($0 % 40)" })),
      .init(name: "c", datatype: "FP32", shape: [64, 1], raw: V2Request.rawFloats((0..<64).map { Float($0) })),
    ]).bytes
    let event = utf8(#"{"id":"e","features":{"a":"v7","b":2,"c":2.5,"d":7}}"#)
    let specification = try DenseInputs.named()
    let decoder = EventDecoder(specification: specification)
    let batch = RowBatch(for: specification)
    for (name, record, rows) in [("v2", columns, 64), ("json", event, 1)] {
      try holdDecoding("events.decode.names.\(name)", record, rows: rows, decoder, batch)
    }
  }

  @Test(arguments: [EventForm.json, .protobuf])
  func labels(form: EventForm) throws {
    let writer = LabelWriter(form: form)
    let record = Array(writer.write(id: "2013-06-01-17", key: "UA1", eventTimeMilliseconds: 1_370_000_000_000, label: 17.5, weight: 2))
    let decoder = LabelDecoder()
    var sum = 0.0
    let count = record.withUnsafeBytes { payload in
      steady { sum += decoder.decode(payload, contentType: nil).value }
    }
    #expect(sum == 17.5 * Double(Self.warmUpRounds + Self.rounds))
    try hold("events.label.\(form)", count)
  }

  @Test func examples() throws {
    let slices = Slices(FlightLikeRecords(form: .protobuf).records)
    defer { slices.deallocate() }
    let writer = ExampleWriter()
    let reader = ExampleReader()
    var header = ExampleBatchHeader()
    header.featuresFrom = 0
    header.featuresTo = 256
    var record = UnsafeRawBufferPointer(start: nil, count: 0)
    let written = steady {
      writer.begin()
      var example = ExampleView()
      for payload in slices.slices {
        example.id = payload[0..<4].count == 4 ? UnsafeRawBufferPointer(rebasing: payload[0..<4]) : payload
        example.form = .protobuf
        example.event = payload
        example.label = 1
        writer.append(example)
      }
      record = writer.finish(header)
    }
    try hold("events.example.write", written)
    var examples = 0
    let read = steady {
      guard reader.read(record) else { return }
      var example = ExampleView()
      while reader.next(&example) { examples += 1 }
    }
    #expect(examples == slices.slices.count * (Self.warmUpRounds + Self.rounds))
    try hold("events.example.read", read)
  }

  @Test func predictions() throws {
    let encoder = PredictionEncoder(model: "flights", version: 1, arm: "online")
    let output = OutputBuffer()
    let id = utf8("2013-06-01-17")
    let scores: [Float] = [0.314159]
    let position: [Int64] = [101, 99]
    let reader = PredictionReader()
    for form in EventForm.allCases {
      let encoded = id.withUnsafeBytes { id in
        scores.withUnsafeBufferPointer { scores in
          position.withUnsafeBufferPointer { position in
            steady {
              output.removeAll()
              encoder.score(
                form: form, id: id, from: 12, to: 13, scores: scores, position: position, labelsThrough: 1_370_000_000_000, into: output)
            }
          }
        }
      }
      try hold("events.prediction.encode", encoded)
      var read = 0
      let count = steady { if reader.read(output.bytes) { read += 1 } }
      #expect(read == Self.warmUpRounds + Self.rounds, "\(form): \(reader.problem())")
      try hold("events.prediction.read", count)
      // And of a model with several outputs.
      let outputs = ModelOutputs([OutputTensor(name: "p", element: .float32, shape: [2]), OutputTensor(name: "label", element: .text, texts: ["high"])])
      let numbers = UnsafeMutableRawPointer.allocate(byteCount: 8, alignment: 8)
      let labels = UnsafeMutableRawPointer.allocate(byteCount: 8, alignment: 8)
      defer {
        numbers.deallocate()
        labels.deallocate()
      }
      numbers.initializeMemory(as: UInt8.self, repeating: 0, count: 8)
      labels.initializeMemory(as: UInt8.self, repeating: 0, count: 8)
      output.removeAll()
      id.withUnsafeBytes { encoder.outputs(form: form, id: $0, from: 1, to: 2, outputs, [numbers, labels], first: 0, rows: 1, into: output) }
      var elements = 0
      let several = steady {
        if reader.read(output.bytes) { for index in reader.prediction.outputs.indices { elements += reader.prediction.outputs[index].count } }
      }
      #expect(elements == 3 * (Self.warmUpRounds + Self.rounds), "\(form): \(reader.problem())")
      try hold("events.prediction.read", several)
    }
  }

  @Test(arguments: EventForm.allCases)
  func writingEvents(form: EventForm) throws {
    let writer = EventWriter(form: form)
    let name = utf8("a categorical feature")
    let value = utf8("its \"value\"")
    var bytes = 0
    let count = name.withUnsafeBytes { name in
      value.withUnsafeBytes { value in
        steady {
          writer.begin(id: value, key: name, eventTimeMilliseconds: 1)
          for _ in 0..<20 {
            writer.text(name, value)
            writer.number(name, 0.1)
          }
          bytes += writer.finish().count
        }
      }
    }
    #expect(bytes > 0)
    try hold("events.write", count)
  }
}
