import Foundation
import Logging
import Model
import Settings
import Testing

@testable import Operations

@Suite struct InstanceSettingsTests {
  private func problems(_ yaml: String, environment: [String: String] = [:]) -> [String] {
    do {
      _ = try InstanceSettings.parse(yaml: yaml, file: "millrace.yaml", environment: environment)
      return []
    } catch {
      return error.problems.map(\.description)
    }
  }

  private func parse(_ yaml: String, environment: [String: String] = [:]) throws -> InstanceSettings {
    try InstanceSettings.parse(yaml: yaml, file: "millrace.yaml", environment: environment)
  }

  @Test(arguments: ["", "# nothing\n", "{}", "kafka:\ntopics:\nmodels:\narms:\n"])
  func anEmptyFileIsValid(yaml: String) throws {
    #expect(try parse(yaml) == InstanceSettings())
  }

  @Test func threeWrongPlacesAreThreeLines() {
    let found = problems(
      """
      kafka:
        bootstrap: localhost
      topics:
        partitions: 0
      admin:
        lisen: 127.0.0.1:8002
      """)
    #expect(found.count == 3)
    #expect(found[0].hasPrefix("millrace.yaml:2:14: kafka.bootstrap: "))
    #expect(found[1].hasPrefix("millrace.yaml:4:15: topics.partitions: "))
    #expect(found[2].hasPrefix("millrace.yaml:6:3: admin.lisen: "))
    #expect(found[2].contains("did you mean \"listen\"?"))
  }

  @Test func everyKeyIsRead() throws {
    let settings = try parse(
      """
      roles: [gateway, node]
      data_directory: /srv/millrace
      kafka:
        bootstrap: [a:9092, "b:9093"]
        client_id: me
        properties: {security.protocol: SASL_SSL, sasl.password: "${SECRET}", price: "$$5"}
        embedded: {listen: "[::1]:19092", advertised: "broker:9092", data: /b, flush: 100ms, segment_bytes: 2MiB, retention_bytes: 1GiB}
      topics: {features: f, labels: l, examples: e, predictions: p, dead_letter_suffix: .dlq, partitions: 8, replication: 3, create: false}
      models:
        - {model: m, loss: squared, features: {x: numeric}}
      arms:
        - {name: online, follow: true}
        - {name: frozen, held_until: "2013-04-01T00:00:00Z"}
        - {name: nightly, refresh_every: 24h}
      serving: {group: g, poll_events_max: 10, open_ranges_max: 20, commit_interval: 1s, linger: 250us, limits: {payload_bytes_max: 1KiB, values_max: 1, text_bytes_max: 2, id_bytes_max: 3, json_depth_max: 4}}
      training: {joiner: false, trainer: false, beacon: 100ms, backlog_bytes_max: 1MiB, checkpoints: {directory: /c, every: never, trim: false}}
      admin: {enabled: true, listen: "0.0.0.0:9000"}
      logging: {level: debug, format: json}
      stop_within: 5s
      """, environment: ["SECRET": "p$w"])
    #expect(settings.roles == [.gateway, .node])
    #expect(settings.kafka.bootstrapServers == "a:9092,b:9093")
    #expect(settings.kafka.properties == ["security.protocol": "SASL_SSL", "sasl.password": "p$w", "price": "$5"])
    #expect(settings.kafka.embedded.listen == ListenAddress(host: "::1", port: 19092))
    #expect(settings.kafka.embedded.flush == .interval(milliseconds: 100))
    #expect(settings.kafka.embedded.retentionBytes == 1 << 30)
    #expect(settings.brokerDirectory == "/b")
    #expect(settings.topics.deadLetterSuffix == ".dlq")
    #expect(settings.topics.partitions == 8)
    #expect(settings.models.map(\.identifier) == ["m.1"])
    #expect(
      settings.arms == [
        .init(name: "online", policy: .online), .init(name: "frozen", policy: .held(untilMilliseconds: 1_364_774_400_000)),
        .init(name: "nightly", policy: .refreshed(everyMilliseconds: 86_400_000)),
      ])
    #expect(settings.serving.limits.jsonDepthMax == 4)
    #expect(settings.serving.commitIntervalMilliseconds == 1000)
    #expect(settings.serving.lingerMicroseconds == 250)
    #expect(settings.training.checkpoints == .init(directory: "/c", everyMilliseconds: nil, trimsLog: false))
    #expect(settings.checkpointDirectory == "/c")
    #expect(settings.admin.listen == ListenAddress(host: "0.0.0.0", port: 9000))
    #expect(settings.logging == .init(level: .debug, format: .json))
    #expect(settings.stopWithinMilliseconds == 5000)
  }

  @Test func anotherKafkaLeavesTheBrokerOut() throws {
    #expect(try parse("kafka: {bootstrap: 'kafka:9092'}").roles == [.gateway, .node, .trainer])
    #expect(try parse("").roles == Set(InstanceSettings.Role.allCases))
  }

  @Test func theAdminServerCanBeTurnedOff() throws {
    #expect(try parse("admin: {enabled: false}").admin.listen == nil)
  }

  @Test(arguments: [
    ("roles: [gatway]", "did you mean \"gateway\"?"),
    ("roles: []", "lists no role"),
    ("roles: [node, node]", "twice"),
    ("roles: [gateway]", "kafka.bootstrap is not set"),
    ("roles: gateway", "expected a list"),
    ("roles: [broker]\nkafka: {bootstrap: 'k:1'}", "remove one of the two"),
    ("kafka: {properties: {bootstrap.servers: x}}", "kafka.bootstrap"),
    ("kafka: {properties: {sasl.password: '${UNSET}'}}", "the environment variable UNSET is not set"),
    ("kafka: {properties: {sasl.password: '${}'}}", "names no environment variable"),
    ("kafka: {properties: {sasl.password: 'a$b'}}", "lone '$'"),
    ("kafka: {bootstrap: 'host:0'}", "is not host:port"),
    ("kafka: {embedded: {flush: sometimes}}", "every_batch"),
    ("kafka: {embedded: {listen: '9092'}}", "expected host:port"),
    ("topics: {features: 'a b'}", "topic name"),
    ("topics: {features: same, labels: same}", "each needs its own topic"),
    ("models: [nowhere.yaml]", "there is no file nowhere.yaml"),
    ("models: [[1]]", "found a list"),
    ("models: [{model: m, loss: squared, features: {x: numeric}}, {model: m, loss: squared, features: {x: numeric}}]", "change its name or version"),
    ("arms: []", "at least one arm"),
    ("arms: [{name: a}, {name: a}]", "used by an earlier arm"),
    ("arms: [{name: a, follow: true, refresh_every: 1h}]", "keep one"),
    ("arms: [{name: a, held_until: soon}]", "2013-04-01T00:00:00Z"),
    ("arms: [{name: 'a b'}]", "letters, digits"),
    ("arms: [{}]", "is missing"),
    ("admin: {listen: 'localhost'}", "expected host:port"),
    ("logging: {level: loud}", "expected"),
    ("logging: {format: xml}", "text"),
    ("stop_within: 5", "10ms"),
    ("- a\n- b", "expected a map"),
    ("a: [", "is not YAML"),
  ])
  func wrongValuesSayWhatToDo(yaml: String, words: String) {
    let found = problems(yaml)
    #expect(found.count == 1, "\(found)")
    #expect(found.first?.contains(words) == true, "\(found)")
    #expect(found.first?.hasPrefix("millrace.yaml:") == true)
  }

  @Test func aSecretNeverStandsInAMessage() {
    let found = problems(
      "kafka: {bootstrap: '${SECRET}', properties: {sasl.password: '${SECRET} ${UNSET}'}}", environment: ["SECRET": "hunter2"])
    #expect(found.count == 2)
    #expect(!found.joined().contains("hunter2"))
  }

  @Test func modelFilesStandBesideTheConfigurationAndTheirProblemsNameThem() throws {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("millrace-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: directory + "/models", withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    func write(_ name: String, _ text: String) throws {
      try text.write(toFile: directory + "/" + name, atomically: true, encoding: .utf8)
    }
    try write("models/good.yaml", "model: good\nloss: logistic\nfeatures: {x: categorical}\n")
    try write("millrace.yaml", "models:\n  - models/good.yaml\n")
    #expect(try InstanceSettings.load(path: directory + "/millrace.yaml", environment: [:]).models.map(\.name) == ["good"])

    try write("models/bad.yaml", "model: bad\nloss: logistc\nfeatures: {x: categorical}\n")
    try write("models/torn.yaml", "model: [\n")
    try write("millrace.yaml", "models:\n  - models/bad.yaml\n  - models/torn.yaml\n  - models/none.yaml\nstop_within: x\n")
    let error = #expect(throws: SettingsErrors.self) { try InstanceSettings.load(path: directory + "/millrace.yaml", environment: [:]) }
    let found = error?.problems.map(\.description) ?? []
    #expect(found.count == 4, "\(found)")
    #expect(found.contains { $0.contains("models/bad.yaml:2:7: loss: ") }, "\(found)")
    #expect(found.contains { $0.contains("models/torn.yaml:") })
    #expect(found.contains { $0.contains("millrace.yaml:4:5: models[2]: there is no file") }, "\(found)")
    #expect(found.contains { $0.contains("millrace.yaml:5:") })
  }

  @Test func aFileThatIsNotThereSaysSo() {
    let error = #expect(throws: SettingsErrors.self) { try InstanceSettings.load(path: "/nowhere/millrace.yaml", environment: [:]) }
    #expect(error?.description.contains("no such file") == true)
  }

  /// docs/configuration.md is a reference: it has every key, and its example is the defaults.
  @Test func theReferenceHasEveryKeyAndTheDefaults() throws {
    let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../docs/configuration.md")
    let text = try String(contentsOf: path, encoding: .utf8)
    for (section, keys) in InstanceSettings.keys {
      for key in keys {
        let full = section.isEmpty ? key : "\(section).\(key)"
        #expect(text.contains("`\(full)`"), "docs/configuration.md does not describe \(full)")
      }
    }
    let blocks = text.components(separatedBy: "```yaml\n").dropFirst().compactMap { $0.components(separatedBy: "```").first }
    let defaults = try #require(blocks.first)
    #expect(try parse(defaults) == InstanceSettings())
    for block in blocks.dropFirst() {
      #expect(throws: Never.self) { try parse(block, environment: ["KAFKA_PASSWORD": "x"]) }
    }
  }

  @Test(arguments: [
    ("127.0.0.1:8002", "127.0.0.1", 8002), ("localhost:0", "localhost", 0), ("[::1]:65535", "::1", 65535), ("a.b-c:1", "a.b-c", 1),
  ])
  func addresses(text: String, host: String, port: Int) throws {
    let address = try #require(ListenAddress(text))
    #expect(address == ListenAddress(host: host, port: port))
    #expect(address.description == text)
  }

  @Test(arguments: ["", ":", "a", "a:", ":1", "a:65536", "a:-1", "a:1:2", "::1", "[::1]", "[::1]8002", "[a]:1", "a b:1", "a:99999999999999999999"])
  func notAddresses(text: String) {
    #expect(ListenAddress(text) == nil)
  }
}
