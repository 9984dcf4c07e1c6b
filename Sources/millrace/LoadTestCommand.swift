import ArgumentParser
import Events
import Foundation
import Kafka
import LoadTest
import Logging
import Model
import Settings
import UnixSignals

/// `millrace loadtest`: open-loop load and its latencies.
struct LoadTestCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "loadtest",
    abstract: "Measure latency under load, from the time that each event was due.",
    discussion: """
      Open loop: events come when the arrival process says, whatever the system does, so that a stall counts for every event \
      that was due in it. Results as a table, with --json and --html as files.

      EXAMPLES
        Features topic to predictions topic, 100,000 events/s for 20 seconds, against `millrace run`:
          millrace loadtest kafka --rate 100000 --duration 20

        Four steps, a page with plots, figures as JSON:
          millrace loadtest kafka --steps 25000,50000,75000,100000 --html report.html --json report.json

        How fast a backlog of a million events drains (start `millrace run` when the backlog is there):
          millrace loadtest kafka --drain 1000000

        From a label to a serving replica that has learned it, 10,000 labels/s:
          millrace loadtest learn --rate 10000 --duration 20

        Predictions by gRPC, 50,000/s; as fast as the server answers; the peak and latencies at shares of it:
          millrace loadtest grpc --rate 50000
          millrace loadtest grpc --in-flight 32 --connections 8
          millrace loadtest grpc --peak

        From a scenario file; options override it:
          millrace loadtest kafka --scenario loadtest/steps.yaml --model flights.yaml
      """,
    subcommands: [KafkaLoad.self, LearnLoad.self, GRPCLoad.self])

  enum Form: String, ExpressibleByArgument, CaseIterable {
    case json
    case protobuf
    case v2

    var eventForm: EventForm {
      switch self {
      case .json: .json
      case .protobuf: .protobuf
      case .v2: .v2
      }
    }
  }

  /// What both tests take. Absent options leave what the scenario (or the default) says.
  struct Load: ParsableArguments {
    @OptionGroup var shape: LoadShape

    @Option(help: ArgumentHelp("Form of the events: json, protobuf or v2.", valueName: "form"))
    var form: Form?

    @Option(help: ArgumentHelp("Model specification (YAML) that events are generated from. Default: 13 categorical and 6 numeric features.", valueName: "file"))
    var model: String?

    @Option(help: ArgumentHelp("Kafka brokers. Default: 127.0.0.1:9092.", valueName: "host:port,…"))
    var bootstrap: String?

    @Option(help: ArgumentHelp("Features topic. Default: features.", valueName: "topic"))
    var features: String?

    @OptionGroup var properties: KafkaProperties

    @Flag(help: "Show librdkafka's log lines.")
    var verbose = false

    /// The scenario with the options laid over it.
    func merged() throws -> LoadScenario {
      var merged = try shape.merged()
      if let form { merged.form = form.eventForm }
      if let model { merged.model = model }
      if let bootstrap { merged.bootstrapServers = bootstrap }
      if let features { merged.featuresTopic = features }
      merged.kafkaProperties.merge(try properties.pairs()) { $1 }
      try shape.check(merged)
      return merged
    }

    func target(_ scenario: LoadScenario) throws -> LoadTarget {
      let specification = try scenario.model.map { try ModelSpecification.load(path: $0) } ?? StandardModel.specification()
      return LoadTarget(
        kafka: KafkaSettings(
          bootstrapServers: scenario.bootstrapServers, clientID: "millrace-loadtest", properties: scenario.kafkaProperties),
        specification: specification, form: scenario.form, featuresTopic: scenario.featuresTopic,
        labelsTopic: scenario.labelsTopic, predictionsTopic: scenario.predictionsTopic, arm: scenario.arm, bodies: scenario.bodies)
    }

    var logger: Logger {
      var logger = Logger(label: "loadtest") { StreamLogHandler.standardError(label: $0) }
      logger.logLevel = verbose ? .debug : .error
      return logger
    }

    func waitForBroker(_ target: LoadTarget) throws {
      let admin = try KafkaAdmin(target.kafka)
      let reached = admin.waitUntilReachable(timeoutMilliseconds: 30_000) { waited, error in
        note("waiting for Kafka: \(error.message) (\(waited / 1_000) s)")
        return true
      }
      guard reached else {
        throw LoadTestError("No Kafka broker answered at \(target.kafka.bootstrapServers) in 30 s. Start `millrace run`, or give --bootstrap.")
      }
    }
  }

  /// `millrace loadtest kafka`.
  struct KafkaLoad: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "kafka",
      abstract: "Features topic to predictions topic.",
      discussion: """
        Latency runs from the time that an event was due to its prediction's arrival at a consumer of this process.

        EXAMPLES
          millrace loadtest kafka --rate 100000 --duration 20
          millrace loadtest kafka --steps 25000,50000,75000 --form json --html report.html
          millrace loadtest kafka --drain 1000000 --json drain.json

        EXIT CODES
          0 when the test ran (also with errors, which are counted), 1 when it could not, 64 for wrong usage.
        """)

    @OptionGroup var load: Load

    @Option(help: ArgumentHelp("Predictions topic. Default: predictions.", valueName: "topic"))
    var predictions: String?

    @Option(help: ArgumentHelp("Count answers of this arm only. Default: an event's first answer.", valueName: "arm"))
    var arm: String?

    @Option(help: ArgumentHelp("Instead of holding a rate, produce a backlog of so many events and measure how fast it drains.", valueName: "events"))
    var drain: Int?

    func validate() throws {
      if let drain, !(1...DrainTest.eventsMax).contains(drain) { throw ValidationError("--drain takes 1 to \(DrainTest.eventsMax) events") }
      if drain != nil && load.shape.html != nil { throw ValidationError("--drain has no page: use --json") }
    }

    func run() async throws {
      var scenario = try load.merged()
      if let predictions { scenario.predictionsTopic = predictions }
      if let arm { scenario.arm = arm }
      let target = try load.target(scenario)
      let logger = load.logger
      let events = drain ?? (scenario.test == .drain ? scenario.events : nil)
      try await onThread { try load.waitForBroker(target) }
      if let events {
        let test = DrainTest(target, events: events, seed: scenario.profile.seed, logger: logger)
        let report = try await stoppable(test.requestStop) {
          try test.run {
            // Always said: scripts wait for it.
            FileHandle.standardError.write(Data("backlog of \(events) events is there; waiting for predictions\n".utf8))
          } progress: { produced, predicted in
            note("produced \(produced), predicted \(predicted)")
          }
        }
        print(report.text)
        if let json = load.shape.json { try report.json().write(to: URL(fileURLWithPath: json)) }
      } else {
        let test = KafkaLoadTest(target, profile: scenario.profile, logger: logger)
        try load.shape.write(try await stoppable(test.requestStop) { try test.run(progress: show) })
      }
    }
  }
}

extension LoadTestCommand {
  /// `millrace loadtest learn`.
  struct LearnLoad: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "learn",
      abstract: "Freshness: from a label to a serving replica that has learned it.",
      discussion: """
        Produces features and labels, and hosts a replica of its own that follows the model's update log. Latency runs from the \
        time that a label was due until every shard of that replica has applied the update that covers it. --rate counts labels. \
        The running system must serve the same model; no one else may produce labels meanwhile.

        EXAMPLES
          millrace loadtest learn --rate 10000 --duration 20 --model flights.yaml
          millrace loadtest learn --steps 2000,5000,10000 --html freshness.html --json freshness.json

        EXIT CODES
          0 when the test ran (also with errors, which are counted), 1 when it could not, 64 for wrong usage.
        """)

    @OptionGroup var load: Load

    @Option(help: ArgumentHelp("Labels topic. Default: labels.", valueName: "topic"))
    var labels: String?

    @Option(help: ArgumentHelp("How many events a feature is ahead of its label.", valueName: "events"))
    var lead = 1_000

    func validate() throws {
      if !(0...1_000_000).contains(lead) { throw ValidationError("--lead takes 0 to 1000000 events") }
    }

    func run() async throws {
      var scenario = try load.merged()
      if let labels { scenario.labelsTopic = labels }
      let target = try load.target(scenario)
      let logger = load.logger
      try await onThread { try load.waitForBroker(target) }
      let test = LearnLoadTest(target, profile: scenario.profile, leadEvents: lead, logger: logger)
      try load.shape.write(try await stoppable(test.requestStop) { try test.run(progress: show) })
    }
  }
}

/// Progress for people: only when the error output is a terminal.
func note(_ text: String) {
  guard isatty(STDERR_FILENO) != 0 else { return }
  FileHandle.standardError.write(Data("\(text)\n".utf8))
}

func show(_ progress: LoadProgress) {
  guard isatty(STDERR_FILENO) != 0 else { return }
  let share = min(1, max(0, progress.seconds / progress.totalSeconds))
  let bar = String(repeating: "█", count: Int(share * 24)) + String(repeating: "░", count: 24 - Int(share * 24))
  let line = String(
    format: "\r%@ %3.0f %%  sent %ld  answered %ld  waiting %ld  ", bar, share * 100, progress.sent, progress.answered,
    max(0, progress.sent - progress.answered))
  FileHandle.standardError.write(Data((line + (progress.seconds + 1 >= progress.totalSeconds ? "\n" : "")).utf8))
}

/// Runs blocking work on a thread of its own, off the pool of Swift's tasks.
func onThread<Result: Sendable>(_ work: @escaping @Sendable () throws -> Result) async throws -> Result {
  try await withCheckedThrowingContinuation { continuation in
    let thread = OwnerThread(name: "loadtest") { _ in continuation.resume(with: Swift.Result { try work() }) }
    do { try thread.start() } catch { continuation.resume(throwing: error) }
  }
}

/// As `onThread`, ended early by SIGINT or SIGTERM through `stop`.
func stoppable<Result: Sendable>(
  _ stop: @escaping @Sendable () -> Void, _ work: @escaping @Sendable () throws -> Result
) async throws -> Result {
  let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm)
  let watch = Task { for await _ in signals { stop() } }
  defer { watch.cancel() }
  return try await onThread(work)
}
