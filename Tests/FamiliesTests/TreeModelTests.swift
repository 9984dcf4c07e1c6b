import Bundles
import CKernels
import Kernels
import Model
import Testing

@testable import Families

@Suite struct TreeModelTests {
  /// One tree: x0 <= 1 ? (x1 < 2 ? 10 : 20) : 30.
  static let small = TreeEnsemble(
    featureCount: 2, outputCount: 1,
    nodes: [
      .init(feature: 0, comparison: .lessOrEqual, missing: .notANumber, defaultLeft: false, threshold: 1, left: 1, right: ~2),
      .init(feature: 1, comparison: .less, missing: .nothing, defaultLeft: false, threshold: 2, left: ~0, right: ~1),
    ], leafValues: [10, 20, 30], trees: [.init(nodeStart: 0, nodeCount: 2, leafStart: 0, leafCount: 3, output: 0)], baseScores: [0.5],
    featureNames: ["a", "b"])

  @Test func aTreeByHand() {
    let small = Self.small
    #expect(small.problems() == [])
    #expect(small.score(row: [1, 1.9]) == [10.5])
    #expect(small.score(row: [1, 2]) == [20.5])
    #expect(small.score(row: [1, .nan]) == [10.5])
    #expect(small.score(row: [1.1, 2]) == [30.5])
    #expect(small.score(row: [.nan, 2]) == [30.5])
  }

  @Test func everyProblemIsNamed() throws {
    func problems(_ change: (inout TreeEnsemble) -> Void) -> [String] {
      var broken = Self.small
      change(&broken)
      return broken.problems()
    }
    #expect(problems { $0.nodes[0].feature = 2 } == ["tree 0, node 0: feature 2 of 2"])
    #expect(problems { $0.nodes[0].left = 2 } == ["tree 0, node 0: child 2 of 2 nodes"])
    #expect(problems { $0.nodes[1].left = 0 } == ["tree 0, node 1: the root is its child"])
    #expect(problems { $0.nodes[1].left = 1 } == ["tree 0, node 1: child 1 is another node's too"])
    #expect(problems { $0.nodes[0].right = ~3 } == ["tree 0, node 0: leaf 3 of 3"])
    #expect(problems { $0.trees[0].nodeCount = 3 } == ["tree 0: 3 nodes from 0 on, in a forest of 2"])
    #expect(problems { $0.trees[0].leafCount = 4 } == ["tree 0: 4 leaves from 0 on, in a forest of 3"])
    #expect(problems { $0.nodes[0].right = ~1 } == ["tree 0, node 1: leaf 1 is another node's too"])
    #expect(problems { $0.trees.append($0.trees[0]) } == ["tree 1: its nodes or leaves are those of the trees before, too"])
    #expect(problems { $0.trees[0].output = 1 } == ["tree 0: output 1 of 1"])
    #expect(problems { $0.baseScores = [] } == ["forest: 0 base scores for 1 outputs"])
    #expect(problems { $0.divisor = 0 } == ["forest: a divisor of 0.0"])
    #expect(problems { $0.nodes[1].comparison = .member; $0.nodes[1].categoryWords = 1 } == ["tree 0, node 1: 1 words of categories from 0 on, of 0"])
    #expect(throws: TreeError.self) {
      var broken = Self.small
      broken.nodes[1].right = 1
      _ = try TreeModel(ensemble: broken)
    }
  }

  static func batch(_ rows: [[Double]], of element: TensorElement, features: Int) -> RowBatch {
    let batch = RowBatch(rowCapacity: max(1, rows.count), entryCapacity: 1, denseRowBytes: max(element.bytes, features * element.bytes), hasFields: false)
    for row in rows {
      let to = batch.reserveDenseRow()
      for (column, value) in row.enumerated() {
        if element == .float32 {
          to.storeBytes(of: Float(value), toByteOffset: column * 4, as: Float.self)
        } else {
          to.storeBytes(of: value, toByteOffset: column * 8, as: Double.self)
        }
      }
      batch.endRow()
    }
    return batch
  }

  @Test func aModelScoresItsRows() throws {
    let model = try TreeModel(ensemble: Self.small)
    #expect(model.inputs == [InputTensor(name: "input", shape: [2], columns: ["a", "b"], absent: .nan)] || model.inputs[0].absent?.isNaN == true)
    let scorer = model.makeScorer(rowsMax: 2)
    scorer.score(Self.batch([[1, 1.9], [1, 2], [2, 0]], of: .float32, features: 2))
    #expect([scorer.scores[0], scorer.scores[1], scorer.scores[2]] == [10.5, 20.5, 30.5])
  }

  @Test func aBundleHoldsTheModel() throws {
    var numbers = SeededNumbers(11)
    var ensemble = TreeEnsemble.random(ForestShape(comparisons: [.less, .member, .equal], missing: [.nothing, .zero]), &numbers)
    ensemble.link = .sigmoid
    ensemble.linkScale = 0.7
    let model = try TreeModel(ensemble: ensemble, shards: 3)
    let writer = BundleWriter(manifest: BundleManifest(name: "m", family: "", outputs: model.outputs))
    model.write(into: writer)
    let bytes = try writer.encoded()
    let bundle = try bytes.withUnsafeBytes { try ModelBundle.read($0) }
    let read = try TreeModel(bundle: bundle)
    // Its ranks stand in the file.
    #expect(bundle.contains("trees.ranks"))
    #expect(read.shards == 3 && read.family == "trees" && read.settings == model.settings)
    let rows = ensemble.rows(20, &numbers)
    let batch = Self.batch(rows, of: .float32, features: ensemble.featureCount)
    let scorers = [model.makeScorer(rowsMax: 1), read.makeScorer(rowsMax: 30)]
    for scorer in scorers { scorer.score(batch) }
    for row in 0..<rows.count { #expect(scorers[0].scores[row] == scorers[1].scores[row]) }
    // What it reads back can be written again, to the same bytes.
    let again = BundleWriter(manifest: bundle.manifest)
    read.write(into: again)
    #expect(try again.encoded() == bytes)
  }
}
