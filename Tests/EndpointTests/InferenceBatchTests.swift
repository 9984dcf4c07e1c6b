import AllocationThresholds
import Events
import Model
import RPC
import Serving
import Synchronization
import Telemetry
import Testing
import UpdateLog

@testable import Endpoint

/// A model with weights, served by two arms.
struct LearnedModel {
  let served: ServedModel
  let set: ReplicaSet
  let batch: InferenceBatch
  let catalog: ModelCatalog

  static let vectors = """
    model: dense
    family: linear
    loss: squared
    shards: 2
    features:
      x: {type: vector, size: 4, divide: 2}
      city: categorical
    """

  init(
    _ yaml: String = ServedModels.clicks, seed: UInt64 = 5, limits: InferenceLimits = InferenceLimits(), sink: ServedRequestSink? = nil,
    isReady: @escaping @Sendable () -> Bool = { true }
  ) throws {
    let specification = try ModelSpecification.parse(yaml: yaml, file: "test.yaml")
    set = ReplicaSet(specification: specification)
    let arms = [
      Arm(name: "online", set: set, isReady: isReady), Arm(name: "held", set: ReplicaSet(specification: specification), isReady: { true }),
    ]
    served = ServedModel(specification: specification, arms: arms, registry: Registry())
    catalog = ModelCatalog([served])
    batch = InferenceBatch(catalog: catalog, limits: limits, sink: sink)
  }

  /// Gives every row that these events ask for a weight of its own.
  func learn(_ events: [String], labelTime: Int64 = 1_000) throws {
    let decoder = EventDecoder(specification: served.specification)
    let rows = RowBatch()
    for event in events { Array(event.utf8).withUnsafeBytes { #expect(decoder.decode($0, contentType: nil, into: rows).ok) } }
    let ids = Set((0..<rows.entryCount).map { rows.ids[$0] })
    let writer = UpdateRecordWriter()
    for (shard, replica) in set.shards.enumerated() {
      let own = ids.filter { RowID.shard(of: $0, count: set.shards.count) == shard }.sorted()
      let header = UpdateHeader(
        kind: .update, specHash: served.specification.hash, sourcePartition: 0, from: 0, to: SourceProgress(offset: 1),
        eventTimeFromMilliseconds: labelTime, eventTimeThroughMilliseconds: labelTime, examples: 1)
      let gradients = own.map { Float($0 % 97) / 48 - 1 }
      let record = writer.update(header, ids: own, gradients: gradients, squares: gradients.map { $0 * $0 }, count: own.count)
      #expect(replica.apply(record, offset: 0).isAccepted)
      replica.noteNews(nanoseconds: MonotonicClock.nanoseconds())
    }
  }

  /// The scores of events by the way that stream predictions go.
  func scores(_ events: [String]) throws -> [Float] {
    let decoder = EventDecoder(specification: served.specification)
    let rows = RowBatch()
    for event in events { Array(event.utf8).withUnsafeBytes { #expect(decoder.decode($0, contentType: nil, into: rows).ok) } }
    var scores = [Float](repeating: 0, count: rows.rowCount)
    var position = [Int64](repeating: 0, count: set.shards.count)
    #expect(set.scoreReader().score(rows, into: &scores, position: &position) != nil)
    return scores
  }
}

@Suite struct InferenceBatchTests {
  private typealias Bytes = InferRequestBytes

  private static let events = [
    #"{"id":"a","features":{"city":"Oslo","price":3.5,"tags":["new","blue"]}}"#,
    #"{"id":"b","features":{"city":"Rome","price":-1,"tags":["old"]}}"#, #"{"id":"c","features":{"city":"Bern"}}"#,
  ]

  @Test func scoresAreThoseOfStreamPrediction() throws {
    let model = try LearnedModel()
    try model.learn(Self.events)
    let expected = try model.scores(Self.events)
    #expect(Set(expected).count == 3)
    // One request of several rows, and single ones: raw and in contents.
    let several = Bytes(
      id: "seven",
      inputs: [
        Bytes.text("city", ["Oslo", "Rome"]), Bytes.floats("price", [3.5, -1]), Bytes.text("tags", ["new", "blue", "old", ""], columns: 2),
      ], outputs: ["score"])
    let contents = Bytes(inputs: [
      .init(name: "city", datatype: "BYTES", shape: [1], contents: Bytes.field(8, Bytes.utf8("Rome"))),
      .init(name: "price", datatype: "FP64", shape: [1, 1], contents: Bytes.field(7, Bytes.little(Double(-1).bitPattern))),
      .init(name: "tags", datatype: "BYTES", shape: [1, 1], contents: Bytes.field(8, Bytes.utf8("old"))),
    ])
    let single = Bytes(version: "1", inputs: [Bytes.text("city", ["Bern"])])
    let outcomes = model.batch.outcomes([several.bytes, contents.bytes, single.bytes])
    let first = try #require(outcomes[0]?.response)
    #expect(first.scores == Array(expected[0..<2]) && first.shape == [2, 1])
    #expect(first.model == "clicks" && first.version == "1" && first.id == "seven" && first.output == "score" && first.datatype == "FP32")
    #expect(first.texts == ["position": "1,1"] && first.integers["labels_through"] == 1_000)
    let staleness = try #require(first.integers["staleness_ms"])
    #expect(staleness >= 0)
    #expect(outcomes[1]?.response?.scores == [expected[1]])
    #expect(outcomes[2]?.response?.scores == [expected[2]] && outcomes[2]?.response?.shape == [1, 1])
    let statistics = model.served.statistics.snapshot()
    #expect(statistics.success.count == 3 && statistics.inferenceCount == 4 && statistics.executionCount == 1)
    #expect(statistics.batches.map(\.size) == [4] && statistics.fail.count == 0)
  }

  @Test func vectorsAreDenseTensors() throws {
    let model = try LearnedModel(LearnedModel.vectors)
    let events = [#"{"id":"a","features":{"x":[1,2.5,-3,0],"city":"Oslo"}}"#, #"{"id":"b","features":{"x":[4,3,2,1],"city":"Rome"}}"#]
    try model.learn(events)
    let expected = try model.scores(events)
    #expect(expected[0] != expected[1])
    var request = Bytes(
      model: "dense", inputs: [Bytes.floats("x", [1, 2.5, -3, 0, 4, 3, 2, 1], columns: 4), Bytes.text("city", ["Oslo", "Rome"])])
    #expect(model.batch.outcome(request).response?.scores == expected)
    request.inputs[0] = .init(
      name: "x", datatype: "FP64", shape: [2, 4], raw: [1, 2.5, -3, 0, 4, 3, 2, 1].flatMap { Bytes.little(Double($0).bitPattern) })
    #expect(model.batch.outcome(request).response?.scores == expected)
    request.inputs[0] = Bytes.floats("x", [1, 2, 3, 4, 5, 6], columns: 3)
    #expect(model.batch.outcome(request) == .refused(.invalidArgument, "inputs[0] \"x\": fewer numbers than the vector's size"))
    request.inputs[0] = Bytes.floats("x", Array(repeating: 1, count: 10), columns: 5)
    #expect(model.batch.outcome(request).message.hasPrefix("inputs[0] \"x\": more values"))
    #expect(model.served.metadata.inputs[0] == TensorMetadata(name: "x", datatype: "FP32", shape: [-1, 4]))
  }

  /// What is wrong, the code, and what its message must say.
  @Test func badRequestsSayWhatAndWhere() throws {
    let model = try LearnedModel()
    let city = Bytes.text("city", ["Oslo"])
    func price(_ datatype: String, _ shape: [Int64], raw: [UInt8]?, contents: [UInt8]? = nil) -> Bytes {
      Bytes(inputs: [city, .init(name: "price", datatype: datatype, shape: shape, raw: raw, contents: contents)])
    }
    let one = Bytes.rawFloats([1])
    var cases: [(Bytes, RPCCode, String)] = [
      (Bytes(model: "click", inputs: [city]), .notFound, "model \"click\" is not served; did you mean \"clicks\"? served: clicks"),
      (Bytes(version: "2", inputs: [city]), .notFound, "model \"clicks\" has no version \"2\"; served: 1"),
      (Bytes(inputs: [Bytes.text("ctiy", ["Oslo"])]), .invalidArgument, "inputs[0] \"ctiy\": the model has no such input; did you mean \"city\"?"),
      (Bytes(inputs: [city, city]), .invalidArgument, "inputs[1] \"city\": two inputs have this name"),
      (Bytes(inputs: [city], outputs: ["score", "logit"]), .invalidArgument, "outputs[1] \"logit\": model \"clicks\" has no such output"),
      (price("BYTES", [1, 1], raw: Bytes.rawTexts(["cheap"])), .invalidArgument, "inputs[1] \"price\": the feature is numeric: expected a number"),
      (price("FP8", [1, 1], raw: one), .invalidArgument, "inputs[1] \"price\": the datatype is none"),
      (price("FP32", [1, 1], raw: Bytes.rawFloats([.nan])), .invalidArgument, "inputs[1] \"price\": the value is not a finite number"),
      (price("FP32", [1, 1], raw: Bytes.rawFloats([.infinity])), .invalidArgument, "inputs[1] \"price\": the value is not a finite number"),
      (price("FP32", [1, 2], raw: Bytes.rawFloats([1, 2])), .invalidArgument, "inputs[1] \"price\": more values"),
      (price("FP32", [2, 1], raw: Bytes.rawFloats([1, 2])), .invalidArgument, "inputs[1] \"price\": the first size of the shape"),
      (price("FP32", [1, 1], raw: [0, 0]), .invalidArgument, "(expected 4, found 2)"),
      (price("FP32", [1, 1], raw: one, contents: Bytes.field(6, one)), .invalidArgument, "inputs[1] \"price\": contents and raw_input_contents are both given"),
      (price("FP32", [.max, .max], raw: one), .invalidArgument, "inputs[1] \"price\": the shape's sizes overflow"),
      (price("FP32", [1 << 40], raw: one), .invalidArgument, "inputs[1] \"price\": the shape asks for more values than the bound"),
      (price("FP32", [-1, 1], raw: one), .invalidArgument, "inputs[1] \"price\": the shape has a negative size"),
      (price("FP32", [1, 1], raw: nil), .invalidArgument, "raw_input_contents: there must be one element for each input (expected 2, found 1)"),
      (Bytes(inputs: [.init(name: "city", datatype: "BYTES", shape: [1], raw: [9, 0, 0, 0, 65])]), .invalidArgument, "inputs[0] \"city\": raw BYTES contents end inside an element"),
      (Bytes(inputs: []), .invalidArgument, "inputs: the request has no inputs"),
    ]
    let region = Bytes.Input(
      name: "city", datatype: "BYTES", shape: [1], raw: nil, parameters: [("shared_memory_region", Bytes.string("r"))])
    cases.append((Bytes(inputs: [region]), .unimplemented, "inputs[0] \"city\": tensors in shared memory are not supported"))
    cases.append((Bytes(inputs: (0..<1000).map { Bytes.floats("n\($0)", [1]) }), .invalidArgument, "inputs[0] \"n0\": the model has no such input"))
    for (name, value, message) in [
      ("arm", Bytes.string("x"), "parameters[\"arm\"]: model \"clicks\" has no arm \"x\"; it has online, held"),
      ("arm", Bytes.integer(1), "parameters[\"arm\"]: the parameter must be a string"),
      ("max_staleness_ms", Bytes.string("1"), "parameters[\"max_staleness_ms\"]: the parameter must be an integer"),
      ("timeout", Bytes.integer(-1), "parameters[\"timeout\"]"), ("priority", Bytes.flag(true), "parameters[\"priority\"]"),
      ("log", Bytes.integer(1), "parameters[\"log\"]"), ("key", Bytes.integer(1), "parameters[\"key\"]"),
      ("min_position", Bytes.string("1"), "parameters[\"min_position\"]: expected 2 offsets"),
      ("min_position", Bytes.string("1,2,3"), "parameters[\"min_position\"]"), ("min_position", Bytes.string("1,"), "parameters[\"min_position\"]"),
      ("min_position", Bytes.string("1,99999999999999999999"), "parameters[\"min_position\"]"),
      ("min_position", Bytes.string("1,-2"), "parameters[\"min_position\"]"), ("min_position", Bytes.string(""), "parameters[\"min_position\"]"),
    ] {
      cases.append((Bytes(parameters: [(name, value)], inputs: [city]), .invalidArgument, message))
    }
    // All in one run, good ones between them: each gets its own answer.
    let good = Bytes(id: "good", inputs: [city])
    let outcomes = model.batch.outcomes(cases.flatMap { [$0.0.bytes, good.bytes] })
    for (index, (request, code, message)) in cases.enumerated() {
      let outcome = try #require(outcomes[2 * index])
      #expect(outcome.code == code && outcome.message.contains(message), "\(request): \(outcome)")
      #expect(outcomes[2 * index + 1]?.response?.scores == [0.5])
    }
    #expect(model.batch.outcomes([[0x0A, 0x7F]])[0]?.code == .invalidArgument)
    #expect(model.batch.outcomes([[]])[0]?.code == .invalidArgument)
  }

  @Test func parametersRefuseWhatIsTooOld() throws {
    let model = try LearnedModel()
    func outcome(_ parameters: (String, [UInt8])...) -> InferOutcome {
      model.batch.outcome(Bytes(parameters: parameters, inputs: [Bytes.text("city", ["Oslo"])]))
    }
    #expect(
      outcome(("max_staleness_ms", Bytes.integer(10)))
        == .refused(.unavailable, "parameters[\"max_staleness_ms\"]: 10 is asked for; arm \"online\" has not heard of its update log yet"))
    #expect(outcome().response?.integers == [:] && outcome().response?.texts["position"] == "0,0")
    try model.learn(Self.events)
    #expect(outcome(("max_staleness_ms", Bytes.unsigned(3_600_000))).code == .ok)
    for replica in model.set.shards { replica.noteNews(nanoseconds: MonotonicClock.nanoseconds() - 5_000_000_000) }
    let stale = outcome(("max_staleness_ms", Bytes.integer(1000)))
    #expect(stale.code == .unavailable && stale.message.contains("1000 is asked for; arm \"online\" is 500"))
    #expect(model.served.statistics.failures(.tooStale) == 2)
    #expect(outcome(("min_position", Bytes.string("1,1"))).code == .ok)
    #expect(
      outcome(("min_position", Bytes.string("1,2")))
        == .refused(.failedPrecondition, "parameters[\"min_position\"]: 1,2 is asked for; arm \"online\" stands at 1,1"))
    let held = outcome(("arm", Bytes.string("held")))
    #expect(held.response?.texts == ["position": "0,0", "arm": "held"])
    // What other servers' clients send is taken.
    #expect(
      outcome(
        ("priority", Bytes.unsigned(.max)), ("timeout", Bytes.integer(60_000_000)), ("sequence_id", Bytes.string("s")), ("sequence_start", Bytes.flag(true)),
        ("binary_data_output", Bytes.flag(true)), ("triton_enable_empty_final_response", Bytes.flag(true))
      ).code == .ok)
  }

  @Test func deadlinesThatHavePassedAreNotScored() throws {
    let model = try LearnedModel()
    let request = Bytes(inputs: [Bytes.text("city", ["Oslo"])])
    #expect(model.batch.outcomes([request.bytes], deadlineNanoseconds: 1)[0]?.code == .deadlineExceeded)
    // Between its arrival and the run.
    request.bytes.withUnsafeBytes {
      model.batch.add($0, token: 1, deadlineNanoseconds: MonotonicClock.nanoseconds() + 1_000_000)
    }
    let end = MonotonicClock.nanoseconds() + 2_000_000
    while MonotonicClock.nanoseconds() < end {}
    model.batch.run()
    #expect(model.batch.answer(0).code == .deadlineExceeded)
    model.batch.removeAll()
    #expect(model.served.statistics.snapshot().success.count == 0)
  }

  @Test func modelsThatCannotAnswerSaySo() throws {
    let readiness = ServedModels.Readiness()
    let model = try LearnedModel(isReady: { readiness.isReady })
    let request = Bytes(inputs: [Bytes.text("city", ["Oslo"])])
    #expect(model.batch.outcome(request).code == .ok)
    readiness.isReady = false
    #expect(model.batch.outcome(request).code == .unavailable)
    readiness.isReady = true
    try model.catalog.setServed("clicks", false)
    #expect(model.batch.outcome(request) == .refused(.notFound, "model \"clicks\" is not served; no model is served"))
    try model.catalog.setServed("clicks", true)
    #expect(model.batch.outcome(request).code == .ok)
    // Shards in different epochs cannot be added.
    let writer = UpdateRecordWriter()
    let freeze = Array(writer.control(UpdateHeader(kind: .freeze, specHash: model.served.specification.hash)))
    withExtendedLifetime(writer) {}
    func apply(shard: Int) -> Bool { freeze.withUnsafeBytes { model.set.shards[shard].apply($0, offset: 0).isAccepted } }
    #expect(apply(shard: 0))
    #expect(model.batch.outcome(request).code == .unavailable)
    #expect(apply(shard: 1))
    #expect(model.batch.outcome(request).code == .ok)
    #expect(model.served.statistics.failures(.notReady) == 2)
  }

  @Test func aNewestVersionAnswersForTheName() throws {
    let models = try [1, 3, 2].map { try ServedModels.model(version: $0) } + [ServedModels.named("other")]
    let batch = InferenceBatch(catalog: ModelCatalog(models))
    let city = Bytes.text("city", ["Oslo"])
    for (version, answered) in [("", "3"), ("1", "1"), ("", "3"), ("2", "2"), ("3", "3")] {
      #expect(batch.outcome(Bytes(version: version, inputs: [city])).response?.version == answered)
    }
    let mixed = batch.outcomes([Bytes(model: "other", inputs: [city]).bytes, Bytes(inputs: [city]).bytes])
    #expect(mixed.map { $0?.response?.model } == ["other", "clicks"])
  }

  @Test func aRunHasACap() throws {
    let model = try LearnedModel(limits: InferenceLimits(rowsPerRunMax: 3))
    let request = Bytes(inputs: [Bytes.text("city", ["Oslo", "Rome"])]).bytes
    request.withUnsafeBytes { model.batch.add($0, token: 0) }
    #expect(!model.batch.isFull)
    request.withUnsafeBytes { model.batch.add($0, token: 1) }
    #expect(model.batch.isFull)
    model.batch.removeAll()
    #expect(!model.batch.isFull && model.batch.isEmpty)
  }

  private final class Sink: ServedRequestSink, @unchecked Sendable {
    let seen = Mutex<[(request: [UInt8], id: String, key: String, rows: Int)]>([])
    override func served(request: UnsafeRawBufferPointer, id: UnsafeRawBufferPointer, key: UnsafeRawBufferPointer, rows: Int) {
      let entry = (Array(request), String(decoding: id, as: UTF8.self), String(decoding: key, as: UTF8.self), rows)
      seen.withLock { $0.append(entry) }
    }
  }

  @Test func whatCarriesAnIDIsTold() throws {
    let sink = Sink()
    let model = try LearnedModel(sink: sink)
    let city = Bytes.text("city", ["Oslo"])
    let requests = [
      Bytes(id: "a", inputs: [city]), Bytes(inputs: [city]), Bytes(id: "b", parameters: [("key", Bytes.string("k"))], inputs: [city]),
      Bytes(id: "c", parameters: [("log", Bytes.flag(false))], inputs: [city]), Bytes(id: "d", inputs: [Bytes.text("town", ["Oslo"])]),
    ]
    #expect(model.batch.outcomes(requests.map(\.bytes)).compactMap { $0?.response }.count == 4)
    let seen = sink.seen.withLock { $0 }
    #expect(seen.map(\.id) == ["a", "b"] && seen.map(\.key) == ["a", "k"] && seen.map(\.request) == [requests[0].bytes, requests[2].bytes])
  }

  @Test(.enabled(if: AllocationThresholds.areCounted)) func answeringAllocatesNothing() throws {
    let model = try LearnedModel()
    try model.learn(Self.events)
    let dense = try LearnedModel(LearnedModel.vectors)
    let requests: [[UInt8]] = (0..<64).map { (index: Int) -> [UInt8] in
      var request = Bytes(inputs: [Bytes.text("city", ["city-\(index)"]), Bytes.floats("price", [Float(index)])], outputs: ["score"])
      request.inputs.append(Bytes.text("tags", ["new", "blue"], columns: 2))
      if index % 2 == 0 { request.id = "id-\(index)" }
      if index % 3 == 0 { request.parameters = [("max_staleness_ms", Bytes.integer(3_600_000))] }
      return request.bytes
    }
    let vectors: [[UInt8]] = (0..<64).map { (index: Int) -> [UInt8] in
      Bytes(model: "dense", inputs: [Bytes.floats("x", [1, 2, 3, Float(index)], columns: 4)]).bytes
    }
    var answered = 0
    func pass(_ batch: InferenceBatch, _ requests: [[UInt8]]) {
      for index in requests.indices { requests[index].withUnsafeBytes { batch.add($0, token: UInt64(index)) } }
      batch.run()
      for index in 0..<batch.answerCount where batch.answer(index).code == .ok { answered += 1 }
      batch.removeAll()
    }
    for _ in 0..<3 {
      pass(model.batch, requests)
      pass(dense.batch, vectors)
    }
    answered = 0
    let allocations = AllocationThresholds.ofThread {
      for _ in 0..<10 {
        pass(model.batch, requests)
        pass(dense.batch, vectors)
      }
    }
    #expect(answered == 1280)
    let allowed = try #require(try AllocationThresholds()["endpoint.infer.1280-requests"])
    #expect(allocations <= allowed, "\(allocations) allocations in 1280 requests")
  }
}
