public import Foundation

extension LoadReport {
  /// `{"offered_per_second","achieved_per_second","errors","latency_ms":{"p50","p90","p99","p999","max"},"steps":[…],…}`
  public func json() throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return try encoder.encode(self)
  }
}
