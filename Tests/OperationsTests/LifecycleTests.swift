import Foundation
import Logging
import Testing
import UnixSignals

@testable import Operations

@Suite(.serialized) struct LifecycleTests {
  struct Broken: Error, Equatable {}

  let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  private func lifecycle(_ steps: Cell<[String]>, _ names: [String]) -> Lifecycle {
    let lifecycle = Lifecycle(logger: logger)
    for name in names {
      lifecycle.add(name) {
        steps.update { $0.append("start \(name)") }
      } stop: {
        steps.update { $0.append("stop \(name)") }
      }
    }
    return lifecycle
  }

  @Test func partsStartInOrderAndStopInReverse() async throws {
    let steps = Cell<[String]>([])
    let lifecycle = lifecycle(steps, ["broker", "node", "gateway"])
    try await lifecycle.run(signals: []) { lifecycle.stop() }
    #expect(
      steps.value == ["start broker", "start node", "start gateway", "stop gateway", "stop node", "stop broker"])
  }

  @Test func aSignalStopsCleanly() async throws {
    let steps = Cell<[String]>([])
    let lifecycle = lifecycle(steps, ["broker"])
    // A signal that nobody else in the test process uses.
    try await lifecycle.run(signals: [.sigusr2]) { kill(getpid(), SIGUSR2) }
    #expect(steps.value == ["start broker", "stop broker"])
  }

  @Test func aSecondSignalQuitsAtOnce() async throws {
    let quits = Cell<[UnixSignal]>([])
    let (stopping, release) = AsyncStream<Void>.makeStream()
    let lifecycle = Lifecycle(logger: logger) { signal in
      quits.update { $0.append(signal) }
      release.finish()
    }
    lifecycle.add("slow", stop: {
      kill(getpid(), SIGUSR2)
      for await _ in stopping {}
    })
    try await lifecycle.run(signals: [.sigusr2]) { kill(getpid(), SIGUSR2) }
    #expect(quits.value == [.sigusr2])
  }

  @Test func aPartThatCannotStartStopsThoseBeforeIt() async {
    let steps = Cell<[String]>([])
    let lifecycle = lifecycle(steps, ["broker", "node"])
    lifecycle.add("gateway", start: { throw Broken() }, stop: { steps.update { $0.append("stop gateway") } })
    lifecycle.add("never", start: { steps.update { $0.append("start never") } })
    await #expect(throws: Broken.self) { try await lifecycle.run(signals: []) }
    // The part that failed may hold something too, so it is told to stop as well.
    #expect(steps.value == ["start broker", "start node", "stop gateway", "stop node", "stop broker"])
  }

  @Test func aPartThatFailsWhileRunningStopsAll() async {
    let steps = Cell<[String]>([])
    let lifecycle = lifecycle(steps, ["broker"])
    await #expect(throws: Broken.self) {
      try await lifecycle.run(signals: []) { lifecycle.fail("trainer", Broken()) }
    }
    #expect(steps.value == ["start broker", "stop broker"])
  }

  @Test func aStopDuringTheStartCancelsIt() async throws {
    let steps = Cell<[String]>([])
    let lifecycle = lifecycle(steps, ["broker"])
    lifecycle.add("waits for Kafka") {
      lifecycle.stop()
      try await Task.sleep(for: .seconds(3600))
    } stop: {
      steps.update { $0.append("stop waiter") }
    }
    lifecycle.add("never", start: { steps.update { $0.append("start never") } })
    try await lifecycle.run(signals: [])
    #expect(steps.value == ["start broker", "stop waiter", "stop broker"])
  }

  @Test func aPartThatDoesNotStopIsGivenUpAtTheDeadline() async {
    let lifecycle = Lifecycle(logger: logger, stopWithinMilliseconds: 50)
    lifecycle.add("stuck", stop: {
      // Deaf to cancellation, as a thread in a system call would be.
      await withCheckedContinuation { continuation in
        DispatchQueue.global().asyncAfter(deadline: .now() + 5) { continuation.resume() }
      }
    })
    await #expect(throws: LifecycleError.stopTimedOut(part: "stuck", milliseconds: 50)) {
      try await lifecycle.run(signals: []) { lifecycle.stop() }
    }
  }

  @Test func anErrorWhileStoppingDoesNotKeepTheOthersFromStopping() async throws {
    let steps = Cell<[String]>([])
    let lifecycle = lifecycle(steps, ["broker"])
    lifecycle.add("node", stop: { throw Broken() })
    try await lifecycle.run(signals: []) { lifecycle.stop() }
    #expect(steps.value == ["start broker", "stop broker"])
  }
}
