// Hot: `run` of each batch.
internal import Model

extension MovementOperators {
  /// Gather: 1, 11 (negative indices), 13.
  static let gather = ONNXOperator("Gather", attributes: ["axis"], halves: .itself) { node throws(ONNXError) in
    let type = try node.type(0)
    try node.require(1, [.int32, .int64])
    guard type.rank > 0 else { throw node.error("takes entries of a scalar") }
    let axis = try node.axis(try node.int("axis", 0), rank: type.rank)
    guard !type.shape[axis].isRows else { throw node.error("takes entries along the rows of the batch") }
    let shape = Array(type.shape[..<axis]) + (try node.shape(1)) + Array(type.shape[(axis + 1)...])
    guard shape.count <= ONNXLimits.rankMax else { throw node.error("\(shape.count) dimensions") }
    _ = try node.elementCount(shape)
    return [TensorType(type.element, shape)]
  } compile: { node throws(ONNXError) in
    let type = try node.type(0)
    return GatherKernel(axis: try node.axis(try node.int("axis", 0), rank: type.rank), isWide: try node.element(1) == .int64)
  } dimensions: { node throws(ONNXError) in
    guard try node.type(0).rank == 1, let all = node.dimensions(0), let indices = try? node.constantInts(1) else { return nil }
    var taken: [Dimension] = []
    for index in indices {
      let place = index < 0 ? index + all.count : index
      guard all.indices.contains(place) else { throw node.error("index \(index) of \(all.count)") }
      taken.append(all[place])
    }
    return taken
  }

  /// GatherElements: 11, 13.
  static let gatherElements = ONNXOperator("GatherElements", versions: 11...ONNXOperator.versionMax, attributes: ["axis"], halves: .itself) { node throws(ONNXError) in
    let type = try node.type(0)
    let indices = try node.shape(1)
    try node.require(1, [.int32, .int64])
    guard type.rank > 0, indices.count == type.rank else { throw node.error("indices of \(indices.count) dimensions for \(type.rank)") }
    let axis = try node.axis(try node.int("axis", 0), rank: type.rank)
    guard !type.shape[axis].isRows else { throw node.error("takes entries along the rows of the batch") }
    for other in 0..<type.rank where other != axis {
      guard indices[other].isRows == type.shape[other].isRows, indices[other].multiple <= type.shape[other].multiple else {
        throw node.error("indices \(indices.text) for \(type.shape.text)")
      }
    }
    return [TensorType(type.element, indices)]
  } compile: { node throws(ONNXError) in
    GatherElementsKernel(axis: try node.axis(try node.int("axis", 0), rank: try node.type(0).rank), isWide: try node.element(1) == .int64)
  }

  /// GatherND: 11, 12 (batch dimensions), 13.
  static let gatherND = ONNXOperator("GatherND", versions: 11...ONNXOperator.versionMax, attributes: ["batch_dims"], halves: .itself) { node throws(ONNXError) in
    let type = try node.type(0)
    let indices = try node.shape(1)
    try node.require(1, [.int64])
    let batch = try node.int("batch_dims", 0)
    guard batch >= 0, batch < min(type.rank, indices.count), let depth = indices.last?.fixed, depth >= 1, batch + depth <= type.rank else {
      throw node.error("indices \(indices.text) for \(type.shape.text) with batch_dims \(batch)")
    }
    for axis in 0..<batch where type.shape[axis] != indices[axis] { throw node.error("indices \(indices.text) for \(type.shape.text)") }
    for axis in batch..<(batch + depth) where type.shape[axis].isRows { throw node.error("takes entries along the rows of the batch") }
    let shape = Array(indices.dropLast()) + Array(type.shape[(batch + depth)...])
    guard shape.count <= ONNXLimits.rankMax else { throw node.error("\(shape.count) dimensions") }
    _ = try node.elementCount(shape)
    return [TensorType(type.element, shape)]
  } compile: { node throws(ONNXError) in
    GatherNDKernel(batch: try node.int("batch_dims", 0))
  }
}

/// An index, counted from the end when negative; problem and 0 when it is out of range.
@inline(__always)
private func place(_ index: Int, of size: Int, _ call: Call) -> Int {
  let counted = index < 0 ? index &+ size : index
  if counted < 0 || counted >= size {
    call.problem(.indexOutOfRange)
    return 0
  }
  return counted
}

private final class GatherKernel: Kernel, @unchecked Sendable {
  let axis: Int
  let isWide: Bool

  init(axis: Int, isWide: Bool) {
    self.axis = axis
    self.isWide = isWide
  }

  override func run(_ call: Call) {
    let data = call.input(0)
    let indices = call.input(1)
    let output = call.output()
    if output.count == 0 { return }
    let size = data.dims[axis]
    // Nothing to take from: every index is wrong, and there is nothing harmless to read.
    if size == 0 {
      call.problem(.indexOutOfRange)
      output.data.initializeMemory(as: UInt8.self, repeating: 0, count: output.byteCount)
      return
    }
    let bytes = data.element.bytes
    let outer = data.product(0, axis)
    let inner = data.product(axis + 1, data.rank) &* bytes
    let narrow = indices.pointer(Int32.self)
    let wide = indices.pointer(Int64.self)
    var target = output.data
    for row in 0..<outer {
      let block = data.data + row &* size &* inner
      var index = 0
      while index < indices.count {
        let place = place(isWide ? Int(wide[index]) : Int(narrow[index]), of: size, call)
        if inner == 4 {
          target.storeBytes(of: (block + place &* 4).loadUnaligned(as: UInt32.self), as: UInt32.self)
        } else {
          target.copyMemory(from: block + place &* inner, byteCount: inner)
        }
        target += inner
        index &+= 1
      }
    }
  }
}

private final class GatherElementsKernel: Kernel, @unchecked Sendable {
  let axis: Int
  let isWide: Bool

  init(axis: Int, isWide: Bool) {
    self.axis = axis
    self.isWide = isWide
  }

  override var stateBytes: Int { StridedWalk.byteCount }

  /// Operand 0: indices and output. Operand 1: the data, at place 0 of the axis.
  override func prepare(_ call: Call) {
    let walk = StridedWalk(call.state)
    let data = call.input(0)
    let output = call.output()
    walk.begin()
    for axis in 0..<output.rank {
      walk.add(size: output.dims[axis], output.product(axis + 1, output.rank), axis == self.axis ? 0 : data.product(axis + 1, data.rank))
    }
  }

  override func run(_ call: Call) {
    let data = call.input(0)
    let indices = call.input(1)
    let output = call.output()
    let size = data.dims[axis]
    let bytes = data.element.bytes
    if size == 0 {
      if output.count > 0 { call.problem(.indexOutOfRange) }
      output.data.initializeMemory(as: UInt8.self, repeating: 0, count: output.byteCount)
      return
    }
    let step = data.product(axis + 1, data.rank)
    let narrow = indices.pointer(Int32.self)
    let wide = indices.pointer(Int64.self)
    StridedWalk(call.state).forEachRun { offsets, count, strides in
      var index = 0
      while index < count {
        let at = offsets[0] &+ index &* strides[0]
        let place = place(isWide ? Int(wide[at]) : Int(narrow[at]), of: size, call)
        let from = offsets[1] &+ index &* strides[1] &+ place &* step
        ElementCopy.run(output.data + at &* bytes, 1, data.data + from &* bytes, 1, 1, bytes: bytes)
        index &+= 1
      }
    }
  }
}

private final class GatherNDKernel: Kernel, @unchecked Sendable {
  let batch: Int

  init(batch: Int) { self.batch = batch }

  override func run(_ call: Call) {
    let data = call.input(0)
    let indices = call.input(1)
    let output = call.output()
    if output.count == 0 { return }
    if data.count == 0 {
      call.problem(.indexOutOfRange)
      output.data.initializeMemory(as: UInt8.self, repeating: 0, count: output.byteCount)
      return
    }
    let depth = indices.dims[indices.rank - 1]
    let inner = data.product(batch + depth, data.rank) &* data.element.bytes
    let batches = data.product(0, batch)
    let entries = indices.count / max(1, depth) / max(1, batches)
    let stride = data.product(batch, data.rank) &* data.element.bytes
    var at = indices.pointer(Int64.self)
    var target = output.data
    for row in 0..<batches {
      for _ in 0..<entries {
        var offset = 0
        for axis in 0..<depth {
          offset = offset &* data.dims[batch + axis] &+ place(Int(at[axis]), of: data.dims[batch + axis], call)
        }
        target.copyMemory(from: data.data + row &* stride + offset &* inner, byteCount: inner)
        target += inner
        at += depth
      }
    }
  }
}
