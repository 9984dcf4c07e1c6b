internal import Foundation

// The plain scorer: one row, one tree, one node at a time. Slow, and the oracle of all others.
extension TreeEnsemble {
  /// A value this close to 0 is missing under `Missing.zero`: LightGBM's kZeroThreshold, which is a float.
  public static let zeroMax = Double(Float(1e-35))

  /// What the model answers for one row of `featureCount` values: `outputCount` numbers, or one for `Link.argmax`. A model that takes
  /// floats answers the same for a row of floats. Sums of kind `float` are floats, in the order of trees. A forest that has `problems()`
  /// answers NaN where it is broken.
  public func score(row: [Double]) -> [Double] { answer(sums: sums(row: row)) }

  /// The sums before divisor and link; with the base where it comes first.
  public func sums(row: [Double]) -> [Double] {
    precondition(row.count == featureCount, "a row of \(row.count) values for \(featureCount) features")
    if summation == .float {
      var sums = beginsWithBase ? baseScores.map { Float($0) } : Array(repeating: Float(0), count: outputCount)
      for tree in trees {
        add(tree, row) { sums[$0] += Float($1) }
      }
      return sums.map(Double.init)
    }
    var sums = Array(repeating: 0.0, count: outputCount)
    for tree in trees {
      add(tree, row) { sums[$0] += $1 }
    }
    return sums
  }

  /// Divisor, base and link.
  public func answer(sums: [Double]) -> [Double] {
    var values = sums
    if !beginsWithBase {
      for output in values.indices { values[output] = values[output] / divisor + baseScores[output] }
    }
    return link.answer(values, scale: linkScale)
  }

  private var beginsWithBase: Bool { summation == .float && divisor == 1 }

  private func add(_ tree: Tree, _ row: [Double], _ add: (Int, Double) -> Void) {
    guard let leaf = leaf(of: tree, row) else {
      for output in 0..<outputCount { add(output, .nan) }
      return
    }
    let start = (Int(tree.leafStart) + leaf) * leafWidth
    guard start >= 0, start + leafWidth <= leafValues.count else { return add(0, .nan) }
    for value in 0..<leafWidth { add(Int(tree.output) + value, leafValues[start + value]) }
  }

  /// The leaf that a row ends in, counted from the tree's first. Nil when the tree is broken.
  public func leaf(of tree: Tree, _ row: [Double]) -> Int? {
    guard tree.nodeCount > 0 else { return 0 }
    var at = 0
    for _ in 0..<Int(tree.nodeCount) {
      let index = Int(tree.nodeStart) + at
      guard at < Int(tree.nodeCount), nodes.indices.contains(index) else { return nil }
      let node = nodes[index]
      guard row.indices.contains(Int(node.feature)) else { return nil }
      let child = goesLeft(node, row[Int(node.feature)]) ? node.left : node.right
      if child < 0 { return Int(~child) }
      at = Int(child)
    }
    return nil
  }

  private func goesLeft(_ node: Node, _ given: Double) -> Bool {
    var value = given
    switch node.missing {
    case .nothing: if value.isNaN { value = 0 }
    case .notANumber: if value.isNaN { return node.defaultLeft }
    case .zero: if value.isNaN || abs(value) <= Self.zeroMax { return node.defaultLeft }
    case .compared: break
    }
    switch node.comparison {
    case .lessOrEqual: return value <= node.threshold
    case .less: return value < node.threshold
    case .greaterOrEqual: return value >= node.threshold
    case .greater: return value > node.threshold
    case .equal: return value == node.threshold
    case .notEqual: return value != node.threshold
    case .member:
      let whole = value.rounded(.towardZero)
      guard whole >= 0, whole < Double(node.categoryWords) * 32 else { return false }
      let category = Int(whole)
      let word = Int(node.categoryStart) + category / 32
      guard categoryBits.indices.contains(word) else { return false }
      return categoryBits[word] >> UInt32(category % 32) & 1 == 1
    }
  }
}

extension TreeEnsemble.Link {
  /// What the model answers for one row's sums.
  func answer(_ values: [Double], scale: Double) -> [Double] {
    switch self {
    case .identity: return values
    case .sigmoid: return values.map { 1 / (1 + exp(-scale * $0)) }
    case .softmax:
      let most = values.max() ?? 0
      let powers = values.map { exp($0 - most) }
      let sum = powers.reduce(0, +)
      return powers.map { $0 / sum }
    case .exponential: return values.map { exp($0) }
    case .sigmoidEach:
      let each = values.map { 1 / (1 + exp(-scale * $0)) }
      let sum = each.reduce(0, +)
      return sum == 0 ? each : each.map { $0 / sum }
    case .signedSquare: return values.map { $0 * abs($0) }
    case .softplus: return values.map { $0 > 0 ? $0 + log1p(exp(-$0)) : log1p(exp($0)) }
    case .step: return values.map { $0 > 0 ? 1 : 0 }
    case .argmax:
      var best = 0
      for index in values.indices where values[index] > values[best] { best = index }
      return [Double(best)]
    case .probit: return values.map(Self.quantile)
    case .softmaxZero:
      let most = values.max() ?? 0
      let powers = values.map { abs($0) > 1e-7 ? exp($0 - most) : $0 * exp(-most) }
      let sum = zip(values, powers).reduce(0) { abs($1.0) > 1e-7 ? $0 + $1.1 : $0 }
      return sum == 0 ? powers : powers.map { $0 / sum }
    }
  }

  /// The quantile of the normal distribution, by bisection of the distribution function.
  private static func quantile(_ probability: Double) -> Double {
    guard probability > 0, probability < 1 else { return probability == 0 ? -.infinity : probability == 1 ? .infinity : .nan }
    var low = -40.0
    var high = 40.0
    for _ in 0..<200 {
      let middle = (low + high) / 2
      if 0.5 * erfc(-middle * 0.5.squareRoot()) < probability { low = middle } else { high = middle }
    }
    return (low + high) / 2
  }
}
