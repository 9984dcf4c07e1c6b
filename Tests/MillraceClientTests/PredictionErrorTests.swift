import MillraceClient
import RPC
import Testing

@Suite struct PredictionErrorTests {
  @Test func carriesTheStatus() {
    #expect(PredictionError(status: RPCStatus(.notFound, "no model x")).status.code == .notFound)
  }
}
