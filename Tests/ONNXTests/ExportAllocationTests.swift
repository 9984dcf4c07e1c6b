import AllocationThresholds
import Families
import Model
import Testing

@testable import ONNX

@Suite struct ExportAllocationTests {
  @Test(.enabled(if: AllocationThresholds.areCounted)) func batchesOfExportsAllocateNothing() throws {
    let folder = ConformanceTests.script("exports")
    for modelCase in try ModelCase.read("\(folder)/pytorch.cases") + ModelCase.read("\(folder)/keras.cases") {
      let model = try ONNXGraphModel(model: try ONNXModel.read(modelCase.model))
      let batch = try #require(WholeModelTests.batch(model, modelCase))
      let scorer = model.makeScorer(rowsMax: batch.rowCount)
      scorer.score(batch)
      let allocations = AllocationThresholds.ofThread { for _ in 0..<10 { scorer.score(batch) } }
      #expect(allocations == 0, "\(modelCase.group) \(modelCase.name)")
    }
  }
}
