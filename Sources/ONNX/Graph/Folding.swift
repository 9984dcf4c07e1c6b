internal import Kernels
internal import Model

/// Computes at load what depends on constants alone.
enum Folding {
  static func run(
    _ kernel: Kernel, context: NodeContext, types: [TensorType], left: inout Int
  ) throws(ONNXError) -> [ConstantTensor] {
    let node = context.node
    var sizes: [[Int]] = []
    for type in types.prefix(node.outputs.count) {
      guard let fixed = type.shape.fixedSizes, let count = type.shape.elementCount?.fixed else { throw context.error("its shape is not known") }
      if !kernel.isView {
        // Counts are bounded by 2^33.
        left -= count * type.element.bytes
        guard left >= 0 else { throw context.error("computing constants takes much more memory than the file's own") }
      }
      sizes.append(fixed)
    }
    if kernel.isView, let input = context.constant(0) { return [input.reshaped(sizes[0])] }

    var tensors: [Tensor] = []
    var operands: [Int32] = []
    var dims: [UnsafeMutablePointer<Int>] = []
    defer { for pointer in dims { pointer.deallocate() } }
    func add(_ sizes: [Int], _ element: TensorElement, _ data: UnsafeMutableRawPointer) {
      let pointer = UnsafeMutablePointer<Int>.allocate(capacity: max(1, sizes.count))
      for (axis, size) in sizes.enumerated() { pointer[axis] = size }
      dims.append(pointer)
      operands.append(Int32(tensors.count))
      tensors.append(Tensor(data: data, dims: pointer, rank: sizes.count, count: sizes.reduce(1, *), element: element))
    }
    for index in node.inputs.indices {
      guard let constant = context.constant(index) else { operands.append(-1); continue }
      add(constant.sizes, constant.element, UnsafeMutableRawPointer(mutating: constant.pointer))
    }
    var results: [ConstantTensor] = []
    for (index, sizes) in sizes.enumerated() {
      let element = types[index].element
      let result = ConstantTensor(element: element, sizes: sizes) { $0.initializeMemory(as: UInt8.self, repeating: 0, count: sizes.reduce(1, *) * element.bytes) }
      results.append(result)
      if node.outputs[index] < 0 { operands.append(-1) } else { add(sizes, element, UnsafeMutableRawPointer(mutating: result.pointer)) }
    }
    let state = UnsafeMutableRawPointer.allocate(byteCount: max(64, kernel.stateBytes), alignment: 64)
    state.initializeMemory(as: UInt8.self, repeating: 0, count: kernel.stateBytes)
    defer { state.deallocate() }
    let matrices = MatrixScratch()
    var thread = ThreadState(scratch: state, rows: 1, problem: 0, matrices: .passUnretained(matrices))
    tensors.withUnsafeMutableBufferPointer { tensors in
      operands.withUnsafeMutableBufferPointer { operands in
        withUnsafeMutablePointer(to: &thread) { thread in
          guard let tensors = tensors.baseAddress, let operands = operands.baseAddress else { return }
          let call = Call(
            tensors: tensors, operands: operands, inputCount: node.inputs.count, outputCount: node.outputs.count, state: state, thread: thread)
          kernel.prepare(call)
          let scratch = UnsafeMutableRawPointer.allocate(byteCount: max(64, kernel.scratchBytes(call)), alignment: 64)
          thread.pointee.scratch = scratch
          kernel.run(call)
          scratch.deallocate()
        }
      }
    }
    withExtendedLifetime((context, matrices)) {}
    if let problem = RunProblem(rawValue: thread.problem) { throw context.error(problem.reason) }
    return results
  }
}
