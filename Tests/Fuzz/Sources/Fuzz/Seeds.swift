import Events
import Foundation
import Model
import UpdateLog

/// The first inputs of each target: one of every kind of record, written by our own writers. `Tests/Fuzz/corpus` holds them, with what
/// fuzzing found since.
enum Seeds {
  static func write(to folder: String) throws {
    for (target, seeds) in try all() + [("bundle", bundles())] {
      let path = "\(folder)/\(target)"
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
      for (index, seed) in seeds.enumerated() { try Data(seed).write(to: URL(fileURLWithPath: "\(path)/seed-\(index)")) }
    }
  }

  private static func all() -> [(String, [[UInt8]])] {
    [
      ("events-json", events(.json) + jsonExtras), ("events-protobuf", events(.protobuf)), ("events-v2", events(.v2)),
      ("infer-requests", inferRequests), ("inference-batch", inferRequests), ("labels", labels()), ("examples", examples()),
      ("predictions", predictions()), ("table", tables), ("update-records", updates()),
      ("specifications", specifications.map(\.canonicalBytes)), ("settings", settings),
      ("rpc-server-bytes", FrameScriptSeeds.bytes), ("rpc-server-frames", FrameScriptSeeds.frames),
    ]
  }

  private static func events(_ form: EventForm) -> [[UInt8]] {
    let writer = EventWriter(form: form)
    func event(_ write: () -> Void) -> [UInt8] {
      writer.begin(id: "u1", key: "k", eventTimeMilliseconds: 1_370_000_000_000)
      write()
      return Array(writer.finish())
    }
    let plain = event {
      writer.text("carrier", "AA")
      writer.integer("flight", 5)
      writer.texts("tags", ["a", "b\n\"c\""])
      writer.number("temp", 39.2)
      writer.flag("wind", true)
      writer.text("unknown", "\u{1F6EB}")
    }
    let example = event {
      writer.text("carrier", "AA")
      writer.outcome(label: 1, weight: 2)
    }
    let framed = form == .json ? [0, 0, 0, 0, 7] + plain : [0, 0, 0, 0, 7, 0] + plain
    return [plain, example, event {}, framed]
  }

  /// Requests of the model "fuzz": as clients write them, in contents, of several rows, with parameters, and with contradictions.
  static let inferRequests: [[UInt8]] = {
    let output = OutputBuffer()
    func message(_ number: UInt32, _ write: () -> Void) {
      let start = output.beginMessage(number)
      write()
      output.endMessage(start)
    }
    func input(_ name: String, _ datatype: String, _ shape: [UInt64], _ rest: () -> Void = {}) {
      message(5) {
        output.appendField(1, text: name)
        output.appendField(2, text: datatype)
        message(3) { for size in shape { output.appendVarint(size) } }
        rest()
      }
    }
    func raw(_ bytes: [UInt8]) { bytes.withUnsafeBytes { output.appendField(7, bytes: $0) } }
    func text(_ value: String) -> [UInt8] { [UInt8(value.utf8.count), 0, 0, 0] + Array(value.utf8) }
    func floats(_ values: [Float]) -> [UInt8] { values.flatMap { value in withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) } } }
    func parameter(_ name: String, _ write: @escaping () -> Void) {
      message(4) {
        output.appendField(1, text: name)
        message(2, write)
      }
    }
    func request(_ write: () -> Void) -> [UInt8] {
      output.removeAll()
      output.appendField(1, text: "fuzz")
      write()
      return Array(output.bytes)
    }
    let plain = request {
      output.appendField(3, text: "u1")
      input("carrier", "BYTES", [1, 1])
      input("temp", "FP32", [1, 1])
      input("x", "FP32", [1, 3])
      message(6) { output.appendField(1, text: "score") }
      raw(text("AA"))
      raw(floats([39.2]))
      raw(floats([1, 2, 3]))
    }
    let rows = request {
      raw(text("a") + text("") + text("b") + text("c"))
      raw([1, 0])
      input("tags", "BYTES", [2, 2])
      input("wind", "BOOL", [2])
      parameter("min_position") { output.appendField(3, text: "0,0") }
      parameter("arm") { output.appendField(3, text: "online") }
      parameter("max_staleness_ms") { output.appendField(2, int64: 5) }
      parameter("timeout") { output.appendField(5, varint: 5_000_000) }
    }
    let contents = request {
      output.appendField(2, text: "1")
      input("flight", "INT64", [1, 1]) { message(5) { message(3) { output.appendVarint(77) } } }
      input("temp", "FP64", [1]) { message(5) { output.appendField(7, double: 1.5) } }
      input("tags", "BYTES", [1, 2]) {
        message(5) { output.appendField(8, text: "a") }
        message(5) { output.appendField(8, text: "b") }
      }
      input("x", "UINT16", [1, 3]) { message(5) { message(4) { for size in [1, 2, 3] as [UInt64] { output.appendVarint(size) } } } }
    }
    let wrong = request {
      input("x", "BF16", [1, 3])
      input("wind", "FP16", [1, 1]) { parameter("shared_memory_region") { output.appendField(3, text: "r") } }
      raw([0, 0, 0x80, 0x3F, 0, 0x40])
      raw([0, 0x3C])
    }
    return [plain, rows, contents, wrong]
  }()

  private static let jsonExtras = [
    #"{"id":"a","event_time":"2013-06-01T12:00:00.5+02:00","features":{"carrier":null,"flight":18446744073709551615,"tags":[1,true,"x"]}}"#,
    #"{"id":"\u0061","x":[{"y":[[]]}],"features":{"temp":-1.5e-3,"wind":1e308}}"#,
  ].map { Array($0.utf8) }

  private static func labels() -> [[UInt8]] {
    [EventForm.json, .protobuf].map { form in
      let writer = LabelWriter(form: form)
      return withExtendedLifetime(writer) {
        Array(writer.write(id: "u1", key: "k", eventTimeMilliseconds: 1_370_000_000_000, label: 1.5, weight: 2))
      }
    }
  }

  private static func examples() -> [[UInt8]] {
    let writer = ExampleWriter()
    var header = ExampleBatchHeader()
    let direct = Array(writer.finish(header))
    writer.begin()
    let event = events(.json)[0]
    event.withUnsafeBytes { event in
      var view = ExampleView()
      view.id = UnsafeRawBufferPointer(rebasing: event[7..<9])
      view.event = event
      view.eventTimeMilliseconds = 5
      view.labelTimeMilliseconds = 6
      view.label = 1
      writer.append(view)
      view.expired = true
      view.featureOffset = 3
      writer.append(view)
    }
    header.featuresFrom = 0
    header.featuresTo = 4
    header.labelsFrom = 1
    header.labelsTo = 2
    header.batch = 7
    return [direct, Array(writer.finish(header))] + EventForm.allCases.map { events($0)[1] }
  }

  private static func predictions() -> [[UInt8]] {
    let encoder = PredictionEncoder(model: "m", version: 1, arm: "online")
    let output = OutputBuffer()
    func record(_ write: () -> Void) -> [UInt8] {
      output.removeAll()
      write()
      return Array(output.bytes)
    }
    return EventForm.allCases.flatMap { form in
      [
        record {
          [Float(0.25), 0.5].withUnsafeBufferPointer { scores in
            [Int64(101), 99].withUnsafeBufferPointer { position in
              "u1".utf8CString.withUnsafeBytes { id in
                encoder.score(
                  form: form, id: UnsafeRawBufferPointer(rebasing: id[..<2]), from: 1, to: 2, scores: scores, position: position,
                  labelsThrough: 5, into: output)
              }
            }
          }
        },
        record { encoder.error(form: form, from: 1, to: 2, EventProblem(reason: .wrongType, field: "f", message: "m"), into: output) },
        record { encoder.gap(form: form, from: 1, to: 9, reason: "shed", into: output) },
      ]
    }
  }

  private static let tables = [
    "id,t,y,a,b\nu1,5,1,x,2.5\nu2,2013-06-01T12:00:00Z,0,\"a,\"\"b\"\"\",\n", "id\nu1\r\n\"u\n2\"\n",
  ].map { Array($0.utf8) }

  private static func updates() -> [[UInt8]] {
    let specification = specifications[0]
    let writer = UpdateRecordWriter()
    var header = UpdateHeader(
      kind: .update, specHash: specification.hash, epoch: 0, sourcePartition: 0, from: 0, to: SourceProgress(offset: 2, featuresTo: 3, labelsTo: 4),
      trainer: 1, examples: 2)
    writer.begin(header)
    writer.append(id: 5, gradientSum: 0.5, squareSum: 0.25)
    writer.append(id: 9, gradientSum: -1, squareSum: 1)
    var all = [Array(writer.spec(specification)), Array(writer.finish())]
    for kind in UpdateKind.allCases where kind != .update && kind != .spec {
      header.kind = kind
      header.examples = 0
      let payload: ControlPayload =
        switch kind {
        case .reset: .reset(checkpoint: "c1")
        case .thaw: .thaw([ThawSource(partition: 0), ThawSource(partition: 1, skipTo: SourceProgress(offset: 9))])
        case .expire: .expire(slice: 1, slices: 4, beforeMilliseconds: 5)
        default: .none
        }
      all.append(Array(writer.control(header, payload)))
    }
    return all
  }

  private static let specifications = [
    ModelSpecification(
      name: "fuzz", version: 1, family: .linear(loss: .logistic), features: [.categorical("carrier")], crosses: []),
    ModelSpecification(
      name: "flights", version: 3, family: .linear(loss: .poisson),
      features: [.categorical("a", lowercase: true, valuesMax: 4), .categorical("b"), .numeric("c")], crosses: [Cross(["a", "b"])]),
    ModelSpecification(name: "n", version: 1, family: .count, features: [], crosses: []),
    named,
  ]

  /// Of a model from a file, with names of categories.
  static let named = ModelSpecification(
    name: "named", version: 1, family: .loaded,
    features: [.tensor("input", TensorPlace(
      shape: [5], offset: 0, columns: ["carrier", "flight", "tags", "temp", "wind"], absent: .nan,
      categories: [[CategoryName.text("AA"), .text("Ünï")], [.integer(5), .number(39.2), .boolean(true)]].enumerated().compactMap { column, names in
        (try? CategoryNames(names)).map { ColumnCategories(column: column, names: $0) }
      }))])

  private static let settings = [
    """
    name: flights
    version: 1
    family: linear
    loss: logistic
    features:
      - {name: carrier, type: categorical}
      - {name: temp, type: numeric, scale: 0.02}
    crosses:
      - [carrier, dest]
    shards: 2
    learning: {alpha: 0.1, beta: 1}
    join: {window: 30d}
    """,
    "a: &x [1, {b: *x}]\nname: *x\n", "- 1\n- \"\\u00e9\"\n", "? [a]\n: |\n  text\n", "name: flights\nshards: 1e9\nversion: -1\nfoo: bar\n",
  ].map { Array($0.utf8) }
}
