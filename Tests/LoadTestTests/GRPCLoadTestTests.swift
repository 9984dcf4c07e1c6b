import Foundation
import Logging
import MillraceClient
import RPC
import Telemetry
import Testing

@testable import LoadTest

/// The gRPC load test against a server in this process that answers as told.
@Suite struct GRPCLoadTestTests {
  /// What the server does with requests.
  enum Conduct: Sendable {
    case echo
    /// A ModelStreamInferResponse with an `infer_response`.
    case infer
    /// Every so many requests, an error.
    case failing(every: Int)
    /// Answers nothing.
    case silent
    /// Streams end after so many messages.
    case hangingUp(after: Int)
  }

  final class Unary: MethodHandler {
    private let conduct: Conduct
    private var count = 0

    init(_ conduct: Conduct, loop: ServerLoop) {
      self.conduct = conduct
      super.init(loop: loop)
    }

    override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {
      count += 1
      switch conduct {
      case .failing(let every) where count % every == 0: loop.fail(call, .resourceExhausted, "too much")
      case .silent: break
      default: loop.reply(call, bytes)
      }
    }
  }

  final class Streaming: MethodHandler {
    private let conduct: Conduct
    private var count = 0

    init(_ conduct: Conduct, loop: ServerLoop) {
      self.conduct = conduct
      super.init(loop: loop)
    }

    override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {
      count += 1
      switch conduct {
      case .failing(let every) where count % every == 0: [UInt8]([0x0A, 3, 98, 97, 100]).withUnsafeBytes { _ = loop.send(call, $0) }
      case .infer, .failing: [UInt8]([0x12, 0]).withUnsafeBytes { _ = loop.send(call, $0) }
      case .silent: break
      case .hangingUp(let after) where count % after == 0: loop.fail(call, .unavailable, "enough")
      default: loop.send(call, bytes)
      }
    }

    override func halfClosed(_ call: Call) { loop.finish(call) }
  }

  private func withServer<Result>(_ conduct: Conduct, _ body: (RPCTarget) async throws -> Result) async throws -> Result {
    var settings = RPCServerSettings()
    settings.loops = 1
    let service = RPCService(
      name: "inference.GRPCInferenceService",
      methods: [
        RPCMethod("ModelInfer", .unary) { Unary(conduct, loop: $0) }, RPCMethod("ModelStreamInfer", .streaming) { Streaming(conduct, loop: $0) },
      ])
    var logger = Logger(label: "test")
    logger.logLevel = .error
    let server = RPCServer(settings: settings, services: [service], registry: Registry(), logger: logger)
    let port = try await server.start()
    do {
      let result = try await body(RPCTarget(host: "127.0.0.1", port: port))
      await server.stop(graceMilliseconds: 100)
      return result
    } catch {
      await server.stop(graceMilliseconds: 0)
      throw error
    }
  }

  private func run(
    _ target: RPCTarget, rates: [Double] = [2_000], seconds: Double = 0.4, warmUp: Double = 0.1, _ change: (inout GRPCLoadSettings) -> Void
  ) async throws -> LoadReport {
    let bodies = try InferBodies.generate(
      model: "m", inputs: [InferInput(name: "c", datatype: .bytes), InferInput(name: "x", datatype: .fp32, columns: 4)], count: 1_000, seed: 3)
    var settings = GRPCLoadSettings(target: target)
    settings.connections = 2
    change(&settings)
    var logger = Logger(label: "test")
    logger.logLevel = .error
    let profile = LoadProfile(warmUpSeconds: warmUp, steps: rates.map { LoadStep(ratePerSecond: $0, seconds: seconds) }, seed: 5)
    return try await GRPCLoadTest(settings, profile: profile, bodies: bodies, logger: logger).run()
  }

  private func check(_ report: LoadReport) {
    #expect(report.events > 0)
    #expect(report.events == report.steps.reduce(0) { $0 + $1.events })
    #expect(report.errors == report.steps.reduce(0) { $0 + $1.errors })
    #expect(report.latency.p50 <= report.latency.p99 && report.latency.p99 <= report.latency.max)
    #expect((report.limit?.generatorProcessors ?? -1) >= 0)
  }

  /// What was due is a matter of the seed, so it is the same whoever answers.
  @Test(arguments: GRPCLoadSettings.Call.allCases) func openLoopAnswersEverything(call: GRPCLoadSettings.Call) async throws {
    let report = try await withServer(call == .unary ? .echo : .infer) {
      try await run($0, rates: [1_000, 3_000]) { $0.call = call }
    }
    check(report)
    #expect(report.errors == 0 && report.errorReasons.values.allSatisfy { $0 == 0 }, "\(report.errorReasons)")
    #expect(report.latency.max > 0 && !report.isClosedLoop)
    var arrivals = ArrivalProcess(.poisson, seed: 5)
    var due = 0.0
    var expected = [0, 0]
    while true {
      due += arrivals.gapNanoseconds(ratePerSecond: due < 0.5e9 ? 1_000 : 3_000)
      guard due < 0.9e9 else { break }
      if due >= 0.1e9 { expected[due < 0.5e9 ? 0 : 1] += 1 }
    }
    // A nanosecond's rounding can move an event over an edge.
    #expect(zip(report.steps, expected).allSatisfy { abs($0.events - $1) <= 1 }, "\(report.steps.map(\.events)) \(expected)")
  }

  @Test func severalThreadsShareTheRate() async throws {
    let report = try await withServer(.echo) { try await run($0, rates: [4_000]) { $0.threads = 2 } }
    check(report)
    #expect(report.errors == 0)
    // 1,600 on average; six standard deviations.
    #expect(abs(report.events - 1_600) < 240)
    #expect(report.details.contains { $0.name == "connections" && $0.value == "2" })
  }

  @Test(arguments: GRPCLoadSettings.Call.allCases) func closedLoopKeepsAsManyInFlight(call: GRPCLoadSettings.Call) async throws {
    let report = try await withServer(.echo) {
      try await run($0, rates: [1, 1]) {
        $0.call = call
        $0.answers = .echo
        $0.load = .closed(inFlight: 4)
      }
    }
    check(report)
    #expect(report.isClosedLoop && report.steps.count == 2)
    #expect(report.errors == 0)
    #expect(report.steps.allSatisfy { $0.events > 8 && $0.achievedPerSecond > 0 })
    #expect(report.text.contains("closed loop"))
  }

  @Test(arguments: GRPCLoadSettings.Call.allCases) func errorsAreCountedByTheirCode(call: GRPCLoadSettings.Call) async throws {
    let report = try await withServer(.failing(every: 10)) {
      try await run($0, warmUp: 0) { $0.call = call }
    }
    check(report)
    #expect(report.errors > 0 && abs(report.errors - report.events / 10) <= 1)
    let told = report.errorReasons.filter { $0.value > 0 }
    #expect(told.values.reduce(0, +) == report.errors)
    #expect(told.keys.contains { call == .unary ? $0.contains("resourceExhausted") && $0.contains("too much") : $0.contains("no answers") }, "\(told)")
  }

  /// A closed loop does not stop at errors, and open streams are replaced.
  @Test func streamsThatEndAreOpenedAgain() async throws {
    let report = try await withServer(.hangingUp(after: 50)) {
      try await run($0) {
        $0.call = .stream
        $0.answers = .echo
      }
    }
    check(report)
    #expect(report.errors > 0 && report.errors < report.events)
    #expect(report.errorReasons.contains { $0.key.hasPrefix("unavailable") && $0.value > 0 })
  }

  @Test func deadlinesOfSilentServersAreErrors() async throws {
    let report = try await withServer(.silent) {
      try await run($0, rates: [200]) { $0.timeoutMilliseconds = 50 }
    }
    check(report)
    #expect(report.errors == report.events)
    #expect(report.errorReasons.contains { $0.key.hasPrefix("deadlineExceeded") && $0.value > 0 })
  }

  @Test func aServerThatIsNotThereIsSaid() async throws {
    var settings = GRPCLoadSettings(target: RPCTarget(host: "127.0.0.1", port: 1))
    settings.connections = 1
    let bodies = try InferBodies.generate(model: "m", inputs: [InferInput(name: "c", datatype: .bytes)], count: 10, seed: 3)
    let test = GRPCLoadTest(
      settings, profile: LoadProfile(steps: [LoadStep(ratePerSecond: 1, seconds: 1)]), bodies: bodies, logger: Logger(label: "test"))
    test.requestStop()
    await #expect(throws: LoadTestError.self) { _ = try await test.run() }
  }

  @Test func idleConnectionsStayAndNeverReadingOnesAsk() async throws {
    try await withServer(.echo) { target in
      let port = UInt16(target.addresses[0].port)
      let idle = SilentConnections(.idle, host: "127.0.0.1", port: port)
      try idle.start(50)
      let asking = SilentConnections(.neverReading(request: [UInt8](repeating: 1, count: 2_000)), host: "127.0.0.1", port: port)
      try asking.start(2)
      // Others are answered meanwhile.
      let report = try await run(target, rates: [1_000]) { $0.answers = .echo }
      #expect(report.errors == 0)
      #expect(idle.open == 50 && idle.closedByServer == 0)
      #expect(asking.requests > 2)
      asking.stop()
      idle.stop()
    }
  }
}
