// Hot: `run` of each batch.
#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Reduces over axes: operand 0 of the first walk is the output, operand 1 the input at place 0 of the reduced axes, which the second walk
/// goes along. A single run of reduced elements is read where it lies, others are first brought together in scratch memory.
class ReduceKernel<T: BitwiseCopyable>: Kernel, @unchecked Sendable {
  let kind: ReductionOperators.Kind
  /// A bit for each axis that is reduced.
  private let axes: UInt64

  init(_ kind: ReductionOperators.Kind, _ axes: [Int]) {
    self.kind = kind
    self.axes = axes.reduce(0) { $0 | 1 << UInt64($1) }
  }

  @inline(__always) private final func isReduced(_ axis: Int) -> Bool { axes >> UInt64(axis) & 1 == 1 }

  /// `count` elements, `stride` apart.
  func reduce(_ values: UnsafePointer<T>, stride: Int, count: Int) -> T { preconditionFailure("\(Self.self) does not reduce") }
  /// Whole columns at once: `count` rows of `width`; false: not this one.
  func reduceColumns(_ values: UnsafePointer<T>, count: Int, width: Int, into output: UnsafeMutablePointer<T>) -> Bool { false }

  final override var stateBytes: Int { 2 * StridedWalk.byteCount }

  final override func prepare(_ call: Call) {
    let kept = StridedWalk(call.state)
    let reduced = StridedWalk(call.state + StridedWalk.byteCount)
    let input = call.input(0)
    kept.begin()
    reduced.begin()
    var outputStride = 1
    for axis in 0..<input.rank where !isReduced(axis) { outputStride &*= max(1, input.dims[axis]) }
    for axis in 0..<input.rank {
      let size = input.dims[axis]
      let stride = input.product(axis + 1, input.rank)
      if isReduced(axis) {
        reduced.add(size: size, 0, stride)
      } else {
        outputStride /= max(1, size)
        kept.add(size: size, outputStride, stride)
      }
    }
  }

  final override func scratchBytes(_ call: Call) -> Int { reducedCount(call.input(0)) * MemoryLayout<T>.stride }

  private final func reducedCount(_ input: Tensor) -> Int {
    var count = 1
    var axis = 0
    while axis < input.rank {
      if isReduced(axis) { count &*= input.dims[axis] }
      axis &+= 1
    }
    return count
  }

  final override func run(_ call: Call) {
    let input = call.input(0)
    let values = UnsafePointer(input.pointer(T.self))
    let output = call.output().pointer(T.self)
    let kept = StridedWalk(call.state)
    let reduced = StridedWalk(call.state + StridedWalk.byteCount)
    let count = reducedCount(input)
    if let stride = reduced.onlyStride(1) {
      kept.forEachRun { offsets, width, strides in
        if strides[0] == 1, strides[1] == 1, stride == width, reduceColumns(values + offsets[1], count: count, width: width, into: output + offsets[0]) { return }
        var index = 0
        while index < width {
          output[offsets[0] &+ index &* strides[0]] = reduce(values + (offsets[1] &+ index &* strides[1]), stride: stride, count: count)
          index &+= 1
        }
      }
      return
    }
    let gathered = call.scratch.assumingMemoryBound(to: T.self)
    kept.forEachRun { offsets, width, strides in
      var index = 0
      while index < width {
        let from = values + (offsets[1] &+ index &* strides[1])
        var filled = 0
        reduced.forEachRun { places, length, steps in
          ElementCopy.run(gathered + filled, 1, from + places[1], steps[1], length, bytes: MemoryLayout<T>.stride)
          filled &+= length
        }
        output[offsets[0] &+ index &* strides[0]] = reduce(gathered, stride: 1, count: count)
        index &+= 1
      }
    }
  }
}

final class ReduceFloats<T: BinaryFloatingPoint & BitwiseCopyable & SIMDScalar>: ReduceKernel<T>, @unchecked Sendable {
  override func reduce(_ values: UnsafePointer<T>, stride: Int, count: Int) -> T {
    switch kind {
    case .sum: sum(values, stride, count) { $0 }
    case .mean: sum(values, stride, count) { $0 } / T(count)
    case .absolutes: sum(values, stride, count) { abs($0) }
    case .squares: sum(values, stride, count) { $0 * $0 }
    case .norm: sum(values, stride, count) { $0 * $0 }.squareRoot()
    case .logSum: T(log(Double(sum(values, stride, count) { $0 })))
    case .logSumExp: logSumExp(values, stride, count)
    case .product: fold(values, stride, count, 1) { $0 * $1 }
    // A NaN stays.
    case .max: fold(values, stride, count, -.infinity) { $0 > $1 || $0.isNaN ? $0 : $1 }
    case .min: fold(values, stride, count, .infinity) { $0 < $1 || $0.isNaN ? $0 : $1 }
    }
  }

  @inline(__always)
  private func fold(_ values: UnsafePointer<T>, _ stride: Int, _ count: Int, _ start: T, _ combine: (T, T) -> T) -> T {
    var result = start
    var index = 0
    while index < count {
      result = combine(result, values[index &* stride])
      index &+= 1
    }
    return result
  }

  /// Eight sums side by side: faster than one, and closer.
  @inline(__always)
  private func sum(_ values: UnsafePointer<T>, _ stride: Int, _ count: Int, _ term: (T) -> T) -> T {
    var s0: T = 0, s1: T = 0, s2: T = 0, s3: T = 0, s4: T = 0, s5: T = 0, s6: T = 0, s7: T = 0
    var index = 0
    while index &+ 8 <= count {
      let at = values + index &* stride
      s0 += term(at[0])
      s1 += term(at[stride])
      s2 += term(at[2 &* stride])
      s3 += term(at[3 &* stride])
      s4 += term(at[4 &* stride])
      s5 += term(at[5 &* stride])
      s6 += term(at[6 &* stride])
      s7 += term(at[7 &* stride])
      index &+= 8
    }
    while index < count {
      s0 += term(values[index &* stride])
      index &+= 1
    }
    return ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
  }

  private func logSumExp(_ values: UnsafePointer<T>, _ stride: Int, _ count: Int) -> T {
    let largest = Double(fold(values, stride, count, -.infinity) { $0 > $1 || $0.isNaN ? $0 : $1 })
    if !largest.isFinite { return T(largest) }
    var total = 0.0
    var index = 0
    while index < count {
      total += exp(Double(values[index &* stride]) - largest)
      index &+= 1
    }
    return T(largest + log(total))
  }

  override func reduceColumns(_ values: UnsafePointer<T>, count: Int, width: Int, into output: UnsafeMutablePointer<T>) -> Bool {
    switch kind {
    case .sum, .mean: columns(values, count, width, output, 0) { $0 + $1 }
    case .squares, .norm: columns(values, count, width, output, 0) { $0 + $1 * $1 }
    case .max: columns(values, count, width, output, -.infinity) { $0 > $1 || $0.isNaN ? $0 : $1 }
    default: return false
    }
    if kind == .mean { for column in 0..<width { output[column] /= T(count) } }
    if kind == .norm { for column in 0..<width { output[column] = output[column].squareRoot() } }
    return true
  }

  @inline(__always)
  private func columns(
    _ values: UnsafePointer<T>, _ count: Int, _ width: Int, _ output: UnsafeMutablePointer<T>, _ start: T, _ combine: (T, T) -> T
  ) {
    output.update(repeating: start, count: width)
    for row in 0..<count {
      let from = values + row &* width
      var column = 0
      while column < width {
        output[column] = combine(output[column], from[column])
        column &+= 1
      }
    }
  }
}

/// Sums wrap around, means and roots are rounded towards zero.
final class ReduceIntegers<T: FixedWidthInteger & BitwiseCopyable>: ReduceKernel<T>, @unchecked Sendable {
  /// What the largest and smallest of none are.
  let smallest: T
  let largest: T

  init(_ kind: ReductionOperators.Kind, _ axes: [Int], smallest: T = .min, largest: T = .max) {
    self.smallest = smallest
    self.largest = largest
    super.init(kind, axes)
  }

  override func reduce(_ values: UnsafePointer<T>, stride: Int, count: Int) -> T {
    switch kind {
    case .sum: fold(values, stride, count, 0) { $0 &+ $1 }
    case .mean: count == 0 ? 0 : wide(values, stride, count) { $0 } .map { Self.number($0 / Double(count)) } ?? 0
    case .product: fold(values, stride, count, 1) { $0 &* $1 }
    case .absolutes: fold(values, stride, count, 0) { $0 &+ ($1 < 0 ? 0 &- $1 : $1) }
    case .squares: fold(values, stride, count, 0) { $0 &+ $1 &* $1 }
    case .norm: Self.number((wide(values, stride, count) { $0 * $0 } ?? 0).squareRoot())
    case .logSum: Self.number(log(wide(values, stride, count) { $0 } ?? 0))
    case .logSumExp: logSumExp(values, stride, count)
    case .max: fold(values, stride, count, smallest) { $0 > $1 ? $0 : $1 }
    case .min: fold(values, stride, count, largest) { $0 < $1 ? $0 : $1 }
    }
  }

  @inline(__always)
  private func fold(_ values: UnsafePointer<T>, _ stride: Int, _ count: Int, _ start: T, _ combine: (T, T) -> T) -> T {
    var result = start
    var index = 0
    while index < count {
      result = combine(result, values[index &* stride])
      index &+= 1
    }
    return result
  }

  private func wide(_ values: UnsafePointer<T>, _ stride: Int, _ count: Int, _ term: (Double) -> Double) -> Double? {
    var total = 0.0
    for index in 0..<count { total += term(Double(values[index &* stride])) }
    return total
  }

  private func logSumExp(_ values: UnsafePointer<T>, _ stride: Int, _ count: Int) -> T {
    if count == 0 { return smallest }
    let most = Double(fold(values, stride, count, .min) { $0 > $1 ? $0 : $1 })
    return Self.number(most + log(wide(values, stride, count) { exp($0 - most) } ?? 0))
  }

  /// Towards zero, within T's bounds.
  private static func number(_ value: Double) -> T {
    if value.isNaN { return 0 }
    if value >= Double(T.max) { return .max }
    if value <= Double(T.min) { return .min }
    return T(value)
  }
}
