import Endpoint
import Testing

@Suite struct V2ServiceTests {
  @Test func nameIsTheContracts() {
    #expect(V2Service.name == "inference.GRPCInferenceService")
  }
}
