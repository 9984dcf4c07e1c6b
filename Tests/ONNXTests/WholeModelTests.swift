import ChildProcesses
import Families
import Foundation
import Model
import Testing

@testable import ONNX

/// Whole models of other tools beside their own answers, as they are served: rows of a batch through `ONNXGraphModel`, and as whole tensors.
@Suite struct WholeModelTests {
  /// Trained anew for each run. LightGBM's and XGBoost's come through onnxmltools here; served ones come through their own importers.
  @Test(.enabled(if: ChildProcess.python != nil, ConformanceTests.noPython)) func sklearnLightGBMAndXGBoostAsTheyPredict() async throws {
    let seed = ProcessInfo.processInfo.environment["MILLRACE_SEED"] ?? "1"
    let (cases, text) = try await ConformanceTests.cases("origin_models.py", [seed])
    print(text, terminator: "")
    try Self.check(cases, "whole models", leastOfEach: ["scikit-learn": 50, "LightGBM": 10, "XGBoost": 10, "quantize_dynamic": 2])
  }

  /// Exports that Clients/exports.py made.
  @Test func pytorchAndKerasExports() throws {
    let folder = ConformanceTests.script("exports")
    let cases = try ModelCase.read("\(folder)/pytorch.cases") + ModelCase.read("\(folder)/keras.cases")
    try Self.check(cases, "exports", leastOfEach: ["PyTorch": 25, "Keras": 10])
  }

  private static func check(_ cases: [ModelCase], _ title: String, leastOfEach: [String: Int]) throws {
    var whole = CaseTally()
    var served = CaseTally()
    var rowByRow: [String] = []
    for modelCase in cases {
      whole.run(modelCase, comparesShapes: false)
      do {
        let model = try ONNXGraphModel(model: try ONNXModel.read(modelCase.model))
        if model.isRowByRow { rowByRow.append("\(modelCase.group) \(modelCase.name): \(model.rowByRowReason)") }
        // Unsigned weights do not always fit int8 once their zero point is taken off; row by row they are what the file says.
        if modelCase.group == "quantize_dynamic", modelCase.name.hasSuffix("QInt8") {
          #expect(model.stepNames.count(where: { $0 == "QuantizedLayerKernel" }) == 3 && !model.isRowByRow, "\(model.stepNames)")
        }
        served.judge(modelCase, try answers(model, modelCase), comparesShapes: false)
      } catch {
        served.failures.append((modelCase.name, modelCase.group, "\(error)"))
      }
    }
    for (name, tally) in [("\(title), whole tensors", whole), ("\(title), served", served)] {
      print(tally.report(name))
      print("  largest deviation: \(tally.largest.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", "))")
      #expect(tally.failures.isEmpty, "\(tally.failures.map { "\($0.group) \($0.name): \($0.reason)" }.joined(separator: "\n"))")
      for (group, least) in leastOfEach { #expect(tally.passed[group] ?? 0 >= least) }
    }
    print("  row by row: \(rowByRow)")
  }

  /// The outputs by name, texts as hashes again.
  private static func answers(_ model: ONNXGraphModel, _ modelCase: ModelCase) throws -> [String: ONNXTensor] {
    let batch = try #require(Self.batch(model, modelCase))
    let scorer = try #require(model.makeScorer(rowsMax: batch.rowCount) as? ONNXScorer)
    scorer.score(batch)
    #expect(scorer.refusedRows == 0, "\(modelCase.name)")
    var result: [String: ONNXTensor] = [:]
    for (output, pointer) in zip(model.outputs, scorer.outputs) {
      let count = batch.rowCount * output.count
      let sizes = [batch.rowCount] + output.shape
      if output.element == .text {
        let hashes = (0..<count).map { TextTable.hash(Array(output.texts[Int(pointer.assumingMemoryBound(to: UInt64.self)[$0])].utf8)) }
        result[output.name] = ONNXTensor(hashes, element: .text, sizes: sizes)
      } else {
        result[output.name] = ONNXTensor(
          element: output.element, sizes: sizes, bytes: Array(UnsafeRawBufferPointer(start: pointer, count: count * output.element.bytes)))
      }
    }
    return result
  }

  /// The case's rows; nil when an input is not there.
  static func batch(_ model: ONNXGraphModel, _ modelCase: ModelCase) -> RowBatch? {
    let rows = modelCase.inputs.first?.tensor.sizes.first ?? 0
    let batch = model.makeBatch(rowCapacity: max(1, rows))
    for row in 0..<rows {
      let memory = batch.reserveDenseRow()
      for input in model.inputs {
        guard let given = modelCase.inputs.first(where: { $0.name == input.name })?.tensor, given.element == input.element else { return nil }
        let bytes = input.count * input.element.bytes
        given.bytes[(row * bytes)..<((row + 1) * bytes)].withUnsafeBytes { if let base = $0.baseAddress { (memory + input.offset).copyMemory(from: base, byteCount: bytes) } }
      }
      batch.endRow()
    }
    return batch
  }
}
