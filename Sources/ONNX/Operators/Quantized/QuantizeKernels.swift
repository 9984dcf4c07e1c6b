// Hot: `run` of each batch.

/// Calls `body` with runs of elements that lie one after the other and share a scale, and with the scale's place.
@inline(__always)
private func forEachRun(_ input: Tensor, _ grain: Granularity, scales: Tensor, _ body: (_ start: Int, _ count: Int, _ scale: Int) -> Void) {
  if grain.kind == .tensor { return body(0, input.count, 0) }
  let size = input.dims[grain.axis]
  let inner = input.product(grain.axis + 1, input.rank)
  let outer = input.product(0, grain.axis)
  for row in 0..<outer {
    for place in 0..<size {
      let start = (row &* size &+ place) &* inner
      if grain.kind == .axis {
        body(start, inner, place)
      } else {
        let scale = (row &* scales.dims[grain.axis] &+ place / grain.block) &* inner
        for column in 0..<inner { body(start &+ column, 1, scale &+ column) }
      }
    }
  }
}

/// Rounds to nearest, ties to even, and saturates; a NaN becomes 0.
@inline(__always)
func quantized<Q: FixedWidthInteger>(_ value: Float, zero: Int32, as _: Q.Type) -> Q {
  let rounded = value.rounded(.toNearestOrEven)
  // Beyond 2^24 both ends are saturated, whatever the zero point is.
  let whole = rounded >= 16_777_216 ? 16_777_216 : rounded > -16_777_216 ? Int32(rounded) : rounded.isNaN ? 0 : -16_777_216
  let sum = whole &+ zero
  return sum > Int32(Q.max) ? Q.max : sum < Int32(Q.min) ? Q.min : Q(truncatingIfNeeded: sum)
}

final class QuantizeKernel<X: RowNumber, Q: FixedWidthInteger & BitwiseCopyable>: Kernel, @unchecked Sendable {
  let grain: Granularity

  init(_ grain: Granularity) { self.grain = grain }

  override func run(_ call: Call) {
    let input = call.input(0)
    let values = input.pointer(X.self)
    let output = call.output().pointer(Q.self)
    let scales = call.input(1)
    let zeros = call.hasInput(2) ? call.input(2).pointer(Q.self) : nil
    forEachRun(input, grain, scales: scales) { start, count, place in
      let scale = scales.floats[place]
      let zero = zeros.map { Int32($0[place]) } ?? 0
      var index = start
      while index < start &+ count {
        output[index] = quantized(values[index].single / scale, zero: zero, as: Q.self)
        index &+= 1
      }
    }
  }
}

final class DequantizeKernel<Q: FixedWidthInteger & BitwiseCopyable>: Kernel, @unchecked Sendable {
  let grain: Granularity

  init(_ grain: Granularity) { self.grain = grain }

  override func run(_ call: Call) {
    let input = call.input(0)
    let values = input.pointer(Q.self)
    let output = call.output().floats
    let scales = call.input(1)
    let zeros = call.hasInput(2) ? call.input(2).pointer(Q.self) : nil
    forEachRun(input, grain, scales: scales) { start, count, place in
      let scale = scales.floats[place]
      let zero = zeros.map { Int32($0[place]) } ?? 0
      var index = start
      while index < start &+ count {
        output[index] = Float(Int32(values[index]) &- zero) * scale
        index &+= 1
      }
    }
  }
}

final class DynamicQuantizeKernel: Kernel, @unchecked Sendable {
  override func run(_ call: Call) {
    let input = call.input(0)
    let values = input.floats
    var least: Float = 0
    var most: Float = 0
    for index in 0..<input.count {
      if values[index] < least { least = values[index] }
      if values[index] > most { most = values[index] }
    }
    // All zeros: any scale does.
    let scale = most == least ? 1 : (most - least) / 255
    let zero = quantized((0 - least) / scale, zero: 0, as: UInt8.self)
    call.output(1).floats[0] = scale
    call.output(2).pointer(UInt8.self)[0] = zero
    let output = call.output(0).pointer(UInt8.self)
    for index in 0..<input.count { output[index] = quantized(values[index] / scale, zero: Int32(zero), as: UInt8.self) }
  }
}
