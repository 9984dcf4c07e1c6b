import AllocationThresholds
import Kernels
import Testing

/// Chains against their layers one by one, and against plain Swift.
@Suite struct DenseChainTests {
  static let dimensions = [37, 50, 19, 3]

  private struct Network {
    var weights: [[Float]] = []
    var biases: [[Float]] = []

    init(seed: UInt64) {
      var generator = SeededGenerator(seed: seed)
      for (inputs, outputs) in zip(DenseChainTests.dimensions, DenseChainTests.dimensions.dropFirst()) {
        weights.append((0..<inputs * outputs).map { _ in Float.random(in: -1...1, using: &generator) })
        biases.append((0..<outputs).map { _ in Float.random(in: -1...1, using: &generator) })
      }
    }

    func layers(_ precision: MatrixPrecision) -> [PackedMatrix] {
      weights.indices.map {
        PackedMatrix(
          weights: weights[$0], bias: biases[$0], inputs: DenseChainTests.dimensions[$0], outputs: DenseChainTests.dimensions[$0 + 1],
          activation: $0 + 1 < weights.count ? .relu : .none, precision: precision)
      }
    }

    func expected(_ row: [Float]) -> [Float] {
      var values = row
      for layer in weights.indices {
        let inputs = values.count
        values = biases[layer].indices.map { output in
          var sum = Double(biases[layer][output])
          for input in 0..<inputs { sum += Double(weights[layer][output * inputs + input]) * Double(values[input]) }
          return layer + 1 < weights.count ? Float(max(0, sum)) : Float(sum)
        }
      }
      return values
    }
  }

  @Test(arguments: MatrixPrecision.allCases) func chainsGiveWhatTheirLayersGive(_ precision: MatrixPrecision) throws {
    let network = Network(seed: 7)
    let chain = try #require(DenseChain(layers: network.layers(precision)))
    #expect(chain.inputs == 37 && chain.outputs == 3)
    let scratch = MatrixScratch()
    var generator = SeededGenerator(seed: 8)
    for rows in [1, 2, 7, 16, 30] {
      let x = (0..<rows * 37).map { _ in Float.random(in: -1...1, using: &generator) }
      var y = [Float](repeating: 0, count: rows * 3)
      chain.run(x, xStride: 37, rows: rows, into: &y, yStride: 3, scratch: scratch)
      var values = x
      for layer in chain.layers {
        var next = [Float](repeating: 0, count: rows * layer.outputs)
        layer.multiply(values, xStride: layer.inputs, rows: rows, into: &next, yStride: layer.outputs, scratch: scratch)
        values = next
      }
      #expect(values == y)
      // What the precision costs, with room: sums of 50 terms of size 1.
      let bound: Float = precision == .float32 ? 1e-4 : precision == .bfloat16 ? 0.3 : 0.6
      for row in 0..<rows {
        let expected = network.expected(Array(x[row * 37..<row * 37 + 37]))
        for output in 0..<3 { #expect(abs(expected[output] - y[row * 3 + output]) < bound) }
      }
    }
  }

  @Test func layersThatDoNotFitMakeNoChain() {
    let network = Network(seed: 9)
    let layers = network.layers(.float32)
    #expect(DenseChain(layers: []) == nil)
    #expect(DenseChain(layers: [layers[0], layers[2]]) == nil)
    #expect(DenseChain(layers: layers) != nil)
  }

  /// A bundle of a quantized model keeps int8 weights and scales alone.
  @Test func quantizedAndBFloat16WeightsGiveTheSameAsTheFloatsTheyStandFor() {
    var generator = SeededGenerator(seed: 10)
    let (inputs, outputs, rows) = (45, 21, 5)
    let quantized = (0..<inputs * outputs).map { _ in Int8.random(in: -127...127, using: &generator) }
    // A greatest magnitude of 127 in each output, so that quantizing the floats gives the same integers.
    var weights = quantized
    for output in 0..<outputs { weights[output * inputs] = 127 }
    let scales = (0..<outputs).map { _ in Float(sign: .plus, exponent: Int.random(in: -9...(-3), using: &generator), significand: 1) }
    let floats = weights.indices.map { Float(weights[$0]) * scales[$0 / inputs] }
    let x = (0..<inputs * rows).map { _ in Float.random(in: -1...1, using: &generator) }
    let scratch = MatrixScratch()
    func product(_ matrix: PackedMatrix) -> [Float] {
      var y = [Float](repeating: 0, count: rows * outputs)
      matrix.multiply(x, xStride: inputs, rows: rows, into: &y, yStride: outputs, scratch: scratch)
      return y
    }
    #expect(
      product(PackedMatrix(quantized: weights, scales: scales, bias: nil, inputs: inputs, outputs: outputs))
        == product(PackedMatrix(weights: floats, bias: nil, inputs: inputs, outputs: outputs, precision: .int8)))
    var halves = [UInt16](repeating: 0, count: floats.count)
    VectorMath.toBFloat16(floats, into: &halves, count: floats.count)
    #expect(
      product(PackedMatrix(bfloat16: halves, bias: nil, inputs: inputs, outputs: outputs))
        == product(PackedMatrix(weights: floats, bias: nil, inputs: inputs, outputs: outputs, precision: .bfloat16)))
    let transposed = (0..<inputs * outputs).map { floats[($0 % outputs) * inputs + $0 / outputs] }
    #expect(
      product(PackedMatrix(weights: transposed, isTransposed: true, bias: nil, inputs: inputs, outputs: outputs))
        == product(PackedMatrix(weights: floats, bias: nil, inputs: inputs, outputs: outputs)))
  }

  /// The whole chain of int8 layers, requantized in between: the same bits whatever the instruction set, in blocks of any size.
  @Test func int8ChainsAreTheSameBitsOnEveryInstructionSet() throws {
    let samples = MatrixSamples(seed: 41, count: 40_000)
    let dimensions = [70, 129, 40, 1]
    func chain(_ set: InstructionSet) throws -> DenseChain {
      let layers = (0..<3).map { layer in
        PackedSets.pack(set) {
          PackedMatrix(
            weights: samples.values + layer * 1000, bias: samples.values + 500 * layer, inputs: dimensions[layer],
            outputs: dimensions[layer + 1], activation: layer < 2 ? .relu : .none, precision: .int8)
        }
      }
      return try #require(DenseChain(layers: layers))
    }
    let scratch = MatrixScratch()
    for rows in [1, 3, 17, 150] {
      var expected = [Float](repeating: 0, count: rows), given = expected
      try chain(.scalar).run(samples.values + 5000, xStride: 71, rows: rows, into: &expected, yStride: 1, scratch: scratch)
      for set in PackedSets.all {
        try chain(set).run(samples.values + 5000, xStride: 71, rows: rows, into: &given, yStride: 1, scratch: scratch)
        let (bits, expectedBits) = (given.map(\.bitPattern), expected.map(\.bitPattern))
        #expect(bits == expectedBits, "\(set) \(rows)")
      }
    }
  }

  @Test func nothingIsAllocatedOnceTheScratchHasGrown() throws {
    let thresholds = try AllocationThresholds()
    let allowed = try #require(thresholds["kernels.dense-chain.100-runs"])
    let samples = MatrixSamples(seed: 42, count: 20_000)
    for precision in MatrixPrecision.allCases {
      let chain = try #require(DenseChain(layers: Network(seed: 43).layers(precision)))
      let scratch = MatrixScratch()
      let y = UnsafeMutablePointer<Float>.allocate(capacity: 600)
      defer { y.deallocate() }
      chain.run(samples.values, xStride: 37, rows: 200, into: y, yStride: 3, scratch: scratch)
      let count = AllocationThresholds.ofThread {
        for run in 0..<100 {
          chain.run(samples.values, xStride: 37, rows: 1 + run * 2, into: y, yStride: 3, scratch: scratch)
          chain.layers[0].multiply(samples.values, xStride: 37, rows: 1, into: y, yStride: 50, scratch: scratch)
        }
      }
      #expect(count <= allowed, "\(precision): \(count) allocations")
    }
  }
}
