import Bundles
import Dispatch
import Families
import Foundation
import Logging
import Model
import RPC
import Synchronization
import Telemetry

@testable import Endpoint
@testable import ModelStore

/// Models from bundles for tests: their answers to rows of zeros are their versions.
enum BundleModels {
  /// A forest of one tree over `a` and `b`: version + 1 where a > 0.5, else the version; missing goes with the latter.
  ///
  /// `names`: of the categories of `a`.
  static func trees(_ path: String, name: String = "fraud", version: Int, labels: [String] = [], names: [CategoryName] = []) throws {
    let node = TreeEnsemble.Node(
      feature: 0, comparison: .lessOrEqual, missing: .notANumber, defaultLeft: true, threshold: 0.5, left: ~0, right: ~1)
    let ensemble = TreeEnsemble(
      featureCount: 2, outputCount: 1, nodes: [node], leafValues: [Double(version), Double(version + 1)],
      trees: [.init(nodeStart: 0, nodeCount: 1, leafStart: 0, leafCount: 2, output: 0)], featureNames: ["a", "b"])
    let categories = names.isEmpty ? [] : [ColumnCategories(column: 0, names: try CategoryNames(names))]
    let model = try TreeModel(
      ensemble: ensemble, inputs: [InputTensor(name: "input", shape: [2], columns: ["a", "b"], absent: .nan, categories: categories)])
    let writer = BundleWriter(manifest: BundleManifest(name: name, version: version, family: "trees", outputs: model.outputs, labels: labels))
    model.write(into: writer)
    _ = try writer.write(to: path)
  }

  /// Two outputs of a dense row of three: the version plus half of each sum.
  static func linear(_ path: String, name: String = "ranker", version: Int = 1) throws {
    let model = try LinearModel(
      weights: [0.5, 1, 0.5, 1, 0.5, 1], biases: [Float(version), Float(-version)], link: .identity, featureNames: ["x", "y", "z"])
    let writer = BundleWriter(manifest: BundleManifest(name: name, version: version, family: "linear", outputs: model.outputs, maxBatchSize: 100))
    model.write(into: writer)
    _ = try writer.write(to: path)
  }

  static func loaded(_ model: LoadedModel, name: String = "mixed", version: Int = 1, maxBatchSize: Int? = nil) throws -> LoadedVersion {
    let writer = BundleWriter(manifest: BundleManifest(name: name, version: version, family: model.family, inputs: model.inputs, outputs: model.outputs))
    let bundle = try writer.encoded().withUnsafeBytes { try ModelBundle.read($0) }
    return try LoadedVersion(bundle: bundle, model: model, name: name, version: version, maxBatchSize: maxBatchSize)
  }
}

/// A family of the tests: answers with what it was asked, in three outputs of three types.
final class MixedModel: LoadedModel, @unchecked Sendable {
  /// What a run takes at least, for models that are heavy.
  let spinNanoseconds: Int64

  init(spinNanoseconds: Int64 = 0) {
    self.spinNanoseconds = spinNanoseconds
    super.init(
      inputs: [
        InputTensor(name: "x", shape: [3]), InputTensor(name: "n", element: .int64, shape: [], offset: 16),
      ],
      outputs: [
        OutputTensor(name: "label", element: .text, shape: [1], texts: ["low", "high"]), OutputTensor(name: "sums", shape: [2]),
        OutputTensor(name: "n", element: .int64, shape: []),
      ])
  }

  override var family: String { "mixed" }
  override func makeScorer(rowsMax: Int) -> Scorer { MixedScorer(model: self, rowsMax: rowsMax) }
}

private final class MixedScorer: Scorer {
  override func score(_ batch: RowBatch) {
    guard let dense = batch.dense, let model = model as? MixedModel else { return }
    reserve(rows: batch.rowCount)
    let end = MonotonicClock.nanoseconds() + model.spinNanoseconds
    while MonotonicClock.nanoseconds() < end {}
    for row in 0..<batch.rowCount {
      let values = (dense + row * batch.denseRowBytes).assumingMemoryBound(to: Float.self)
      let sum = values[0] + values[1] + values[2]
      outputs[0].storeBytes(of: sum > 1 ? 1 : 0, toByteOffset: row * 8, as: Int64.self)
      outputs[1].storeBytes(of: sum, toByteOffset: row * 8, as: Float.self)
      outputs[1].storeBytes(of: -sum, toByteOffset: row * 8 + 4, as: Float.self)
      outputs[2].storeBytes(of: dense.load(fromByteOffset: row * batch.denseRowBytes + 16, as: Int64.self), toByteOffset: row * 8, as: Int64.self)
    }
  }
}

/// A folder of its own, gone with the object.
final class BundleFolder {
  let path: String

  init() {
    path = FileManager.default.temporaryDirectory.appendingPathComponent("bundles-\(UUID().uuidString)").path
    try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func file(_ name: String) -> String { "\(path)/\(name)" }
}

/// A store of these sources, and the catalog that shows it.
struct BundleServing {
  let store: ModelStore
  let catalog = ModelCatalog([])
  let models: LoadedModels
  let registry = Registry()

  init(_ sources: ModelSource...) {
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    store = ModelStore(sources: sources, scorersWarm: 2, registry: registry, logger: logger)
    models = LoadedModels(store: store, catalog: catalog, registry: registry)
    store.start()
  }

  @discardableResult
  func loadNow(_ name: String) -> String? {
    let done = DispatchSemaphore(value: 0)
    let problem = Mutex<String?>(nil)
    store.load(name) { answer in
      problem.withLock { $0 = answer }
      done.signal()
    }
    done.wait()
    return problem.withLock { $0 }
  }
}

/// The tensors of a ModelInferResponse, by name.
struct OutputTensors {
  var version = ""
  var datatypes: [String: String] = [:]
  var shapes: [String: [Int64]] = [:]
  var raw: [String: [UInt8]] = [:]
  var names: [String] = []

  init(_ bytes: UnsafeRawBufferPointer) throws {
    var reader = ProtobufReader(Array(bytes), of: "ModelInferResponse")
    var contents: [[UInt8]] = []
    while let (number, value) = try reader.next() {
      switch number {
      case 2: version = try reader.text(value, "model_version")
      case 5:
        var tensor = ProtobufReader(try reader.bytes(value, "outputs"), of: "outputs")
        var name = ""
        while let (number, value) = try tensor.next() {
          switch number {
          case 1: name = try tensor.text(value, "name")
          case 2: datatypes[name] = try tensor.text(value, "datatype")
          case 3: shapes[name, default: []] += try tensor.numbers(value, "shape").map { Int64(bitPattern: $0) }
          default: break
          }
        }
        names.append(name)
      case 6: contents.append(Array(try reader.bytes(value, "raw_output_contents")))
      default: break
      }
    }
    for (name, bytes) in zip(names, contents) { raw[name] = bytes }
  }

  func floats(_ name: String) -> [Float] {
    (raw[name] ?? []).withUnsafeBytes { bytes in (0..<bytes.count / 4).map { bytes.loadUnaligned(fromByteOffset: $0 * 4, as: Float.self) } }
  }

  func integers(_ name: String) -> [Int64] {
    (raw[name] ?? []).withUnsafeBytes { bytes in (0..<bytes.count / 8).map { bytes.loadUnaligned(fromByteOffset: $0 * 8, as: Int64.self) } }
  }
}
