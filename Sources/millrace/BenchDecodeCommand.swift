import ArgumentParser
import Events
import Model
import Telemetry

/// `millrace bench decode`: how long records take from bytes to rows, and predictions from scores to bytes.
struct BenchDecodeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "decode",
    abstract: "Measure decoding events of 19 features into rows, and writing predictions, one core, in memory.",
    discussion: """
      13 categorical and 6 numeric features, values drawn from a seeded generator, 20 000 distinct records; the median of several rounds. \
      The hash of all row ids is printed, so that nothing gets faster by doing less.
      """)

  @Option(help: "Rounds; the median counts.") var rounds = 7

  private static let recordCount = 20_000
  private static let batchMax = 256

  func validate() throws {
    guard (1...1000).contains(rounds) else { throw ValidationError("--rounds takes 1 to 1000") }
  }

  func run() {
    let names = (0..<19).map { "feature_\($0)" }
    let specification = ModelSpecification(
      name: "bench", version: 1, family: .linear(loss: .logistic),
      features: names.enumerated().map { $0 < 13 ? .categorical($1) : .numeric($1) }, crosses: [])
    print("form      bytes/event  decode ns/event  write ns/event  prediction ns  row hash")
    for form in EventForm.allCases {
      let records = Records(form: form, names: names, count: Self.recordCount)
      let decode = median { decodeAll(records, specification) }
      let write = median { Records(form: form, names: names, count: Self.recordCount).nanoseconds }
      let encode = median { encodeAll(form) }
      let hash = rowHash(records, specification)
      print(
        "\("\(form)".padded(8))  \("\(records.byteCount / Self.recordCount)".leftPadded(11))  \(decode.leftPadded(15))  \(write.leftPadded(14))  "
          + "\(encode.leftPadded(13))  \(String(hash, radix: 16))")
    }
  }

  private func median(_ body: () -> Int64) -> String {
    let sorted = (0..<rounds).map { _ in body() }.sorted()
    return "\(sorted[sorted.count / 2] / Int64(Self.recordCount))"
  }

  private func decodeAll(_ records: Records, _ specification: ModelSpecification) -> Int64 {
    let decoder = EventDecoder(specification: specification)
    let batch = RowBatch()
    let start = MonotonicClock.nanoseconds()
    for record in records.slices {
      if !decoder.decode(record, contentType: nil, into: batch).ok { return .max }
      if batch.rowCount == Self.batchMax { batch.removeAll() }
    }
    return MonotonicClock.nanoseconds() - start
  }

  private func rowHash(_ records: Records, _ specification: ModelSpecification) -> UInt64 {
    let decoder = EventDecoder(specification: specification)
    let batch = RowBatch()
    var hash: UInt64 = 0
    for record in records.slices {
      batch.removeAll()
      _ = decoder.decode(record, contentType: nil, into: batch)
      for entry in 0..<batch.entryCount { hash = hash &* 31 &+ batch.ids[entry] }
    }
    return hash
  }

  private func encodeAll(_ form: EventForm) -> Int64 {
    let encoder = PredictionEncoder(model: "bench", version: 1, arm: "online")
    let output = OutputBuffer(capacity: 1 << 16)
    let position: [Int64] = [12_345_678, 12_345_679]
    var id = "2013-06-01-UA1545"
    return id.withUTF8 { id in
      position.withUnsafeBufferPointer { position in
        withUnsafeTemporaryAllocation(of: Float.self, capacity: 1) { score in
          let start = MonotonicClock.nanoseconds()
          for i in 0..<Self.recordCount {
            if i % Self.batchMax == 0 { output.removeAll() }
            score[0] = Float(i) / Float(Self.recordCount)
            encoder.score(
              form: form, id: UnsafeRawBufferPointer(id), from: Int64(i), to: Int64(i + 1), scores: UnsafeBufferPointer(score),
              position: position, labelsThrough: 1_370_000_000_000 + Int64(i), into: output)
          }
          return MonotonicClock.nanoseconds() - start
        }
      }
    }
  }

  /// Records end to end in one block.
  private final class Records {
    let slices: UnsafeMutableBufferPointer<UnsafeRawBufferPointer>
    let byteCount: Int
    /// What writing them took.
    let nanoseconds: Int64
    private let bytes = OutputBuffer(capacity: 1 << 24)

    init(form: EventForm, names: [String], count: Int) {
      let writer = EventWriter(form: form)
      let texts = OutputBuffer()
      var ends: [Int] = []
      for name in names { texts.append(name); ends.append(texts.count) }
      let nameSlices = ends.indices.map { UnsafeRawBufferPointer(rebasing: texts.bytes[($0 == 0 ? 0 : ends[$0 - 1])..<ends[$0]]) }
      slices = .allocate(capacity: count)
      var state: UInt64 = 7
      func random(_ bound: UInt64) -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return (state >> 33) % bound
      }
      let value = OutputBuffer(capacity: 64)
      var starts: [Int] = []
      starts.reserveCapacity(count + 1)
      let start = MonotonicClock.nanoseconds()
      for i in 0..<count {
        value.removeAll()
        value.append("2013-06-01-UA")
        value.appendDecimal(Int64(i))
        writer.begin(id: value.bytes, key: nil, eventTimeMilliseconds: 1_370_000_000_000 + Int64(i))
        for (index, name) in nameSlices.enumerated() {
          if index < 13 {
            value.removeAll()
            value.append("v")
            value.appendDecimal(Int64(random(1000)))
            writer.text(name, value.bytes)
          } else {
            writer.number(name, Double(random(10_000)) / 64)
          }
        }
        starts.append(bytes.count)
        bytes.append(writer.finish())
      }
      nanoseconds = MonotonicClock.nanoseconds() - start
      starts.append(bytes.count)
      byteCount = bytes.count
      for i in 0..<count {
        slices.initializeElement(at: i, to: UnsafeRawBufferPointer(rebasing: bytes.bytes[starts[i]..<starts[i + 1]]))
      }
      withExtendedLifetime(texts) {}
    }

    deinit { slices.deallocate() }
  }
}

extension String {
  fileprivate func padded(_ width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }
  fileprivate func leftPadded(_ width: Int) -> String { String(repeating: " ", count: max(0, width - count)) + self }
}
