/// Processors kept busy during a run, and what follows from that: whether the figures say something about the server or about the
/// generator.
public struct LoadLimit: Sendable, Equatable, Codable {
  /// Processors that the generator used on average (1.0: one of them all the time).
  public var generatorProcessors: Double
  /// Threads that generate.
  public var generatorThreads: Int
  /// Processors that the server used; nil when it is not known where it runs.
  public var serverProcessors: Double?
  /// Processors that the server may use.
  public var serverProcessorsMax: Int?
  /// Processors of the machine.
  public var machineProcessors: Int

  enum CodingKeys: String, CodingKey {
    case generatorProcessors = "generator_processors"
    case generatorThreads = "generator_threads"
    case serverProcessors = "server_processors"
    case serverProcessorsMax = "server_processors_max"
    case machineProcessors = "machine_processors"
  }

  /// Above this share of what a side may use it counts as busy all the time.
  static let busyShare = 0.93

  public init(
    generatorProcessors: Double, generatorThreads: Int, serverProcessors: Double? = nil, serverProcessorsMax: Int? = nil,
    machineProcessors: Int = ProcessorTime.online
  ) {
    self.generatorProcessors = generatorProcessors
    self.generatorThreads = generatorThreads
    self.serverProcessors = serverProcessors
    self.serverProcessorsMax = serverProcessorsMax
    self.machineProcessors = machineProcessors
  }

  public enum Side: String, Sendable { case generator, server, machine, neither, unknown }

  public var side: Side {
    let generatorIsBusy = generatorProcessors >= Self.busyShare * Double(max(1, generatorThreads))
    guard let serverProcessors, let serverProcessorsMax else { return generatorIsBusy ? .generator : .unknown }
    let serverIsBusy = serverProcessors >= Self.busyShare * Double(max(1, serverProcessorsMax))
    if serverIsBusy && !generatorIsBusy { return .server }
    if generatorProcessors + serverProcessors >= Self.busyShare * Double(machineProcessors) { return .machine }
    return generatorIsBusy ? .generator : .neither
  }

  /// One line for people.
  public var text: String {
    let generator = "generator \(Self.hundredths(generatorProcessors)) processors on \(generatorThreads) thread\(generatorThreads == 1 ? "" : "s")"
    let server = serverProcessors.map { ", server \(Self.hundredths($0)) of \(serverProcessorsMax ?? machineProcessors)" } ?? ""
    let verdict =
      switch side {
      case .generator: "the generator was the limit"
      case .server: "the server was the limit"
      case .machine: "the machine was the limit: both sides share its \(machineProcessors) processors"
      case .neither: "neither side was busy all the time: waiting for each other was the limit, or the rate asked for"
      case .unknown: "the generator had time left"
      }
    return "busy: \(generator)\(server) — \(verdict)"
  }

  private static func hundredths(_ value: Double) -> String {
    let rounded = Int((value * 100).rounded())
    return "\(rounded / 100).\(rounded % 100 < 10 ? "0" : "")\(rounded % 100)"
  }
}
