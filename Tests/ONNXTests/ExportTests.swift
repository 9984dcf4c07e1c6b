import Foundation
import Families
import Model
import Testing

@testable import ONNX

/// Perceptrons as PyTorch exports them (Clients/export_mlp.py makes the files): the origin's answers, in few steps.
@Suite struct ExportTests {
  private struct Answers: Decodable {
    let x: [[Float]]
    let click: [[Float]]
    let kind: [[Float]]
  }

  private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Clients/exports")

  @Test(arguments: ["mlp_opset11.onnx", "mlp_opset17.onnx"], [true, false]) func answersAreTheOrigins(file: String, isFusing: Bool) throws {
    let answers = try JSONDecoder().decode(Answers.self, from: Data(contentsOf: Self.folder.appendingPathComponent("mlp.json")))
    let model = try ONNXGraphModel(
      model: try ONNXModel.read(path: Self.folder.appendingPathComponent(file).path), options: ONNXOptions(isFusing: isFusing))
    #expect(!model.isRowByRow, "\(model.rowByRowReason)")
    #expect(model.outputs.map(\.name) == ["click", "kind"] && model.outputs.map(\.shape) == [[1], [3]])
    if isFusing {
      #expect(model.stepNames == [
        "ChannelAffineKernel", "DenseKernel", "FloatLayerNormalizationKernel", "DenseKernel", "FloatUnaryKernel", "DenseKernel", "DenseKernel", "DenseKernel",
        "SoftmaxKernel<Float>",
      ])
    }
    let scorer = model.makeScorer(rowsMax: 4)
    let batch = ServedGraphTests.batch(model, answers.x)
    for (output, expected) in [answers.click, answers.kind].enumerated() {
      for (score, answer) in zip(ServedGraphTests.score(scorer, batch, output), expected.joined()) { #expect(abs(score - answer) < 1e-5) }
    }
  }
}
