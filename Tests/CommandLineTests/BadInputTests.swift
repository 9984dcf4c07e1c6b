import Events
import Foundation
import Kafka
import Kernels
import Testing

/// What users, neighbours and disks do wrong, one after the other, to the whole process: it says what is
/// wrong and what to do, and goes on.
@Suite(.serialized) struct BadInputTests {
  private static let model = """
    data_directory: data
    topics: {partitions: 2}
    models:
      - model: orders
        family: linear
        loss: logistic
        shards: 2
        features:
          store: categorical
          distance: {type: numeric, divide: 10}
        learning: {alpha: 0.5}
        join: {window: 1d, on_expiry: drop}
    logging: {level: warning}
    """

  // MARK: The command line and its files

  @Test func threeMistakesInAConfigurationAreThreeLines() throws {
    let folder = try ScratchFolder()
    let file = try folder.write(
      "wrong.yaml",
      """
      data_directory: data
      topics:
        partitions: many
      models:
        - model: orders
          family: linear
          loss: logistik
          features: {store: categorical}
      admin: {lisen: "127.0.0.1:8002"}
      """)
    let result = try MillraceProcess.run(["run", "--config", file.path], folder: folder.url, seconds: 30)
    #expect(result.status == 65)
    let problems = result.errors.split(separator: "\n").filter { $0.hasPrefix(file.path) }
    #expect(problems.count == 3, "\(result.errors)")
    for place in [":3:15: ", ":7:11: ", ":9:9: "] {
      #expect(problems.contains { $0.hasPrefix(file.path + place) }, "\(place) in\n\(result.errors)")
    }
    #expect(result.errors.contains("listen"), "it says which key was meant")
  }

  @Test(arguments: [
    ["fly"], ["run", "--fast"], ["produce"], ["produce", "orders"], ["tail", "predictions", "--count", "0"],
    ["broker"], ["topics", "create"],
  ])
  func wrongUsageIs64(arguments: [String]) throws {
    let result = try MillraceProcess.run(arguments, seconds: 30)
    #expect(result.status == 64, "\(result.output)\(result.errors)")
    #expect(result.errors.contains("Usage:"))
  }

  /// Sets of the other kind of processor and names of nothing are refused by whatever would run, and nothing runs.
  @Test(arguments: ["neon", "avx2", "avx1024", "AVX2", " "], [["bench", "kernels", "limits"], ["run", "--config", "none.yaml"], ["model", "bench", "none"]])
  func anInstructionSetThatIsNotThereIsRefused(name: String, command: [String]) throws {
    let supported = InstructionSet.supported.map { "\($0)" }
    guard !supported.contains(name) else { return }
    let result = try MillraceProcess.run(command, environment: ["MILLRACE_ISA": name], seconds: 30)
    #expect(result.status == 65, "\(result.output)\(result.errors)")
    #expect(result.output.isEmpty)
    #expect(result.errors.contains("MILLRACE_ISA is \"\(name)\""), "\(result.errors)")
    #expect(result.errors.contains("This machine has \(supported.joined(separator: ", "));"), "\(result.errors)")
    let isOfAnother = InstructionSet.allCases.contains { "\($0)" == name }
    #expect(result.errors.contains(isOfAnother ? "this processor lacks" : "no name of an instruction set"), "\(result.errors)")
  }

  @Test func instructionSetsThatAreThereAreTaken() throws {
    for set in InstructionSet.supported {
      let result = try MillraceProcess.run(["bench", "kernels", "limits"], environment: ["MILLRACE_ISA": "\(set)"], seconds: 60)
      #expect(result.status == 0 && result.output.contains("\(set)"), "\(result.output)\(result.errors)")
    }
    // Empty is as not set, and help is for everybody.
    for (value, arguments) in [("", ["bench", "kernels", "limits"]), ("avx1024", ["--version"]), ("avx1024", ["run", "--help"]), ("avx1024", ["help", "run"]), ("avx1024", [])] {
      let result = try MillraceProcess.run(arguments, environment: ["MILLRACE_ISA": value], seconds: 60)
      #expect(result.status == 0, "\(arguments): \(result.output)\(result.errors)")
    }
    #expect(try MillraceProcess.run(["fly"], environment: ["MILLRACE_ISA": "avx1024"], seconds: 30).status == 64)
  }

  @Test func noBrokerIsSaidWithWhatToDo() throws {
    let port = try freePort()
    for arguments in [["produce", "features"], ["topics", "list"]] {
      let result = try MillraceProcess.run(arguments + ["--bootstrap", "127.0.0.1:\(port)"], input: "{}", seconds: 30)
      #expect(result.status == 1)
      #expect(result.errors.contains("No Kafka broker answers at 127.0.0.1:\(port)"), "\(result.errors)")
      #expect(result.errors.contains("millrace run"), "\(result.errors)")
    }
  }

  @Test(.timeLimit(.minutes(1))) func aPortThatIsTakenIsSaid() throws {
    let first = try RunningInstance(yaml: Self.model)
    try first.start()
    func second(_ kafkaPort: Int, _ adminPort: Int, _ endpoint: String = RunningInstance.noEndpoint) throws -> MillraceProcess.Result {
      let folder = try ScratchFolder()
      let file = try folder.write(
        "millrace.yaml",
        """
        kafka: {embedded: {listen: "127.0.0.1:\(kafkaPort)"}}
        admin: {listen: "127.0.0.1:\(adminPort)"}
        \(endpoint)
        """)
      return try MillraceProcess.run(["run", "--config", file.path], folder: folder.url, seconds: 30)
    }
    let broker = try second(first.brokerPort, try freePort())
    #expect(broker.status == 1)
    #expect(broker.errors.contains("127.0.0.1:\(first.brokerPort)"), "\(broker.errors)")
    #expect(broker.errors.contains("kafka.embedded.listen"), "what to do: \(broker.errors)")
    let admin = try second(try freePort(), first.adminPort)
    #expect(admin.status == 1)
    #expect(admin.errors.contains("127.0.0.1:\(first.adminPort)"), "\(admin.errors)")
    #expect(admin.errors.contains("admin.listen"), "what to do: \(admin.errors)")
    for (key, port) in [("grpc", first.grpcPort), ("http", first.httpPort), ("control", first.controlPort)] {
      let endpoint = ["grpc", "http", "control"].map { other in
        "\(other): {listen: \"127.0.0.1:\(other == key ? port : 0)\"}"
      }
      let result = try second(try freePort(), 0, endpoint.joined(separator: "\n"))
      #expect(result.status == 1)
      #expect(result.errors.contains("127.0.0.1:\(port)"), "\(result.errors)")
      #expect(result.errors.contains("\(key).listen"), "what to do: \(result.errors)")
    }
    #expect(first.stop() == 0, "\(first.tail)")
  }

  // MARK: Kafka

  @Test(.timeLimit(.minutes(2))) func aKafkaThatIsNotThereIsWaitedFor() throws {
    let port = try freePort()
    let instance = try RunningInstance(yaml: Self.model, bootstrap: port)
    try instance.launch()
    try eventually("a reason at /readyz\n\(instance.tail)") {
      get("/readyz", port: instance.adminPort)?.body.contains("127.0.0.1:\(port)") == true
    }
    #expect(get("/readyz", port: instance.adminPort)?.status == 503)
    #expect(get("/healthz", port: instance.adminPort)?.status == 200)
    try eventually("a line in the log\n\(instance.tail)") { instance.logText.contains("waiting for Kafka") }

    // A stop is heard although nothing ever started.
    #expect(instance.stop() == 0, "\(instance.tail)")

    // A broker appears: the instance becomes ready by itself.
    try instance.launch()
    try eventually("not ready yet\n\(instance.tail)") { get("/readyz", port: instance.adminPort)?.status == 503 }
    let broker = try MillraceProcess(
      ["broker", "--listen", "127.0.0.1:\(port)", "--data", "broker"], log: instance.folder.url.appendingPathComponent("broker-log"),
      folder: instance.folder.url)
    try instance.waitUntilReady()
    try instance.produce("features", #"{"id":"a","features":{"store":"harbour"}}"#)
    #expect(try instance.score(of: "a") == 0.5)
    #expect(instance.stop() == 0, "\(instance.tail)")
    #expect(broker.terminate() == 0, "\(broker.tail)")
  }

  @Test(.timeLimit(.minutes(1))) func differentPartitionCountsAreRefused() throws {
    let broker = try Broker()
    for (topic, count) in [("features", "2"), ("labels", "3"), ("examples", "2"), ("predictions", "2")] {
      let made = try broker.millrace("topics", "create", topic, "--partitions", count)
      #expect(made.status == 0, "\(made.errors)")
    }
    for create in [true, false] {
      let instance = try RunningInstance(
        yaml: Self.model.replacingOccurrences(of: "partitions: 2", with: "partitions: 2, create: \(create)"), bootstrap: broker.port)
      let result = try MillraceProcess.run(
        ["run", "--config", instance.configuration.path], folder: instance.folder.url, seconds: 30)
      #expect(result.status == 1)
      #expect(result.errors.contains("labels"), "\(result.errors)")
      #expect(result.errors.contains("3 partitions"), "\(result.errors)")
      #expect(result.errors.contains("elete"), "what to do: \(result.errors)")
    }
    #expect(broker.process.terminate() == 0, "\(broker.process.tail)")
  }

  // MARK: Records

  private struct BadRecord {
    var name: String
    var value: [UInt8]?
    var contentType: String? = nil
    /// Nil: it is answered with a score.
    var reason: String?

    init(_ name: String, _ value: [UInt8]?, _ contentType: String? = nil, _ reason: String?) {
      (self.name, self.value, self.contentType, self.reason) = (name, value, contentType, reason)
    }

    init(_ name: String, _ text: String, _ reason: String?) { self.init(name, Array(text.utf8), nil, reason) }
  }

  private static func event(_ form: EventForm, distance: Double) -> [UInt8] {
    let writer = EventWriter(form: form)
    writer.begin(id: "x")
    writer.number("distance", distance)
    return Array(writer.finish())
  }

  private static let badEvents: [BadRecord] = [
    // A wire type that does not exist.
    BadRecord("garbage", [0x0F, 0xDE, 0xAD, 0xBE, 0xEF, 0xFF, 0xFF], nil, "invalid_protobuf"),
    BadRecord("garbage said to be JSON", [0xDE, 0xAD, 0xBE, 0xEF], "application/json", "invalid_utf8"),
    BadRecord("half an object", #"{"id":"x","features":{"store":"#, "invalid_json"),
    // Field 1, a text of ten bytes, of which three are there.
    BadRecord("truncated protobuf", [0x0A, 0x0A, 0x61, 0x62, 0x63], "application/x-protobuf", "truncated"),
    BadRecord("not a number", #"{"id":"x","features":{"distance":NaN}}"#, "invalid_json"),
    BadRecord("beyond all numbers", #"{"id":"x","features":{"distance":1e999}}"#, "number_out_of_range"),
    BadRecord("a text for a number", #"{"id":"x","features":{"distance":"far"}}"#, "wrong_type"),
    BadRecord("an object for a text", #"{"id":"x","features":{"store":{"name":"harbour"}}}"#, "wrong_type"),
    BadRecord("features that are a list", #"{"id":"x","features":["harbour"]}"#, "wrong_type"),
    BadRecord("deep", #"{"id":"x","features":{"store":"# + String(repeating: "[", count: 5_000) + String(repeating: "]", count: 5_000) + "}}", "nested_too_deep"),
    BadRecord("empty", [], nil, "empty_payload"),
    BadRecord("no value at all", nil, nil, "empty_payload"),
    BadRecord("oversized", Array((#"{"id":"x","features":{"store":""# + String(repeating: "a", count: 3 << 20) + #""}}"#).utf8), nil, "payload_too_large"),
    BadRecord("a long text", #"{"id":"x","features":{"store":""# + String(repeating: "a", count: 990_000) + #""}}"#, "text_too_long"),
    BadRecord("a long name", #"{"id":"x","features":{""# + String(repeating: "a", count: 990_000) + #"":1}}"#, "text_too_long"),
    BadRecord("NaN in protobuf", event(.protobuf, distance: .nan), "application/x-protobuf", "not_finite"),
    BadRecord("infinity in protobuf", event(.protobuf, distance: -.infinity), nil, "not_finite"),
    BadRecord("NaN in V2", event(.v2, distance: .nan), "application/vnd.kserve.v2+protobuf", "not_finite"),
    BadRecord("half of a V2 request", Array(event(.v2, distance: 1).dropLast(9)), "application/vnd.kserve.v2+protobuf", "truncated"),
    BadRecord("a whole V2 request", event(.v2, distance: 1), "application/vnd.kserve.v2+protobuf", nil),
    BadRecord("no features", #"{"id":"nothing"}"#, nil),
    BadRecord("an unknown content type", Array("{}".utf8), "application/xml", "unknown_content_type"),
    // Features that the model does not know are left out, which is not a mistake.
    BadRecord("unknown features", #"{"id":"unknown","features":{"colour":"red","store":"harbour"}}"#, nil),
  ]

  @Test(.timeLimit(.minutes(2))) func badEventsAreAnsweredAndPutAside() throws {
    let instance = try RunningInstance(yaml: Self.model)
    try instance.start()
    let client = TopicClient(kafka: instance.kafka)
    func good(_ number: Int) -> [UInt8] { Array(#"{"id":"good\#(number)","features":{"store":"harbour"}}"#.utf8) }

    // A good event on each side of every bad one.
    var places: [Int64: BadRecord] = [:]
    var goodPlaces: [Int64: String] = [:]
    for (number, bad) in Self.badEvents.enumerated() {
      goodPlaces[try client.send("features", partition: 0, [good(number)])[0]] = "good\(number)"
      places[try client.send("features", partition: 0, [bad.value], contentType: bad.contentType)[0]] = bad
    }
    goodPlaces[try client.send("features", partition: 0, [good(Self.badEvents.count)])[0]] = "good\(Self.badEvents.count)"
    let end = try client.ends("features")[0]

    // Some stubs are in the form of their event: `tail` shows all as JSON.
    var answers: [Int64: [String: Any]] = [:]
    try eventually("\(end) answers\n\(instance.tail)") {
      #expect(instance.isRunning, "\(instance.tail)")
      for record in try instance.tail("predictions") {
        let prediction = record["value"] as? [String: Any] ?? record
        if let from = (prediction["from"] as? NSNumber)?.int64Value { answers[from] = prediction }
      }
      return answers.count >= end
    }
    for (offset, id) in goodPlaces {
      #expect(answers[offset]?["id"] as? String == id)
      #expect((answers[offset]?["score"] as? NSNumber)?.doubleValue == 0.5)
    }
    for (offset, bad) in places {
      let error = answers[offset]?["error"] as? [String: Any]
      guard let reason = bad.reason else {
        #expect((answers[offset]?["score"] as? NSNumber)?.doubleValue == 0.5, "\(bad.name): \(answers[offset] ?? [:])")
        continue
      }
      #expect(error?["reason"] as? String == reason, "\(bad.name): \(answers[offset] ?? [:])")
      #expect((error?["message"] as? String)?.isEmpty == false, "\(bad.name)")
    }

    // Each bad record is on the dead-letter topic with its reason and its place, byte for byte where it fits.
    let expected = places.filter { $0.value.reason != nil }
    var letters: [TopicRecord] = []
    try eventually("\(expected.count) dead letters\n\(instance.tail)") {
      letters = try client.records("features.dead-letter")
      return letters.count >= expected.count
    }
    #expect(Set(letters.compactMap { $0.headers["millrace-source-offset"] }) == Set(expected.keys.map(String.init)))
    for letter in letters {
      let offset = letter.headers["millrace-source-offset"].flatMap { Int64($0) } ?? -1
      let bad = try #require(places[offset])
      #expect(letter.headers["millrace-reason"] == bad.reason, "\(bad.name)")
      #expect(letter.headers["millrace-source-topic"] == "features")
      #expect(letter.headers["millrace-source-partition"] == "0")
      #expect(letter.headers["content-type"] == bad.contentType, "\(bad.name)")
      if let value = bad.value, value.count > 900_000 {
        #expect(letter.headers["millrace-original-bytes"] == "\(value.count)")
        #expect(letter.value.map { value.starts(with: $0) } == true, "\(bad.name)")
      } else {
        #expect(letter.value == bad.value, "\(bad.name)")
      }
    }
    let shown = try instance.millrace("tail", "dead-letters")
    #expect(shown.output.contains("features/0@1  invalid_protobuf"), "\(shown.output.prefix(2_000))")
    let metrics = get("/metrics", port: instance.adminPort)?.body ?? ""
    #expect(metrics.contains("millrace_stream_unknown_features_total{model=\"orders.1\"} 1\n"), "ignored and counted")
    #expect(get("/readyz", port: instance.adminPort)?.status == 200)
    #expect(instance.stop() == 0, "\(instance.tail)")
  }

  @Test(.timeLimit(.minutes(2))) func badLabelsArePutAside() throws {
    let instance = try RunningInstance(yaml: Self.model)
    try instance.start()
    let client = TopicClient(kafka: instance.kafka)
    let bad: [(String, String)] = [
      ("{", "invalid_json"), (#"{"id":"a"}"#, "missing_label"), (#"{"label":1}"#, "missing_id"),
      (#"{"id":"a","label":"yes"}"#, "wrong_type"), (#"{"id":"a","label":7}"#, "label_out_of_range"),
      (#"{"id":"a","label":1,"weight":1e9}"#, "number_out_of_range"),
      (#"{"id":"a","label":1,"event_time":"soon"}"#, "invalid_time"), ("", "empty_payload"),
      (#"{"id":""# + String(repeating: "a", count: 3 << 20) + #"","label":1}"#, "payload_too_large"),
    ]
    _ = try client.send("features", partition: 1, [Array(#"{"id":"a","features":{"store":"harbour"}}"#.utf8)])
    var reasons: [String: String] = [:]
    for (text, reason) in bad {
      reasons["\(try client.send("labels", partition: 1, [Array(text.utf8)])[0])"] = reason
    }
    _ = try client.send("labels", partition: 1, [Array(#"{"id":"a","label":1}"#.utf8)])
    var letters: [TopicRecord] = []
    try eventually("\(bad.count) dead letters\n\(instance.tail)") {
      letters = try client.records("labels.dead-letter")
      return letters.count >= bad.count
    }
    #expect(Set(letters.compactMap { $0.headers["millrace-source-offset"] }) == Set(reasons.keys))
    for letter in letters {
      let offset = letter.headers["millrace-source-offset"] ?? ""
      #expect(letter.headers["millrace-reason"] == reasons[offset], "\(letter.headers)")
      #expect(letter.headers["millrace-source-topic"] == "labels")
    }
    // The good one behind them is learned.
    try eventually("an example\n\(instance.tail)") {
      try instance.tail("examples").contains { "\($0)".contains("harbour") }
    }
    #expect(instance.stop() == 0, "\(instance.tail)")
  }
}

/// `millrace broker` alone, for instances that are told where Kafka is.
private final class Broker {
  let folder: ScratchFolder
  let port: Int
  let process: MillraceProcess

  init() throws {
    folder = try ScratchFolder()
    port = try freePort()
    process = try MillraceProcess(
      ["broker", "--listen", "127.0.0.1:\(port)", "--data", "broker"], log: folder.url.appendingPathComponent("log"),
      folder: folder.url)
    try eventually("the broker\n\(process.tail)") { process.tail.contains("listening on") }
  }

  func millrace(_ arguments: String...) throws -> MillraceProcess.Result {
    try MillraceProcess.run(arguments + ["--bootstrap", "127.0.0.1:\(port)"], seconds: 30)
  }
}
