// Hot: `prepare` runs when the number of rows has changed, `forEachRun` in each run.

/// How elementwise operators walk over inputs of different shapes (numpy's broadcasting): dimensions that all operands walk alike are
/// joined, so that most loops are one or two deep. Lives in a kernel's state.
enum Broadcasting {
  /// Integers: rank, then for each of up to 8 dimensions (outermost first) its size, then strides of each input, then counters.
  static func stateBytes(inputs: Int) -> Int { (1 + ONNXLimits.rankMax * (2 + inputs)) * MemoryLayout<Int>.size }

  /// Computes the walk over output 0 for inputs `first` ..< `first + inputs`; `at`: where in the state it lies.
  static func prepare(_ call: Call, inputs: Int, first: Int = 0, at offset: Int = 0) {
    let state = (call.state + offset).assumingMemoryBound(to: Int.self)
    let rankMax = ONNXLimits.rankMax
    let sizes = state + 1
    let strides = state + 1 + rankMax
    let output = call.output()
    var rank = 0
    // From the innermost outwards; reversed below.
    var axis = output.rank - 1
    while axis >= 0 {
      let size = output.dims[axis]
      if size == 1 {
        axis -= 1
        continue
      }
      var joins = rank > 0
      for input in 0..<inputs {
        let tensor = call.input(first + input)
        let own = axis - (output.rank - tensor.rank)
        var stride = 0
        if own >= 0, tensor.dims[own] != 1 { stride = tensor.product(own + 1, tensor.rank) }
        strides[input * rankMax + rank] = stride
        // It joins the dimension inside when it goes on where that one ends.
        if rank > 0, stride != strides[input * rankMax + rank - 1] &* sizes[rank - 1] { joins = false }
      }
      if joins { sizes[rank - 1] *= size } else {
        sizes[rank] = size
        rank += 1
      }
      axis -= 1
    }
    if rank == 0 {
      sizes[0] = output.count == 0 ? 0 : 1
      for input in 0..<inputs { strides[input * rankMax] = 0 }
      rank = 1
    }
    state[0] = rank
  }

  /// Calls `body(rows, columns, a, aRow, aStep, b, bRow, bStep, y)`: blocks of two dimensions in elements' offsets; the output is
  /// contiguous: row r of the block begins at y + r * columns.
  @inline(__always)
  static func forEachBlock(
    _ call: Call, _ body: (_ rows: Int, _ columns: Int, _ a: Int, _ aRow: Int, _ aStep: Int, _ b: Int, _ bRow: Int, _ bStep: Int, _ y: Int) -> Void
  ) {
    let state = call.state(Int.self)
    let rankMax = ONNXLimits.rankMax
    let rank = state[0]
    let sizes = state + 1
    let a = state + 1 + rankMax
    let b = a + rankMax
    if rank == 1 { return body(1, sizes[0], 0, 0, a[0], 0, 0, b[0], 0) }
    if rank == 2 { return body(sizes[1], sizes[0], 0, a[1], a[0], 0, b[1], b[0], 0) }
    forEachOuter(state, inputs: 2, from: 2) { walk, y in
      body(sizes[1], sizes[0], walk.offset(0), a[1], a[0], walk.offset(1), b[1], b[0], y)
    }
  }

  /// Calls `body` for each run of the innermost dimension: its length, the output's offset, and where each input stands.
  @inline(__always)
  static func forEachRun(_ call: Call, inputs: Int, at offset: Int = 0, _ body: (_ count: Int, _ y: Int, _ walk: Walk) -> Void) {
    let state = (call.state + offset).assumingMemoryBound(to: Int.self)
    forEachOuter(state, inputs: inputs, from: 1) { walk, y in body(state[1], y, walk) }
  }

  /// Where the inputs stand in a walk, in elements.
  struct Walk {
    fileprivate let strides: UnsafeMutablePointer<Int>
    fileprivate let counters: UnsafeMutablePointer<Int>
    fileprivate let from: Int
    fileprivate let rank: Int

    @inline(__always) func offset(_ input: Int) -> Int {
      var offset = 0
      var axis = from
      while axis < rank {
        offset &+= counters[axis] &* strides[input &* ONNXLimits.rankMax &+ axis]
        axis &+= 1
      }
      return offset
    }

    /// The stride of the innermost dimension.
    @inline(__always) func step(_ input: Int) -> Int { strides[input &* ONNXLimits.rankMax] }
  }

  /// Walks over the dimensions from `from` outwards.
  @inline(__always)
  private static func forEachOuter(_ state: UnsafeMutablePointer<Int>, inputs: Int, from: Int, _ body: (_ walk: Walk, _ y: Int) -> Void) {
    let rankMax = ONNXLimits.rankMax
    let rank = state[0]
    let sizes = state + 1
    let strides = sizes + rankMax
    let counters = strides + inputs * rankMax
    let walk = Walk(strides: strides, counters: counters, from: from, rank: rank)
    var inner = 1
    for axis in 0..<min(from, rank) { inner &*= sizes[axis] }
    var outer = 1
    for axis in 0..<rankMax { counters[axis] = 0 }
    if rank > from { for axis in from..<rank { outer &*= sizes[axis] } }
    guard inner > 0 else { return }
    var y = 0
    for _ in 0..<outer {
      body(walk, y)
      y &+= inner
      var axis = from
      while axis < rank {
        counters[axis] &+= 1
        if counters[axis] < sizes[axis] { break }
        counters[axis] = 0
        axis &+= 1
      }
    }
  }
}
