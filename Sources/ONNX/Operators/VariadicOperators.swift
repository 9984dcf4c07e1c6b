// Hot where it says Kernel.
internal import Model

/// Sum, Min, Max, Mean of any number of inputs, with numpy's broadcasting.
enum VariadicOperators {
  static let all: [ONNXOperator] = [make("Sum", .sum), make("Min", .least), make("Max", .greatest), make("Mean", .mean)]

  enum Function: Sendable { case sum, least, greatest, mean }

  private static func make(_ name: String, _ function: Function) -> ONNXOperator {
    ONNXOperator(
      name,
      infer: { (node) throws(ONNXError) in
        var result = try node.type(0)
        guard result.element.isNumber else { throw node.error("does not take \(result.element.onnxName)") }
        for index in 1..<max(1, node.inputCount) {
          let next = try node.type(index)
          guard next.element == result.element else { throw node.error("inputs of \(result.element.onnxName) and \(next.element.onnxName)") }
          result.shape = try node.broadcast(result.shape, next.shape)
        }
        return [result]
      },
      compile: { (node) throws(ONNXError) in
        guard let kernel = Maker(function: function, inputs: node.inputCount).kernel(try node.element(0)) else { throw node.error("does not take its elements") }
        return kernel
      })
  }

  private struct Maker: NumberKernelMaker {
    let function: Function
    let inputs: Int
    func make<T: TensorNumber>(_: T.Type) -> Kernel { VariadicKernel<T>(function, inputs: inputs) }
  }
}

final class VariadicKernel<T: TensorNumber>: Kernel, @unchecked Sendable {
  private let function: VariadicOperators.Function
  private let inputs: Int
  private let walkBytes = Broadcasting.stateBytes(inputs: 1)

  init(_ function: VariadicOperators.Function, inputs: Int) {
    self.function = function
    self.inputs = inputs
  }

  override var stateBytes: Int { inputs * walkBytes }

  override func prepare(_ call: Call) {
    for index in 0..<inputs { Broadcasting.prepare(call, inputs: 1, first: index, at: index * walkBytes) }
  }

  override func run(_ call: Call) {
    combine(call, 0) { $1 }
    for index in 1..<max(1, inputs) {
      switch function {
      case .sum, .mean: combine(call, index) { T.plus($0, $1) }
      case .least: combine(call, index) { T.least($0, $1) }
      case .greatest: combine(call, index) { T.greatest($0, $1) }
      }
    }
    if case .mean = function {
      let y = call.output().pointer(T.self)
      for index in 0..<call.output().count { y[index] = T.quotient(y[index], count: inputs) }
    }
  }

  @inline(__always) private func combine(_ call: Call, _ index: Int, _ f: (T, T) -> T) {
    let x = call.input(index).pointer(T.self)
    let y = call.output().pointer(T.self)
    Broadcasting.forEachRun(call, inputs: 1, at: index * walkBytes) { count, start, walk in
      let p = x + walk.offset(0)
      let step = walk.step(0)
      for place in 0..<count { y[start &+ place] = f(y[start &+ place], p[place &* step]) }
    }
  }
}
