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
      serving: {group: g, poll_events_max: 10, open_ranges_max: 20, commit_interval: 1s, linger: 250us, log_requests: false, limits: {payload_bytes_max: 1KiB, values_max: 1, text_bytes_max: 2, id_bytes_max: 3, json_depth_max: 4}}
      training: {joiner: false, trainer: false, beacon: 100ms, backlog_bytes_max: 1MiB, checkpoints: {directory: /c, every: never, trim: false}}
      grpc: {enabled: true, listen: "0.0.0.0:9001", loops: 3, message_bytes_max: 1MiB, header_bytes_max: 8KiB, streams_max: 7, connections_max: 8, connection_window: 2MiB, stream_window: 128KiB, idle: 5m, age: 1h, age_grace: 2s, handshake: 3s, ping_interval: never, ping_timeout: 4s, stall: never, pings_per_second_max: 5, resets_per_second_max: 6, rows_per_batch_max: 64, drain: 1s}
      http: {enabled: true, listen: "0.0.0.0:9002", body_bytes_max: 2MiB}
      control: {enabled: true, listen: "[::1]:9003"}
      ingest: {enabled: false}
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
    #expect(!settings.serving.logsRequests)
    var grpc = InstanceSettings.GRPCSettings()
    grpc.listen = ListenAddress(host: "0.0.0.0", port: 9001)
    grpc.loops = 3
    grpc.messageBytesMax = 1 << 20
    grpc.headerBytesMax = 8 << 10
    grpc.streamsMax = 7
    grpc.connectionsMax = 8
    grpc.connectionWindowBytes = 2 << 20
    grpc.streamWindowBytes = 128 << 10
    grpc.idleMilliseconds = 300_000
    grpc.ageMilliseconds = 3_600_000
    grpc.ageGraceMilliseconds = 2000
    grpc.handshakeMilliseconds = 3000
    grpc.pingIntervalMilliseconds = nil
    grpc.pingTimeoutMilliseconds = 4000
    grpc.stallMilliseconds = nil
    grpc.pingsPerSecondMax = 5
    grpc.resetsPerSecondMax = 6
    grpc.rowsPerBatchMax = 64
    grpc.drainMilliseconds = 1000
    #expect(settings.grpc == grpc)
    #expect(settings.http == .init(listen: ListenAddress(host: "0.0.0.0", port: 9002), bodyBytesMax: 2 << 20))
    #expect(settings.control.listen == ListenAddress(host: "::1", port: 9003))
    #expect(!settings.ingest.isEnabled)
    #expect(settings.admin.listen == ListenAddress(host: "0.0.0.0", port: 9000))
    #expect(settings.logging == .init(level: .debug, format: .json))
    #expect(settings.stopWithinMilliseconds == 5000)
  }

  @Test func anotherKafkaLeavesTheBrokerOut() throws {
    #expect(try parse("kafka: {bootstrap: 'kafka:9092'}").roles == [.gateway, .node, .trainer])
    #expect(try parse("").roles == Set(InstanceSettings.Role.allCases))
  }

  @Test func everyListenerCanBeTurnedOff() throws {
    let off = try parse("{admin: {enabled: false}, grpc: {enabled: false}, http: {enabled: false}, control: {enabled: false}}")
    #expect(off.admin.listen == nil && off.grpc.listen == nil && off.http.listen == nil && off.control.listen == nil)
  }

  @Test func aDrainLeavesTimeForTheRestOfTheStop() throws {
    #expect(try parse("grpc: {drain: 10s}\nstop_within: 30s").drainMilliseconds == 10_000)
    #expect(try parse("grpc: {drain: 10s}\nstop_within: 4s").drainMilliseconds == 2000)
  }

  @Test func certificatesStandBesideTheConfiguration() throws {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("millrace-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: directory + "/tls", withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    for name in ["server.pem", "server.key", "clients.pem"] {
      try "x".write(toFile: "\(directory)/tls/\(name)", atomically: true, encoding: .utf8)
    }
    let file = directory + "/millrace.yaml"
    try "grpc: {tls: {certificate: tls/server.pem, key: \(directory)/tls/server.key, client_ca: tls/clients.pem}}"
      .write(toFile: file, atomically: true, encoding: .utf8)
    let tls = try #require(try InstanceSettings.load(path: file, environment: [:]).grpc.tls)
    #expect(tls.certificatePath == "\(directory)/tls/server.pem")
    #expect(tls.keyPath == "\(directory)/tls/server.key")
    #expect(tls.clientCertificateAuthorityPath == "\(directory)/tls/clients.pem")
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
    ("admin: {listen: 'off'}", "`enabled: false` switches it off"),
    ("grpc: {listen: off}", "`enabled: false` switches it off"),
    ("grpc: {loops: -1}", "from 0 to 256"),
    ("grpc: {stream_window: 1KiB}", "65535"),
    ("grpc: {idle: sometimes}", "expected a duration"),
    ("grpc: {rows_per_batch_max: 0}", "from 1"),
    ("grpc: {tls: {certificate: nowhere.pem, key: /dev/null}}", "there is no file nowhere.pem"),
    ("grpc: {tls: {certificate: /dev/null}}", "is missing: expected a file with the certificate's private key"),
    ("http: {listen: '127.0.0.1:8001'}", "http.listen: is 127.0.0.1:8001, and so is grpc.listen"),
    ("control: {listen: '127.0.0.1:9092'}", "and so is kafka.embedded.listen"),
    ("http: {body_bytes_max: 12}", "expected a size"),
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
