internal import Model

/// Trees as ai.onnx.ml writes them, in either of its forms, checked: every child is a node or a leaf of the graph, and is the child of one
/// node alone.
struct ForestDescription {
  enum Mode: UInt8, Sendable { case lessOrEqual, less, greaterOrEqual, greater, equal, notEqual, member }
  enum Aggregate: Sendable { case sum, average, least, most }

  struct Node: Sendable {
    var feature: Int
    var mode: Mode
    var threshold: Double
    /// Where a NaN goes, whatever the comparison says of it.
    var missingTracksTrue: Bool
    /// 0 and above: a node; below: leaf `~child`.
    var whenTrue: Int
    var whenFalse: Int
    /// Of `member`: a range of `members`.
    var members: Range<Int>
  }

  var nodes: [Node] = []
  /// Ranges of `weights`.
  var leaves: [Range<Int>] = []
  var weights: [(output: Int, value: Double)] = []
  var members: [Double] = []
  /// Nodes, or leaves as `~leaf`.
  var roots: [Int] = []
  var outputCount = 0
  var aggregate = Aggregate.sum

  /// Reached more than once: a tree that is no tree, or a cycle.
  func check(_ node: NodeContext, features: Int) throws(ONNXError) {
    var isSeen = [Bool](repeating: false, count: nodes.count)
    var stack: [Int] = roots
    while let child = stack.popLast() {
      if child < 0 {
        guard leaves.indices.contains(~child) else { throw node.error("a child \(~child) of \(leaves.count) leaves") }
        continue
      }
      guard nodes.indices.contains(child) else { throw node.error("a child \(child) of \(nodes.count) nodes") }
      guard !isSeen[child] else { throw node.error("tree node \(child) has two parents or lies in a circle") }
      isSeen[child] = true
      guard nodes[child].feature >= 0, nodes[child].feature < features else { throw node.error("tree node \(child) asks for feature \(nodes[child].feature) of \(features)") }
      stack.append(nodes[child].whenTrue)
      stack.append(nodes[child].whenFalse)
    }
    for weight in weights where weight.output < 0 || weight.output >= outputCount { throw node.error("a leaf for output \(weight.output) of \(outputCount)") }
  }

  static func mode(_ name: String, _ node: NodeContext) throws(ONNXError) -> Mode {
    switch name {
    case "BRANCH_LEQ": return .lessOrEqual
    case "BRANCH_LT": return .less
    case "BRANCH_GTE": return .greaterOrEqual
    case "BRANCH_GT": return .greater
    case "BRANCH_EQ": return .equal
    case "BRANCH_NEQ": return .notEqual
    case let other: throw node.error("nodes_modes \(other)")
    }
  }
}

extension ForestDescription {
  /// TreeEnsembleClassifier and TreeEnsembleRegressor: one list for each attribute, nodes named by (tree, node). `prefix`: "class" or "target".
  init(_ node: NodeContext, prefix: String, outputs: Int) throws(ONNXError) {
    outputCount = outputs
    let treeIDs = try node.ints("nodes_treeids") ?? []
    let nodeIDs = try node.ints("nodes_nodeids") ?? []
    let features = try node.ints("nodes_featureids") ?? []
    let modes = try node.strings("nodes_modes") ?? []
    let whenTrue = try node.ints("nodes_truenodeids") ?? []
    let whenFalse = try node.ints("nodes_falsenodeids") ?? []
    let values = try Self.numbers(node, "nodes_values")
    let tracks = try node.ints("nodes_missing_value_tracks_true") ?? []
    let count = treeIDs.count
    guard [nodeIDs.count, features.count, modes.count, whenTrue.count, whenFalse.count, values.count].allSatisfy({ $0 == count }),
      tracks.isEmpty || tracks.count == count
    else { throw node.error("lists of nodes of different lengths") }

    // Inner nodes and leaves by (tree, node).
    struct Key: Hashable { let tree: Int, node: Int }
    var places: [Key: Int] = [:]
    places.reserveCapacity(count)
    for index in 0..<count {
      let isLeaf = modes[index] == Array("LEAF".utf8)
      let key = Key(tree: treeIDs[index], node: nodeIDs[index])
      guard places[key] == nil else { throw node.error("tree \(key.tree) has two nodes \(key.node)") }
      if isLeaf {
        places[key] = ~leaves.count
        leaves.append(0..<0)
      } else {
        places[key] = nodes.count
        let mode = try Self.mode(String(decoding: modes[index], as: UTF8.self), node)
        nodes.append(
          Node(
            feature: features[index], mode: mode, threshold: values[index], missingTracksTrue: !tracks.isEmpty && tracks[index] != 0, whenTrue: 0,
            whenFalse: 0, members: 0..<0))
      }
    }
    // A tree's root is its first node that is nobody's child.
    var isChild: Set<Int> = []
    var inner = 0
    for index in 0..<count where modes[index] != Array("LEAF".utf8) {
      guard let yes = places[Key(tree: treeIDs[index], node: whenTrue[index])], let no = places[Key(tree: treeIDs[index], node: whenFalse[index])] else {
        throw node.error("node \(nodeIDs[index]) of tree \(treeIDs[index]) has a child that is not there")
      }
      nodes[inner].whenTrue = yes
      nodes[inner].whenFalse = no
      isChild.insert(yes)
      isChild.insert(no)
      inner += 1
    }
    var rooted: Set<Int> = []
    var trees: Set<Int> = []
    for index in 0..<count {
      trees.insert(treeIDs[index])
      guard let place = places[Key(tree: treeIDs[index], node: nodeIDs[index])], !isChild.contains(place), rooted.insert(treeIDs[index]).inserted else { continue }
      roots.append(place)
    }
    guard rooted.count == trees.count else { throw node.error("a tree without a root") }

    let leafTrees = try node.ints("\(prefix)_treeids") ?? []
    let leafNodes = try node.ints("\(prefix)_nodeids") ?? []
    let leafOutputs = try node.ints("\(prefix)_ids") ?? []
    let leafWeights = try Self.numbers(node, "\(prefix)_weights")
    guard [leafNodes.count, leafOutputs.count, leafWeights.count].allSatisfy({ $0 == leafTrees.count }) else { throw node.error("lists of leaves of different lengths") }
    var byLeaf = [[Int]](repeating: [], count: leaves.count)
    for index in leafTrees.indices {
      guard let place = places[Key(tree: leafTrees[index], node: leafNodes[index])] else { throw node.error("a weight for node \(leafNodes[index]) of tree \(leafTrees[index]), which is not there") }
      // Weights of inner nodes are never reached.
      if place < 0 { byLeaf[~place].append(index) }
    }
    for (leaf, indices) in byLeaf.enumerated() {
      leaves[leaf] = weights.count..<(weights.count + indices.count)
      for index in indices { weights.append((leafOutputs[index], leafWeights[index])) }
    }
    switch try node.string("aggregate_function", "SUM") {
    case "SUM": aggregate = .sum
    case "AVERAGE": aggregate = .average
    case "MIN": aggregate = .least
    case "MAX": aggregate = .most
    case let other: throw node.error("aggregate_function \(other)")
    }
  }

  /// A list of floats, or a tensor of doubles beside it.
  static func numbers(_ node: NodeContext, _ name: String) throws(ONNXError) -> [Double] {
    if let floats = try node.floats(name), !floats.isEmpty { return floats.map { Double($0) } }
    return try node.tensor("\(name)_as_tensor")?.doubles ?? []
  }

  /// TreeEnsemble of version 5.
  init(ensemble node: NodeContext, outputs: Int) throws(ONNXError) {
    outputCount = outputs
    let features = try node.ints("nodes_featureids") ?? []
    let splits = try node.tensor("nodes_splits")?.doubles ?? []
    let modes = try node.tensor("nodes_modes")?.integers ?? []
    let trueIDs = try node.ints("nodes_truenodeids") ?? []
    let falseIDs = try node.ints("nodes_falsenodeids") ?? []
    let trueLeaves = try node.ints("nodes_trueleafs") ?? []
    let falseLeaves = try node.ints("nodes_falseleafs") ?? []
    let tracks = try node.ints("nodes_missing_value_tracks_true") ?? []
    let count = features.count
    guard [splits.count, modes.count, trueIDs.count, falseIDs.count, trueLeaves.count, falseLeaves.count].allSatisfy({ $0 == count }), tracks.isEmpty || tracks.count == count
    else { throw node.error("lists of nodes of different lengths") }
    let targets = try node.ints("leaf_targetids") ?? []
    let values = try node.tensor("leaf_weights")?.doubles ?? []
    guard targets.count == values.count else { throw node.error("\(targets.count) leaf_targetids and \(values.count) leaf_weights") }
    for index in targets.indices {
      leaves.append(index..<(index + 1))
      weights.append((targets[index], values[index]))
    }
    // Members of one node after the other, a NaN after each list.
    members = try node.tensor("membership_values")?.doubles ?? []
    var start = 0
    func child(_ index: Int, _ isLeaf: Int) throws(ONNXError) -> Int {
      guard index >= 0, index < (isLeaf != 0 ? leaves.count : count) else { throw node.error("a child \(index)") }
      return isLeaf != 0 ? ~index : index
    }
    for index in 0..<count {
      guard modes[index] >= 0, let mode = Mode(rawValue: UInt8(clamping: modes[index])) else { throw node.error("nodes_modes \(modes[index])") }
      var range = 0..<0
      if mode == .member {
        guard let end = members[start...].firstIndex(where: { $0.isNaN }) else { throw node.error("membership_values end in the middle") }
        range = start..<end
        start = end + 1
      }
      nodes.append(
        Node(
          feature: features[index], mode: mode, threshold: splits[index], missingTracksTrue: !tracks.isEmpty && tracks[index] != 0,
          whenTrue: try child(trueIDs[index], trueLeaves[index]), whenFalse: try child(falseIDs[index], falseLeaves[index]), members: range))
    }
    roots = try node.ints("tree_roots") ?? []
    for root in roots where root < 0 || root >= count { throw node.error("a root \(root) of \(count) nodes") }
    switch try node.int("aggregate_function", 1) {
    case 0: aggregate = .average
    case 1: aggregate = .sum
    case 2: aggregate = .least
    case 3: aggregate = .most
    case let other: throw node.error("aggregate_function \(other)")
    }
  }
}
