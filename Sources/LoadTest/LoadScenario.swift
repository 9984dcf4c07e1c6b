public import Events
public import Settings

/// A load test as a file: what to run, how hard and for how long.
///
///     test: kafka            # or learn, drain, grpc
///     form: protobuf         # json, v2
///     rate: 100_000          # or steps: [25_000, 50_000, 75_000]
///     duration: 20s          # of each step
///     warm-up: 5s
///     arrivals: poisson      # or fixed
///     seed: 1
///     grpc: {target: "127.0.0.1:8001", model: flights, call: unary, connections: 8, in-flight: 32, threads: 1, timeout: 1s}
public struct LoadScenario: Sendable, Equatable {
  public enum Test: String, Sendable, CaseIterable {
    case kafka
    case learn
    case drain
    case grpc
  }

  /// What `test: grpc` takes besides.
  public struct GRPC: Sendable, Equatable {
    public var target = "127.0.0.1:8001"
    /// As requests name it; nil: the server's only model.
    public var model: String?
    public var version = ""
    public var call = GRPCLoadSettings.Call.unary
    public var answers = GRPCLoadSettings.Answers.infer
    public var connections = 8
    /// Closed loop with so many requests in flight on each connection; nil: open loop.
    public var inFlight: Int?
    public var threads = 1
    /// 0: none.
    public var timeoutMilliseconds = 0

    public init() {}
  }

  public var test: Test
  public var profile: LoadProfile
  public var form: EventForm
  /// Path of a model specification; nil: `StandardModel`.
  public var model: String?
  public var bootstrapServers: String
  public var featuresTopic: String
  public var labelsTopic: String
  public var examplesTopic: String
  public var predictionsTopic: String
  public var arm: String?
  public var bodies: Int
  /// Of a drain.
  public var events: Int
  public var grpc = GRPC()
  /// librdkafka properties.
  public var kafkaProperties: [String: String]

  public init(
    test: Test = .kafka, profile: LoadProfile = LoadProfile(steps: [LoadStep(ratePerSecond: 10_000, seconds: 10)]),
    form: EventForm = .protobuf
  ) {
    self.test = test
    self.profile = profile
    self.form = form
    model = nil
    bootstrapServers = "127.0.0.1:9092"
    featuresTopic = "features"
    labelsTopic = "labels"
    examplesTopic = "examples"
    predictionsTopic = "predictions"
    arm = nil
    bodies = 16_384
    events = 1_000_000
    kafkaProperties = [:]
  }

  /// Reads the file at `path`. Throws everything that is wrong with it at once, each with its line.
  public static func load(path: String) throws(SettingsErrors) -> LoadScenario {
    try SettingsReader.read(SettingsDocument.load(path: path)) { node, reader in read(node, &reader) }
  }

  public static func parse(yaml: String, file: String) throws(SettingsErrors) -> LoadScenario {
    try SettingsReader.read(yaml: yaml, file: file) { node, reader in read(node, &reader) }
  }

  private static let forms: [(String, EventForm)] = [("json", .json), ("protobuf", .protobuf), ("v2", .v2)]
  private static let rates = 0.001...10_000_000.0

  public static func read(_ node: SettingsNode, _ reader: inout SettingsReader) -> LoadScenario? {
    let before = reader.problems.count
    _ = reader.keys(
      node,
      [
        "test", "rate", "steps", "duration", "warm-up", "arrivals", "seed", "form", "model", "bootstrap", "topics", "arm",
        "bodies", "events", "kafka", "grpc",
      ])
    var scenario = LoadScenario()
    scenario.test = reader.choice(node, "test", default: .kafka)
    scenario.form = reader.choice(node, "form", Self.forms, default: .protobuf)
    scenario.model = node.child("model").flatMap { reader.string($0) }
    scenario.bootstrapServers = reader.string(node, "bootstrap", default: scenario.bootstrapServers)
    scenario.arm = node.child("arm").flatMap { reader.string($0) }
    scenario.bodies = reader.int(node, "bodies", in: EventBodies.countMin...10_000_000, default: scenario.bodies)
    scenario.events = reader.int(node, "events", in: 1...DrainTest.eventsMax, default: scenario.events)
    let topics = reader.section(node, "topics")
    _ = reader.keys(topics, ["features", "labels", "examples", "predictions"])
    scenario.featuresTopic = reader.string(topics, "features", default: scenario.featuresTopic)
    scenario.labelsTopic = reader.string(topics, "labels", default: scenario.labelsTopic)
    scenario.examplesTopic = reader.string(topics, "examples", default: scenario.examplesTopic)
    scenario.predictionsTopic = reader.string(topics, "predictions", default: scenario.predictionsTopic)
    for (key, value) in reader.stringMap(node, "kafka") { scenario.kafkaProperties[key] = value }
    scenario.grpc = readGRPC(node, &reader)
    scenario.profile = readProfile(node, &reader)
    return reader.problems.count == before ? scenario : nil
  }

  private static func readGRPC(_ node: SettingsNode, _ reader: inout SettingsReader) -> GRPC {
    var grpc = GRPC()
    let section = reader.section(node, "grpc")
    _ = reader.keys(
      section, ["target", "model", "version", "call", "answers", "connections", "in-flight", "threads", "timeout"])
    grpc.target = reader.string(section, "target", default: grpc.target)
    grpc.model = section.child("model").flatMap { reader.string($0) }
    grpc.version = reader.string(section, "version", default: grpc.version)
    grpc.call = reader.choice(section, "call", default: grpc.call)
    grpc.answers = reader.choice(section, "answers", default: grpc.answers)
    grpc.connections = reader.int(section, "connections", in: 1...GRPCLoadSettings.connectionsMax, default: grpc.connections)
    if section.has("in-flight") {
      grpc.inFlight = reader.int(section, "in-flight", in: 1...GRPCLoadSettings.inFlightMax, default: 1)
    }
    grpc.threads = reader.int(section, "threads", in: 1...GRPCLoadSettings.threadsMax, default: grpc.threads)
    grpc.timeoutMilliseconds = reader.milliseconds(section, "timeout", in: 0...3_600_000, default: grpc.timeoutMilliseconds)
    return grpc
  }

  private static func readProfile(_ node: SettingsNode, _ reader: inout SettingsReader) -> LoadProfile {
    let day = Int(LoadProfile.secondsMax) * 1_000
    let seconds = Double(reader.milliseconds(node, "duration", in: 100...day, default: 10_000)) / 1_000
    let warmUp = Double(reader.milliseconds(node, "warm-up", in: 0...day, default: 2_000)) / 1_000
    if node.has("rate") && node.has("steps") {
      reader.problem(node, "steps", "\"rate\" and \"steps\" exclude each other: keep one of them")
    }
    var rates = reader.list(node, "steps", max: LoadProfile.stepsMax).compactMap { reader.double($0, in: Self.rates) }
    if let rate = node.child("rate") { rates = [reader.double(rate, in: Self.rates) ?? 1] }
    if rates.isEmpty { rates = [10_000] }
    let events = rates.reduce(rates[0] * warmUp) { $0 + $1 * seconds }
    if events > Double(LoadProfile.eventsMax) / 2 {
      reader.problem(
        node, node.has("duration") ? "duration" : "rate",
        "the run would have \(Int(min(events, 1e15))) events and at most \(LoadProfile.eventsMax / 2) are kept track of: shorten it or lower the rate")
      return LoadProfile(steps: [LoadStep(ratePerSecond: 1, seconds: 1)])
    }
    return LoadProfile(
      warmUpSeconds: warmUp, steps: rates.map { LoadStep(ratePerSecond: $0, seconds: seconds) },
      arrivals: reader.choice(node, "arrivals", default: .poisson),
      seed: UInt64(reader.int(node, "seed", in: 0 ... .max, default: 1)))
  }
}
