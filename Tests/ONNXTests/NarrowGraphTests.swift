import Families
import Kernels
import Model
import Testing

@testable import Bundles
@testable import ONNX

/// Graphs whose layers are computed, and stored, in int8 or bfloat16.
@Suite struct NarrowGraphTests {
  private struct Made {
    let exact: ONNXGraphModel
    let rows: [[Float]]
    let expected: [Float]
  }

  /// Wide enough that the weights of the first layer are a section of their own.
  private func made(seed: UInt64) throws -> Made {
    let model = try ONNXGraphModel(model: try ServedGraphTests.perceptron(width: 200, seed: seed).read())
    var numbers = Numbers(seed: seed)
    let rows = (0..<40).map { _ in numbers.floats(200) }
    return Made(exact: model, rows: rows, expected: scores(model, rows))
  }

  private func scores(_ model: ONNXGraphModel, _ rows: [[Float]]) -> [Float] {
    ServedGraphTests.score(model.makeScorer(rowsMax: rows.count), ServedGraphTests.batch(model, rows))
  }

  private func distance(_ a: [Float], _ b: [Float]) -> Float { zip(a, b).map { abs($0 - $1) }.max() ?? 0 }

  private func bundle(_ model: ONNXGraphModel) throws -> ModelBundle {
    let writer = BundleWriter(manifest: BundleManifest(name: "m", family: "", outputs: []))
    try model.write(into: writer)
    return try writer.encoded().withUnsafeBytes { try ModelBundle.read($0, verifying: .everything) }
  }

  @Test(arguments: [(MatrixPrecision.int8, Float(0.05)), (.bfloat16, 0.03)])
  func narrowLayersStayNearAndTakeLess(_ precision: MatrixPrecision, _ bound: Float) throws {
    let made = try made(seed: 3)
    #expect(made.exact.denseLayerCount == 3)
    let narrow = try made.exact.converted(to: precision)
    let direct = distance(scores(narrow, made.rows), made.expected)
    #expect(direct > 0 && direct < bound)
    let whole = try bundle(made.exact)
    let stored = try bundle(narrow)
    let section = try #require(stored.sections.first { $0.shape == [9, 200] })
    #expect(section.element == (precision == .int8 ? .int8 : .bfloat16))
    #expect(stored.byteCount < whole.byteCount)
    let read = try ONNXGraphModel(bundle: stored)
    #expect(read.options.precision == precision)
    #expect(distance(scores(read, made.rows), made.expected) < bound)
    // Written again it is the same: narrow numbers are read back as what they stand for.
    let again = try Array(bundle(read).bytes(section.name))
    let first = try Array(stored.bytes(section.name))
    #expect(again == first)
  }

  @Test func calibratedScalesAreUsedAndStored() throws {
    let made = try made(seed: 5)
    let batch = ServedGraphTests.batch(made.exact, made.rows)
    let inputs = try made.exact.calibrated(on: [batch])
    #expect(inputs.map(\.inputs) == [200, 9, 5] && inputs.map(\.outputs) == [9, 5, 2])
    #expect(inputs[0].low < 0 && inputs[0].high > 0)
    #expect(inputs[1].low == 0 && inputs[1].high > 0, "behind a ReLU")
    let fixed = try made.exact.converted(to: .int8, layerInputs: inputs)
    let direct = scores(fixed, made.rows)
    #expect(distance(direct, made.expected) < 0.15)
    let dynamic = scores(try made.exact.converted(to: .int8), made.rows)
    #expect(direct != dynamic, "a scale for each row gives other numbers")
    let read = try ONNXGraphModel(bundle: try bundle(fixed))
    #expect(read.options.layerInputs == inputs)
    #expect(distance(scores(read, made.rows), made.expected) < 0.15)
    // Beyond what was calibrated values saturate.
    let large = made.rows.map { row in row.map { $0 * 100 } }
    #expect(!scores(fixed, large).contains { !$0.isFinite })
  }

  @Test func aCalibrationOfAnotherGraphIsRefused() throws {
    let made = try made(seed: 5)
    for wrong in [
      [ONNXLayerInput(inputs: 200, outputs: 9)], [ONNXLayerInput(inputs: 6, outputs: 9), .init(inputs: 9, outputs: 5), .init(inputs: 5, outputs: 2)],
      [ONNXLayerInput](repeating: .init(inputs: 200, outputs: 9), count: 4),
    ] {
      #expect(throws: ONNXError.self) { try made.exact.converted(to: .int8, layerInputs: wrong) }
    }
  }

  @Test func narrowSectionsThatDoNotFitAreRefused() throws {
    let narrow = try made(seed: 3).exact.converted(to: .int8)
    let writer = BundleWriter(manifest: BundleManifest(name: "m", family: "", outputs: []))
    try narrow.write(into: writer)
    let whole = try writer.encoded().withUnsafeBytes { try ModelBundle.read($0) }
    let name = try #require(whole.sections.first { $0.element == .int8 }).name
    func refused(_ change: (BundleSection) -> (shape: [Int], bytes: Int)?) throws {
      let damaged = BundleWriter(manifest: whole.manifest)
      for section in whole.sections {
        guard let (shape, count) = change(section) else { continue }
        damaged.add(section.name, element: section.element, shape: shape, bytes: UnsafeRawBufferPointer(rebasing: try whole.bytes(section.name)[..<count]), owner: whole)
      }
      let bundle = try damaged.encoded().withUnsafeBytes { try ModelBundle.read($0) }
      #expect(throws: BundleError.self) { try ONNXGraphModel(bundle: bundle) }
    }
    try refused { $0.name == "\(name).scales" ? nil : ($0.shape, $0.byteCount) }
    try refused { $0.name == "\(name).scales" ? ([$0.shape[0] - 1, 1], $0.byteCount - 4) : ($0.shape, $0.byteCount) }
    try refused { $0.name == name ? ([$0.shape[0], $0.shape[1] - 1], $0.byteCount - $0.shape[0]) : ($0.shape, $0.byteCount) }
  }

  @Test func rangesBecomeScales() {
    let both = ONNXLayerInput(inputs: 1, outputs: 1, low: -1, high: 3)
    #expect(both.zeroPoint == 64 && abs(both.scale - 4 / 255) < 1e-7)
    let positive = ONNXLayerInput(inputs: 1, outputs: 1, low: 1, high: 2.55)
    #expect(positive.zeroPoint == 0 && positive.low == 0 && abs(positive.scale - 0.01) < 1e-7)
    let nothing = ONNXLayerInput(inputs: 1, outputs: 1)
    #expect(nothing.scale == 1 && nothing.zeroPoint == 0)
    let widest = ONNXLayerInput(inputs: 1, outputs: 1, low: -.greatestFiniteMagnitude, high: .greatestFiniteMagnitude)
    #expect(widest.scale.isFinite && widest.zeroPoint == 128)
  }
}
