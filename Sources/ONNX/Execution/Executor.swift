// Hot: no allocation once as many rows were seen; no existential, no String.
internal import Kernels
internal import Model

/// Runs a program in one thread. All memory is its own, but that of inputs and outputs, which are pointed at before each run.
final class Executor {
  private let program: Program
  private let tensors: UnsafeMutablePointer<Tensor>
  private let tensorCount: Int
  private let dims: UnsafeMutablePointer<Int>
  private let operands: UnsafeMutablePointer<Int32>
  private let states: UnsafeMutableRawPointer
  private let steps: UnsafeMutablePointer<Step>
  private let stepCount: Int
  private let thread: ThreadMemory
  private let matrices = MatrixScratch()
  @exclusivity(unchecked) private var arena: UnsafeMutableRawPointer
  @exclusivity(unchecked) private var rowCapacity = 0
  @exclusivity(unchecked) private var scratchCapacity = 64
  /// The rows that dimensions stand for.
  @exclusivity(unchecked) private var preparedRows = -1
  /// Dimensions that depend on rows, and counts that do.
  private let rowDims: UnsafeMutablePointer<(index: Int, multiple: Int)>
  private let rowDimCount: Int
  private let rowCounts: UnsafeMutablePointer<(index: Int, multiple: Int)>
  private let rowCountCount: Int
  /// Tensors that lie in each input, in each output: input 0's, input 1's, …
  private let boundTensors: UnsafeMutablePointer<Int32>
  private let boundStarts: UnsafeMutablePointer<Int32>

  private struct Step {
    let kernel: Unmanaged<Kernel>
    let call: Call
  }

  init(_ program: Program, rowsMax: Int) {
    self.program = program
    tensorCount = program.types.count
    tensors = .allocate(capacity: max(1, tensorCount))
    dims = .allocate(capacity: max(1, program.types.reduce(0) { $0 + ($1?.rank ?? 0) }))
    thread = .allocate(capacity: 1)
    arena = .allocate(byteCount: 64, alignment: 64)
    thread.initialize(to: ThreadState(scratch: .allocate(byteCount: 64, alignment: 64), rows: 1, problem: 0, matrices: .passUnretained(matrices)))

    var rowDims: [(index: Int, multiple: Int)] = []
    var rowCounts: [(index: Int, multiple: Int)] = []
    var used = 0
    for (index, type) in program.types.enumerated() {
      let shape = type?.shape ?? []
      let count = shape.elementCount ?? Dimension(0)
      (tensors + index).initialize(
        to: Tensor(data: arena, dims: dims + used, rank: shape.count, count: count.multiple, element: type?.element ?? .float32))
      for (axis, dimension) in shape.enumerated() {
        dims[used + axis] = dimension.multiple
        if dimension.isRows { rowDims.append((used + axis, dimension.multiple)) }
      }
      if count.isRows { rowCounts.append((index, count.multiple)) }
      used += shape.count
      if case .constant(let constant) = program.storage[program.roots[index]] { tensors[index].data = UnsafeMutableRawPointer(mutating: constant.pointer) }
    }
    rowDimCount = rowDims.count
    self.rowDims = .allocate(capacity: max(1, rowDims.count))
    for (index, dimension) in rowDims.enumerated() { (self.rowDims + index).initialize(to: dimension) }
    rowCountCount = rowCounts.count
    self.rowCounts = .allocate(capacity: max(1, rowCounts.count))
    for (index, count) in rowCounts.enumerated() { (self.rowCounts + index).initialize(to: count) }

    var bound = [[Int32]](repeating: [], count: program.inputs.count + program.outputs.count)
    for index in program.types.indices {
      switch program.storage[program.roots[index]] {
      case .input(let input): bound[input].append(Int32(index))
      case .output(let output): bound[program.inputs.count + output].append(Int32(index))
      default: break
      }
    }
    boundTensors = .allocate(capacity: max(1, bound.reduce(0) { $0 + $1.count }))
    boundStarts = .allocate(capacity: bound.count + 1)
    boundStarts[0] = 0
    for (index, list) in bound.enumerated() {
      for (place, tensor) in list.enumerated() { boundTensors[Int(boundStarts[index]) + place] = tensor }
      boundStarts[index + 1] = boundStarts[index] + Int32(list.count)
    }

    stepCount = program.steps.count
    steps = .allocate(capacity: max(1, stepCount))
    operands = .allocate(capacity: max(1, program.steps.reduce(0) { $0 + $1.inputs.count + $1.outputs.count }))
    let stateBytes = program.steps.reduce(0) { $0 + ($1.kernel.stateBytes + 63) / 64 * 64 }
    states = .allocate(byteCount: max(64, stateBytes), alignment: 64)
    states.initializeMemory(as: UInt8.self, repeating: 0, count: stateBytes)
    var operand = 0
    var state = 0
    for (index, step) in program.steps.enumerated() {
      let start = operands + operand
      for value in step.inputs + step.outputs {
        operands[operand] = Int32(value)
        operand += 1
      }
      let call = Call(
        tensors: tensors, operands: start, inputCount: step.inputs.count, outputCount: step.outputs.count, state: states + state, thread: thread)
      (steps + index).initialize(to: Step(kernel: .passUnretained(step.kernel), call: call))
      state += (step.kernel.stateBytes + 63) / 64 * 64
    }
    reserve(rows: max(1, rowsMax))
  }

  deinit {
    arena.deallocate()
    thread.pointee.scratch.deallocate()
    thread.deallocate()
    tensors.deallocate()
    dims.deallocate()
    operands.deallocate()
    states.deallocate()
    steps.deallocate()
    rowDims.deallocate()
    rowCounts.deallocate()
    boundTensors.deallocate()
    boundStarts.deallocate()
  }

  /// Makes room for `rows`.
  func reserve(rows: Int) {
    guard rows > rowCapacity else { return }
    rowCapacity = max(rows, rowCapacity * 2)
    arena.deallocate()
    var offsets: [Int] = []
    var bytes = 0
    for block in program.blocks {
      offsets.append(bytes)
      // One line more than it holds, so that blocks of a power of two do not all begin in the same set of the cache.
      bytes += (block.bytes(rows: rowCapacity) + 63) / 64 * 64 + 64
    }
    arena = .allocate(byteCount: max(64, bytes), alignment: 64)
    for index in 0..<tensorCount {
      if case .block(let block) = program.storage[program.roots[index]] { tensors[index].data = arena + offsets[block] }
    }
    let rows = preparedRows
    preparedRows = -1
    if rows < 0 { prepare(rows: rowCapacity) }
  }

  /// Points input `index` at [rows] + shape, contiguous.
  @inline(__always) func setInput(_ index: Int, _ data: UnsafeMutableRawPointer) { bind(index, data) }
  /// Points output `index` at room for [rows] + shape.
  @inline(__always) func setOutput(_ index: Int, _ data: UnsafeMutableRawPointer) { bind(program.inputs.count + index, data) }

  @inline(__always) private func bind(_ place: Int, _ data: UnsafeMutableRawPointer) {
    var index = boundStarts[place]
    while index < boundStarts[place + 1] {
      tensors[Int(boundTensors[Int(index)])].data = data
      index &+= 1
    }
  }

  private func prepare(rows: Int) {
    preparedRows = rows
    thread.pointee.rows = rows
    for index in 0..<rowDimCount { dims[rowDims[index].index] = rowDims[index].multiple &* rows }
    for index in 0..<rowCountCount { tensors[rowCounts[index].index].count = rowCounts[index].multiple &* rows }
    var scratch = 0
    for index in 0..<stepCount {
      let call = steps[index].call
      steps[index].kernel._withUnsafeGuaranteedRef {
        $0.prepare(call)
        scratch = max(scratch, $0.scratchBytes(call))
      }
    }
    guard scratch > scratchCapacity else { return }
    scratchCapacity = max(scratch, scratchCapacity * 2)
    thread.pointee.scratch.deallocate()
    thread.pointee.scratch = .allocate(byteCount: scratchCapacity, alignment: 64)
  }

  /// Runs `rows` rows from the inputs to the outputs. What the data was wrong with, if anything.
  func run(rows: Int) -> RunProblem? {
    if rows > rowCapacity { reserve(rows: rows) }
    if rows != preparedRows { prepare(rows: rows) }
    thread.pointee.problem = 0
    var step = steps
    let end = steps + stepCount
    while step < end {
      step.pointee.kernel._withUnsafeGuaranteedRef { $0.run(step.pointee.call) }
      step += 1
    }
    return thread.pointee.problem == 0 ? nil : RunProblem(rawValue: thread.pointee.problem)
  }
}
