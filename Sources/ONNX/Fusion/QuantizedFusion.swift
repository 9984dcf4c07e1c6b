internal import Kernels
internal import Model

/// What onnxruntime's `quantize_dynamic` writes for a product with constant weights,
///
///     DynamicQuantizeLinear, MatMulInteger, Cast, Mul of the two scales, Mul, and often Add of a bias and Relu,
///
/// becomes one int8 layer. Its weights are the file's own numbers. Activations are quantized for each row by itself, not for all rows of a
/// batch by one scale: no request's answer depends on the others', and each row's error is at most that of a batch of it alone, half a step
/// of its own largest magnitude / 127 (the file's: (largest - smallest) / 255).
enum QuantizedFusion {
  static func apply(to graph: Graph, options: ONNXOptions) {
    guard options.isFusing else { return }
    let index = GraphIndex(graph)
    for place in graph.nodes.indices where graph.nodes[place].operation.name == "MatMulInteger" {
      guard let found = Pattern(graph, index, place) else { continue }
      graph.nodes[found.end] = Node(
        name: graph.nodes[place].name, operation: operation, version: 1, inputs: [found.input], outputs: [found.output], attributes: [:],
        kernel: QuantizedLayerKernel(found.packed()))
    }
    graph.removeDeadNodes()
  }

  static let operation = ONNXOperator(
    "QuantizedDense", domain: "millrace", infer: { (node) throws(ONNXError) in throw node.error("is made by fusion only") },
    compile: { (node) throws(ONNXError) in throw node.error("is made by fusion only") })

  private struct Pattern {
    let input: Int
    var output: Int
    var end: Int
    let weights: [Int8]
    let scales: [Float]
    var bias: [Float]?
    var activation = Activation.none
    let inputs: Int
    let outputs: Int

    init?(_ graph: Graph, _ index: GraphIndex, _ place: Int) {
      let product = graph.nodes[place]
      guard product.inputs.count >= 3, let quantize = index.producer(product.inputs[0]), quantize.operation.name == "DynamicQuantizeLinear",
        quantize.outputs.count == 3, quantize.outputs[0] == product.inputs[0], quantize.outputs[2] == product.inputs[2],
        let constant = graph.values[product.inputs[1]].constant, constant.sizes.count == 2, constant.count > 0
      else { return nil }
      input = quantize.inputs[0]
      inputs = constant.sizes[0]
      outputs = constant.sizes[1]
      guard graph.values[input].type?.element == .float32, inputs <= PackedMatrix.int8InputsMax else { return nil }

      // (weights - zero point) must be int8 again.
      var zeros = [0]
      if product.inputs.count > 3, product.inputs[3] >= 0 {
        guard let given = graph.values[product.inputs[3]].constant?.integers, given.count == 1 || given.count == outputs else { return nil }
        zeros = given
      }
      guard let whole = constant.integers else { return nil }
      var shifted: [Int8] = []
      shifted.reserveCapacity(whole.count)
      for (at, value) in whole.enumerated() {
        guard let weight = Int8(exactly: value - zeros[zeros.count == 1 ? 0 : at % outputs]) else { return nil }
        shifted.append(weight)
      }
      weights = shifted

      guard let cast = index.soleUser(product.outputs[0]), graph.nodes[cast].operation.name == "Cast", let floats = graph.nodes[cast].outputs.first,
        graph.values[floats].type?.element == .float32, let multiply = index.soleUser(floats), graph.nodes[multiply].operation.name == "Mul",
        let scale = index.other(graph.nodes[multiply], than: floats), let both = index.producer(scale), both.operation.name == "Mul",
        let weightScale = index.other(both, than: quantize.outputs[1]), both.inputs.contains(quantize.outputs[1]),
        let given = graph.values[weightScale].constant, given.element == .float32, given.count == 1 || (given.count == outputs && given.sizes.last == outputs)
      else { return nil }
      let numbers = given.array(Float.self)
      scales = numbers.count == 1 ? [Float](repeating: numbers[0], count: outputs) : numbers
      end = multiply
      output = graph.nodes[multiply].outputs[0]
      let type = graph.values[output].type
      if let next = index.soleUser(output), graph.nodes[next].operation.name == "Add", let other = index.other(graph.nodes[next], than: output),
        let constant = graph.values[other].constant, let vector = DenseLayer.vector(constant, outputs: outputs), graph.values[graph.nodes[next].outputs[0]].type == type
      {
        bias = vector
        end = next
        output = graph.nodes[next].outputs[0]
      }
      if let next = index.soleUser(output), graph.nodes[next].operation.name == "Relu" {
        activation = .relu
        end = next
        output = graph.nodes[next].outputs[0]
      }
    }

    func packed() -> PackedMatrix {
      PackedMatrix(quantized: weights, scales: scales, isTransposed: true, bias: bias, inputs: inputs, outputs: outputs, activation: activation)
    }
  }
}

private final class QuantizedLayerKernel: Kernel, @unchecked Sendable {
  private let matrix: PackedMatrix

  init(_ matrix: PackedMatrix) { self.matrix = matrix }

  override func run(_ call: Call) {
    let rows = call.input(0).count / matrix.inputs
    if rows == 0 { return }
    matrix.multiply(
      call.input(0).floats, xStride: matrix.inputs, rows: rows, into: call.output().floats, yStride: matrix.outputs, scratch: call.matrices)
  }
}
