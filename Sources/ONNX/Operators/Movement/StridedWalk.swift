// Hot: walks of each batch. No allocation.

/// A walk over an index space that up to four operands share, each with its own stride along each axis (0: the operand is repeated along it).
/// It lies in a node's state: set when dimensions are known, walked in each run. Axes that lie one after the other in all operands are one axis,
/// so that most walks are one run.
struct StridedWalk {
  static let operandsMax = 4
  /// Twice the rank of a tensor: Tile has two axes for each.
  static let axesMax = 2 * ONNXLimits.rankMax
  static var byteCount: Int { Layout.words * MemoryLayout<Int>.size }

  private enum Layout {
    static let axisCount = 0
    static let isEmpty = 1
    static let sizes = 2
    static let strides = sizes + axesMax
    static let counters = strides + axesMax * operandsMax
    static let offsets = counters + axesMax
    static let words = offsets + operandsMax
  }

  private let words: UnsafeMutablePointer<Int>

  init(_ memory: UnsafeMutableRawPointer) { words = memory.assumingMemoryBound(to: Int.self) }

  private var axisCount: Int {
    get { words[Layout.axisCount] }
    nonmutating set { words[Layout.axisCount] = newValue }
  }

  private func strides(_ axis: Int) -> UnsafeMutablePointer<Int> { words + Layout.strides + axis * Self.operandsMax }

  func begin() {
    axisCount = 0
    words[Layout.isEmpty] = 0
  }

  /// The next axis inwards, with each operand's stride, in elements.
  func add(size: Int, _ s0: Int, _ s1: Int, _ s2: Int = 0, _ s3: Int = 0) {
    if size == 0 { words[Layout.isEmpty] = 1 }
    if size == 1 { return }
    if axisCount > 0 {
      let outer = strides(axisCount - 1)
      if outer[0] == s0 &* size, outer[1] == s1 &* size, outer[2] == s2 &* size, outer[3] == s3 &* size {
        words[Layout.sizes + axisCount - 1] &*= size
        set(axisCount - 1, s0, s1, s2, s3)
        return
      }
    }
    precondition(axisCount < Self.axesMax, "\(axisCount) axes")
    words[Layout.sizes + axisCount] = size
    set(axisCount, s0, s1, s2, s3)
    axisCount += 1
  }

  private func set(_ axis: Int, _ s0: Int, _ s1: Int, _ s2: Int, _ s3: Int) {
    let strides = strides(axis)
    strides[0] = s0
    strides[1] = s1
    strides[2] = s2
    strides[3] = s3
  }

  /// Calls `body` for each run along the innermost axis: the operands' offsets of its first element, how many, and the strides along it.
  @inline(__always)
  func forEachRun(_ body: (_ offsets: UnsafePointer<Int>, _ count: Int, _ strides: UnsafePointer<Int>) -> Void) {
    if words[Layout.isEmpty] != 0 { return }
    let offsets = words + Layout.offsets
    offsets.update(repeating: 0, count: Self.operandsMax)
    let axes = axisCount
    if axes == 0 {
      body(offsets, 1, offsets)
      return
    }
    let innermost = axes - 1
    let innerCount = words[Layout.sizes + innermost]
    let innerStrides = strides(innermost)
    let counters = words + Layout.counters
    counters.update(repeating: 0, count: Self.axesMax)
    while true {
      body(offsets, innerCount, innerStrides)
      var axis = innermost - 1
      while axis >= 0 {
        counters[axis] &+= 1
        let stride = strides(axis)
        if counters[axis] < words[Layout.sizes + axis] {
          for operand in 0..<Self.operandsMax { offsets[operand] &+= stride[operand] }
          break
        }
        let back = counters[axis] &- 1
        for operand in 0..<Self.operandsMax { offsets[operand] &-= stride[operand] &* back }
        counters[axis] = 0
        axis -= 1
      }
      if axis < 0 { return }
    }
  }

  /// The stride of an operand when all of the walk is one run; nil: it is several, or none.
  func onlyStride(_ operand: Int) -> Int? { words[Layout.isEmpty] == 0 && axisCount == 1 ? strides(0)[operand] : nil }

  /// Operands broadcast to the output's dimensions, which is operand 0.
  func setBroadcast(_ output: Tensor, _ a: Tensor, _ b: Tensor? = nil, _ c: Tensor? = nil) {
    begin()
    for axis in 0..<output.rank {
      add(
        size: output.dims[axis], output.product(axis + 1, output.rank), a.broadcastStride(axis, of: output), b?.broadcastStride(axis, of: output) ?? 0,
        c?.broadcastStride(axis, of: output) ?? 0)
    }
  }
}

extension Tensor {
  /// The stride along an axis of the tensor that this one is broadcast to.
  @inline(__always) func broadcastStride(_ axis: Int, of output: Tensor) -> Int {
    let own = axis - (output.rank - rank)
    return own < 0 || dims[own] == 1 ? 0 : product(own + 1, rank)
  }
}

/// Copies elements of 1, 2, 4 or 8 bytes.
enum ElementCopy {
  /// `count` elements, strides in elements.
  @inline(__always)
  static func run(
    _ to: UnsafeMutableRawPointer, _ toStride: Int, _ from: UnsafeRawPointer, _ fromStride: Int, _ count: Int, bytes: Int
  ) {
    if toStride == 1 && fromStride == 1 {
      to.copyMemory(from: from, byteCount: count &* bytes)
      return
    }
    switch bytes {
    case 1: strided(to, toStride, from, fromStride, count, UInt8.self)
    case 2: strided(to, toStride, from, fromStride, count, UInt16.self)
    case 4: strided(to, toStride, from, fromStride, count, UInt32.self)
    default: strided(to, toStride, from, fromStride, count, UInt64.self)
    }
  }

  @inline(__always)
  private static func strided<T: BitwiseCopyable>(
    _ to: UnsafeMutableRawPointer, _ toStride: Int, _ from: UnsafeRawPointer, _ fromStride: Int, _ count: Int, _: T.Type
  ) {
    let target = to.assumingMemoryBound(to: T.self)
    let source = from.assumingMemoryBound(to: T.self)
    if fromStride == 0 && toStride == 1 {
      target.update(repeating: source[0], count: count)
      return
    }
    var index = 0
    while index < count {
      target[index &* toStride] = source[index &* fromStride]
      index &+= 1
    }
  }

  /// All of `walk`: operand 0 is the target, operand 1 the source.
  @inline(__always)
  static func run(_ walk: StridedWalk, to: UnsafeMutableRawPointer, from: UnsafeRawPointer, bytes: Int) {
    walk.forEachRun { offsets, count, strides in
      run(to + offsets[0] &* bytes, strides[0], from + offsets[1] &* bytes, strides[1], count, bytes: bytes)
    }
  }
}
