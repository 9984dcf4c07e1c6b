import Families

/// A generator that gives the same numbers for the same seed everywhere (SplitMix64).
struct SeededNumbers {
  private var state: UInt64
  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
  mutating func chance(_ percent: Int) -> Bool { below(100) < percent }
  mutating func uniform() -> Double { Double(next() >> 11) * 0x1p-53 }
}

/// What a random forest is made of.
struct ForestShape {
  var features = 5
  var trees = 10
  var leavesMax = 20
  var outputs = 1
  var hasWideLeaves = false
  var comparisons: [TreeEnsemble.Comparison] = [.lessOrEqual]
  var missing: [TreeEnsemble.Missing] = [.notANumber]
  var summation = TreeEnsemble.Summation.double
  /// Thresholds are drawn from so many values for each feature; 0: every one anew.
  var thresholdsPerFeature = 0
  /// Thresholds that are no floats.
  var hasDoubleThresholds = false
  /// Every split is of the rightmost leaf: as deep as can be.
  var isChain = false
}

extension TreeEnsemble {
  /// A forest of that shape, by repeated splits of a random leaf.
  static func random(_ shape: ForestShape, _ numbers: inout SeededNumbers) -> TreeEnsemble {
    var ensemble = TreeEnsemble(
      featureCount: shape.features, outputCount: shape.outputs, leafWidth: shape.hasWideLeaves ? shape.outputs : 1, summation: shape.summation)
    let pool = (0..<shape.features).map { _ in (0..<shape.thresholdsPerFeature).map { _ in threshold(shape, &numbers) } }
    for _ in 0..<shape.trees {
      let leafCount = shape.features == 0 ? 1 : 1 + numbers.below(shape.leavesMax)
      var nodes: [Node] = []
      // Leaves that are still to be split: the node and side that they hang from; nil: the root.
      var open: [(node: Int, isLeft: Bool)?] = [nil]
      while open.count < leafCount {
        let place = shape.isChain ? open.count - 1 : numbers.below(open.count)
        let parent = open.remove(at: place)
        let feature = numbers.below(shape.features)
        let comparison = shape.comparisons[numbers.below(shape.comparisons.count)]
        var node = Node(
          feature: Int32(feature), comparison: comparison, missing: shape.missing[numbers.below(shape.missing.count)],
          defaultLeft: numbers.chance(50), threshold: 0, left: 0, right: 0)
        if comparison == .member {
          let words = 1 + numbers.below(3)
          node.categoryStart = Int32(ensemble.categoryBits.count)
          node.categoryWords = Int32(words)
          for _ in 0..<words { ensemble.categoryBits.append(UInt32(truncatingIfNeeded: numbers.next())) }
        } else {
          node.threshold = pool[feature].isEmpty ? threshold(shape, &numbers) : pool[feature][numbers.below(pool[feature].count)]
        }
        if let parent {
          if parent.isLeft { nodes[parent.node].left = Int32(nodes.count) } else { nodes[parent.node].right = Int32(nodes.count) }
        }
        open.append((nodes.count, true))
        open.append((nodes.count, false))
        nodes.append(node)
      }
      for (leaf, place) in open.enumerated() {
        guard let place else { continue }
        if place.isLeft { nodes[place.node].left = ~Int32(leaf) } else { nodes[place.node].right = ~Int32(leaf) }
      }
      let leafStart = ensemble.leafValues.count / ensemble.leafWidth
      for _ in 0..<open.count * ensemble.leafWidth { ensemble.leafValues.append(numbers.uniform() * 2 - 1) }
      ensemble.trees.append(
        Tree(
          nodeStart: Int32(ensemble.nodes.count), nodeCount: Int32(nodes.count), leafStart: Int32(leafStart), leafCount: Int32(open.count),
          output: shape.hasWideLeaves ? 0 : Int32(numbers.below(shape.outputs))))
      ensemble.nodes += nodes
    }
    return ensemble
  }

  static let oddValues: [Double] = [
    0, -0.0, 1, -1, .nan, .infinity, -.infinity, 1e-35, -1e-35, 1e-36, 5e-324, -5e-324, 1.4e-45, -1.4e-45, 3.4028234663852886e38, -3.5e38, 3.5e38, 0.1, 32, 95.5, 96, -0.5,
  ]

  private static func threshold(_ shape: ForestShape, _ numbers: inout SeededNumbers) -> Double {
    if numbers.chance(10) { return oddValues[numbers.below(oddValues.count)] }
    let value = numbers.uniform() * 4 - 2
    return shape.hasDoubleThresholds ? value : Double(Float(value))
  }

  /// Rows that try it: random values, odd ones, and exactly those of its thresholds.
  func rows(_ count: Int, _ numbers: inout SeededNumbers) -> [[Double]] {
    (0..<count).map { _ in
      var row = (0..<featureCount).map { _ in
        numbers.chance(15) ? Self.oddValues[numbers.below(Self.oddValues.count)] : numbers.chance(20) ? Double(numbers.below(100)) : numbers.uniform() * 4 - 2
      }
      if !nodes.isEmpty {
        for _ in 0..<min(featureCount, 1 + featureCount / 4) {
          let node = nodes[numbers.below(nodes.count)]
          row[Int(node.feature)] = node.threshold
        }
      }
      return row
    }
  }
}
