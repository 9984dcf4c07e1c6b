import Families
import Foundation
import Model
import Testing

@testable import Bundles
@testable import ONNX

/// Support vector machines by hand, and machines whose attributes do not fit each other. ConformanceTests has them beside onnxruntime, WholeModelTests
/// as scikit-learn makes them.
@Suite struct SupportVectorTests {
  private typealias Attributes = [String: ModelMaker.Value]

  /// Three vectors of two columns: one of the first class, two of the second.
  private static let classifier: Attributes = [
    "classlabels_ints": .ints([3, 8]), "vectors_per_class": .ints([1, 2]), "support_vectors": .floats([1, 0, 0, 1, 2, 2]),
    "coefficients": .floats([1, -2, -0.5]), "rho": .floats([0.25]), "kernel_type": .string("LINEAR"), "kernel_params": .floats([0.5, 0, 3]),
  ]
  private static let regressor: Attributes = [
    "n_supports": .int(2), "support_vectors": .floats([1, 0, 0, 1]), "coefficients": .floats([2, -1]), "rho": .floats([0.5]),
    "kernel_type": .string("RBF"), "kernel_params": .floats([0.5, 0, 3]),
  ]

  private func answer(_ operation: String, _ attributes: Attributes, _ rows: [Float], width: Int = 2) throws -> [String: ONNXTensor] {
    var maker = ModelMaker()
    maker.input("x", width: width)
    maker.node(operation, ["x"], operation == "SVMClassifier" ? ["label", "scores"] : ["y"], domain: "ai.onnx.ml", attributes)
    for output in operation == "SVMClassifier" ? ["label", "scores"] : ["y"] { maker.output(output) }
    return try ONNXSession(model: try maker.read()).run(["x": ONNXTensor(rows, [rows.count / width, width])])
  }

  @Test func machinesByHand() throws {
    // x = (2, 1): kernels 2, 1, 6; 2 - 2 - 3 + 0.25 = -2.75: a vote for the second class.
    let linear = try answer("SVMClassifier", Self.classifier, [2, 1, 1, -1])
    #expect(linear["label"]?.values(Int64.self) == [8, 3] && linear["scores"]?.floats == [2.75, -2.75, -3.25, 3.25])
    // Distances 1 and 2 from the vectors (1, 0) and (0, 1).
    let radial = try #require(try answer("SVMRegressor", Self.regressor, [1, 1, 0, -1])["y"]?.floats)
    #expect(abs(radial[0] - (2 * exp(-0.5) - exp(-0.5) + 0.5)) < 1e-6 && abs(radial[1] - (2 * exp(-1) - exp(-2) + 0.5)) < 1e-6)
    #expect(try answer("SVMRegressor", Self.regressor.merging(["one_class": .int(1), "rho": .floats([-1])]) { $1 }, [1, 1, 1, 0])["y"]?.floats == [-1, 1])
    // No vectors: a linear model.
    let plain: Attributes = ["coefficients": .floats([2, -1]), "rho": .floats([0.5]), "post_transform": .string("LOGISTIC")]
    let logistic = try #require(try answer("SVMRegressor", plain, [1, 1.5])["y"]?.floats)
    #expect(abs(logistic[0] - 1 / (1 + exp(-1))) < 1e-6)
    // Probabilities add up to one; more than a block of vectors.
    let many: Attributes = [
      "classlabels_strings": .strings(["a", "b", "c"]), "vectors_per_class": .ints([7, 6, 20]), "support_vectors": .floats((0..<66).map { Float($0 % 7) - 3 }),
      "coefficients": .floats((0..<66).map { Float($0 % 5) - 2 }), "rho": .floats([0.1, 0.2, 0.3]), "kernel_type": .string("RBF"), "kernel_params": .floats([0.2, 0, 3]),
      "prob_a": .floats([-1, -2, -1]), "prob_b": .floats([0, 0.1, 0]),
    ]
    let probabilities = try #require(try answer("SVMClassifier", many, [1, 2, -1, 0, .nan, 0])["scores"]?.floats)
    #expect(probabilities.count == 9 && abs(probabilities[0..<3].reduce(0, +) - 1) < 1e-4 && abs(probabilities[3..<6].reduce(0, +) - 1) < 1e-4)
  }

  /// A file of attributes alone: nothing but the model keeps it mapped while a bundle is made of it.
  @Test func aFileBecomesABundle() throws {
    var maker = ModelMaker()
    maker.input("x", width: 2)
    maker.node("SVMClassifier", ["x"], ["label", "scores"], domain: "ai.onnx.ml", Self.classifier)
    maker.output("label", .int64)
    maker.output("scores")
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("millrace-svm-\(UUID().uuidString).onnx")
    try Data(maker.bytes).write(to: path)
    defer { try? FileManager.default.removeItem(at: path) }
    let model = try ONNXGraphModel(model: try ONNXModel.read(path: path.path))
    let writer = BundleWriter(manifest: BundleManifest(name: "svm", family: "onnx", outputs: model.outputs))
    try model.write(into: writer)
    let served = try ONNXGraphModel(bundle: try writer.encoded().withUnsafeBytes { try ModelBundle.read($0, verifying: .everything) })
    #expect(served.outputs.map(\.name) == ["scores", "label"] && !served.isRowByRow)
    #expect(ServedGraphTests.score(served.makeScorer(rowsMax: 3), ServedGraphTests.batch(served, [[2, 1], [1, -1], [0, 0]])).prefix(4) == [2.75, -2.75, -3.25, 3.25])
  }

  @Test(arguments: [
    ("vectors_per_class", .ints([1, 1])), ("vectors_per_class", .ints([1])), ("vectors_per_class", .ints([4, -1])), ("vectors_per_class", .ints([.max, 1])),
    ("support_vectors", .floats([1, 0, 0, 1, 2])), ("coefficients", .floats([1, -2])), ("coefficients", .floats([])), ("rho", .floats([])),
    ("rho", .floats([1, 2])), ("kernel_params", .floats([1, 2])), ("kernel_type", .string("WAVELET")), ("classlabels_ints", .ints([1])),
    ("classlabels_ints", .ints([1, 2, 3])), ("prob_a", .floats([1])), ("post_transform", .string("PROBIT")), ("post_transform", .string("CUBE")),
    ("classlabels_ints", .ints(Array(0..<1025))),
  ] as [(String, ModelMaker.Value)])
  func classifiersThatDoNotFitAreRefused(name: String, value: ModelMaker.Value) {
    let attributes = Self.classifier.merging([name: value]) { $1 }
    #expect(throws: ONNXError.self, "\(name)") { try answer("SVMClassifier", attributes, [1, 2]) }
    #expect(throws: ONNXError.self) { try answer("SVMClassifier", Self.classifier, [1, 2, 3], width: 3) }
  }

  @Test(arguments: [
    ("n_supports", .int(3)), ("n_supports", .int(-1)), ("n_supports", .int(.max)), ("support_vectors", .floats([1])), ("coefficients", .floats([1])),
    ("rho", .floats([])), ("kernel_params", .floats([1])), ("kernel_type", .string("")), ("n_supports", .int(0)),
  ] as [(String, ModelMaker.Value)])
  func regressorsThatDoNotFitAreRefused(name: String, value: ModelMaker.Value) {
    var attributes = Self.regressor.merging([name: value]) { $1 }
    // Without vectors the coefficients are weights: three of them for two columns.
    if case .int(0) = value { attributes["coefficients"] = .floats([1, 2, 3]) }
    #expect(throws: ONNXError.self, "\(name)") { try answer("SVMRegressor", attributes, [1, 2]) }
  }
}
