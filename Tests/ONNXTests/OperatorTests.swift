import Foundation
import Model
import Testing

@testable import ONNX

/// Operators against the formulas they stand for. The specification's own node tests are in ConformanceTests.
@Suite struct OperatorTests {
  private func run(
    _ operation: String, _ inputs: [(ONNXTensor)], version: Int = 17, _ attributes: [String: ModelMaker.Value] = [:]
  ) throws -> ONNXTensor {
    var maker = ModelMaker(version: version)
    var given: [String: ONNXTensor] = [:]
    for (index, tensor) in inputs.enumerated() {
      maker.input("x\(index)", tensor.element, tensor.sizes.map { .fixed($0) })
      given["x\(index)"] = tensor
    }
    maker.node(operation, given.keys.sorted(), ["y"], attributes)
    maker.output("y")
    return try #require(try ONNXSession(model: try maker.read()).run(given)["y"])
  }

  private func expect(_ tensor: ONNXTensor, _ expected: [Float], _ sizes: [Int], within: Float = 1e-6, _ location: SourceLocation = #_sourceLocation) {
    #expect(tensor.sizes == sizes, sourceLocation: location)
    #expect(tensor.floats.count == expected.count, sourceLocation: location)
    for (a, b) in zip(tensor.floats, expected) {
      #expect(abs(a - b) <= within * max(1, abs(b)) || a == b || (a.isNaN && b.isNaN), "\(tensor.floats) and \(expected)", sourceLocation: location)
    }
  }

  @Test func broadcasting() throws {
    let a = ONNXTensor([1, 2, 3, 4, 5, 6] as [Float], [2, 3])
    expect(try run("Add", [a, ONNXTensor([10, 20, 30] as [Float], [3])]), [11, 22, 33, 14, 25, 36], [2, 3])
    expect(try run("Sub", [a, ONNXTensor([1, 2] as [Float], [2, 1])]), [0, 1, 2, 2, 3, 4], [2, 3])
    expect(try run("Mul", [ONNXTensor([2] as [Float], []), a]), [2, 4, 6, 8, 10, 12], [2, 3])
    expect(try run("Div", [ONNXTensor([1, 2] as [Float], [2, 1]), ONNXTensor([1, 2, 4] as [Float], [1, 3])]), [1, 0.5, 0.25, 2, 1, 0.5], [2, 3])
    // Three dimensions that do not join: [2, 1, 3] + [1, 2, 1].
    let b = ONNXTensor([1, 2, 3, 4, 5, 6] as [Float], [2, 1, 3])
    expect(try run("Add", [b, ONNXTensor([10, 20] as [Float], [1, 2, 1])]), [11, 12, 13, 21, 22, 23, 14, 15, 16, 24, 25, 26], [2, 2, 3])
    let empty = try run("Add", [ONNXTensor([] as [Float], [0, 3]), ONNXTensor([1, 2, 3] as [Float], [3])])
    #expect(empty.sizes == [0, 3] && empty.bytes.isEmpty)
  }

  @Test func integersWrapAndDivideTowardsZero() throws {
    let a = ONNXTensor([7, -7, .max] as [Int64], [3])
    #expect(try run("Div", [a, ONNXTensor([2, 2, 1] as [Int64], [3])]).values(Int64.self) == [3, -3, .max])
    #expect(try run("Add", [a, ONNXTensor([1] as [Int64], [1])]).values(Int64.self) == [8, -6, .min])
    #expect(try run("Mod", [a, ONNXTensor([3, 3, 3] as [Int64], [3])]).values(Int64.self) == [1, 2, 1])
    #expect(try run("Mod", [a, ONNXTensor([3, 3, 3] as [Int64], [3])], ["fmod": .int(1)]).values(Int64.self) == [1, -1, 1])
    #expect(throws: ONNXError.self) { try run("Div", [a, ONNXTensor([0] as [Int64], [1])]) }
    #expect(try run("Div", [ONNXTensor([.min] as [Int64], [1]), ONNXTensor([-1] as [Int64], [1])]).values(Int64.self) == [.min])
  }

  @Test func functionsOfOneNumber() throws {
    let xs: [Float] = [-100, -20, -3, -1, -0.3, -1e-4, 0, 1e-4, 0.3, 1, 3, 20, 88, .infinity, -.infinity, .nan]
    let x = ONNXTensor(xs, [xs.count])
    func check(_ operation: String, _ attributes: [String: ModelMaker.Value] = [:], version: Int = 20, _ f: (Double) -> Double) throws {
      expect(try run(operation, [x], version: version, attributes), xs.map { Float(f(Double($0))) }, [xs.count], within: 2e-6)
    }
    try check("Relu") { $0 < 0 ? 0 : $0 }
    try check("LeakyRelu", ["alpha": .float(0.25)]) { $0 < 0 ? 0.25 * $0 : $0 }
    try check("Elu") { $0 < 0 ? expm1($0) : $0 }
    try check("Selu") { 1.05070102214813232421875 * ($0 <= 0 ? 1.67326319217681884765625 * expm1($0) : $0) }
    try check("Sigmoid") { 1 / (1 + exp(-$0)) }
    try check("Tanh") { tanh($0) }
    try check("Erf") { erf($0) }
    try check("Softplus") { $0 == .infinity ? $0 : max($0, 0) + log1p(exp(-abs($0))) }
    try check("Exp") { exp($0) }
    try check("Abs") { abs($0) }
    try check("Neg") { -$0 }
    try check("Sign") { $0 > 0 ? 1 : $0 < 0 ? -1 : $0 }
    try check("Clip", ["min": .float(-1), "max": .float(2)], version: 10) { $0.isNaN ? $0 : min(max($0, -1), 2) }
    try check("HardSigmoid") { $0.isNaN ? $0 : max(0, min(1, 0.2 * $0 + 0.5)) }
  }

  /// A scalar has no axis: what takes one takes it as one element, the others refuse it.
  @Test func axesOfScalars() throws {
    let scalar = ONNXTensor([3] as [Float], [])
    expect(try run("Softmax", [scalar], version: 13), [1], [])
    #expect(try run("ArgMax", [scalar], version: 13).values(Int64.self) == [0])
    for (operation, inputs) in [
      ("Squeeze", [scalar, ONNXTensor([0] as [Int64], [1])]), ("Split", [scalar]), ("Gather", [scalar, ONNXTensor([0] as [Int64], [1])]),
      ("GatherElements", [scalar, ONNXTensor([0] as [Int64], [])]), ("TopK", [scalar, ONNXTensor([1] as [Int64], [1])]), ("Concat", [scalar, scalar]),
      ("Slice", [scalar, ONNXTensor([0] as [Int64], [1]), ONNXTensor([1] as [Int64], [1])]),
    ] {
      #expect(throws: ONNXError.self, "\(operation)") { try run(operation, inputs, version: 17, operation == "Concat" ? ["axis": .int(0)] : [:]) }
    }
  }

  @Test func softmaxBeforeAndSince13() throws {
    let x = ONNXTensor([1, 2, 3, 4, 5, 6, 7, 8] as [Float], [2, 2, 2])
    let old = try run("Softmax", [x], version: 11).floats
    #expect(abs(old[0] + old[1] + old[2] + old[3] - 1) < 1e-6)
    let new = try run("Softmax", [x], version: 13).floats
    #expect(abs(new[0] + new[1] - 1) < 1e-6 && abs(new[2] + new[3] - 1) < 1e-6)
    let middle = try run("Softmax", [x], version: 13, ["axis": .int(1)]).floats
    #expect(abs(middle[0] + middle[2] - 1) < 1e-6)
  }

  @Test func shapesBeforeAndSince13() throws {
    let x = ONNXTensor([1, 2, 3] as [Float], [1, 3, 1])
    #expect(try run("Squeeze", [x], version: 11, ["axes": .ints([0])]).sizes == [3, 1])
    #expect(try run("Squeeze", [x, ONNXTensor([-1] as [Int64], [1])], version: 13).sizes == [1, 3])
    #expect(try run("Squeeze", [x], version: 13).sizes == [3])
    #expect(try run("Unsqueeze", [x, ONNXTensor([0, 4] as [Int64], [2])], version: 13).sizes == [1, 1, 3, 1, 1])
    #expect(try run("Flatten", [x], version: 13, ["axis": .int(2)]).sizes == [3, 1])
    #expect(try run("Reshape", [x, ONNXTensor([0, -1] as [Int64], [2])], version: 13).sizes == [1, 3])
    #expect(throws: ONNXError.self) { try run("Reshape", [x, ONNXTensor([2, -1] as [Int64], [2])], version: 13) }
    #expect(throws: ONNXError.self) { try run("Squeeze", [x], version: 11, ["axes": .ints([1])]) }
  }

  @Test func products() throws {
    let a = ONNXTensor([1, 2, 3, 4, 5, 6] as [Float], [2, 3])
    let b = ONNXTensor([1, 0, 0, 1, 1, 1] as [Float], [3, 2])
    expect(try run("MatMul", [a, b]), [4, 5, 10, 11], [2, 2])
    expect(try run("Gemm", [a, a, ONNXTensor([1, 2] as [Float], [2])], ["transB": .int(1), "alpha": .float(2), "beta": .float(0.5)]),
      [28.5, 65, 64.5, 155], [2, 2])
    expect(try run("Gemm", [a, b, ONNXTensor([1, 2] as [Float], [2, 1])], ["transA": .int(0)]), [5, 6, 12, 13], [2, 2])
    // Batches broadcast; a vector on the right is a column.
    let c = ONNXTensor([1, 2, 3, 4] as [Float], [2, 1, 2])
    expect(try run("MatMul", [c, ONNXTensor([1, 0, 0, 2] as [Float], [2, 2])]), [1, 4, 3, 8], [2, 1, 2])
    expect(try run("MatMul", [a, ONNXTensor([1, 1, 1] as [Float], [3])]), [6, 15], [2])
    #expect(throws: ONNXError.self) { try run("MatMul", [a, a]) }
  }

  @Test func castsOfAllPairs() throws {
    let numbers = TensorElement.allCases.filter { $0 != .text }
    for from in numbers {
      let source = try run("Cast", [ONNXTensor([0, 1, 3, 100] as [Float], [4])], ["to": .int(from.onnxCode)])
      #expect(source.element == from && source.bytes.count == 4 * from.bytes)
      for to in numbers {
        let target = try run("Cast", [source], ["to": .int(to.onnxCode)])
        let back = try run("Cast", [target], ["to": .int(1)]).floats
        #expect(back == (from == .boolean || to == .boolean ? [0, 1, 1, 1] : [0, 1, 3, 100]), "\(from) to \(to)")
      }
    }
    let wild = try run("Cast", [ONNXTensor([.nan, .infinity, -.infinity, 1e30] as [Float], [4])], ["to": .int(7)]).values(Int64.self)
    #expect(wild == [0, .max, .min, .max])
  }

  @Test func halvesAreComputedInSinglePrecision() throws {
    let a = try run("Cast", [ONNXTensor([1.5, -2, 0.25] as [Float], [3])], ["to": .int(TensorElement.float16.onnxCode)])
    let sum = try run("Add", [a, a])
    #expect(sum.element == .float16)
    expect(try run("Cast", [sum], ["to": .int(1)]), [3, -4, 0.5], [3])
  }

  @Test func halfFloatsRoundTrip() {
    for bits in stride(from: UInt16(0), through: 0x7C00, by: 7) {
      #expect(HalfFloat.half(HalfFloat.float(fromHalf: bits)) == bits)
      #expect(HalfFloat.half(-HalfFloat.float(fromHalf: bits)) == bits | 0x8000)
    }
    #expect(HalfFloat.half(65520).bitWidth == 16 && HalfFloat.half(65520) == 0x7C00 && HalfFloat.half(65519) == 0x7BFF)
    #expect(HalfFloat.half(1e-8) == 0 && HalfFloat.half(.nan) & 0x7C00 == 0x7C00)
    #expect(HalfFloat.bfloat(1.00390625) == 0x3F80 && HalfFloat.bfloat(1.01171875) == 0x3F82)
  }
}
