import ArgumentParser
import Demo
import Events
import Foundation
import Logging
import Model
import Operations
import Serving
import Synchronization
import Telemetry

/// `millrace demo`: the main job on real input, started and shown by one command.
struct DemoCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "demo", abstract: "Watch a model learn from a stream.", subcommands: [Flights.self],
    defaultSubcommand: Flights.self)

  struct Flights: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Replay a year of flights: three models answer every flight, one learns as planes land.",
      discussion: """
        336,776 flights of 2013 out of New York. Each is asked about an hour before departure: will it arrive over 15 \
        minutes late? Its label follows when it lands. The same log answers through three arms: frozen on 1 April, \
        refreshed every midnight, and online. Everything runs in this process, over the embedded Kafka broker. Without \
        the data (`make data` fetches it) a generated stream takes its place.

        EXAMPLES
          The year in about a minute, in ticks of 15 minutes of event time that each wait for their labels:
            millrace demo flights

          The same, with the result in a file:
            millrace demo flights --lockstep --json flights.json

          By the clock, an hour in a second; and as fast as it goes, whatever is learned by then:
            millrace demo flights --speed 3600
            millrace demo flights --speed max

        EXIT CODES
          0 at the end, 1 when it cannot go on or when the audit found a prediction that knew its future, 130 after ^C.
        """)

    @Flag(help: "Event time in ticks; each tick's labels are learned before its questions are asked. The default.")
    var lockstep = false

    @Option(help: ArgumentHelp("Minutes of event time in a tick of --lockstep, 1 to 15.", valueName: "minutes"))
    var tick = 15

    @Option(help: ArgumentHelp("So many times as fast as the clock, or `max`, without waiting for labels.", valueName: "factor"))
    var speed: String?

    @Option(help: ArgumentHelp("Where flights.csv and weather.csv are.", valueName: "directory"))
    var data = FlightsData.directory

    @Flag(help: "Use the generated stream even when the flights are there.")
    var generated = false

    @Option(help: ArgumentHelp("Events of the generated stream.", valueName: "count"))
    var events = 200_000

    @Option(help: ArgumentHelp("Form of the events: json or protobuf.", valueName: "form"))
    var form = "protobuf"

    @Option(help: ArgumentHelp("Partitions of the topics.", valueName: "count"))
    var partitions = 1

    @Option(help: ArgumentHelp("Write the result as JSON.", valueName: "file"))
    var json: String?

    @Flag(help: "Lines instead of the live screen.")
    var plain = false

    @Flag(help: "Keep the broker's data and checkpoints, in .millrace/demo, for a look at the topics afterwards.")
    var keep = false

    @Option(help: ArgumentHelp("Address of the admin page; port 0 lets the system choose, `off` for none.", valueName: "host:port"))
    var admin = "127.0.0.1:0"

    @Flag(
      inversion: .prefixedNo,
      help: "At the end, go on answering requests until Ctrl-C. Default: on a terminal.")
    var stay: Bool?

    func validate() throws {
      guard (1...15).contains(tick) else { throw ValidationError("--tick takes 1 to 15 minutes") }
      guard !(lockstep && speed != nil) else { throw ValidationError("--lockstep and --speed exclude each other") }
      _ = try pace()
      guard (1...64).contains(partitions) else { throw ValidationError("--partitions takes 1 to 64") }
      guard (1_000...10_000_000).contains(events) else { throw ValidationError("--events takes 1000 to 10000000") }
      guard form == "json" || form == "protobuf" else { throw ValidationError("--form is '\(form)', expected json or protobuf") }
    }

    func run() async throws {
      let plan = try makePlan()
      if let notice = plan.notice { report(notice) }
      let folder = keep ? URL(fileURLWithPath: ".millrace/demo") : FileManager.default.temporaryDirectory
        .appendingPathComponent("millrace-demo-\(ProcessInfo.processInfo.processIdentifier)")
      try? FileManager.default.removeItem(at: folder)
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      defer { if !keep { try? FileManager.default.removeItem(at: folder) } }

      let sink = StructuredLogHandler.bootstrap(level: .warning, format: .text)
      defer { sink.flush() }
      let logger = Logger(label: "demo")
      let instance = Instance(settings: try settings(for: plan, folder: folder), logger: logger, takesAnyPort: true)
      let lifecycle = Lifecycle(logger: logger, stopWithinMilliseconds: 20_000)
      instance.register(in: lifecycle)
      let outcome = Mutex<Result<Bool, any Error>?>(nil)
      let stopped = Mutex(false)
      lifecycle.add("replay") {
        Thread.detachNewThread {
          let result = Result { try self.replay(plan, instance, isStopped: { stopped.withLock { $0 } }) }
          outcome.withLock { $0 = result }
          lifecycle.stop()
        }
      } stop: {
        stopped.withLock { $0 = true }
        // The replay sees it between two steps and gives the terminal back.
        while outcome.withLock({ $0 == nil }) { try await Task.sleep(for: .milliseconds(10)) }
      }
      do { try await lifecycle.run() } catch {
        sink.flush()
        throw ExitCode.failure
      }
      switch outcome.withLock({ $0 }) {
      case .success(true): return
      case .success(false): throw ExitCode(130)
      case .failure(let error):
        report("The demo ended early: \(error)")
        throw ExitCode.failure
      case nil: throw ExitCode(130)
      }
    }

    private func pace() throws -> ReplaySettings.Pace {
      guard let speed else { return .lockstep(tickMilliseconds: Int64(tick) * 60_000) }
      if speed == "max" { return .speed(.infinity) }
      guard let factor = Double(speed), factor > 0, factor.isFinite else {
        throw ValidationError("--speed is '\(speed)', expected a number above 0, or max")
      }
      return .speed(factor)
    }

    private func makePlan() throws -> DemonstrationPlan {
      if generated { return .generated(count: events) }
      do throws(FlightsDataError) {
        return try .flights(directory: data)
      } catch {
        report("\(error)")
        throw ExitCode.dataError
      }
    }

    private func settings(for plan: DemonstrationPlan, folder: URL) throws -> InstanceSettings {
      var settings = InstanceSettings()
      settings.dataDirectory = folder.path
      settings.kafka.embedded.listen = ListenAddress(host: "127.0.0.1", port: 0)
      settings.topics.partitions = partitions
      settings.models = [try ModelSpecification.parse(yaml: plan.modelYAML, file: plan.modelFile)]
      // The first arm is the one that requests are answered by: the one that learns.
      let arms = plan.arms.filter { $0.name == DemonstrationPlan.onlineArm } + plan.arms.filter { $0.name != DemonstrationPlan.onlineArm }
      settings.arms = arms.map { arm in
        let policy: InstanceSettings.ArmSettings.Policy =
          switch arm.policy {
          case .follows: .online
          case .heldUntil(let time): .held(untilMilliseconds: time)
          case .refreshedEvery(let period): .refreshed(everyMilliseconds: period)
          }
        return .init(name: arm.name, policy: policy)
      }
      settings.training.checkpoints.everyMilliseconds = nil
      // The audit knows every event of the stream and no other.
      settings.serving.logsRequests = false
      settings.ingest.isEnabled = false
      // A tick asks a few questions and waits for the answers.
      settings.serving.lingerMicroseconds = 0
      guard admin != "off" else {
        settings.admin.listen = nil
        return settings
      }
      guard let address = ListenAddress(admin) else {
        throw ValidationError("--admin is '\(admin)', expected host:port or off")
      }
      settings.admin.listen = address
      return settings
    }

    private var stays: Bool { stay ?? (isatty(STDOUT_FILENO) != 0) }

    /// Where clients can ask, and whether that is where they look for it.
    private func endpoint(of instance: Instance) -> String? {
      guard let addresses = instance.endpoint?.addresses, let grpc = addresses.grpc else { return nil }
      let rest = addresses.http.map { ", REST at http://\($0)/v2" } ?? ""
      let isUsual = grpc == instance.settings.grpc.listen && addresses.http == instance.settings.http.listen
      return "gRPC at \(grpc)\(rest)\(isUsual ? "" : " (the usual ports are taken)")"
    }

    /// - Returns: false when it was stopped before its end.
    private func replay(_ plan: DemonstrationPlan, _ instance: Instance, isStopped: @escaping () -> Bool) throws -> Bool {
      try instance.waitUntilReady(timeoutMilliseconds: 60_000, isStopped: isStopped)
      guard let kafka = instance.kafka, let model = instance.settings.models.first,
        let online = instance.hosts.first(where: { $0.settings.arm == DemonstrationPlan.onlineArm })
      else { throw ReplayError.setup("the instance did not start") }
      let topics = instance.settings.topics
      let endpoint = endpoint(of: instance)
      if let endpoint { report("The model \(model.name) answers while it learns: \(endpoint).") }
      let demo = DemoInstance(
        kafka: kafka, featuresTopic: topics.features, labelsTopic: topics.labels, predictionsTopic: topics.predictions,
        model: model.name, version: model.version, arms: plan.arms.map(\.name), onlineArm: DemonstrationPlan.onlineArm,
        waitUntilLabelsApplied: { offsets in
          guard online.waitUntil(labelsOffsets: offsets, timeoutMilliseconds: 60_000) else {
            throw ReplayError.notApplied("labels were not learned within 60 s: \(online.problem ?? "the joiner or trainer stands still")")
          }
        }, freshness: { online.metrics.freshness.snapshot() }, endpoint: endpoint)
      let replay = ReplaySettings(pace: try pace(), form: form == "json" ? .json : .protobuf)
      let title = instance.adminPort.map { "\(model.name) · admin page http://127.0.0.1:\($0)/" } ?? model.name
      let (report, isComplete) = try Demonstration.run(
        stream: plan.stream, settings: replay, instance: demo, view: LiveView(title: title, isPlain: plain),
        isStopped: isStopped)
      print(report.text)
      if let json { try Demonstration.write(report, toJSON: json) }
      if isComplete && stays, report.isSound, let endpoint {
        print("\nThe model \(model.name) goes on answering: \(endpoint). Ctrl-C ends it.")
        while !isStopped() { Thread.sleep(forTimeInterval: 0.05) }
      }
      if !report.isSound { throw ReplayError.refused("the audit found predictions that knew labels from after their question") }
      return isComplete
    }
  }
}
