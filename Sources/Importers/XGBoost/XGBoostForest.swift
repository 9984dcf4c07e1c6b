import Families

/// The trees as they are read, each put in the order of a walk from its root: XGBoost's lists have leaves among the splits, and nodes that
/// pruning left behind.
struct XGBoostForest<Cursor: DocumentCursor> {
  private(set) var trees: [TreeEnsemble.Tree] = []
  private(set) var nodes: [TreeEnsemble.Node] = []
  private(set) var leafValues: [Float] = []
  private(set) var categoryBits: [UInt32] = []
  /// Values of each leaf; nil before the first tree.
  private(set) var leafWidth: Int?
  /// The largest feature of a split; -1: there is none.
  private(set) var featureMax = -1

  // The lists of one tree, reused.
  private var left: [Int32] = []
  private var right: [Int32] = []
  private var features: [Int32] = []
  private var conditions: [Float] = []
  private var defaultLeft: [Int32] = []
  private var splitTypes: [Int32] = []
  private var categoricalNodes: [Int32] = []
  private var segmentStarts: [Int32] = []
  private var segmentSizes: [Int32] = []
  private var categories: [Int32] = []
  private var vectorLeaves: [Float] = []
  private var segmentOfNode: [Int32: Int] = [:]
  private var pending: [(node: Int32, parent: Int32, isLeft: Bool)] = []
  private var isReached: [Bool] = []

  mutating func readTree(_ cursor: inout Cursor) throws(ImportError) {
    var forest = self
    // The copy has the lists to itself.
    self = XGBoostForest()
    var width = 1
    var leafWeightsAt: Cursor?
    var baseWeightsAt: Cursor?
    forest.clear()
    try cursor.object { (cursor, key) throws(ImportError) in
      switch key {
      case "left_children": try cursor.integers(into: &forest.left)
      case "right_children": try cursor.integers(into: &forest.right)
      case "split_indices": try cursor.integers(into: &forest.features)
      case "split_conditions": try cursor.floats(into: &forest.conditions)
      case "default_left": try cursor.integers(into: &forest.defaultLeft)
      case "split_type": try cursor.integers(into: &forest.splitTypes)
      case "categories_nodes": try cursor.integers(into: &forest.categoricalNodes)
      case "categories_segments": try cursor.integers(into: &forest.segmentStarts)
      case "categories_sizes": try cursor.integers(into: &forest.segmentSizes)
      case "categories": try cursor.integers(into: &forest.categories)
      case "tree_param": width = try Self.leafWidth(&cursor)
      // Needed for leaves of several values only, which is not known yet: passed over, and read from here if need be.
      case "leaf_weights":
        leafWeightsAt = cursor
        try cursor.skip()
      case "base_weights":
        baseWeightsAt = cursor
        try cursor.skip()
      default: try cursor.skip()
      }
    }
    if width > 1 {
      guard var values = leafWeightsAt ?? baseWeightsAt else { throw cursor.problem("no \"leaf_weights\" for leaves of \(width) values") }
      try values.floats(into: &forest.vectorLeaves)
    }
    try forest.append(width, leavesAreListed: leafWeightsAt != nil, cursor)
    self = forest
  }

  private mutating func clear() {
    left.removeAll(keepingCapacity: true)
    right.removeAll(keepingCapacity: true)
    features.removeAll(keepingCapacity: true)
    conditions.removeAll(keepingCapacity: true)
    defaultLeft.removeAll(keepingCapacity: true)
    splitTypes.removeAll(keepingCapacity: true)
    categoricalNodes.removeAll(keepingCapacity: true)
    segmentStarts.removeAll(keepingCapacity: true)
    segmentSizes.removeAll(keepingCapacity: true)
    categories.removeAll(keepingCapacity: true)
    vectorLeaves.removeAll(keepingCapacity: true)
  }

  private static func leafWidth(_ cursor: inout Cursor) throws(ImportError) -> Int {
    var width = 1
    try cursor.object { (cursor, key) throws(ImportError) in
      guard key == "size_leaf_vector" else {
        try cursor.skip()
        return
      }
      let text = try cursor.text()
      guard let value = Int(text), value >= 0, value <= XGBoostModel.outputsMax else {
        throw cursor.problem("\"\(text)\" is not between 0 and \(XGBoostModel.outputsMax)")
      }
      width = max(1, value)
    }
    return width
  }

  private mutating func append(_ width: Int, leavesAreListed: Bool, _ cursor: Cursor) throws(ImportError) {
    let count = left.count
    guard count > 0 else { throw cursor.problem("a tree without nodes") }
    guard right.count == count, features.count == count, conditions.count == count, defaultLeft.count == count,
      splitTypes.isEmpty || splitTypes.count == count
    else {
      let counts = """
        left_children \(count), right_children \(right.count), split_indices \(features.count), split_conditions \(conditions.count), \
        default_left \(defaultLeft.count), split_type \(splitTypes.count)
        """
      throw cursor.problem("lists of different lengths: \(counts)")
    }
    guard leafWidth == nil || leafWidth == width else {
      throw cursor.problem("leaves of \(width) values, and of \(leafWidth ?? 1) in the trees before")
    }
    leafWidth = width
    try indexCategories(count, cursor)

    let nodeStart = nodes.count
    let leafStart = leafValues.count / width
    guard nodeStart + count < Int32.max, leafStart + count < Int32.max else { throw cursor.problem("more than \(Int32.max) nodes in one model") }
    isReached.removeAll(keepingCapacity: true)
    isReached.append(contentsOf: repeatElement(false, count: count))
    pending.removeAll(keepingCapacity: true)
    pending.append((0, -1, true))
    while let (node, parent, isLeft) = pending.popLast() {
      let index = Int(node)
      guard !isReached[index] else { throw cursor.problem("not a tree: node \(node) is reached twice") }
      isReached[index] = true
      let place: Int32
      if left[index] == -1 {
        place = ~Int32(leafValues.count / width - leafStart)
        try appendLeaf(index, width, leavesAreListed, cursor)
      } else {
        place = Int32(nodes.count - nodeStart)
        // A category that is in the set goes right in XGBoost and left here.
        let isCategorical = try appendNode(index, cursor)
        let (here, there) = isCategorical ? (right[index], left[index]) : (left[index], right[index])
        guard here >= 0, here < count, there >= 0, there < count else {
          throw cursor.problem("node \(node): children \(left[index]) and \(right[index]) of \(count) nodes")
        }
        pending.append((there, place, false))
        pending.append((here, place, true))
      }
      if parent >= 0 {
        if isLeft { nodes[nodeStart + Int(parent)].left = place } else { nodes[nodeStart + Int(parent)].right = place }
      }
    }
    trees.append(
      TreeEnsemble.Tree(
        nodeStart: Int32(nodeStart), nodeCount: Int32(nodes.count - nodeStart), leafStart: Int32(leafStart),
        leafCount: Int32(leafValues.count / width - leafStart), output: 0))
  }

  private mutating func appendLeaf(_ index: Int, _ width: Int, _ leavesAreListed: Bool, _ cursor: Cursor) throws(ImportError) {
    if width == 1 {
      leafValues.append(conditions[index])
    } else {
      // From 3.2 on leaves have a list of their own, and the right child says which of them; before, every node has its values.
      let row = leavesAreListed ? Int(right[index]) : index
      guard row >= 0, row < vectorLeaves.count / width else { throw cursor.problem("node \(index): no values for this leaf") }
      leafValues += vectorLeaves[(row * width)..<((row + 1) * width)]
    }
    for value in leafValues.suffix(width) where !value.isFinite { throw cursor.problem("leaf \(index): \(value) is no score") }
  }

  /// Appends the split; whether it is one of categories.
  private mutating func appendNode(_ index: Int, _ cursor: Cursor) throws(ImportError) -> Bool {
    let feature = features[index]
    guard feature >= 0 else { throw cursor.problem("node \(index): feature \(feature)") }
    featureMax = max(featureMax, Int(feature))
    var node = TreeEnsemble.Node(
      feature: feature, comparison: .less, missing: .notANumber, defaultLeft: defaultLeft[index] != 0, threshold: Double(conditions[index]),
      left: 0, right: 0)
    let isCategorical = !splitTypes.isEmpty && splitTypes[index] == 1
    if isCategorical {
      node.comparison = .member
      node.defaultLeft.toggle()
      node.threshold = 0
      node.categoryStart = Int32(categoryBits.count)
      if let segment = segmentOfNode[Int32(index)] {
        try appendCategories(Int(segmentStarts[segment]), Int(segmentSizes[segment]), index, cursor)
      }
      node.categoryWords = Int32(categoryBits.count) - node.categoryStart
    } else {
      guard !node.threshold.isNaN else { throw cursor.problem("node \(index): its condition is not a number") }
    }
    nodes.append(node)
    return isCategorical
  }

  private mutating func indexCategories(_ count: Int, _ cursor: Cursor) throws(ImportError) {
    segmentOfNode.removeAll(keepingCapacity: true)
    guard segmentStarts.count == categoricalNodes.count, segmentSizes.count == categoricalNodes.count else {
      let counts = "categories_nodes \(categoricalNodes.count), categories_segments \(segmentStarts.count), categories_sizes \(segmentSizes.count)"
      throw cursor.problem("\(counts) differ in length")
    }
    for (segment, node) in categoricalNodes.enumerated() {
      guard node >= 0, node < count else { throw cursor.problem("categories_nodes[\(segment)]: node \(node) of \(count)") }
      let start = Int(segmentStarts[segment])
      let size = Int(segmentSizes[segment])
      guard start >= 0, size > 0, start <= categories.count, size <= categories.count - start else {
        throw cursor.problem("categories_sizes[\(segment)]: \(size) from \(start) on of \(categories.count) categories")
      }
      segmentOfNode[node] = segment
    }
  }

  private mutating func appendCategories(_ start: Int, _ size: Int, _ node: Int, _ cursor: Cursor) throws(ImportError) {
    let own = categories[start..<(start + size)]
    guard let largest = own.max(), let smallest = own.min(), smallest >= 0, largest < XGBoostCategories.codesMax else {
      throw cursor.problem("node \(node): categories must lie between 0 and \(XGBoostCategories.codesMax - 1)")
    }
    let first = categoryBits.count
    let words = Int(largest) / 32 + 1
    guard first + words <= XGBoostModel.categoryWordsMax else {
      throw cursor.problem("node \(node): the sets of categories are larger than \(XGBoostModel.categoryWordsMax) words together")
    }
    categoryBits.append(contentsOf: repeatElement(0, count: words))
    for category in own { categoryBits[first + Int(category) / 32] |= 1 << UInt32(category % 32) }
  }
}
