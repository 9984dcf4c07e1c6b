import Families
import Model
import Testing

@testable import ONNX

@Suite struct ReaderTests {
  @Test func definitionsAreRead() throws {
    let model = try ServedGraphTests.perceptron().read()
    #expect(model.producer == "tests" && model.operatorSets[""] == 14 && model.operatorSets["ai.onnx.ml"] == 3)
    #expect(model.graph.nodes.count == 13 && model.graph.nodes[1].operation == "Gemm")
    #expect(model.graph.inputs.map(\.name) == ["x"] && model.graph.inputs[0].sizes == [.named("N"), .fixed(6)])
    #expect(model.graph.initializers.first { $0.name == "w0" }?.tensor.sizes == [9, 6])
  }

  /// Nothing else may hold the file of a model without tensors.
  @Test func aModelKeepsItsBytes() throws {
    final class Owner {}
    var owner: Owner? = Owner()
    weak var held = owner
    var maker = ModelMaker()
    maker.input("x", width: 3)
    maker.node("Relu", ["x"], ["y"])
    maker.output("y")
    let bytes = CopiedBytes(maker.bytes)
    let model = try ONNXModel.read(borrowing: bytes.bytes, owner: try #require(owner))
    owner = nil
    #expect(held != nil)
    withExtendedLifetime((model, bytes)) {}
  }

  @Test func whatIsNotSupportedIsNamed() throws {
    func reason(_ build: (inout ProtobufWriter) -> Void) -> String {
      var graph = ProtobufWriter()
      build(&graph)
      var model = ProtobufWriter()
      model.message(7, graph.bytes)
      do { _ = try ONNXModel.read(model.bytes) } catch { return "\(error)" }
      return ""
    }
    #expect(reason { $0.message(15, []) }.contains("sparse_initializer"))
    var outside = ProtobufWriter()
    outside.int(1, 4)
    outside.int(2, 1)
    outside.string(8, "w")
    outside.int(14, 1)
    #expect(reason { $0.message(5, outside.bytes) }.contains("tensor \"w\": its contents lie in another file"))
    var short = ProtobufWriter()
    short.int(1, 4)
    short.int(2, 1)
    short.message(9, [0, 0, 0, 0])
    #expect(reason { $0.message(5, short.bytes) }.contains("4 bytes for shape [4]"))
    var huge = ProtobufWriter()
    huge.int(1, Int.max)
    huge.int(1, 16)
    huge.int(2, 1)
    #expect(reason { $0.message(5, huge.bytes) }.contains("shape"))
    var complex = ProtobufWriter()
    complex.int(2, 14)
    #expect(reason { $0.message(5, complex.bytes) }.contains("data type 14"))
    #expect(throws: ONNXError.self) { try ONNXModel.read([]) }
    #expect(throws: ONNXError.self) { try ONNXModel.read(path: "/nowhere/model.onnx") }
  }

  /// Damaged bytes are an error or a model: never the end of the process.
  @Test func damagedBytesAreRefusedOrRead() throws {
    let bytes = ServedGraphTests.perceptron().bytes
    let seed = UInt64.random(in: 1...UInt64.max)
    print("seed of damaged models: \(seed)")
    var numbers = Numbers(seed: seed)
    for _ in 0..<1500 {
      var damaged = bytes
      switch numbers.below(4) {
      case 0: damaged.removeLast(numbers.below(damaged.count))
      case 1: damaged.removeSubrange(numbers.below(damaged.count)..<damaged.count - numbers.below(8) * 0)
      case 2:
        let start = numbers.below(damaged.count)
        damaged.removeSubrange(start..<min(damaged.count, start + 1 + numbers.below(20)))
      default:
        for _ in 0...numbers.below(4) { damaged[numbers.below(damaged.count)] = UInt8(truncatingIfNeeded: numbers.next()) }
      }
      guard let model = try? ONNXModel.read(damaged), let graph = try? ONNXGraphModel(model: model), graph.denseRowBytes < 1 << 16 else { continue }
      let batch = RowBatch(rowCapacity: 2, entryCapacity: 1, denseRowBytes: max(8, graph.denseRowBytes), hasFields: false)
      for _ in 0..<2 {
        _ = batch.reserveDenseRow().initializeMemory(as: UInt8.self, repeating: 0, count: batch.denseRowBytes)
        batch.endRow()
      }
      guard graph.program.rowBytes < 1 << 20 else { continue }
      graph.makeScorer(rowsMax: 2).score(batch)
    }
  }
}
