@testable import Learning
import Testing
@testable import UpdateLog

@Suite struct ProtocolSimulationTests {
  /// Plays seeds until one shows a violation.
  private func firstViolation(seeds: Range<UInt64>, _ change: (inout ProtocolSimulation.Plan) -> Void) -> (seed: UInt64, ProtocolSimulation.Violation)? {
    for seed in seeds {
      var plan = ProtocolSimulation.Plan(seed: seed, count: seed % 3 != 0)
      change(&plan)
      var simulation = ProtocolSimulation(plan)
      do throws(ProtocolSimulation.Violation) { try simulation.run() } catch { return (seed, error) }
    }
    return nil
  }

  @Test func countsAreExactWhateverHappens() {
    var resyncs = 0
    var dropped = 0
    for seed in UInt64(1)...60 {
      var simulation = ProtocolSimulation(.init(seed: seed, count: true))
      do throws(ProtocolSimulation.Violation) { try simulation.run() } catch { Issue.record("seed \(seed): \(error)") }
      resyncs += simulation.resyncs
      dropped += simulation.dropped
    }
    print("protocol simulation, count: seeds 1...60, \(dropped) records dropped, \(resyncs) resyncs")
    #expect(dropped > 100 && resyncs > 50, "the faults did not bite")
  }

  @Test func replicasOfALinearModelAgreeBitForBit() {
    for seed in UInt64(1001)...1030 {
      var simulation = ProtocolSimulation(.init(seed: seed, count: false))
      do throws(ProtocolSimulation.Violation) { try simulation.run() } catch { Issue.record("seed \(seed): \(error)") }
    }
    print("protocol simulation, linear: seeds 1001...1030")
  }

  @Test(
    arguments: [
      ("contributeBeforeNext", TrainerMutation.contributeBeforeNext), ("keepNextAfterDrop", .keepNextAfterDrop),
      ("waitForever", .waitForever), ("readFromGreatestNext", .readFromGreatestNext), ("learnRefusedRecords", .learnRefusedRecords),
      ("leaveUntouchedShards", .leaveUntouchedShards), ("acceptGaps", .acceptGaps),
    ])
  func noticesATrainerWithoutARule(name: String, mutation: TrainerMutation) {
    let found = firstViolation(seeds: 1..<80) {
      $0.trainerMutation = mutation
      // A stall shows only when no sound trainer is around to help: all are mutated, few are enough.
      $0.replicas = 1
      if mutation == .waitForever {
        // Later records that do not fit tell a trainer of the loss, too: this rule is for the last ones, when nobody starts anew.
        ($0.trainers, $0.lost, $0.crash, $0.freeze, $0.revoked) = (1, 200, 0, 0, 0)
      }
    }
    #expect(found != nil, "nothing noticed that \(name)")
    if let found { print("protocol simulation without \(name): seed \(found.seed): \(found.1)") }
  }

  @Test(
    arguments: [
      ("specMatches", AcceptanceRules.specMatches), ("epochMatches", .epochMatches), ("fromIsProgress", .fromIsProgress),
      ("progressAdvances", .progressAdvances), ("rangeNotEmpty", .rangeNotEmpty), ("frozenHolds", .frozenHolds), ("epochRises", .epochRises),
    ])
  func noticesReplicasWithoutARule(name: String, rule: AcceptanceRules) {
    let found = firstViolation(seeds: 1..<80) {
      $0.rulesOut = rule
      $0.freeze = 20
      $0.injected = 40
    }
    #expect(found != nil, "nothing noticed that \(name) was taken out")
    if let found { print("protocol simulation without \(name): seed \(found.seed): \(found.1)") }
  }
}
