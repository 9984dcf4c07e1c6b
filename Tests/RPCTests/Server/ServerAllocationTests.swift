import AllocationThresholds
import RPC
import Synchronization
import Testing

/// A server in its steady state allocates nothing for a call, and what NIO allocates for a read is counted and held. (What a build
/// without optimisation allocates: an optimised one allocates nothing for a read either.)
@Suite(.serialized) struct ServerAllocationTests {
  /// Few enough that most runs are over before the loop's next tick, which allocates its timer anew each second.
  private static let reads = 10
  private static let attempts = 20
  /// The look at the count takes up to three allocations more, by whether the loop slept: beside so many calls that one of 200 would show.
  private static let fewCalls = 20
  private static let manyCalls = 100

  @Test(.enabled(if: AllocationThresholds.areCounted), arguments: ["/test.Service/Echo", "/test.Service/Quiet"])
  func callsAllocateNothing(path: String) async throws {
    try await TestServer.with { server in
      let client = try RawClient(port: server.port, settings: [(4, 1 << 20)])
      client.givesWindow = false
      try client.send(RawClient.windowUpdate(0, 1 << 30))
      let probe = try client.open([(":path", "/test.Service/Wait")])
      try client.sendData(probe, RawClient.message([1]), endStream: true)
      try await server.eventually("a call") { !server.events.waitingCalls.isEmpty }
      let (loop, _) = try #require(server.events.waitingCalls.first)
      let message = RawClient.message([UInt8](repeating: 7, count: 100))

      func allocations() async throws -> Int {
        let seen = Mutex(-1)
        loop.execute { seen.withLock { $0 = AllocationThresholds.ofThisThread() } }
        try await server.eventually("a look") { seen.withLock { $0 >= 0 } }
        return seen.withLock { $0 }
      }
      /// Allocations on the loop's thread while it answers `reads` times `calls` calls that come in one write.
      func run(calls: Int) async throws -> Int {
        let before = try await allocations()
        for _ in 0..<Self.reads {
          var bytes: [UInt8] = []
          var last: Int32 = 0
          for _ in 0..<calls {
            last = client.takeStream()
            bytes += RawClient.headersFrame(last, [(":path", path), ("grpc-timeout", "1H"), ("user-agent", "test")])
            bytes += RawClient.dataFrames(last, message, endStream: true)
          }
          try client.send(bytes)
          let answer = try client.answer(last)
          if answer.status != "0" { throw RawClient.Failure(description: "\(answer)") }
        }
        return try await allocations() - before
      }

      _ = try await run(calls: Self.manyCalls)
      // The least of several: now and then the kernel hands a write over in two reads, or a tick falls into a run.
      var one = Int.max
      var few = Int.max
      var many = Int.max
      for _ in 0..<Self.attempts {
        one = min(one, try await run(calls: 1))
        few = min(few, try await run(calls: Self.fewCalls))
        many = min(many, try await run(calls: Self.manyCalls))
      }
      let thresholds = try AllocationThresholds()
      let perRead = try #require(thresholds["rpc.server.10-reads.nio"])
      #expect(one <= perRead, "\(one) allocations in \(Self.reads) reads of a call")
      let perCall = try #require(thresholds["rpc.server.800-more-calls"])
      #expect(many - few <= perCall, "\(many - few) allocations more for \((Self.manyCalls - Self.fewCalls) * Self.reads) calls more")
    }
  }
}
