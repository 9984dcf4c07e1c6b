import Families

/// The lines of one `Tree=` block that matter for scoring; the others (gains, weights, counts) are passed over.
struct LightGBMTreeLines {
  /// "Tree=12", for messages.
  let name: String
  var leafCount: Int?
  var categoricalCount = 0
  var isLinear = false
  var splitFeature = TextField()
  var threshold = TextField()
  var decisionType = TextField()
  var leftChild = TextField()
  var rightChild = TextField()
  var leafValue = TextField()
  var categoryBoundaries = TextField()
  var categoryWords = TextField()

  /// A list that stands in one line.
  struct TextField {
    var slice: TextSlice?
    var line = 0
  }

  init(name: String) { self.name = name }

  mutating func take(key: TextSlice, value: TextSlice, line: Int) throws(ImportError) {
    if key == "num_leaves" {
      leafCount = try count(value, "num_leaves", line)
    } else if key == "num_cat" {
      categoricalCount = try count(value, "num_cat", line)
    } else if key == "is_linear" {
      isLinear = try count(value, "is_linear", line) != 0
    } else if key == "split_feature" {
      splitFeature = TextField(slice: value, line: line)
    } else if key == "threshold" {
      threshold = TextField(slice: value, line: line)
    } else if key == "decision_type" {
      decisionType = TextField(slice: value, line: line)
    } else if key == "left_child" {
      leftChild = TextField(slice: value, line: line)
    } else if key == "right_child" {
      rightChild = TextField(slice: value, line: line)
    } else if key == "leaf_value" {
      leafValue = TextField(slice: value, line: line)
    } else if key == "cat_boundaries" {
      categoryBoundaries = TextField(slice: value, line: line)
    } else if key == "cat_threshold" {
      categoryWords = TextField(slice: value, line: line)
    }
  }

  private func count(_ value: TextSlice, _ key: String, _ line: Int) throws(ImportError) -> Int {
    guard let number = value.integer, number >= 0, number < Int32.max else {
      throw ImportError(place: "line \(line), \(name), \(key)", reason: "a count was expected, not \"\(value.excerpt)\"")
    }
    return number
  }
}

/// Makes trees of an ensemble from their lines. Its lists are reused from tree to tree.
struct LightGBMTreeBuilder {
  /// Smaller values are zeros to LightGBM: it leaves them out of rows before trees see them (`kZeroThreshold`, a float there).
  static let zeroMax = Double(Float(1e-35))

  private var integers: [Int] = []
  private var numbers: [Double] = []
  private var decisions: [Int] = []
  private var lefts: [Int] = []
  private var rights: [Int] = []
  private var boundaries: [Int] = []
  private var pending: [Int32] = []
  private var isReached: [Bool] = []

  mutating func append(_ tree: LightGBMTreeLines, output: Int, to ensemble: inout TreeEnsemble) throws(ImportError) {
    guard !tree.isLinear else {
      throw ImportError(
        place: tree.name,
        reason: "linear trees (linear_tree=true) cannot be imported: their leaves are linear models of raw features. Train without linear_tree.")
    }
    guard let leafCount = tree.leafCount else { throw ImportError(place: tree.name, reason: "it has no num_leaves") }
    guard leafCount >= 1 else { throw ImportError(place: tree.name, reason: "num_leaves=0: a tree has at least one leaf") }
    let nodeCount = leafCount - 1
    let nodeStart = ensemble.nodes.count
    let leafStart = ensemble.leafValues.count
    let wordStart = ensemble.categoryBits.count
    guard nodeStart + nodeCount < Int32.max, leafStart + leafCount < Int32.max else {
      throw ImportError(place: tree.name, reason: "more than \(Int32.max) nodes in one model")
    }

    try doubles(tree.leafValue, leafCount, tree.name, "leaf_value", &numbers)
    for (leaf, value) in numbers.enumerated() where !value.isFinite {
      throw ImportError(place: "line \(tree.leafValue.line), \(tree.name), leaf_value[\(leaf)]", reason: "\(value) is no score")
    }
    ensemble.leafValues += numbers
    if nodeCount > 0 {
      try words(of: tree, into: &ensemble.categoryBits)
      try nodes(of: tree, nodeCount, wordStart, into: &ensemble)
      try checkShape(tree, ensemble.nodes[nodeStart...])
    }
    ensemble.trees.append(
      TreeEnsemble.Tree(
        nodeStart: Int32(nodeStart), nodeCount: Int32(nodeCount), leafStart: Int32(leafStart), leafCount: Int32(leafCount),
        output: Int32(output)))
  }

  private mutating func nodes(of tree: LightGBMTreeLines, _ count: Int, _ wordStart: Int, into ensemble: inout TreeEnsemble) throws(ImportError) {
    try self.integers(tree.splitFeature, count, tree.name, "split_feature", &integers)
    try doubles(tree.threshold, count, tree.name, "threshold", &numbers)
    try self.integers(tree.leftChild, count, tree.name, "left_child", &lefts)
    try self.integers(tree.rightChild, count, tree.name, "right_child", &rights)
    if tree.decisionType.slice == nil {
      decisions = Array(repeating: 0, count: count)
    } else {
      try self.integers(tree.decisionType, count, tree.name, "decision_type", &decisions)
    }
    ensemble.nodes.reserveCapacity(ensemble.nodes.count + count)
    for node in 0..<count {
      let feature = integers[node]
      guard feature >= 0, feature < ensemble.featureCount else {
        throw problem(tree, tree.splitFeature, "split_feature", node, "feature \(feature) of \(ensemble.featureCount)")
      }
      let left = try child(lefts[node], tree, tree.leftChild, "left_child", node, count)
      let right = try child(rights[node], tree, tree.rightChild, "right_child", node, count)
      let kind = decisions[node]
      var made = TreeEnsemble.Node(
        feature: Int32(feature), comparison: .lessOrEqual, missing: .nothing, defaultLeft: kind & 2 != 0, threshold: numbers[node],
        left: left, right: right)
      if kind & 1 != 0 {
        // A NaN is in no category.
        made.comparison = .member
        made.missing = .notANumber
        made.defaultLeft = false
        let index = numbers[node]
        guard index >= 0, index < Double(tree.categoricalCount) else {
          throw problem(tree, tree.threshold, "threshold", node, "set of categories \(index) of \(tree.categoricalCount)")
        }
        let set = Int(index)
        made.threshold = 0
        made.categoryStart = Int32(wordStart + boundaries[set])
        made.categoryWords = Int32(boundaries[set + 1] - boundaries[set])
      } else {
        switch kind >> 2 & 3 {
        case 0: made.missing = .nothing
        case 1: made.missing = .zero
        case 2: made.missing = .notANumber
        default: throw problem(tree, tree.decisionType, "decision_type", node, "\(kind) names a kind of missing value that LightGBM does not have")
        }
        guard !made.threshold.isNaN else { throw problem(tree, tree.threshold, "threshold", node, "it is not a number") }
        made.threshold = Self.threshold(made.threshold)
      }
      ensemble.nodes.append(made)
    }
  }

  /// A threshold for which whole rows give the answer that LightGBM gives for rows whose tiny values became zeros.
  static func threshold(_ value: Double) -> Double {
    if value >= 0, value < zeroMax { return zeroMax }
    if value < 0, value >= -zeroMax { return (-zeroMax).nextDown }
    return value
  }

  private mutating func words(of tree: LightGBMTreeLines, into bits: inout [UInt32]) throws(ImportError) {
    boundaries.removeAll(keepingCapacity: true)
    guard tree.categoricalCount > 0 else { return }
    try integers(tree.categoryBoundaries, tree.categoricalCount + 1, tree.name, "cat_boundaries", &boundaries)
    guard boundaries[0] == 0 else { throw problem(tree, tree.categoryBoundaries, "cat_boundaries", 0, "it must be 0") }
    for set in 0..<tree.categoricalCount where boundaries[set + 1] < boundaries[set] {
      throw problem(tree, tree.categoryBoundaries, "cat_boundaries", set + 1, "they must ascend")
    }
    let count = boundaries[tree.categoricalCount]
    try integers(tree.categoryWords, count, tree.name, "cat_threshold", &integers)
    guard bits.count + count < Int32.max else { throw ImportError(place: tree.name, reason: "more than \(Int32.max) words of categories") }
    bits.reserveCapacity(bits.count + count)
    for (place, word) in integers.enumerated() {
      guard let word = UInt32(exactly: word) else { throw problem(tree, tree.categoryWords, "cat_threshold", place, "not 32 bits") }
      bits.append(word)
    }
  }

  /// Every node and leaf is reached exactly once from the root.
  private mutating func checkShape(_ tree: LightGBMTreeLines, _ nodes: ArraySlice<TreeEnsemble.Node>) throws(ImportError) {
    let first = nodes.startIndex
    // The nodes, then the leaves.
    isReached.removeAll(keepingCapacity: true)
    isReached.append(contentsOf: repeatElement(false, count: 2 * nodes.count + 1))
    isReached[0] = true
    pending.removeAll(keepingCapacity: true)
    pending.append(0)
    var reached = 1
    while let node = pending.popLast() {
      let made = nodes[first + Int(node)]
      for child in [made.left, made.right] {
        let place = child >= 0 ? Int(child) : nodes.count + Int(~child)
        guard !isReached[place] else { throw notATree(tree, nodes.count, "\(child >= 0 ? "node \(child)" : "leaf \(~child)") is reached twice") }
        isReached[place] = true
        reached += 1
        if child >= 0 { pending.append(child) }
      }
    }
    guard reached == isReached.count else { throw notATree(tree, nodes.count, "\(isReached.count - reached) are never reached") }
  }

  private func notATree(_ tree: LightGBMTreeLines, _ count: Int, _ reason: String) -> ImportError {
    ImportError(
      place: "line \(tree.leftChild.line), \(tree.name), left_child and right_child",
      reason: "not a tree of \(count) nodes and \(count + 1) leaves: \(reason)")
  }

  private func child(
    _ value: Int, _ tree: LightGBMTreeLines, _ field: LightGBMTreeLines.TextField, _ key: String, _ node: Int, _ count: Int
  ) throws(ImportError) -> Int32 {
    guard value < count, value >= -(count + 1) else { throw problem(tree, field, key, node, "\(value) is neither a node nor a leaf") }
    return Int32(value)
  }

  private func problem(
    _ tree: LightGBMTreeLines, _ field: LightGBMTreeLines.TextField, _ key: String, _ index: Int, _ reason: String
  ) -> ImportError {
    ImportError(place: "line \(field.line), \(tree.name), \(key)[\(index)]", reason: reason)
  }

  private func doubles(
    _ field: LightGBMTreeLines.TextField, _ count: Int, _ name: String, _ key: String, _ list: inout [Double]
  ) throws(ImportError) {
    try read(field, count, name, key, "a number", &list) { $0.double }
  }

  private func integers(
    _ field: LightGBMTreeLines.TextField, _ count: Int, _ name: String, _ key: String, _ list: inout [Int]
  ) throws(ImportError) {
    try read(field, count, name, key, "an integer", &list) { $0.integer }
  }

  /// `count` words of a line as values; `expected` says in errors what a word should have been.
  private func read<Value>(
    _ field: LightGBMTreeLines.TextField, _ count: Int, _ name: String, _ key: String, _ expected: String, _ list: inout [Value],
    _ value: (TextSlice) -> Value?
  ) throws(ImportError) {
    list.removeAll(keepingCapacity: true)
    guard let slice = field.slice else { throw ImportError(place: name, reason: "it has no \(key)") }
    try slice.forEachWord { (word) throws(ImportError) in
      guard let value = value(word) else {
        throw ImportError(place: "line \(field.line), \(name), \(key)[\(list.count)]", reason: "\(expected) was expected, not \"\(word.excerpt)\"")
      }
      list.append(value)
    }
    try check(list.count, count, field, name, key)
  }

  private func check(_ found: Int, _ count: Int, _ field: LightGBMTreeLines.TextField, _ name: String, _ key: String) throws(ImportError) {
    guard found == count else {
      throw ImportError(place: "line \(field.line), \(name), \(key)", reason: "\(found) values where the tree has \(count)")
    }
  }
}
