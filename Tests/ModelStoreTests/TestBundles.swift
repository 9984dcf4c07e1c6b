import Bundles
import Dispatch
import Families
import Kernels
import Foundation
import Logging
import Model
import Synchronization
import Telemetry

@testable import ModelStore

/// A folder of its own, gone with the object.
final class TestFolder {
  let path: String

  init() {
    path = FileManager.default.temporaryDirectory.appendingPathComponent("models-\(UUID().uuidString)").path
    try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func file(_ name: String) -> String { "\(path)/\(name)" }
}

enum TestBundles {
  /// A linear model of two inputs whose answer to (0, 0) is its version: what was answered tells which version did.
  static func bytes(name: String = "fraud", version: Int = 1, answer: Float? = nil, labels: [String] = [], features: [String] = ["a", "b"]) throws -> [UInt8] {
    try writer(name: name, version: version, answer: answer, labels: labels, features: features).encoded()
  }

  static func write(
    _ path: String, name: String = "fraud", version: Int = 1, answer: Float? = nil, labels: [String] = [], features: [String] = ["a", "b"]
  ) throws {
    try writer(name: name, version: version, answer: answer, labels: labels, features: features).write(to: path)
  }

  private static func writer(name: String, version: Int, answer: Float?, labels: [String], features: [String]) throws -> BundleWriter {
    let model = try LinearModel(
      weights: [Float](repeating: 0.5, count: features.count), biases: [answer ?? Float(version)], link: .identity, featureNames: features)
    let writer = BundleWriter(manifest: BundleManifest(name: name, version: version, family: "linear", outputs: model.outputs, labels: labels))
    model.write(into: writer)
    return writer
  }
}

extension TestBundles {
  /// A factorization machine of `rows` rows whose bias is its version.
  static func writeTable(_ path: String, version: Int, rows: Int = 50_000) throws {
    let width = 8
    guard let table = EmbeddingTable(rowCount: rows, precision: .float32, width: width, headWidth: 1) else { return }
    let specification = try ModelSpecification.parse(yaml: "model: table\nfamily: linear\nloss: squared\nfeatures: {a: categorical}\n", file: "table.yaml")
    guard let model = FactorizationModel(table: table, bias: [Float(version)], link: .identity, specification: specification) else { return }
    let writer = BundleWriter(manifest: BundleManifest(name: "table", version: version, family: "", outputs: model.outputs))
    model.write(into: writer)
    try writer.write(to: path)
  }
}

extension LoadedVersion {
  /// What it answers to zeros.
  var answer: Float {
    let batch = RowBatch(for: specification)
    if batch.denseRowBytes > 0 { batch.reserveDenseRow().initializeMemory(as: UInt8.self, repeating: 0, count: batch.denseRowBytes) }
    batch.endRow()
    let scorer = takeScorer()
    defer { giveBack(scorer) }
    scorer.reserve(rows: 1)
    scorer.score(batch)
    return scorer.scores[0]
  }
}

extension ModelStore {
  convenience init(_ sources: ModelSource..., registry: Registry = Registry()) {
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    self.init(sources: sources, scorersWarm: 1, registry: registry, logger: logger)
  }

  /// Looks at the files of the model now. What is wrong, or nil.
  @discardableResult
  func loadNow(_ name: String) -> String? { wait { load(name, completion: $0) } }

  @discardableResult
  func unloadNow(_ name: String) -> String? { wait { unload(name, completion: $0) } }

  private func wait(_ ask: (@escaping @Sendable (String?) -> Void) -> Void) -> String? {
    let done = DispatchSemaphore(value: 0)
    let problem = Mutex<String?>(nil)
    ask { answer in
      problem.withLock { $0 = answer }
      done.signal()
    }
    done.wait()
    return problem.withLock { $0 }
  }

  var fraud: StoreSnapshot.Model? { snapshot().models.first { $0.name == "fraud" } }
  var versions: [Int] { fraud?.versions.map(\.version) ?? [] }
}
