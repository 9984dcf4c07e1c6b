import ArgumentParser
import Foundation
import LoadTest
import Logging
import MillraceClient
import Model
import RPC
import UnixSignals

extension LoadTestCommand {
  /// `millrace loadtest grpc`.
  struct GRPCLoad: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "grpc",
      abstract: "Predictions by gRPC (V2 protocol): ModelInfer, one by one or by stream.",
      discussion: """
        Requests are made up from what the model says it takes, or come from a file, and are the bytes that tritonclient sends. Open loop: \
        latency runs from the time that a request was due (Poisson) to its answer. With --in-flight, closed loop: so many requests \
        wait for an answer on each connection all the time, for the highest throughput. --peak finds that and then measures \
        latencies at shares of it. The report says which side was the limit; --server-pid lets it see the server's side.

        EXAMPLES
          millrace loadtest grpc --rate 50000 --duration 20
          millrace loadtest grpc --in-flight 32 --connections 8 --rounds 5 --server-pid $(pidof millrace)
          millrace loadtest grpc --stream --in-flight 256 --connections 1
          millrace loadtest grpc --peak --shares 25,50,75 --html report.html
          millrace loadtest grpc --connections 1 --in-flight 1 --idle-connections 10000 --server-pid 4711

        EXIT CODES
          0 when the test ran (also with errors, which are counted), 1 when it could not, 64 for wrong usage.
        """)

    @OptionGroup var shape: LoadShape

    @Option(help: ArgumentHelp("The server, or several with commas. Default: 127.0.0.1:8001.", valueName: "host:port"))
    var target: String?

    @Option(help: ArgumentHelp("Model, as requests name it. Default: the server's only one.", valueName: "name"))
    var model: String?

    @Option(help: ArgumentHelp("Take the inputs from this model specification (YAML) instead of asking the server.", valueName: "file"))
    var specification: String?

    @Option(help: ArgumentHelp("Requests from a file: events, one JSON object a line (.jsonl), or bodies as --write-bodies wrote them.", valueName: "file"))
    var bodiesFrom: String?

    @Option(help: ArgumentHelp("How many distinct requests are made up. Default: 16384.", valueName: "count"))
    var bodies: Int?

    @Option(help: ArgumentHelp("Write the requests to a file and send none.", valueName: "file"))
    var writeBodies: String?

    @Flag(help: "By ModelStreamInfer: one stream for each connection.")
    var stream = false

    @Flag(help: "The server answers with the request's own bytes (loadtest/peers/grpc_echo.cpp).")
    var echo = false

    @Option(help: ArgumentHelp("Connections. Default: 8.", valueName: "count"))
    var connections: Int?

    @Option(help: ArgumentHelp("Closed loop: requests in flight on each connection.", valueName: "count"))
    var inFlight: Int?

    @Option(help: ArgumentHelp("Threads that send and receive. Default: 1.", valueName: "count"))
    var threads: Int?

    @Option(help: ArgumentHelp("Open loop: send together what comes due within so many microseconds. It counts in the latencies. Default: 30.", valueName: "us"))
    var gather: Int?

    @Option(help: ArgumentHelp("Each request's deadline in milliseconds. Default: none.", valueName: "ms"))
    var timeout: Int?

    @Option(help: ArgumentHelp("Do the same so often, for the spread.", valueName: "count"))
    var rounds = 1

    @Flag(help: "Find the peak (closed loop), then measure latencies at shares of it (open loop).")
    var peak = false

    @Option(help: ArgumentHelp("With --peak: the shares in percent.", valueName: "percent,…"))
    var shares = "25,50,75"

    @Option(help: ArgumentHelp("The server's process, when it is on this machine: its processor time and memory.", valueName: "pid"))
    var serverPid: Int32?

    @Option(help: ArgumentHelp("Hold so many idle connections besides.", valueName: "count"))
    var idleConnections: Int?

    @Option(help: ArgumentHelp("Hold so many connections besides that send requests and never read an answer.", valueName: "count"))
    var neverReading: Int?

    @Flag(help: "TLS.")
    var tls = false

    @Option(help: ArgumentHelp("With --tls: who may have signed the server's certificate (PEM). Default: the system's authorities.", valueName: "file"))
    var certificateAuthority: String?

    @Flag(help: "Show log lines.")
    var verbose = false

    func validate() throws {
      if let bodies, !(1...InferBodies.countMax).contains(bodies) { throw ValidationError("--bodies takes 1 to \(InferBodies.countMax)") }
      if let connections, !(1...GRPCLoadSettings.connectionsMax).contains(connections) {
        throw ValidationError("--connections takes 1 to \(GRPCLoadSettings.connectionsMax)")
      }
      if let inFlight, !(1...GRPCLoadSettings.inFlightMax).contains(inFlight) {
        throw ValidationError("--in-flight takes 1 to \(GRPCLoadSettings.inFlightMax)")
      }
      if let gather, !(0...10_000).contains(gather) { throw ValidationError("--gather takes 0 to 10000 microseconds") }
      if let threads, !(1...GRPCLoadSettings.threadsMax).contains(threads) { throw ValidationError("--threads takes 1 to \(GRPCLoadSettings.threadsMax)") }
      if let timeout, !(0...3_600_000).contains(timeout) { throw ValidationError("--timeout takes 0 to 3600000 ms") }
      if !(1...LoadProfile.stepsMax).contains(rounds) { throw ValidationError("--rounds takes 1 to \(LoadProfile.stepsMax)") }
      if let idleConnections, !(1...SilentConnections.countMax).contains(idleConnections) {
        throw ValidationError("--idle-connections takes 1 to \(SilentConnections.countMax)")
      }
      if let neverReading, !(1...1_000).contains(neverReading) { throw ValidationError("--never-reading takes 1 to 1000") }
      if peak && (shape.rate != nil || shape.steps != nil) { throw ValidationError("--peak finds the rates itself: leave out --rate and --steps") }
      if inFlight != nil && (shape.rate != nil || shape.steps != nil) { throw ValidationError("--in-flight and --rate exclude each other") }
      _ = try peakShares()
    }

    private func peakShares() throws -> [Double] {
      let values = shares.split(separator: ",").compactMap { Double($0) }
      guard !values.isEmpty, values.count == shares.split(separator: ",").count, values.allSatisfy({ (0.1...200).contains($0) }) else {
        throw ValidationError("--shares is '\(shares)', expected percentages with commas between them, for example 25,50,75")
      }
      return values
    }

    /// The scenario with the options laid over it.
    private func merged() throws -> LoadScenario {
      var merged = try shape.merged()
      if let target { merged.grpc.target = target }
      if let model { merged.grpc.model = model }
      if let specification { merged.model = specification }
      if let bodies { merged.bodies = bodies }
      if stream { merged.grpc.call = .stream }
      if echo { merged.grpc.answers = .echo }
      if let connections { merged.grpc.connections = connections }
      if let inFlight { merged.grpc.inFlight = inFlight }
      if let threads { merged.grpc.threads = threads }
      if let timeout { merged.grpc.timeoutMilliseconds = timeout }
      if shape.rate != nil || shape.steps != nil { merged.grpc.inFlight = nil }
      if rounds > 1 {
        guard merged.profile.steps.count * rounds <= LoadProfile.stepsMax else {
          throw ValidationError("--rounds times the steps is more than \(LoadProfile.stepsMax)")
        }
        merged.profile.steps = (0..<rounds).flatMap { _ in merged.profile.steps }
      }
      if merged.grpc.inFlight == nil && !peak { try shape.check(merged) }
      return merged
    }

    func run() async throws {
      let scenario = try merged()
      guard let address = RPCTarget(scenario.grpc.target) else {
        throw ValidationError("--target is '\(scenario.grpc.target)', expected host:port, for example 127.0.0.1:8001")
      }
      let bodies = try await makeBodies(scenario)
      if let writeBodies {
        try Data(bodies.framed).write(to: URL(fileURLWithPath: writeBodies))
        print("\(bodies.count) requests, \(bodies.distinctCount) of them distinct, \(Int(bodies.bytesPerRequest)) bytes each on average")
        return
      }
      var settings = GRPCLoadSettings(target: address)
      settings.call = scenario.grpc.call
      settings.answers = scenario.grpc.answers
      settings.threads = scenario.grpc.threads
      settings.connections = scenario.grpc.connections
      settings.timeoutMilliseconds = scenario.grpc.timeoutMilliseconds
      settings.serverProcess = serverPid
      if let gather { settings.gatherMicroseconds = gather }
      if tls { settings.tls = TLSClientSettings(certificateAuthorityPath: certificateAuthority) }
      if let inFlight = scenario.grpc.inFlight { settings.load = .closed(inFlight: inFlight) }

      let besides = try await holdBesides(address, bodies)
      defer { for connections in besides.connections { connections.stop() } }
      var profile = scenario.profile
      if peak {
        settings.load = .closed(inFlight: scenario.grpc.inFlight ?? 32)
        profile.steps = [LoadStep(ratePerSecond: 1, seconds: profile.steps[0].seconds)]
        let found = try await measure(settings, profile, bodies)
        print(found.text + "\n")
        guard found.achievedPerSecond > 0 else { throw LoadTestError("The server answered nothing: there is no peak.") }
        settings.load = .open
        profile.steps = try peakShares().map { LoadStep(ratePerSecond: found.achievedPerSecond * $0 / 100, seconds: profile.steps[0].seconds) }
      }
      var report = try await measure(settings, profile, bodies)
      for (name, value) in besides.details { report.details.append(.init(name: name, value: value)) }
      for connections in besides.connections {
        report.details.append(.init(name: "of those still open at the end", value: String(connections.open)))
      }
      try shape.write(report)
    }

    private func measure(_ settings: GRPCLoadSettings, _ profile: LoadProfile, _ bodies: InferBodies) async throws -> LoadReport {
      let test = GRPCLoadTest(settings, profile: profile, bodies: bodies, logger: logger)
      let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm)
      let watch = Task { for await _ in signals { test.requestStop() } }
      defer { watch.cancel() }
      return try await test.run(progress: show)
    }

    private var logger: Logger {
      var logger = Logger(label: "loadtest") { StreamLogHandler.standardError(label: $0) }
      logger.logLevel = verbose ? .debug : .error
      return logger
    }

    private func makeBodies(_ scenario: LoadScenario) async throws -> InferBodies {
      if let bodiesFrom, !bodiesFrom.hasSuffix(".jsonl") {
        return try InferBodies.read(framed: [UInt8](Data(contentsOf: URL(fileURLWithPath: bodiesFrom))))
      }
      let (name, inputs) = try await inputs(scenario)
      if let bodiesFrom {
        let text = String(decoding: try Data(contentsOf: URL(fileURLWithPath: bodiesFrom)), as: UTF8.self)
        return try InferBodies.read(jsonLines: text, model: name, version: scenario.grpc.version, inputs: inputs)
      }
      return try InferBodies.generate(
        model: name, version: scenario.grpc.version, inputs: inputs, count: scenario.bodies, seed: scenario.profile.seed)
    }

    /// The model's name and what it takes, by the specification or by the server itself.
    private func inputs(_ scenario: LoadScenario) async throws -> (String, [InferInput]) {
      if let path = scenario.model {
        let specification = try ModelSpecification.load(path: path)
        return (scenario.grpc.model ?? specification.name, InferInput.inputs(specification))
      }
      var client = ClientSettings()
      if tls { client.channel.tls = TLSClientSettings(certificateAuthorityPath: certificateAuthority) }
      let asked = try PredictionClient(target: scenario.grpc.target, settings: client)
      do {
        let found = try await InferInput.ask(asked, model: scenario.grpc.model, version: scenario.grpc.version)
        await asked.close()
        return found
      } catch {
        await asked.close()
        throw error
      }
    }

    /// Connections that are there while others are measured, and what they cost the server.
    private func holdBesides(_ target: RPCTarget, _ bodies: InferBodies) async throws -> (connections: [SilentConnections], details: [(String, String)]) {
      var held: [SilentConnections] = []
      var details: [(String, String)] = []
      let host = target.addresses[0].host == "localhost" ? "127.0.0.1" : target.addresses[0].host
      let port = UInt16(clamping: target.addresses[0].port)
      let server = serverPid.flatMap { ProcessorTime(processIdentifier: $0) }
      func hold(_ kind: SilentConnections.Kind, _ count: Int, _ what: String) async throws {
        let connections = SilentConnections(kind, host: host, port: port)
        let before = server?.residentBytes()
        try connections.start(count)
        held.append(connections)
        // Until the server has accepted them all and what that costs is there.
        try await Task.sleep(nanoseconds: 2_000_000_000)
        details.append((what, String(count)))
        if let before, let after = server?.residentBytes() {
          details.append(("server's memory for each", "\((after - before) / count / 1_024) KiB"))
        }
      }
      if let idleConnections { try await hold(.idle, idleConnections, "idle connections") }
      if let neverReading {
        let request = Array(bodies[0])
        try await hold(.neverReading(request: request), neverReading, "connections that never read")
      }
      return (held, details)
    }
  }
}
