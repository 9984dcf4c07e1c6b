import Telemetry
import Testing

@testable import Operations

@Suite struct ProcessMetricsTests {
  @Test func readingsArePlausible() {
    #expect((1e6..<1e12).contains(ProcessMetrics.residentBytes()))
    #expect(ProcessMetrics.cpuSeconds() > 0)
    #expect(ProcessMetrics.openDescriptors() >= 3)
    #expect(ProcessMetrics.threads() >= 1)
    #expect(ProcessMetrics.descriptorsMax() >= ProcessMetrics.openDescriptors())
  }

  @Test func theyAreRegisteredOnce() {
    let registry = Registry()
    ProcessMetrics.register(in: registry, version: "1.0")
    ProcessMetrics.register(in: registry, version: "1.0")
    #expect(registry.text().contains("millrace_build_info{version=\"1.0\"} 1\n"))
  }
}
