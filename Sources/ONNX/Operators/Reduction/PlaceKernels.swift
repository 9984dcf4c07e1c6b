// Hot: `run` of each batch.

/// The place of the largest or smallest element along an axis.
final class ArgumentKernel<T: Comparable & BitwiseCopyable>: Kernel, @unchecked Sendable {
  let axis: Int
  let isMax: Bool
  let takesLast: Bool

  init(_ axis: Int, isMax: Bool, takesLast: Bool) {
    self.axis = axis
    self.isMax = isMax
    self.takesLast = takesLast
  }

  override func run(_ call: Call) {
    let input = call.input(0)
    let values = input.pointer(T.self)
    let places = call.output().pointer(Int64.self)
    if input.rank == 0 {
      places[0] = 0
      return
    }
    let size = input.dims[axis]
    let inner = input.product(axis + 1, input.rank)
    let outer = input.product(0, axis)
    for row in 0..<outer {
      for column in 0..<inner {
        let from = values + (row &* size &* inner &+ column)
        var best = 0
        var value = from[0]
        var place = 1
        while place < size {
          let other = from[place &* inner]
          if (isMax ? other > value : other < value) || (takesLast && other == value) {
            best = place
            value = other
          }
          place &+= 1
        }
        places[row &* inner &+ column] = Int64(best)
      }
    }
  }
}

/// The first `k` of an order, with their places: each element is put into the sorted ones found so far.
final class TopKernel<T: Comparable & BitwiseCopyable>: Kernel, @unchecked Sendable {
  let axis: Int
  let isMax: Bool

  init(_ axis: Int, isMax: Bool) {
    self.axis = axis
    self.isMax = isMax
  }

  override func scratchBytes(_ call: Call) -> Int { 2 * call.input(0).dims[axis] * MemoryLayout<Int>.stride }

  override func run(_ call: Call) {
    let input = call.input(0)
    let values = input.pointer(T.self)
    let size = input.dims[axis]
    let inner = input.product(axis + 1, input.rank)
    let outer = input.product(0, axis)
    let k = call.output().dims[axis]
    let order = call.scratch.assumingMemoryBound(to: Int.self)
    for row in 0..<outer {
      for column in 0..<inner {
        let from = values + (row &* size &* inner &+ column)
        if k &* 4 < size || size <= 16 { insert(from, inner, size, k, order) } else { merge(from, inner, size, order) }
        for rank in 0..<k {
          let target = (row &* k &+ rank) &* inner &+ column
          call.output(0).pointer(T.self)[target] = from[order[rank] &* inner]
          call.output(1).pointer(Int64.self)[target] = Int64(order[rank])
        }
      }
    }
  }

  @inline(__always)
  private func isBefore(_ a: T, _ b: T) -> Bool { isMax ? a > b : a < b }

  private func insert(_ from: UnsafePointer<T>, _ stride: Int, _ size: Int, _ k: Int, _ order: UnsafeMutablePointer<Int>) {
    if k == 0 { return }
    var filled = 0
    for place in 0..<size {
      let value = from[place &* stride]
      if filled == k, !isBefore(value, from[order[k &- 1] &* stride]) { continue }
      var at = filled < k ? filled : k &- 1
      while at > 0, isBefore(value, from[order[at &- 1] &* stride]) {
        order[at] = order[at &- 1]
        at &-= 1
      }
      order[at] = place
      if filled < k { filled &+= 1 }
    }
  }

  /// All places sorted, runs merged upwards: stable, so that the lower of equal places comes first.
  private func merge(_ from: UnsafePointer<T>, _ stride: Int, _ size: Int, _ order: UnsafeMutablePointer<Int>) {
    let other = order + size
    for place in 0..<size { order[place] = place }
    var width = 1
    while width < size {
      var start = 0
      while start < size {
        let middle = min(start &+ width, size)
        let end = min(middle &+ width, size)
        var left = start
        var right = middle
        for at in start..<end {
          if left < middle && (right >= end || !isBefore(from[order[right] &* stride], from[order[left] &* stride])) {
            other[at] = order[left]
            left &+= 1
          } else {
            other[at] = order[right]
            right &+= 1
          }
        }
        start = end
      }
      order.update(from: other, count: size)
      width &*= 2
    }
  }
}

/// Sums up to each place.
final class CumulateKernel<T: BitwiseCopyable>: Kernel, @unchecked Sendable {
  let axis: Int
  let isExclusive: Bool
  let isReverse: Bool
  let zero: T
  let add: (T, T) -> T

  init(_ axis: Int, _ isExclusive: Bool, _ isReverse: Bool, zero: T, add: @escaping (T, T) -> T) {
    self.axis = axis
    self.isExclusive = isExclusive
    self.isReverse = isReverse
    self.zero = zero
    self.add = add
  }

  override func run(_ call: Call) {
    let input = call.input(0)
    let values = input.pointer(T.self)
    let sums = call.output().pointer(T.self)
    let size = input.dims[axis]
    let inner = input.product(axis + 1, input.rank)
    let outer = input.product(0, axis)
    for row in 0..<outer {
      for column in 0..<inner {
        let start = row &* size &* inner &+ column
        var sum = zero
        for step in 0..<size {
          let at = start &+ (isReverse ? size &- 1 &- step : step) &* inner
          let next = add(sum, values[at])
          sums[at] = isExclusive ? sum : next
          sum = next
        }
      }
    }
  }
}
