import AllocationThresholds
import Bundles
import Foundation
import Model
import Testing

@testable import Families

@Suite struct LinearModelTests {
  private static let rows: [[Float]] = [[1, 2, 3], [0, -1, .nan], [.nan, .nan, .nan], [0.5, 10, -1e-3]]

  private static func model(_ link: TreeEnsemble.Link = .identity) throws -> LinearModel {
    try LinearModel(weights: [1, -1, 0.5, 2, -0.25, 0], biases: [0.125, -3], link: link, featureNames: ["a", "b", "c"])
  }

  private static func batch(_ rows: [[Float]] = rows) -> RowBatch {
    let batch = RowBatch(rowCapacity: rows.count, entryCapacity: 1, denseRowBytes: 12, hasFields: false)
    for row in rows {
      let dense = batch.reserveDenseRow()
      for (column, value) in row.enumerated() { dense.storeBytes(of: value, toByteOffset: 4 * column, as: Float.self) }
      batch.endRow()
    }
    return batch
  }

  private static func margins(_ row: [Float]) -> [Float] {
    var sums: [Float] = [0.125, -3]
    let weights: [[Float]] = [[1, -1], [0.5, 2], [-0.25, 0]]
    for (feature, value) in row.enumerated() where !value.isNaN {
      for output in 0..<2 { sums[output] += value * weights[feature][output] }
    }
    return sums
  }

  @Test(arguments: [TreeEnsemble.Link.identity, .sigmoid, .softmax, .exponential, .step, .argmax])
  func everyLinkAnswersForItsMargins(_ link: TreeEnsemble.Link) throws {
    let model = try Self.model(link)
    let scorer = model.makeScorer(rowsMax: 1)
    scorer.score(Self.batch())
    let width = model.outputs[0].count
    for (index, row) in Self.rows.enumerated() {
      let expected = link.answer(Self.margins(row).map(Double.init), scale: 1)
      #expect(expected.count == width)
      for output in 0..<width {
        let own = Double(scorer.scores[index * width + output])
        #expect(own == expected[output] || abs(own - expected[output]) <= 1e-6 * max(1, abs(expected[output])), "\(link) of \(row)")
      }
    }
  }

  @Test func partialAndFinishAreTheScore() throws {
    let model = try Self.model(.softmax)
    let whole = model.makeScorer(rowsMax: 8)
    let parts = model.makeScorer(rowsMax: 8)
    let batch = Self.batch()
    whole.score(batch)
    var sums = [Float](repeating: 0, count: Self.rows.count * model.accumulatorWidth)
    sums.withUnsafeMutableBufferPointer { sums in
      guard let base = sums.baseAddress else { return }
      parts.partial(shard: 0, batch, into: base)
      parts.finish(base, batch)
    }
    for place in 0..<(2 * Self.rows.count) { #expect(whole.scores[place] == parts.scores[place]) }
  }

  @Test func aBundleHoldsTheModel() throws {
    let model = try Self.model(.sigmoid)
    let writer = BundleWriter(manifest: BundleManifest(name: "m", family: "", outputs: model.outputs))
    model.write(into: writer)
    let bytes = try writer.encoded()
    let read = try LinearModel(bundle: try bytes.withUnsafeBytes { try ModelBundle.read($0) })
    #expect(read.weights == model.weights && read.biases == model.biases && read.link == model.link)
    #expect(read.inputs.map(\.columns) == [["a", "b", "c"]] && read.inputs[0].absent?.isNaN == true && read.outputs == model.outputs)
  }

  @Test func bundlesThatDoNotFitAreRefused() throws {
    func refused(_ change: (BundleWriter) -> Void) throws {
      let model = try Self.model(.sigmoid)
      let writer = BundleWriter(manifest: BundleManifest(name: "m", family: "linear", outputs: model.outputs))
      writer.manifest.inputs = model.inputs
      writer.manifest.parameters = ["link": 1]
      change(writer)
      let bytes = try writer.encoded()
      let bundle = try bytes.withUnsafeBytes { try ModelBundle.read($0) }
      #expect(throws: BundleError.self) { try LinearModel(bundle: bundle) }
    }
    try refused { $0.add("weights", element: .float32, [Float](repeating: 1, count: 6)) }
    try refused {
      $0.add("weights", element: .float32, [Float](repeating: 1, count: 5))
      $0.add("biases", element: .float32, [Float(1), 2])
    }
    try refused {
      $0.add("weights", element: .float32, [Float](repeating: 1, count: 4))
      $0.add("biases", element: .float32, [Float(1), 2])
    }
    try refused {
      $0.add("weights", element: .float32, [Float](repeating: 1, count: 6))
      $0.add("biases", element: .float32, [Float(1), 2])
      $0.manifest.parameters = ["link": 99]
    }
    try refused {
      $0.add("weights", element: .float32, [Float](repeating: 1, count: 6))
      $0.add("biases", element: .float32, [Float(1), 2])
      $0.manifest.parameters = ["link": JSONValue(Int(TreeEnsemble.Link.probit.rawValue))]
    }
  }

  @Test func scoringAllocatesNothing() throws {
    let scorer = try Self.model(.softmax).makeScorer(rowsMax: 4)
    let batch = Self.batch()
    scorer.score(batch)
    let count = AllocationThresholds.ofThread { for _ in 0..<20 { scorer.score(batch) } }
    let allowed = try #require(try AllocationThresholds()["families.linear.20-batches"])
    #expect(count <= allowed, "\(count) allocations")
  }
}
