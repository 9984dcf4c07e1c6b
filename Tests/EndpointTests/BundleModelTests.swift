import AllocationThresholds
import ChildProcesses
import Families
import Foundation
import Logging
import Model
import Operations
import RPC
import Synchronization
import Telemetry
import Testing

@testable import Endpoint
@testable import ModelStore

/// Python and the clients are installed by `make test`.
private let noPython: Comment = "no .build/venv: `make test` installs the clients"

@Suite("Models from bundles, asked") struct BundleModelTests {
  private typealias Bytes = InferRequestBytes

  private func ask(_ batch: InferenceBatch, _ request: InferRequestBytes) throws -> (tensors: OutputTensors?, code: RPCCode, message: String) {
    request.bytes.withUnsafeBytes { batch.add($0, token: 0) }
    batch.run()
    defer { batch.removeAll() }
    let answer = batch.answer(0)
    guard answer.code == .ok else { return (nil, answer.code, String(decoding: answer.bytes, as: UTF8.self)) }
    return (try OutputTensors(answer.bytes), .ok, "")
  }

  private func mixed(_ model: MixedModel = MixedModel(), maxBatchSize: Int? = nil, limits: InferenceLimits = InferenceLimits()) throws -> InferenceBatch {
    let catalog = ModelCatalog([])
    catalog.setLoaded([ServedModel(loaded: try BundleModels.loaded(model, maxBatchSize: maxBatchSize), registry: Registry())], labels: [:])
    return InferenceBatch(catalog: catalog, limits: limits)
  }

  private func mixedRequest(_ values: [Float], _ numbers: [Int64], outputs: [String] = []) -> InferRequestBytes {
    Bytes(
      model: "mixed",
      inputs: [
        Bytes.floats("x", values, columns: 3),
        .init(name: "n", datatype: "INT64", shape: [Int64(numbers.count)], raw: numbers.flatMap { Bytes.little($0) }),
      ], outputs: outputs)
  }

  @Test func everyOutputHasItsTypeAndShape() throws {
    let batch = try mixed()
    let answer = try #require(try ask(batch, mixedRequest([0, 0, 0, 1, 2, 3], [7, -7])).tensors)
    #expect(answer.names == ["label", "sums", "n"] && answer.version == "1")
    #expect(answer.datatypes == ["label": "BYTES", "sums": "FP32", "n": "INT64"])
    #expect(answer.shapes == ["label": [2, 1], "sums": [2, 2], "n": [2]])
    #expect(answer.floats("sums") == [0, 0, 6, -6] && answer.integers("n") == [7, -7])
    #expect(answer.raw["label"] == Bytes.rawTexts(["low", "high"]))
    let chosen = try #require(try ask(batch, mixedRequest([1, 2, 3], [1], outputs: ["n", "label"])).tensors)
    #expect(chosen.names == ["label", "n"] && chosen.integers("n") == [1])
    let unknown = try ask(batch, mixedRequest([1, 2, 3], [1], outputs: ["score"]))
    #expect(unknown.code == .invalidArgument && unknown.message.contains("it has label, sums, n"))
  }

  @Test func requestsOfOneRunHaveTheirOwnRows() throws {
    let batch = try mixed()
    for index in 0..<5 {
      mixedRequest((0..<3 * (1 + index % 2)).map { Float($0 + index) }, Array(repeating: Int64(index), count: 1 + index % 2)).bytes.withUnsafeBytes {
        batch.add($0, token: UInt64(index))
      }
    }
    batch.run()
    for index in 0..<5 {
      let tensors = try OutputTensors(batch.answer(index).bytes)
      #expect(tensors.integers("n") == Array(repeating: Int64(index), count: 1 + index % 2))
      #expect(tensors.floats("sums")[0] == Float(3 + 3 * index))
    }
  }

  @Test func whatIsWrongSaysWhatAndWhere() throws {
    let batch = try mixed(maxBatchSize: 2)
    func refused(_ request: InferRequestBytes, _ words: String) throws {
      let answer = try ask(batch, request)
      #expect(answer.code == .invalidArgument && answer.message.contains(words), "\(answer.message)")
    }
    try refused(mixedRequest([Float](repeating: 1, count: 9), [1, 2, 3]), "takes at most 2 in one (max_batch_size)")
    try refused(Bytes(model: "mixed", inputs: [Bytes.floats("x", [1, 2, 3], columns: 3)]), "inputs: \"n\": an input is not given")
    var request = mixedRequest([1, 2, 3], [1])
    request.parameters = [("min_position", Bytes.string("1"))]
    try refused(request, "comes from a bundle and learns nothing")
    request.parameters = [("arm", Bytes.string("online"))]
    try refused(request, "parameters[\"arm\"]")
    request.parameters = [("max_staleness_ms", Bytes.integer(0))]
    #expect(try ask(batch, request).code == .ok)
    let large = Bytes.floats("x", [Float](repeating: 0, count: 3), columns: 3)
    let version = try ask(batch, Bytes(model: "mixed", version: "canary", inputs: [large]))
    #expect(version.code == .notFound && version.message.contains("no version \"canary\""))
  }

  /// Rows of a heavy model fill a run before there are many of them.
  @Test func heavyRowsAreBoundedInEachRun() throws {
    let batch = try mixed(MixedModel(spinNanoseconds: 1_000_000), limits: InferenceLimits(runNanosecondsMax: 2_500_000))
    let request = mixedRequest([1, 2, 3], [1]).bytes
    func gathered() -> Int {
      var count = 0
      while !batch.isFull, count < 1000 {
        request.withUnsafeBytes { batch.add($0, token: 0) }
        count += 1
      }
      batch.run()
      batch.removeAll()
      return count
    }
    request.withUnsafeBytes { batch.add($0, token: 0) }
    batch.run()
    batch.removeAll()
    #expect(gathered() <= 3)
    let light = try mixed()
    #expect(!light.isFull)
  }

  @Test func versionsAndLabelsAreNamedByRequests() throws {
    let folder = BundleFolder()
    for version in [3, 4, 5] { try BundleModels.trees(folder.file("\(version).millrace"), version: version) }
    let serving = BundleServing(ModelSource(path: folder.path, versions: .all, labels: ["stable": 3, "canary": 4], reloadMilliseconds: nil))
    defer { serving.store.stop() }
    let batch = InferenceBatch(catalog: serving.catalog)
    func version(_ asked: String) throws -> [Float] {
      let answer = try ask(batch, Bytes(model: "fraud", version: asked, inputs: [Bytes.floats("input", [0, 0], columns: 2)]))
      let tensors = try #require(answer.tensors)
      return [Float(Int(tensors.version) ?? -1)] + tensors.floats("output")
    }
    #expect(try version("") == [3, 3] && version("5") == [5, 5] && version("canary") == [4, 4] && version("stable") == [3, 3])
    let control = ControlService(catalog: serving.catalog, version: "1", isReady: { true }, loadedModels: serving.models)
    let metadata = try control.modelMetadata(name: "fraud", version: "canary")
    #expect("\(metadata)".contains("canary") == false)
    let text = metadata.protobuf
    #expect(text.count > 0)
    #expect(try serving.catalog.find(name: "fraud").version == "3")
    let error = #expect(throws: RPCStatus.self) { try serving.catalog.find(name: "fraud", version: "beta") }
    #expect(error?.message.contains("labels: canary, stable") == true)
  }

  @Test func tensorsAndColumnsGiveTheSameAnswer() throws {
    let folder = BundleFolder()
    try BundleModels.trees(folder.file("m.millrace"), version: 1)
    let serving = BundleServing(ModelSource(path: folder.file("m.millrace"), reloadMilliseconds: nil))
    defer { serving.store.stop() }
    let batch = InferenceBatch(catalog: serving.catalog)
    let whole = try ask(batch, Bytes(model: "fraud", inputs: [Bytes.floats("input", [0, 9, 1, 9, .nan, 9], columns: 2)]))
    #expect(whole.tensors?.floats("output") == [1, 2, 1], "\(whole.message)")
    let columns = try ask(batch, Bytes(model: "fraud", inputs: [
      .init(name: "a", datatype: "FP64", shape: [3, 1], raw: [0.0, 1.0, Double.nan].flatMap { Bytes.little($0.bitPattern) })
    ]))
    #expect(columns.tensors?.floats("output") == [1, 2, 1], "\(columns.message)")
    let served = try serving.catalog.find(name: "fraud")
    #expect(served.metadata.inputs == [TensorMetadata(name: "input", datatype: "FP32", shape: [-1, 2], isOptional: true)])
    #expect(served.metadata.outputs == [TensorMetadata(name: "output", datatype: "FP32", shape: [-1, 1], isOptional: false)])
    #expect(served.metadata.properties["columns.input"] == "a,b" && served.metadata.properties["family"] == "trees")
  }

  @Test func namesOfCategoriesAreTakenAndPublished() throws {
    let folder = BundleFolder()
    try BundleModels.trees(folder.file("texts.millrace"), name: "texts", version: 1, names: [.text("no"), .text("yes")])
    try BundleModels.trees(folder.file("numbers.millrace"), name: "numbers", version: 1, names: [.integer(10), .integer(20)])
    let serving = BundleServing(
      ModelSource(path: folder.file("texts.millrace"), reloadMilliseconds: nil), ModelSource(path: folder.file("numbers.millrace"), reloadMilliseconds: nil))
    defer { serving.store.stop() }
    let batch = InferenceBatch(catalog: serving.catalog)
    func asked(_ model: String, _ input: InferRequestBytes.Input) throws -> [Float] {
      let answer = try ask(batch, Bytes(model: model, inputs: [input]))
      return try #require(answer.tensors, "\(answer.message)").floats("output")
    }
    // Missing goes with what is not above 0.5.
    #expect(try asked("texts", .init(name: "a", datatype: "BYTES", shape: [3, 1], raw: Bytes.rawTexts(["no", "yes", "never seen"]))) == [1, 2, 1])
    #expect(try asked("texts", Bytes.floats("a", [0, 1])) == [1, 2], "codes")
    #expect(try asked("numbers", Bytes.floats("a", [10, 20, 1])) == [1, 2, 1], "names")
    #expect(try asked("numbers", .init(name: "a", datatype: "INT64", shape: [2, 1], raw: Bytes.little(Int64(20)) + Bytes.little(Int64(1)))) == [2, 1])
    #expect(try asked("numbers", .init(name: "a", datatype: "BYTES", shape: [2, 1], raw: Bytes.rawTexts(["20", "10"]))) == [2, 1])
    #expect(try asked("numbers", Bytes.floats("input", [0, 9, 1, 9], columns: 2)) == [1, 2], "codes")
    let refused = try ask(batch, Bytes(model: "texts", inputs: [.init(name: "b", datatype: "BYTES", shape: [1, 1], raw: Bytes.rawTexts(["no"]))]))
    #expect(refused.code == .invalidArgument && refused.message.contains("\"b\""), "\(refused.message)")
    let properties = try serving.catalog.find(name: "texts").metadata.properties
    #expect(properties["categories.input"] == "a" && properties["columns.input"] == "a,b")
  }

  /// Eight versions take over one after another while three threads ask: each answer is one version's, versions never go back, none fails.
  @Test func reloadUnderLoad() throws {
    let folder = BundleFolder()
    let last = 8
    try BundleModels.trees(folder.file("1.millrace"), version: 1)
    let serving = BundleServing(ModelSource(path: folder.path, reloadMilliseconds: nil))
    weak var first = serving.store.snapshot().models[0].versions.first
    #expect(first != nil)
    let isDone = Atomic<Bool>(false)
    let problems = Mutex<[String]>([])
    let answered = Atomic<Int>(0)
    let threads = 3
    let finished = DispatchSemaphore(value: 0)
    for _ in 0..<threads {
      Thread.detachNewThread {
        let batch = InferenceBatch(catalog: serving.catalog)
        let request = Bytes(model: "fraud", inputs: [Bytes.floats("input", [0, 0, 1, 0], columns: 2)]).bytes
        var newest = 0
        repeat {
          for token in 0..<4 { request.withUnsafeBytes { batch.add($0, token: UInt64(token)) } }
          batch.run()
          for index in 0..<batch.answerCount {
            let answer = batch.answer(index)
            guard answer.code == .ok, let tensors = try? OutputTensors(answer.bytes), let version = Int(tensors.version) else {
              problems.withLock { $0.append("\(answer.code)") }
              continue
            }
            if tensors.floats("output") != [Float(version), Float(version + 1)] || version < newest {
              problems.withLock { $0.append("version \(version) after \(newest) answers \(tensors.floats("output"))") }
            }
            newest = version
            answered.wrappingAdd(1, ordering: .relaxed)
          }
          batch.removeAll()
        } while newest < last && !isDone.load(ordering: .relaxed)
        if newest != last { problems.withLock { $0.append("ended at version \(newest)") } }
        finished.signal()
      }
    }
    for version in 2...last {
      try BundleModels.trees(folder.file("\(version).millrace"), version: version)
      #expect(serving.loadNow("fraud") == nil)
    }
    for _ in 0..<threads { #expect(finished.wait(timeout: .now() + 60) == .success) }
    isDone.store(true, ordering: .relaxed)
    #expect(problems.withLock { $0 } == [])
    #expect(answered.load(ordering: .relaxed) >= threads * 4)
    serving.loadNow("fraud")
    serving.loadNow("fraud")
    #expect(first == nil, "the old version is gone")
    serving.store.stop()
  }

  @Test(.enabled(if: AllocationThresholds.areCounted)) func answeringAllocatesNothing() throws {
    let folder = BundleFolder()
    try BundleModels.trees(folder.file("m.millrace"), version: 1)
    let serving = BundleServing(ModelSource(path: folder.file("m.millrace"), reloadMilliseconds: nil))
    defer { serving.store.stop() }
    let trees = InferenceBatch(catalog: serving.catalog)
    let mixed = try mixed()
    let whole = (0..<64).map { Bytes(model: "fraud", id: "id-\($0)", inputs: [Bytes.floats("input", [Float($0), 1], columns: 2)]).bytes }
    let columns = (0..<64).map { Bytes(model: "fraud", inputs: [Bytes.floats("a", [Float($0), 1]), Bytes.floats("b", [1, 2])]).bytes }
    let several = (0..<64).map { mixedRequest([1, 2, Float($0)], [Int64($0)], outputs: $0 % 2 == 0 ? [] : ["label", "n"]).bytes }
    var answered = 0
    func pass(_ batch: InferenceBatch, _ requests: [[UInt8]]) {
      for index in requests.indices { requests[index].withUnsafeBytes { batch.add($0, token: UInt64(index)) } }
      batch.run()
      for index in 0..<batch.answerCount where batch.answer(index).code == .ok { answered += 1 }
      batch.removeAll()
    }
    func round() {
      pass(trees, whole)
      pass(trees, columns)
      pass(mixed, several)
    }
    for _ in 0..<70 { round() }
    answered = 0
    let allocations = AllocationThresholds.ofThread { for _ in 0..<10 { round() } }
    #expect(answered == 1920)
    let allowed = try #require(try AllocationThresholds()["endpoint.bundles.1920-requests"])
    #expect(allocations <= allowed, "\(allocations) allocations in 1920 requests")
  }

  /// tritonclient asks a forest by tensor and by columns, and a dense model; versions, labels, config and the repository; a reload; idle
  /// loops let the old version go.
  @Test(.enabled(if: ChildProcess.python != nil, noPython), .timeLimit(.minutes(2))) func tritonclientWorksUnmodified() async throws {
    let python = try #require(ChildProcess.python)
    let folder = BundleFolder()
    try BundleModels.trees(folder.file("1.millrace"), version: 1, labels: ["stable"])
    try BundleModels.linear(folder.file("ranker.millrace"))
    // A version that the client asks the server to load: it waits under a name that is none.
    try BundleModels.trees(folder.file("next"), version: 2, labels: ["stable"])
    let serving = BundleServing(
      ModelSource(path: folder.path, reloadMilliseconds: nil), ModelSource(path: folder.file("ranker.millrace"), reloadMilliseconds: nil))
    defer { serving.store.stop() }
    weak var old = serving.store.snapshot().models[0].versions.first
    let control = ControlService(catalog: serving.catalog, version: "1.2.3", isReady: { true }, loadedModels: serving.models)
    let service = RPCService(
      name: V2Service.name, methods: InferenceService.methods(catalog: serving.catalog) + control.methods(access: .control),
      fileDescriptors: [ProtoFile.inference.descriptor])
    var settings = RPCServerSettings()
    settings.loops = 2
    let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
    let server = RPCServer(settings: settings, services: [service], registry: Registry(), logger: logger)
    let port = try await server.start()
    let rest = RESTServer(
      settings: RESTServer.Settings(address: ListenAddress(host: "127.0.0.1", port: 0)), control: control, access: .control,
      registry: Registry(), logger: logger)
    let restPort = try await rest.start()
    let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Clients/bundles.py").path
    let result: Result<String, any Error>
    do {
      result = .success(try await ChildProcess.run(python, [script, "127.0.0.1:\(port)", "127.0.0.1:\(restPort)", folder.path]))
    } catch {
      result = .failure(error)
    }
    #expect(try result.get().contains("ok"))
    // Nobody asks any more, and the loops let go all the same.
    let deadline = MonotonicClock.nanoseconds() + 20_000_000_000
    while old != nil, MonotonicClock.nanoseconds() < deadline {
      serving.loadNow("fraud")
      await Task.yield()
    }
    #expect(old == nil)
    await rest.stop()
    await server.stop(graceMilliseconds: 0)
  }
}
