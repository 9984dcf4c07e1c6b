import Events
import Foundation
import Model
import Settings
import Testing

@testable import LoadTest

@Suite struct ScenarioTests {
  @Test func readsEverything() throws {
    let scenario = try LoadScenario.parse(
      yaml: """
        test: drain
        form: json
        steps: [1_000, 2_000.5]
        duration: 3s
        warm-up: 500ms
        arrivals: fixed
        seed: 9
        model: flights.yaml
        bootstrap: broker:9092
        topics: {features: f, labels: l, examples: e, predictions: p}
        arm: online
        bodies: 20_000
        events: 77
        kafka: {socket.keepalive.enable: "false"}
        """, file: "s.yaml")
    #expect(scenario.test == .drain)
    #expect(scenario.form == .json)
    #expect(scenario.profile == LoadProfile(
      warmUpSeconds: 0.5, steps: [LoadStep(ratePerSecond: 1_000, seconds: 3), LoadStep(ratePerSecond: 2_000.5, seconds: 3)],
      arrivals: .fixed, seed: 9))
    #expect(scenario.model == "flights.yaml" && scenario.bootstrapServers == "broker:9092" && scenario.arm == "online")
    #expect([scenario.featuresTopic, scenario.labelsTopic, scenario.examplesTopic, scenario.predictionsTopic] == ["f", "l", "e", "p"])
    #expect(scenario.bodies == 20_000 && scenario.events == 77)
    #expect(scenario.kafkaProperties == ["socket.keepalive.enable": "false"])
  }

  @Test func anEmptyFileIsTheDefault() throws {
    let scenario = try LoadScenario.parse(yaml: "", file: "s.yaml")
    #expect(scenario.profile.steps == [LoadStep(ratePerSecond: 10_000, seconds: 10)])
    #expect(scenario.form == .protobuf && scenario.test == .kafka)
  }

  @Test func everyMistakeIsToldWithItsLine() throws {
    let errors = try #require(throws: SettingsErrors.self) {
      try LoadScenario.parse(
        yaml: """
          test: kafak
          rate: -5
          duration: 10
          stepps: [1]
          bodies: 5
          """, file: "s.yaml")
    }
    #expect(Set(errors.problems.map(\.line)) == [1, 2, 3, 4, 5])
    #expect(errors.description.contains("s.yaml:1"))
  }

  @Test func rateAndStepsExcludeEachOtherAndARunIsBounded() throws {
    #expect(throws: SettingsErrors.self) { try LoadScenario.parse(yaml: "rate: 5\nsteps: [1]", file: "s.yaml") }
    #expect(throws: SettingsErrors.self) { try LoadScenario.parse(yaml: "rate: 10_000_000\nduration: 24h", file: "s.yaml") }
  }

  /// The files in loadtest/ are what `make loadtest` and readers use.
  @Test func theScenariosOfTheRepositoryAreValid() throws {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appendingPathComponent("loadtest")
    let files = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".yaml") }
    #expect(files.count >= 5)
    #expect(try ModelSpecification.load(path: folder.appendingPathComponent("model.yaml").path) == StandardModel.specification())
    for file in files where file != "model.yaml" { _ = try LoadScenario.load(path: folder.appendingPathComponent(file).path) }
  }
}
