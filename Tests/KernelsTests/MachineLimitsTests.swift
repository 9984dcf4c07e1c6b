import Kernels
import Testing

@Suite struct MachineLimitsTests {
  /// Not how fast the machine is, but that each limit was measured.
  @Test func limitsAreMeasured() {
    let limits = MachineLimits.measure(tableByteCount: 8 << 20)
    #expect(limits.readGBPerSecond > 0 && limits.lineNanoseconds > 0 && limits.linesInFlightNanoseconds > 0)
    #expect(limits.float32GFLOPS > 0 || InstructionSet.supported == [.scalar])
    #expect(limits.instructionSet.isEmpty == false)
  }
}
