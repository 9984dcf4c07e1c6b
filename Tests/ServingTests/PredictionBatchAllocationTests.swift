import AllocationThresholds
import Events
import Model
import Testing
import UpdateLog

@testable import Serving

/// From the bytes of a polled batch to the bytes of its predictions, in the steady state: no allocation.
@Suite struct PredictionBatchAllocationTests {
  @Test(.enabled(if: AllocationThresholds.areCounted), arguments: [
    #"{"id":"a","event_time":1,"features":{"city":"Oslo","price":3.5,"tags":["new","blue"]}}"#,
    #"{"id":"b","features":{"city":"Rome","unknown":1}}"#,
  ])
  func aBatchAllocatesNothing(event: String) throws {
    let specification = try ModelSpecification.parse(
      yaml: """
        model: clicks
        version: 1
        family: linear
        loss: logistic
        shards: 2
        features:
          city: categorical
          price: numeric
          tags: {type: categorical, values: 4}
        crosses: [[city, tags]]
        """, file: "clicks.yaml")
    let arms = ["online", "held"].map { Arm(name: $0, set: ReplicaSet(specification: specification), isReady: { true }) }
    let batch = PredictionBatch(specification: specification, arms: arms)
    let bytes = Array(event.utf8)
    var encoded = 0
    func pass() {
      batch.removeAll()
      for offset in 0..<256 {
        bytes.withUnsafeBytes { _ = batch.add(partition: 0, offset: Int64(offset), value: $0, contentType: nil) }
      }
      guard batch.score() else { return }
      for arm in arms.indices {
        for index in batch.items.indices { encoded += batch.encode(batch.items[index], arm: arm).count }
      }
    }
    for _ in 0..<3 { pass() }
    encoded = 0
    let allocations = AllocationThresholds.ofThread { for _ in 0..<10 { pass() } }
    #expect(encoded > 10 * 2 * 256 * 20, "predictions were written")
    let allowed = try #require(try AllocationThresholds()["stream.batch.256-events"])
    #expect(allocations <= allowed, "\(allocations) allocations in ten batches")
  }
}
