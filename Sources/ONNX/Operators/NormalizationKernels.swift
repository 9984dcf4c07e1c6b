// Hot.
internal import CKernels
internal import Foundation
internal import Kernels
internal import Model

final class SoftmaxKernel<T: BinaryFloatingPoint & BitwiseCopyable>: Kernel, @unchecked Sendable {
  private let axis: Int
  /// Whether the dimensions from `axis` on are one.
  private let joins: Bool
  private let isLogarithm: Bool

  init(axis: Int, joins: Bool, isLogarithm: Bool) {
    self.axis = axis
    self.joins = joins
    self.isLogarithm = isLogarithm
  }

  override var inPlaceInputs: [Int] { [0] }

  override func run(_ call: Call) {
    let (x, y) = (call.input(0), call.output())
    if y.count == 0 { return }
    let columns = y.rank == 0 ? 1 : joins ? y.product(axis, y.rank) : y.dims[axis]
    let inner = y.rank == 0 || joins ? 1 : y.product(axis + 1, y.rank)
    let outer = y.count / (columns * inner)
    if T.self == Float.self, inner == 1 {
      for row in 0..<outer {
        let (from, to) = (x.floats + row * columns, y.floats + row * columns)
        if isLogarithm { VectorMath.logSoftmax(from, into: to, count: columns) } else { VectorMath.softmax(from, into: to, count: columns) }
      }
      return
    }
    for row in 0..<(outer * inner) {
      let start = row / inner * columns * inner + row % inner
      vector(x.pointer(T.self) + start, y.pointer(T.self) + start, count: columns, stride: inner)
    }
  }

  private func vector(_ x: UnsafeMutablePointer<T>, _ y: UnsafeMutablePointer<T>, count: Int, stride: Int) {
    var best = -Double.infinity
    for index in 0..<count { best = max(best, Double(x[index * stride])) }
    var sum = 0.0
    for index in 0..<count { sum += exp(Double(x[index * stride]) - best) }
    let logarithm = log(sum)
    for index in 0..<count {
      let value = Double(x[index * stride]) - best
      y[index * stride] = T(isLogarithm ? value - logarithm : exp(value) / sum)
    }
  }
}

/// y = x * scale + shift for each channel, which is the second dimension.
final class ChannelAffineKernel: Kernel, @unchecked Sendable {
  private let scale: AlignedMemory
  private let shift: AlignedMemory

  init(scale: [Float], shift: [Float]) {
    func copy(_ values: [Float]) -> AlignedMemory {
      let memory = AlignedMemory(byteCount: values.count * 4)
      values.withUnsafeBytes { if let base = $0.baseAddress { memory.pointer.copyMemory(from: base, byteCount: $0.count) } }
      return memory
    }
    self.scale = copy(scale)
    self.shift = copy(shift)
  }

  override var inPlaceInputs: [Int] { [0] }

  override func run(_ call: Call) {
    let (x, y) = (call.input(0), call.output())
    let scale = scale.pointer.assumingMemoryBound(to: Float.self)
    let shift = shift.pointer.assumingMemoryBound(to: Float.self)
    let channels = y.rank > 1 ? y.dims[1] : 1
    let inner = y.product(min(2, y.rank), y.rank)
    if y.count == 0 { return }
    if inner == 1, channels > 1 { return mr_elementwise_affine(y.count / channels, channels, x.floats, scale, shift, y.floats) }
    for plane in 0..<(y.count / inner) {
      let channel = plane % channels
      mr_elementwise_unary(UnaryFunction.scale.rawValue, x.floats + plane * inner, y.floats + plane * inner, inner, scale[channel], shift[channel])
    }
  }
}

/// With parameters that come at run time.
final class BatchNormalizationKernel<T: BinaryFloatingPoint & BitwiseCopyable>: Kernel, @unchecked Sendable {
  private let epsilon: Float
  init(epsilon: Float) { self.epsilon = epsilon }
  override var inPlaceInputs: [Int] { [0] }

  override func run(_ call: Call) {
    let (x, y) = (call.input(0).pointer(T.self), call.output())
    let channels = y.rank > 1 ? y.dims[1] : 1
    let inner = y.product(min(2, y.rank), y.rank)
    if y.count == 0 { return }
    let (gamma, beta) = (call.input(1).pointer(T.self), call.input(2).pointer(T.self))
    let (mean, variance) = (call.input(3).pointer(T.self), call.input(4).pointer(T.self))
    let out = y.pointer(T.self)
    for plane in 0..<(y.count / inner) {
      let channel = plane % channels
      let factor = gamma[channel] / (variance[channel] + T(epsilon)).squareRoot()
      for index in (plane * inner)..<((plane + 1) * inner) { out[index] = (x[index] - mean[channel]) * factor + beta[channel] }
    }
  }
}

final class FloatLayerNormalizationKernel: Kernel, @unchecked Sendable {
  private let axis: Int
  private let epsilon: Float
  init(axis: Int, epsilon: Float) {
    self.axis = axis
    self.epsilon = epsilon
  }

  override func run(_ call: Call) {
    let (x, y) = (call.input(0), call.output())
    let columns = y.product(axis, y.rank)
    if y.count == 0 { return }
    mr_layer_norm(
      y.count / columns, columns, x.floats, call.input(1).floats, call.hasInput(2) ? call.input(2).floats : nil, epsilon, y.floats,
      call.hasOutput(1) ? call.output(1).floats : nil, call.hasOutput(2) ? call.output(2).floats : nil)
  }
}

/// In double precision, and with scales that broadcast.
final class LayerNormalizationKernel<T: BinaryFloatingPoint & BitwiseCopyable>: Kernel, @unchecked Sendable {
  private let axis: Int
  private let epsilon: Float
  init(axis: Int, epsilon: Float) {
    self.axis = axis
    self.epsilon = epsilon
  }

  private let walkBytes = Broadcasting.stateBytes(inputs: 1)
  override var stateBytes: Int { 2 * walkBytes }

  override func prepare(_ call: Call) {
    for index in 1...2 where call.hasInput(index) { Broadcasting.prepare(call, inputs: 1, first: index, at: (index - 1) * walkBytes) }
  }

  override func run(_ call: Call) {
    let (x, y) = (call.input(0).pointer(T.self), call.output())
    let columns = y.product(axis, y.rank)
    if y.count == 0 { return }
    let out = y.pointer(T.self)
    for row in 0..<(y.count / columns) {
      let (from, to) = (x + row * columns, out + row * columns)
      var mean = T(0)
      for index in 0..<columns { mean += from[index] }
      mean /= T(columns)
      var variance = T(0)
      for index in 0..<columns { variance += (from[index] - mean) * (from[index] - mean) }
      let inverse = 1 / (variance / T(columns) + T(epsilon)).squareRoot()
      for index in 0..<columns { to[index] = (from[index] - mean) * inverse }
      if call.hasOutput(1) { call.output(1).pointer(T.self)[row] = mean }
      if call.hasOutput(2) { call.output(2).pointer(T.self)[row] = inverse }
    }
    if call.hasInput(1) { combine(call, 1) { $0 * $1 } }
    if call.hasInput(2) { combine(call, 2) { $0 + $1 } }
  }

  @inline(__always) private func combine(_ call: Call, _ index: Int, _ f: (T, T) -> T) {
    let values = call.input(index).pointer(T.self)
    let y = call.output().pointer(T.self)
    Broadcasting.forEachRun(call, inputs: 1, at: (index - 1) * walkBytes) { count, start, walk in
      let p = values + walk.offset(0)
      let step = walk.step(0)
      for place in 0..<count { y[start &+ place] = f(y[start &+ place], p[place &* step]) }
    }
  }
}
