import Demo
import Events
import Foundation
import Kafka
import Synchronization
import Telemetry
import Testing

/// A replay's end, as values that cross threads.
private struct Ending: Sendable {
  var report: ReplayReport?
  var isComplete = false
  var error: String?
}

private func replay(
  _ stream: ReplayStream, _ settings: ReplaySettings, _ behaviour: FakeSystem.Behaviour = .sound,
  isStopped: @escaping @Sendable () -> Bool = { false }
) async throws -> Ending {
  let system = try await FakeSystem.start(stream, behaviour)
  let ending = await onThread { () -> Ending in
    do throws(ReplayError) {
      let (report, isComplete) = try Demonstration.run(
        stream: stream, settings: settings, instance: system.instance, view: LiveView(title: "test", isSilent: true), isStopped: isStopped)
      return Ending(report: report, isComplete: isComplete)
    } catch {
      return Ending(error: "\(error)")
    }
  }
  await system.stop()
  return ending
}

@Suite(.serialized) struct ReplayTests {
  private let stream = GeneratedStream.make(count: 3000, seed: 4)

  @Test(arguments: [EventForm.protobuf, .json]) func lockstepAsksEverythingAndIsSound(form: EventForm) async throws {
    let ending = try await replay(stream, ReplaySettings(pace: .lockstep(tickMilliseconds: 86_400_000), form: form))
    let report = try #require(ending.report, "\(ending.error ?? "")")
    #expect(ending.isComplete)
    #expect(report.events == 3000)
    #expect(report.labels == 3000)
    #expect(report.isSound)
    #expect(report.audit.checked == 9000)
    #expect(report.arms.map(\.name) == ["frozen", "nightly", "online"])
    #expect(report.arms.allSatisfy { $0.unanswered == 0 })
    #expect(abs(report.arms[2].quality.logLoss - -log(0.9)) < 1e-6)
    #expect(abs(report.arms[0].quality.logLoss - -log(0.6)) < 1e-6)
    #expect(report.arms[2].quality.auc == 1)
    #expect(report.latency.count == 3000)
    #expect(report.freshness?.count == 3000)
    #expect(report.arms[0].quality.count == stream.times.count { stream.window.contains($0) })
  }

  @Test func anAnswerFromTheFutureIsCaught() async throws {
    let ending = try await replay(stream, ReplaySettings(pace: .lockstep(tickMilliseconds: 86_400_000)), .seesTheFuture)
    let report = try #require(ending.report, "\(ending.error ?? "")")
    #expect(report.audit.violations == 3)
    #expect(report.audit.shown.first?.question == 7)
    #expect(!report.isSound)
    #expect(report.json.contains("\"violations\":3"))
  }

  @Test func atFullSpeedEverythingIsAnswered() async throws {
    let ending = try await replay(stream, ReplaySettings(pace: .speed(.infinity), inFlightMax: 100))
    let report = try #require(ending.report, "\(ending.error ?? "")")
    #expect(report.events == 3000)
    #expect(report.arms.allSatisfy { $0.unanswered == 0 })
  }

  @Test func byTheClockEverythingIsAnswered() async throws {
    // A year in about a second.
    let ending = try await replay(stream, ReplaySettings(pace: .speed(30_000_000)))
    let report = try #require(ending.report, "\(ending.error ?? "")")
    #expect(report.events == 3000)
    #expect(report.labels == 3000)
    #expect(report.isSound)
    #expect(!report.json.contains("audit"))
    let object = try JSONSerialization.jsonObject(with: Data(report.json.utf8)) as? [String: Any]
    let models = try #require(object?["models"] as? [String: [String: Any]])
    #expect(Set(models.keys) == ["frozen", "nightly", "online"])
    #expect(models["online"]?["auc"] as? Double == 1)
    #expect((object?["window"] as? [String: String])?["from"] == "2013-04-01")
    #expect(object?["events"] as? Int == 3000)
    #expect((object?["latency_ms"] as? [String: Double])?["p99"] != nil)
  }

  @Test func repeatedAnswersCountOnce() async throws {
    let ending = try await replay(stream, ReplaySettings(pace: .lockstep(tickMilliseconds: 86_400_000)), .answersTwice)
    let report = try #require(ending.report, "\(ending.error ?? "")")
    #expect(report.events == 3000)
    #expect(report.audit.checked == 9000)
    #expect(report.duplicates > 0)
  }

  @Test func aRefusedQuestionEndsItAndSaysWhy() async throws {
    let ending = try await replay(stream, ReplaySettings(pace: .lockstep(tickMilliseconds: 86_400_000)), .refuses)
    #expect(ending.error?.contains("load is too much") == true, "\(ending.error ?? "")")
  }

  @Test func silenceEndsItAndSaysWhatIsMissing() async throws {
    let ending = try await replay(stream, ReplaySettings(patienceMilliseconds: 300), .silent)
    #expect(ending.error?.contains("no prediction came") == true, "\(ending.error ?? "")")
    #expect(ending.error?.contains("online") == true)
  }

  @Test func stoppingKeepsWhatWasThere() async throws {
    let asked = Atomic<Int>(0)
    let ending = try await replay(stream, ReplaySettings(pace: .lockstep(tickMilliseconds: 86_400_000))) {
      asked.add(1, ordering: .relaxed).newValue > 100
    }
    let report = try #require(ending.report, "\(ending.error ?? "")")
    #expect(!ending.isComplete)
    #expect(report.events > 0 && report.events < 3000)
  }

  @Test func lockstepNeedsTheInstanceAtHand() {
    let instance = DemoInstance(kafka: .init(bootstrapServers: "127.0.0.1:1"), model: "m")
    let error = #expect(throws: ReplayError.self) { try Replay(stream: stream, settings: ReplaySettings(), instance: instance) }
    #expect(error.map { "\($0)" }?.contains("lockstep") == true)
  }
}
