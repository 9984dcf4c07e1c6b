import AllocationThresholds
import Bundles
import Dispatch
import Events
import Families
import Foundation
import Kafka
import Logging
import Model
import Synchronization
import Telemetry
import Testing

@testable import ModelStore
@testable import Serving

/// A store with one forest over `a` and `b` (the version, or one more where a > 0.5), or a linear model with two outputs.
final class StreamedBundle {
  let store: ModelStore
  let folder: String

  init(outputs: Int = 1) throws {
    folder = FileManager.default.temporaryDirectory.appendingPathComponent("streamed-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    store = ModelStore(sources: [ModelSource(path: folder, reloadMilliseconds: nil)], scorersWarm: 1, registry: Registry(), logger: logger)
    try write(version: 1, outputs: outputs)
    store.start()
  }

  deinit {
    store.stop()
    try? FileManager.default.removeItem(atPath: folder)
  }

  func write(version: Int, outputs: Int = 1) throws {
    let model: LoadedModel
    let writer: BundleWriter
    if outputs == 1 {
      let node = TreeEnsemble.Node(
        feature: 0, comparison: .lessOrEqual, missing: .notANumber, defaultLeft: true, threshold: 0.5, left: ~0, right: ~1)
      let trees = try TreeModel(ensemble: TreeEnsemble(
        featureCount: 2, outputCount: 1, nodes: [node], leafValues: [Double(version), Double(version + 1)],
        trees: [.init(nodeStart: 0, nodeCount: 1, leafStart: 0, leafCount: 2, output: 0)], featureNames: ["a", "b"]))
      model = trees
      writer = BundleWriter(manifest: BundleManifest(name: "fraud", version: version, family: "trees", outputs: model.outputs))
      trees.write(into: writer)
    } else {
      let linear = try LinearModel(
        weights: [Float](repeating: 0.5, count: 2 * outputs), biases: (0..<outputs).map { Float(version + $0) }, link: .identity, featureNames: ["a", "b"])
      model = linear
      writer = BundleWriter(manifest: BundleManifest(name: "fraud", version: version, family: "linear", outputs: model.outputs))
      linear.write(into: writer)
    }
    _ = try writer.write(to: "\(folder)/\(version).millrace")
  }

  func loadNow() {
    let done = DispatchSemaphore(value: 0)
    store.load("fraud") { _ in done.signal() }
    done.wait()
  }
}

@Suite("Models from bundles on streams") struct BundleStreamTests {
  private func predictions(_ batch: PredictionBatch, _ events: [String]) -> [String] {
    batch.removeAll()
    for (offset, event) in events.enumerated() {
      Array(event.utf8).withUnsafeBytes { _ = batch.add(partition: 0, offset: Int64(offset), value: $0, contentType: nil) }
    }
    #expect(batch.score())
    return batch.items.map { String(decoding: batch.encode($0, arm: 0), as: UTF8.self) }
  }

  @Test func theScoreIsTheFirstNumberAndOutputsHaveTheirNames() throws {
    let event = #"{"id":"e","features":{"a":1,"b":2}}"#
    let one = try StreamedBundle()
    #expect(predictions(PredictionBatch(bundles: BundleSource(one.store, source: 0)), [event, #"{"id":"f","features":{"b":"x"}}"#]) == [
      #"{"id":"e","model":"fraud","version":1,"arm":"bundle","from":0,"to":1,"score":2}"#,
      #"{"model":"fraud","version":1,"arm":"bundle","from":1,"to":2,"error":{"reason":"wrong_type","field":"b","message":"a value of another type than the input's elements"}}"#,
    ])
    let two = try StreamedBundle(outputs: 2)
    let batch = PredictionBatch(bundles: BundleSource(two.store, source: 0))
    #expect(predictions(batch, [event]) == [
      #"{"id":"e","model":"fraud","version":1,"arm":"bundle","from":0,"to":1,"score":2.5,"outputs":{"output":[2.5,3.5]}}"#
    ])
    // In protobuf, read back by the reader of predictions.
    let writer = EventWriter(form: .protobuf)
    writer.begin(id: "p", key: "p")
    writer.number("a", 1)
    writer.number("b", 2)
    batch.removeAll()
    _ = batch.add(partition: 0, offset: 0, value: writer.finish(), contentType: nil)
    #expect(batch.score())
    let reader = PredictionReader()
    #expect(reader.read(batch.encode(batch.items[0], arm: 0)), "\(reader.problem())")
    #expect(Array(reader.prediction.scores) == [2.5] && String(decoding: reader.prediction.id, as: UTF8.self) == "p")
  }

  @Test func aNewVersionAnswersFromTheNextPollOn() throws {
    let bundle = try StreamedBundle()
    weak var old = bundle.store.snapshot().models[0].versions.first
    let batch = PredictionBatch(bundles: BundleSource(bundle.store, source: 0))
    let event = #"{"id":"e","features":{"a":0}}"#
    #expect(predictions(batch, [event])[0].contains(#""version":1,"#))
    Array(event.utf8).withUnsafeBytes { _ = batch.add(partition: 0, offset: 9, value: $0, contentType: nil) }
    try bundle.write(version: 2)
    bundle.loadNow()
    #expect(batch.score())
    #expect(String(decoding: batch.encode(batch.items[1], arm: 0), as: UTF8.self).contains(#""version":1,"arm":"bundle","from":9,"to":10,"score":1"#))
    let next = predictions(batch, [event])
    #expect(next[0].contains(#""version":2,"arm":"bundle","from":0,"to":1,"score":2"#))
    bundle.loadNow()
    bundle.loadNow()
    #expect(old == nil)
  }

  @Test(.enabled(if: AllocationThresholds.areCounted)) func answeringAllocatesNothing() throws {
    let bundle = try StreamedBundle(outputs: 2)
    let batch = PredictionBatch(bundles: BundleSource(bundle.store, source: 0))
    let bytes = Array(#"{"id":"e","features":{"a":1,"b":2.5}}"#.utf8)
    var encoded = 0
    func pass() {
      batch.removeAll()
      for offset in 0..<256 {
        bytes.withUnsafeBytes { _ = batch.add(partition: 0, offset: Int64(offset), value: $0, contentType: nil) }
      }
      guard batch.score() else { return }
      for index in batch.items.indices { encoded += batch.encode(batch.items[index], arm: 0).count }
    }
    for _ in 0..<70 { pass() }
    encoded = 0
    let allocations = AllocationThresholds.ofThread { for _ in 0..<10 { pass() } }
    #expect(encoded > 10 * 256 * 20)
    let allowed = try #require(try AllocationThresholds()["stream.bundle.256-events"])
    #expect(allocations <= allowed, "\(allocations) allocations")
  }
}

extension StreamPredictorTests {
  /// Features in, predictions out, with a new version in between; then the model is taken off and comes back.
  @Test func aModelFromABundleAnswersTheFeaturesTopic() async throws {
    try await withBroker { kafka in
      try createTopics(kafka, partitions: 1)
      let bundle = try StreamedBundle()
      var logger = Logger(label: "test")
      logger.logLevel = .critical
      let predictor = StreamPredictor(
        bundles: BundleSource(bundle.store, source: 0), kafka: kafka, settings: StreamPredictorSettings(group: "bundles"), registry: Registry(),
        logger: logger)
      try predictor.start()
      defer { predictor.stop() }
      let event = #"{"id":"a","features":{"a":1}}"#
      try produce(kafka, "features", [(0, event), (0, "{")])
      let first = try read(kafka, "predictions", count: 2).map(\.value)
      #expect(first[0].contains(#""version":1,"arm":"bundle","from":0,"to":1,"score":2"#) && first[1].contains("invalid_json"))
      try bundle.write(version: 2)
      bundle.loadNow()
      try produce(kafka, "features", [(0, event)])
      let second = try read(kafka, "predictions", count: 3).map(\.value)
      #expect(second[2].contains(#""version":2,"arm":"bundle","from":2,"to":3,"score":3"#))
      #expect(try read(kafka, "features.dead-letter", count: 1).map(\.value) == ["{"])
    }
  }
}
