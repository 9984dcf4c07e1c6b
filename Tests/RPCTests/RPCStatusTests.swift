import RPC
import Testing

@Suite struct RPCStatusTests {
  @Test func codesAreTheContracts() {
    #expect(RPCCode.allCases.map(\.rawValue) == Array(0...16))
    #expect(RPCCode.unauthenticated.rawValue == 16 && RPCCode.unimplemented.rawValue == 12 && RPCCode.internal.rawValue == 13)
  }
}
