import AllocationThresholds
import Bundles
import Kernels
import Model
import Testing

@testable import Families

/// What stands around the sums: links, bases, shards, tensors, allocations.
@Suite struct TreeScorerTests {
  static let links: [TreeEnsemble.Link] = [
    .identity, .sigmoid, .softmax, .exponential, .sigmoidEach, .signedSquare, .softplus, .step, .argmax, .probit, .softmaxZero,
  ]

  @Test(arguments: links) func everyLink(_ link: TreeEnsemble.Link) throws {
    var numbers = SeededNumbers(UInt64(link.rawValue) + 40)
    for outputs in [1, 3] {
      var ensemble = TreeEnsemble.random(ForestShape(trees: 6, leavesMax: 9, outputs: outputs), &numbers)
      ensemble.link = link
      ensemble.linkScale = link == .sigmoid ? 0.3 : 1
      ensemble.baseScores = ensemble.baseScores.map { _ in numbers.uniform() }
      // The quantile asks for probabilities.
      if link == .probit { ensemble.leafValues = ensemble.leafValues.map { abs($0) / 6 } }
      let model = try TreeModel(
        ensemble: ensemble, inputs: [InputTensor(name: "input", element: .float64, shape: [ensemble.featureCount])],
        outputs: [OutputTensor(name: "p", element: .float64, shape: [link == .argmax ? 1 : outputs])])
      let rows = ensemble.rows(50, &numbers)
      let scorer = model.makeScorer(rowsMax: 1)
      scorer.score(TreeModelTests.batch(rows, of: .float64, features: ensemble.featureCount))
      let answers = scorer.outputs[0].assumingMemoryBound(to: Double.self)
      let count = model.outputs[0].count
      for (row, values) in rows.enumerated() {
        let expected = ensemble.score(row: values)
        #expect(expected.count == count)
        for output in 0..<count {
          let found = answers[row * count + output]
          let isSame = found == expected[output] || abs(found - expected[output]) <= 1e-5 * max(1, abs(expected[output]))
            || (found.isNaN && expected[output].isNaN)
          #expect(isSame, "\(link): \(found) for \(expected[output])")
        }
      }
    }
  }

  @Test func linksAtTheEnds() {
    #expect(TreeEnsemble.Link.sigmoid.answer([1000, -1000], scale: 1) == [1, 0])
    #expect(TreeEnsemble.Link.softmax.answer([1000, 1000], scale: 1) == [0.5, 0.5])
    #expect(TreeEnsemble.Link.softplus.answer([1000, -1000], scale: 1) == [1000, 0])
    #expect(TreeEnsemble.Link.argmax.answer([1, 3, 3], scale: 1) == [1])
    #expect(abs(TreeEnsemble.Link.probit.answer([0.975], scale: 1)[0] - 1.959963984540054) < 1e-12)
  }

  /// A forest in 7 shards, one of them of no tree.
  @Test(arguments: [TreeEnsemble.Summation.double, .float]) func shardsAddUp(_ summation: TreeEnsemble.Summation) throws {
    var numbers = SeededNumbers(77)
    var ensemble = TreeEnsemble.random(ForestShape(trees: 6, leavesMax: 30, outputs: 2, summation: summation), &numbers)
    ensemble.leafValues = ensemble.leafValues.map { $0 * 1000 }
    ensemble.baseScores = [0.25, -3]
    ensemble.link = .softmax
    let rows = ensemble.rows(70, &numbers)
    let batch = TreeModelTests.batch(rows, of: .float32, features: ensemble.featureCount)
    for shards in [1, 7] {
      let model = try TreeModel(
        ensemble: ensemble, outputs: [OutputTensor(name: "output", element: .float64, shape: [2])], shards: shards)
      #expect((0..<shards).flatMap { model.trees(ofShard: $0) } == Array(0..<6))
      #expect(model.accumulatorWidth == (summation == .float ? 2 : 4))
      let scorer = model.makeScorer(rowsMax: 70)
      let whole = model.makeScorer(rowsMax: 70)
      let accumulators = UnsafeMutablePointer<Float>.allocate(capacity: 70 * model.accumulatorWidth)
      accumulators.initialize(repeating: 0, count: 70 * model.accumulatorWidth)
      defer { accumulators.deallocate() }
      for shard in 0..<shards { scorer.partial(shard: shard, batch, into: accumulators) }
      scorer.finish(accumulators, batch)
      whole.score(batch)
      let parts = scorer.outputs[0].assumingMemoryBound(to: Double.self)
      let sums = whole.outputs[0].assumingMemoryBound(to: Double.self)
      for index in 0..<140 {
        // In double the pairs lose next to nothing; in float the order of adds differs, unless there is one shard.
        let allowed = summation == .double ? 1e-9 : shards == 1 ? 0 : 1e-3
        #expect(abs(parts[index] - sums[index]) <= allowed, "\(parts[index]) for \(sums[index]) with \(shards) shards")
      }
    }
  }

  @Test func tensorsThatDoNotFitAreRefused() {
    func refusal(_ inputs: [InputTensor]?, _ outputs: [OutputTensor]?, shards: Int = 1) -> String? {
      do {
        _ = try TreeModel(ensemble: TreeModelTests.small, inputs: inputs, outputs: outputs, shards: shards)
        return nil
      } catch {
        return error.description
      }
    }
    #expect(refusal(nil, nil) == nil)
    #expect(refusal([InputTensor(name: "x", shape: [3])], nil) == "inputs: one tensor of 2 values is due")
    #expect(refusal([InputTensor(name: "x", element: .int64, shape: [2])], nil) == "input \"x\": INT64 where FP32 or FP64 is due")
    #expect(refusal(nil, [OutputTensor(name: "y", shape: [2])]) == "outputs: one tensor of 1 values is due")
    #expect(refusal(nil, nil, shards: 0) == "forest: 0 shards")
  }

  /// What a hostile bundle may hold: each change must be refused, with its place.
  @Test func aBundleIsCheckedBeforeItIsUsed() throws {
    func refusal(
      ranks: [UInt32]? = nil, _ change: (inout BundleManifest, inout [Int32], inout [Int32]) -> Void = { _, _, _ in }
    ) throws -> String? {
      let model = try TreeModel(ensemble: TreeModelTests.small)
      let writer = BundleWriter(manifest: BundleManifest(name: "m", family: "", outputs: model.outputs))
      model.write(into: writer)
      let whole = try writer.encoded().withUnsafeBytes { try ModelBundle.read($0) }
      var nodes = Array(try whole.array("trees.nodes", of: Int32.self))
      var trees = Array(try whole.array("trees.trees", of: Int32.self))
      var manifest = whole.manifest
      change(&manifest, &nodes, &trees)
      let broken = BundleWriter(manifest: manifest)
      nodes.withUnsafeBytes { broken.add("trees.nodes", element: .uint8, shape: [$0.count / 32, 32], bytes: $0) }
      trees.withUnsafeBytes { broken.add("trees.trees", element: .int32, shape: [$0.count / 20, 5], bytes: $0) }
      try broken.add(section: "trees.categories", of: whole)
      try broken.add(section: "trees.leaves", of: whole)
      if let ranks { broken.add("trees.ranks", element: .uint32, ranks) } else { try broken.add(section: "trees.ranks", of: whole) }
      do {
        _ = try TreeModel(bundle: try broken.encoded().withUnsafeBytes { try ModelBundle.read($0) })
        return nil
      } catch let error as BundleError {
        return error.place
      }
    }
    #expect(try refusal() == nil)
    #expect(try refusal(ranks: [0, 0]) == nil)
    #expect(try refusal(ranks: [0]) == "section \"trees.ranks\"")
    #expect(try refusal(ranks: [1, 0]) == "node 0")
    #expect(try refusal(ranks: [0, .max]) == "node 1")
    // Words of a node: feature; comparison, missing, side; threshold; categories; left, right.
    #expect(try refusal { _, nodes, _ in nodes[0] = 2 } == "tree 0, node 0")
    #expect(try refusal { _, nodes, _ in nodes[0] = -1 } == "tree 0, node 0")
    #expect(try refusal { _, nodes, _ in nodes[8 + 1] = 0x0008 } == "tree 0, node 1")
    #expect(try refusal { _, nodes, _ in nodes[8 + 1] = 0x0401 } == "tree 0, node 1")
    #expect(try refusal { _, nodes, _ in nodes[8 + 1] = 0x0002_0001 } == "tree 0, node 1")
    #expect(try refusal { _, nodes, _ in nodes[8 + 1] = 7; nodes[8 + 5] = 1 } == "tree 0, node 1")
    #expect(try refusal { _, nodes, _ in nodes[8 + 1] = 7; nodes[8 + 4] = .max; nodes[8 + 5] = .max } == "tree 0, node 1")
    #expect(try refusal { _, nodes, _ in nodes[6] = 0 } == "tree 0, node 0")
    #expect(try refusal { _, nodes, _ in nodes[7] = 1 } == "tree 0, node 0")
    #expect(try refusal { _, nodes, _ in nodes[8 + 6] = 1 } == "tree 0, node 1")
    #expect(try refusal { _, nodes, _ in nodes[8 + 7] = .min } == "tree 0, node 1")
    // As many trees of the same nodes as one likes would be packed over and over.
    #expect(try refusal { _, _, trees in trees += trees } == "tree 1")
    #expect(try refusal { _, nodes, _ in nodes[7] = ~1 } == "tree 0, node 1")
    #expect(try refusal { _, _, trees in trees[0] = .max } == "tree 0")
    #expect(try refusal { _, _, trees in trees[1] = 3 } == "tree 0")
    #expect(try refusal { _, _, trees in trees[2] = -1 } == "tree 0")
    #expect(try refusal { _, _, trees in trees[3] = 0 } == "tree 0")
    #expect(try refusal { _, _, trees in trees[4] = 1 } == "tree 0")
    #expect(try refusal { manifest, _, _ in manifest.parameters["features"] = 1 } != nil)
    #expect(try refusal { manifest, _, _ in manifest.parameters["leaf_width"] = 2 } != nil)
    #expect(try refusal { manifest, _, _ in manifest.parameters["link"] = 99 } == "manifest.parameters.link")
    #expect(try refusal { manifest, _, _ in manifest.parameters["base"] = [] } == "manifest.parameters.base")
    #expect(try refusal { manifest, _, _ in manifest.parameters["divisor"] = 0 } == "manifest.parameters.divisor")
    #expect(try refusal { manifest, _, _ in manifest.familyVersion = 2 } == "manifest.family_version")
  }

  @Test func scoringAllocatesNothing() throws {
    guard AllocationThresholds.areCounted else { return }
    let allowed = try #require(try AllocationThresholds()["trees.score.100-batches"])
    var numbers = SeededNumbers(3)
    for (leavesMax, comparisons) in [(60, [TreeEnsemble.Comparison.lessOrEqual]), (600, [.lessOrEqual]), (30, [.member, .less])] {
      var ensemble = TreeEnsemble.random(
        ForestShape(features: 6, trees: 5, leavesMax: leavesMax, comparisons: comparisons, thresholdsPerFeature: 9), &numbers)
      ensemble.link = .sigmoid
      let model = try TreeModel(ensemble: ensemble, shards: 2)
      let batches = [1, 5, 70].map { TreeModelTests.batch(ensemble.rows($0, &numbers), of: .float32, features: 6) }
      let scorer = model.makeScorer(rowsMax: 1)
      let accumulators = UnsafeMutablePointer<Float>.allocate(capacity: 70 * model.accumulatorWidth)
      defer { accumulators.deallocate() }
      let zero = { for index in 0..<70 * model.accumulatorWidth { accumulators[index] = 0 } }
      let steps: [(name: String, run: (RowBatch) -> Void)] = [
        ("score", { scorer.score($0) }),
        ("partial", {
          scorer.partial(shard: 0, $0, into: accumulators)
          scorer.partial(shard: 1, $0, into: accumulators)
        }),
        ("finish", { scorer.finish(accumulators, $0) }),
      ]
      zero()
      let (one, few, many) = (batches[0], batches[1], batches[2])
      for step in steps {
        let run = step.run
        // Loops over collections allocate by themselves in debug builds.
        func rounds(_ count: Int) {
          var left = count
          while left > 0 {
            run(one)
            run(few)
            run(many)
            left -= 1
          }
        }
        rounds(1)
        let count = AllocationThresholds.ofThread { rounds(34) }
        #expect(count <= allowed, "\(count) allocations of \(step.name) with up to \(leavesMax) leaves")
      }
    }
  }
}
