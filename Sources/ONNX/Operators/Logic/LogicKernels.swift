// Hot: `run` of each batch.

enum Relation: Sendable { case equal, greater, greaterOrEqual, less, lessOrEqual }

/// A node of two operands that broadcast.
class BroadcastKernel: Kernel, @unchecked Sendable {
  override final var stateBytes: Int { StridedWalk.byteCount }
  override final func prepare(_ call: Call) { StridedWalk(call.state).setBroadcast(call.output(), call.input(0), call.input(1)) }
}

final class CompareKernel<T: Comparable & BitwiseCopyable>: BroadcastKernel, @unchecked Sendable {
  let relation: Relation

  init(_ relation: Relation) { self.relation = relation }

  override func run(_ call: Call) {
    switch relation {
    case .equal: each(call) { $0 == $1 }
    case .greater: each(call) { $0 > $1 }
    case .greaterOrEqual: each(call) { $0 >= $1 }
    case .less: each(call) { $0 < $1 }
    case .lessOrEqual: each(call) { $0 <= $1 }
    }
  }

  @inline(__always)
  private func each(_ call: Call, _ holds: (T, T) -> Bool) {
    let left = call.input(0).pointer(T.self)
    let right = call.input(1).pointer(T.self)
    let output = call.output().pointer(UInt8.self)
    StridedWalk(call.state).forEachRun { offsets, count, strides in
      let target = output + offsets[0]
      let a = left + offsets[1]
      let b = right + offsets[2]
      let aStride = strides[1]
      let bStride = strides[2]
      var index = 0
      if aStride == 1 && bStride == 1 {
        while index < count {
          target[index] = holds(a[index], b[index]) ? 1 : 0
          index &+= 1
        }
      } else if aStride == 1 && bStride == 0 {
        let one = b[0]
        while index < count {
          target[index] = holds(a[index], one) ? 1 : 0
          index &+= 1
        }
      } else {
        while index < count {
          target[index &* strides[0]] = holds(a[index &* aStride], b[index &* bStride]) ? 1 : 0
          index &+= 1
        }
      }
    }
  }
}

final class LogicKernel: BroadcastKernel, @unchecked Sendable {
  enum Combination: Sendable { case and, or, xor }
  let combination: Combination

  init(_ combination: Combination) { self.combination = combination }

  override func run(_ call: Call) {
    switch combination {
    case .and: each(call) { $0 & $1 }
    case .or: each(call) { $0 | $1 }
    case .xor: each(call) { $0 ^ $1 }
    }
  }

  @inline(__always)
  private func each(_ call: Call, _ combine: (UInt8, UInt8) -> UInt8) {
    let left = call.input(0).pointer(UInt8.self)
    let right = call.input(1).pointer(UInt8.self)
    let output = call.output().pointer(UInt8.self)
    StridedWalk(call.state).forEachRun { offsets, count, strides in
      var index = 0
      while index < count {
        output[offsets[0] &+ index &* strides[0]] = combine(left[offsets[1] &+ index &* strides[1]], right[offsets[2] &+ index &* strides[2]])
        index &+= 1
      }
    }
  }
}

final class NotKernel: Kernel, @unchecked Sendable {
  override var inPlaceInputs: [Int] { [0] }

  override func run(_ call: Call) {
    let input = call.input(0)
    let from = input.pointer(UInt8.self)
    let to = call.output().pointer(UInt8.self)
    for index in 0..<input.count { to[index] = from[index] ^ 1 }
  }
}

final class TestKernel<T: BitwiseCopyable>: Kernel, @unchecked Sendable {
  let holds: (T) -> Bool

  init(_ holds: @escaping (T) -> Bool) { self.holds = holds }

  override func run(_ call: Call) {
    let input = call.input(0)
    let from = input.pointer(T.self)
    let to = call.output().pointer(UInt8.self)
    for index in 0..<input.count { to[index] = holds(from[index]) ? 1 : 0 }
  }
}

final class WhereKernel<T: BitwiseCopyable>: Kernel, @unchecked Sendable {
  override var stateBytes: Int { StridedWalk.byteCount }

  override func prepare(_ call: Call) {
    StridedWalk(call.state).setBroadcast(call.output(), call.input(0), call.input(1), call.input(2))
  }

  override func run(_ call: Call) {
    let condition = call.input(0).pointer(UInt8.self)
    let yes = call.input(1).pointer(T.self)
    let no = call.input(2).pointer(T.self)
    let output = call.output().pointer(T.self)
    StridedWalk(call.state).forEachRun { offsets, count, strides in
      var index = 0
      while index < count {
        let isYes = condition[offsets[1] &+ index &* strides[1]] != 0
        output[offsets[0] &+ index &* strides[0]] = isYes ? yes[offsets[2] &+ index &* strides[2]] : no[offsets[3] &+ index &* strides[3]]
        index &+= 1
      }
    }
  }
}
