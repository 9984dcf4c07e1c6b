import Events
import Learning
import Testing

/// Joiners under faults: whatever happens, the accepted examples are what one undisturbed joiner might have decided.
@Suite struct JoinerSimulationTests {
  /// Runs one seed with `rivals` joiners and returns the simulation at rest.
  private func simulate(
    seed: UInt64, events: Int = 600, rivals: Int, faults: JoinerSimulation.Faults,
    tamper: ((inout ExampleBatchHeader) -> Void)? = nil
  ) -> (JoinerSimulation, JoinerScenario) {
    let scenario = JoinerScenario(seed: seed, events: events)
    let simulation = JoinerSimulation(seed: seed ^ 0xABCD, settings: .forSimulation())
    simulation.tamper = tamper
    simulation.faults = faults
    for _ in 0..<rivals { simulation.addNode() }
    // Both logs grow along event time, as producers would write them.
    var feature = 0
    var label = 0
    while feature < scenario.features.count || label < scenario.labels.count {
      let count = Int.random(in: 1...6, using: &simulation.random)
      let reached = feature < scenario.features.count ? scenario.features[min(feature + count, scenario.features.count) - 1].time : Int64.max
      feature = min(feature + count, scenario.features.count)
      while label < scenario.labels.count, scenario.labels[label].time <= reached { label += 1 }
      simulation.features = Array(scenario.features[..<feature])
      simulation.labels = Array(scenario.labels[..<label])
      simulation.run(steps: Int.random(in: 1...8, using: &simulation.random))
    }
    simulation.run(steps: 300)
    simulation.keepOneNode()
    settle(simulation)
    if !simulation.isSettled { print("STUCK", seed, simulation.describe()) }
    return (simulation, scenario)
  }

  private func settle(_ simulation: JoinerSimulation) {
    for _ in 0..<1000 where !simulation.isSettled {
      simulation.run(steps: 40)
      // Not while batches are on their way: they would be given up.
      guard simulation.nodes.allSatisfy({ $0.joiner.phase == .live && $0.joiner.inFlightBatches == 0 }) else { continue }
      simulation.pass(milliseconds: JoinerScenario.window / 20)
    }
  }

  @Test(arguments: UInt64(1)...12)
  func oneJoinerWithoutFaults(seed: UInt64) {
    let (simulation, scenario) = simulate(seed: seed, rivals: 1, faults: .none)
    #expect(simulation.isSettled, "seed \(seed)")
    let (decisions, state) = simulation.accepted()
    #expect(scenario.problems(decisions) == [], "seed \(seed)")
    #expect(state.featuresTo == Int64(scenario.features.count) && state.labelsTo == Int64(scenario.labels.count), "seed \(seed)")
  }

  @Test(arguments: UInt64(100)...160)
  func rivalsCrashesLossesDuplicatesReordering(seed: UInt64) {
    let (simulation, scenario) = simulate(seed: seed, rivals: 3, faults: .many)
    #expect(simulation.isSettled, "seed \(seed)")
    let (decisions, state) = simulation.accepted()
    #expect(scenario.problems(decisions) == [], "seed \(seed)")
    #expect(state.featuresTo == Int64(scenario.features.count) && state.labelsTo == Int64(scenario.labels.count), "seed \(seed)")
    #expect(simulation.crashes + simulation.restarts > 0)
  }

  @Test(arguments: UInt64(200)...220)
  func oneJoinerThatCrashesOften(seed: UInt64) {
    let (simulation, scenario) = simulate(seed: seed, rivals: 1, faults: .init(crash: 0.02))
    #expect(simulation.isSettled, "seed \(seed)")
    let (decisions, _) = simulation.accepted()
    #expect(scenario.problems(decisions) == [], "seed \(seed)")
    #expect(simulation.crashes > 3)
  }

  // MARK: Rules taken out

  /// Some seed must show what goes wrong without the rule.
  private func isDetected(_ seeds: ClosedRange<UInt64>, _ fails: (UInt64) -> Bool) -> Bool { seeds.contains(where: fails) }

  @Test func withoutTheChainRivalsSpoilEachOther() {
    // Trainers that look at ranges only, while joiners do what they do.
    let detected = isDetected(100...130) { seed in
        let (simulation, scenario) = simulate(seed: seed, rivals: 3, faults: .many)
        let (decisions, _) = simulation.accepted { state, claim, offset in
          state.skip(offset)
          guard claim.featuresFrom == state.featuresTo, claim.labelsFrom == state.labelsTo else { return false }
          state.featuresTo = claim.featuresTo
          state.labelsTo = claim.labelsTo
          return true
        }
        return !scenario.problems(decisions).isEmpty
      }
    #expect(detected)
  }

  @Test func withoutAnyRuleDuplicatesCount() {
    let detected = isDetected(100...105) { seed in
        let (simulation, scenario) = simulate(seed: seed, rivals: 2, faults: .many)
        return !scenario.problems(simulation.accepted { _, _, _ in true }.decisions).isEmpty
      }
    #expect(detected)
  }

  @Test func withoutReadingFeaturesAgainPairsAreLost() {
    let detected = isDetected(200...205) { seed in
        let (simulation, scenario) = simulate(
          seed: seed, rivals: 1, faults: .init(crash: 0.02), tamper: { $0.rebuildFeatures = $0.featuresTo })
        return !scenario.problems(simulation.accepted().decisions).isEmpty
      }
    #expect(detected)
  }

  @Test func withoutReadingLabelsAgainPairsAreLost() {
    let detected = isDetected(200...215) { seed in
        let (simulation, scenario) = simulate(
          seed: seed, rivals: 1, faults: .init(crash: 0.02), tamper: { $0.rebuildLabels = $0.labelsTo })
        return !scenario.problems(simulation.accepted().decisions).isEmpty
      }
    #expect(detected)
  }

  @Test func withoutOldDecisionsEventsAreDecidedTwice() {
    // The header names a point in the log that is too late: the batch before it.
    let detected = isDetected(200...205) { seed in
        let scenario = JoinerScenario(seed: seed, events: 400)
        let simulation = JoinerSimulation(seed: seed, settings: .forSimulation())
        simulation.tamper = { header in
          header.rebuildExamples = max(header.rebuildExamples, Int64(simulation.examples.count) - 1)
        }
        simulation.addNode()
        simulation.features = scenario.features
        simulation.labels = scenario.labels
        simulation.run(steps: 60)
        simulation.keepOneNode()
        simulation.run(steps: 100)
        simulation.keepOneNode()
        settle(simulation)
        return !scenario.problems(simulation.accepted().decisions).isEmpty
      }
    #expect(detected)
  }
}
