internal import Model

/// A graph made ready to run: steps in order, and where each value lies. Immutable, shared by all threads.
final class Program: @unchecked Sendable {
  struct Step {
    let kernel: Kernel
    /// Values; -1: left out.
    let inputs: [Int]
    let outputs: [Int]
    let place: String
  }

  enum Storage {
    case input(Int)
    case output(Int)
    case constant(ConstantTensor)
    case block(Int)
    /// Not used by any step.
    case none
  }

  /// Memory that values share in turn: room for its largest value.
  struct Block {
    var rowBytes = 0
    var fixedBytes = 0
    mutating func hold(_ bytes: Dimension) {
      if bytes.isRows { rowBytes = max(rowBytes, bytes.multiple) } else { fixedBytes = max(fixedBytes, bytes.multiple) }
    }
    func bytes(rows: Int) -> Int { max(rowBytes * rows, fixedBytes) }
  }

  private(set) var types: [TensorType?]
  /// The value whose bytes a value's are: itself, or that of which it is a view.
  private(set) var roots: [Int]
  private(set) var storage: [Storage]
  private(set) var steps: [Step] = []
  private(set) var blocks: [Block] = []
  let inputs: [Int]
  let outputs: [Int]
  let inputTypes: [TensorType]
  let outputTypes: [TensorType]
  /// Nodes that run, by operator: for people and tests.
  var stepNames: [String] { steps.map { "\(type(of: $0.kernel))" } }

  /// Bytes of intermediate values for each row.
  var rowBytes: Int { blocks.reduce(0) { $0 + $1.rowBytes } }

  /// Compiles all nodes; all problems at once.
  init(_ graph: Graph) throws(ONNXError) {
    var problems: [ONNXError] = []
    types = graph.values.map(\.type)
    roots = Array(graph.values.indices)
    storage = graph.values.map { _ in .none }
    inputs = graph.inputs
    inputTypes = graph.inputs.compactMap { graph.values[$0].type }
    for (index, value) in graph.inputs.enumerated() { storage[value] = .input(index) }
    for node in graph.nodes {
      do throws(ONNXError) {
        let kernel: Kernel
        if let made = node.kernel { kernel = made } else { kernel = try node.operation.compile(NodeContext(node: node, graph: graph)) }
        if kernel.isView, let input = node.inputs.first, let output = node.outputs.first, input >= 0, output >= 0 {
          roots[output] = roots[input]
        } else {
          steps.append(Step(kernel: kernel, inputs: node.inputs, outputs: node.outputs, place: node.place))
        }
      } catch { problems.append(error) }
    }
    if let error = ONNXError(problems) { throw error }

    // Outputs: a step writes into the output itself where nothing else lives there; else a copy ends the program.
    var outputs: [Int] = []
    var outputTypes: [TensorType] = []
    var isMade = Set(steps.flatMap(\.outputs))
    for (index, value) in graph.outputs.enumerated() {
      guard let type = graph.values[value].type else { throw ONNXError(place: "output \"\(graph.outputNames[index])\"", reason: "has no type") }
      outputTypes.append(type)
      if isMade.contains(roots[value]) {
        storage[roots[value]] = .output(index)
        isMade.remove(roots[value])
        outputs.append(value)
        continue
      }
      let copy = types.count
      types.append(type)
      roots.append(copy)
      storage.append(.output(index))
      steps.append(Step(kernel: CopyKernel(), inputs: [value], outputs: [copy], place: "output \"\(graph.outputNames[index])\""))
      outputs.append(copy)
    }
    self.outputs = outputs
    self.outputTypes = outputTypes
    for step in steps {
      for input in step.inputs where input >= 0 { if let constant = graph.values.indices.contains(roots[input]) ? graph.values[roots[input]].constant : nil { storage[roots[input]] = .constant(constant) } }
    }
    try plan()
    guard rowBytes <= ONNXLimits.rowBytesMax, blocks.reduce(0, { $0 + $1.fixedBytes }) <= ONNXLimits.rowBytesMax else {
      throw ONNXError(place: "graph", reason: "its intermediate values take more than \(ONNXLimits.rowBytesMax) bytes for each row")
    }
  }

  /// Gives each value a block from its first use to its last; of the free blocks the one that fits best.
  private func plan() throws(ONNXError) {
    var lastUse = [Int](repeating: -1, count: types.count)
    for (index, step) in steps.enumerated() { for value in step.inputs + step.outputs where value >= 0 { lastUse[roots[value]] = index } }
    var free: [Int] = []
    for (index, step) in steps.enumerated() {
      var taken: Set<Int> = []
      for (place, value) in step.outputs.enumerated() where value >= 0 {
        guard case .none = storage[value], let type = types[value] else { continue }
        guard let bytes = type.shape.elementCount?.times(Dimension(type.element.bytes)), bytes.multiple <= ONNXLimits.rowBytesMax else {
          throw ONNXError(place: step.place, reason: "output \(place) of type \(type) is too large")
        }
        if place == 0, let shared = inPlace(step, at: index, bytes: bytes, lastUse: lastUse) {
          storage[value] = .block(shared)
          taken.insert(shared)
        } else if let best = free.min(by: { waste($0, bytes) < waste($1, bytes) }), fits(best, bytes) {
          free.removeAll { $0 == best }
          blocks[best].hold(bytes)
          storage[value] = .block(best)
        } else {
          blocks.append(Block())
          blocks[blocks.count - 1].hold(bytes)
          storage[value] = .block(blocks.count - 1)
        }
      }
      for value in Set((step.inputs + step.outputs).filter { $0 >= 0 }.map { roots[$0] }) where lastUse[value] <= index {
        if case .block(let block) = storage[value], !free.contains(block), !taken.contains(block) { free.append(block) }
      }
    }
  }

  private func fits(_ block: Int, _ bytes: Dimension) -> Bool { (blocks[block].rowBytes > 0) == bytes.isRows }

  private func waste(_ block: Int, _ bytes: Dimension) -> Int {
    let held = bytes.isRows ? blocks[block].rowBytes : blocks[block].fixedBytes
    return fits(block, bytes) ? abs(held - bytes.multiple) : Int.max
  }

  private func inPlace(_ step: Step, at index: Int, bytes: Dimension, lastUse: [Int]) -> Int? {
    for input in step.kernel.inPlaceInputs where input < step.inputs.count && step.inputs[input] >= 0 {
      let root = roots[step.inputs[input]]
      guard lastUse[root] == index, case .block(let block) = storage[root] else { continue }
      // Another operand that is a view of the same bytes would be overwritten while it is read.
      guard step.inputs.filter({ $0 >= 0 && roots[$0] == root }).count == 1 else { continue }
      guard let type = types[step.inputs[input]], type.shape.elementCount?.times(Dimension(type.element.bytes)) == bytes else { continue }
      return block
    }
    return nil
  }
}
