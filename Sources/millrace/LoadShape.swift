import ArgumentParser
import Foundation
import LoadTest

/// How hard and for how long, and where the figures go: what every load test takes. Absent options leave what the scenario (or the default)
/// says.
struct LoadShape: ParsableArguments {
  enum Arrivals: String, ExpressibleByArgument, CaseIterable {
    case poisson
    case fixed

    var kind: ArrivalProcess.Kind {
      switch self {
      case .poisson: .poisson
      case .fixed: .fixed
      }
    }
  }

  @Option(help: ArgumentHelp("Scenario file (YAML).", valueName: "file"))
  var scenario: String?

  @Option(help: ArgumentHelp("Events per second.", valueName: "events/s"))
  var rate: Double?

  @Option(help: ArgumentHelp("Several rates, one after another.", valueName: "events/s,…"))
  var steps: String?

  @Option(help: ArgumentHelp("Seconds of each step.", valueName: "seconds"))
  var duration: Double?

  @Option(help: ArgumentHelp("Seconds before the measurement, at the first rate.", valueName: "seconds"))
  var warmUp: Double?

  @Option(help: ArgumentHelp("When events come: poisson or fixed.", valueName: "process"))
  var arrivals: Arrivals?

  @Option(help: ArgumentHelp("Seed of arrivals and bodies.", valueName: "number"))
  var seed: UInt64?

  @Option(help: ArgumentHelp("Write the figures as JSON.", valueName: "file"))
  var json: String?

  @Option(help: ArgumentHelp("Write a page with plots.", valueName: "file"))
  var html: String?

  func validate() throws {
    if rate != nil && steps != nil { throw ValidationError("--rate and --steps exclude each other") }
    if let rate, !(0.001...10_000_000).contains(rate) { throw ValidationError("--rate takes 0.001 to 10000000 events/s") }
    if let duration, !(0.1...LoadProfile.secondsMax).contains(duration) { throw ValidationError("--duration takes 0.1 to 86400 seconds") }
    if let warmUp, !(0...LoadProfile.secondsMax).contains(warmUp) { throw ValidationError("--warm-up takes 0 to 86400 seconds") }
    _ = try rates()
  }

  private func rates() throws -> [Double]? {
    guard let steps else { return rate.map { [$0] } }
    let rates = try steps.split(separator: ",").map { part -> Double in
      guard let rate = Double(part.replacingOccurrences(of: "_", with: "")), (0.001...10_000_000).contains(rate) else {
        throw ValidationError("--steps holds '\(part)', expected rates from 0.001 to 10000000 with commas between them")
      }
      return rate
    }
    guard !rates.isEmpty && rates.count <= LoadProfile.stepsMax else {
      throw ValidationError("--steps takes 1 to \(LoadProfile.stepsMax) rates")
    }
    return rates
  }

  /// The scenario with the options laid over it.
  func merged() throws -> LoadScenario {
    var merged = try scenario.map { try LoadScenario.load(path: $0) } ?? LoadScenario()
    if let rates = try rates() {
      let seconds = merged.profile.steps[0].seconds
      merged.profile.steps = rates.map { LoadStep(ratePerSecond: $0, seconds: seconds) }
    }
    if let duration { for index in merged.profile.steps.indices { merged.profile.steps[index].seconds = duration } }
    if let warmUp { merged.profile.warmUpSeconds = warmUp }
    if let arrivals { merged.profile.arrivals = arrivals.kind }
    if let seed { merged.profile.seed = seed }
    return merged
  }

  /// - Throws: `ValidationError` when the run would be too long.
  func check(_ merged: LoadScenario) throws {
    guard merged.profile.eventsBound <= LoadProfile.eventsMax / 2 else {
      throw ValidationError("the run would have more than \(LoadProfile.eventsMax / 2) events: shorten it or lower the rate")
    }
  }

  func write(_ report: LoadReport) throws {
    print(report.text)
    if let json { try report.json().write(to: URL(fileURLWithPath: json)) }
    if let html { try Data(report.html.utf8).write(to: URL(fileURLWithPath: html)) }
  }
}
