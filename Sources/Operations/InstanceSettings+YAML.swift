internal import Foundation
internal import Logging
internal import Model
public import Settings

extension InstanceSettings {
  /// Every key of the configuration file by its path. docs/configuration.md describes each one.
  static let keys: [String: [String]] = [
    "": [
      "roles", "data_directory", "kafka", "topics", "models", "arms", "serving", "training", "grpc", "http", "control", "ingest",
      "admin", "logging", "stop_within",
    ],
    "kafka": ["bootstrap", "client_id", "properties", "embedded"],
    "kafka.embedded": ["listen", "advertised", "data", "flush", "segment_bytes", "retention_bytes"],
    "topics": ["features", "labels", "examples", "predictions", "dead_letter_suffix", "partitions", "replication", "create"],
    "models[]": ["bundle", "name", "versions", "labels", "max_batch_size", "reload", "warmup", "tables", "spare_memory", "stream"],
    "arms[]": ["name", "follow", "held_until", "refresh_every"],
    "serving": ["group", "poll_events_max", "open_ranges_max", "commit_interval", "linger", "log_requests", "precision", "limits"],
    "serving.limits": ["payload_bytes_max", "values_max", "text_bytes_max", "id_bytes_max", "json_depth_max"],
    "training": ["joiner", "trainer", "checkpoints", "beacon", "backlog_bytes_max"],
    "training.checkpoints": ["directory", "every", "trim"],
    "grpc": [
      "enabled", "listen", "loops", "message_bytes_max", "header_bytes_max", "streams_max", "connections_max", "connection_window",
      "stream_window", "idle", "age", "age_grace", "handshake", "ping_interval", "ping_timeout", "stall", "pings_per_second_max",
      "resets_per_second_max", "rows_per_batch_max", "drain", "tls",
    ],
    "grpc.tls": ["certificate", "key", "client_ca"],
    "http": ["enabled", "listen", "body_bytes_max"],
    "control": ["enabled", "listen"],
    "ingest": ["enabled"],
    "admin": ["enabled", "listen"],
    "logging": ["level", "format"],
  ]

  static let modelsMax = 64
  static let armsMax = 16

  /// Reads the configuration file at `path`. Model files named in it are looked for beside it.
  /// `environment` is the process's own unless given. Throws every problem of all files at once.
  public static func load(
    path: String, environment: [String: String]? = nil
  ) throws(SettingsErrors) -> InstanceSettings {
    try read(SettingsDocument.load(path: path), environment)
  }

  /// Reads configuration text; `file` names it in messages, and model files are looked for beside it.
  public static func parse(
    yaml: String, file: String, environment: [String: String]? = nil
  ) throws(SettingsErrors) -> InstanceSettings {
    try read(SettingsDocument.parse(yaml: yaml, file: file), environment)
  }

  private static func read(_ node: SettingsNode, _ environment: [String: String]?) throws(SettingsErrors) -> InstanceSettings {
    try SettingsReader.read(node) { root, reader in
      var reading = InstanceSettingsReading(reader: reader, environment: environment ?? ProcessInfo.processInfo.environment)
      let settings = reading.instance(root)
      reader = reading.reader
      return settings
    }
  }
}

/// One pass over the file. Every method reads one section and goes on after a problem.
struct InstanceSettingsReading {
  var reader: SettingsReader
  let environment: [String: String]

  mutating func instance(_ root: SettingsNode) -> InstanceSettings {
    var settings = InstanceSettings()
    check(root, "")
    settings.dataDirectory = text(root, "data_directory", settings.dataDirectory)
    settings.stopWithinMilliseconds = reader.milliseconds(
      root, "stop_within", in: 100...3_600_000, default: settings.stopWithinMilliseconds)
    settings.kafka = kafka(reader.section(root, "kafka"))
    settings.roles = roles(root, settings.kafka)
    settings.topics = topics(reader.section(root, "topics"))
    (settings.models, settings.bundles) = models(root)
    settings.arms = arms(root)
    settings.serving = serving(reader.section(root, "serving"))
    settings.training = training(reader.section(root, "training"))
    settings.grpc = grpc(reader.section(root, "grpc"))
    settings.http = http(reader.section(root, "http"))
    settings.control = control(reader.section(root, "control"))
    settings.ingest = ingest(reader.section(root, "ingest"))
    settings.admin = admin(reader.section(root, "admin"))
    settings.logging = logging(reader.section(root, "logging"))
    checkListeners(root, settings)
    return settings
  }

  // MARK: Sections

  private mutating func roles(_ root: SettingsNode, _ kafka: InstanceSettings.KafkaConnection) -> Set<InstanceSettings.Role> {
    let usesOwnKafka = kafka.bootstrapServers != nil
    guard root.child("roles") != nil else {
      var roles = Set(InstanceSettings.Role.allCases)
      if usesOwnKafka { roles.remove(.broker) }
      return roles
    }
    var roles: Set<InstanceSettings.Role> = []
    let problemsBefore = reader.problems.count
    for item in reader.list(root, "roles") {
      guard let role: InstanceSettings.Role = reader.choice(item) else { continue }
      if !roles.insert(role).inserted { reader.problem(item, "is listed twice") }
      if role == .broker && usesOwnKafka {
        reader.problem(item, "is the embedded broker, but kafka.bootstrap names another one: remove one of the two")
      }
    }
    if let list = root.child("roles"), list.isList, reader.problems.count == problemsBefore {
      if list.items.isEmpty {
        reader.problem(list, "lists no role: an instance without one does nothing")
      } else if !roles.contains(.broker) && root.child("kafka")?.child("bootstrap") == nil {
        reader.problem(list, "has no broker and kafka.bootstrap is not set: add the role, or say where Kafka is")
      }
    }
    return roles
  }

  private mutating func kafka(_ node: SettingsNode) -> InstanceSettings.KafkaConnection {
    var kafka = InstanceSettings.KafkaConnection()
    check(node, "kafka")
    if let bootstrap = node.child("bootstrap") {
      let texts: [(SettingsNode, String)] =
        bootstrap.isList
        ? bootstrap.items.compactMap { item in reader.string(item).map { (item, $0) } }
        : reader.string(bootstrap).map { [(bootstrap, $0)] } ?? []
      var servers: [String] = []
      for (place, text) in texts {
        guard let expanded = substitute(place, text) else { continue }
        for server in expanded.split(separator: ",", omittingEmptySubsequences: false) {
          let trimmed = server.trimmingCharacters(in: .whitespaces)
          // A port of 0 means something only to who listens.
          if let address = ListenAddress(trimmed), address.port > 0 {
            servers.append("\(address)")
          } else {
            // What came from the environment may be a secret in the wrong place.
            reader.problem(place, "\"\(expanded == text ? trimmed : text)\" is not host:port, as kafka.example.org:9092")
          }
        }
      }
      kafka.bootstrapServers = servers.joined(separator: ",")
    }
    kafka.clientID = text(node, "client_id", kafka.clientID)
    if let properties = reader.map(node, "properties") {
      for entry in properties.entries {
        guard let raw = reader.string(entry.value), let value = substitute(entry.value, raw) else { continue }
        if entry.key == "bootstrap.servers" {
          reader.problem(entry.value, "stands in kafka.bootstrap: remove it here")
        } else {
          kafka.properties[entry.key] = value
        }
      }
    }
    kafka.embedded = embedded(reader.section(node, "embedded"))
    return kafka
  }

  private mutating func embedded(_ node: SettingsNode) -> InstanceSettings.EmbeddedSettings {
    var embedded = InstanceSettings.EmbeddedSettings()
    check(node, "kafka.embedded")
    embedded.listen = address(node, "listen") ?? embedded.listen
    embedded.advertised = address(node, "advertised")
    embedded.dataDirectory = node.child("data").flatMap { directory($0) }
    embedded.segmentBytes = reader.bytes(node, "segment_bytes", in: 1 << 20 ... 2 << 30, default: embedded.segmentBytes)
    embedded.retentionBytes = node.child("retention_bytes").flatMap { reader.bytes($0, in: 1 << 20 ... .max) }
    if let flush = node.child("flush"), let text = reader.string(flush) {
      switch text {
      case "never": embedded.flush = .never
      case "every_batch": embedded.flush = .everyBatch
      default:
        if text.utf8.first.map({ (48...57).contains($0) }) == true {
          if let milliseconds = reader.milliseconds(flush, in: 1...60_000) { embedded.flush = .interval(milliseconds: milliseconds) }
        } else {
          reader.problem(flush, "expected never, every_batch, or how often, as 100ms")
        }
      }
    }
    return embedded
  }

  private mutating func topics(_ node: SettingsNode) -> InstanceSettings.Topics {
    var topics = InstanceSettings.Topics()
    check(node, "topics")
    topics.features = topic(node, "features", topics.features)
    topics.labels = topic(node, "labels", topics.labels)
    topics.examples = topic(node, "examples", topics.examples)
    topics.predictions = topic(node, "predictions", topics.predictions)
    topics.deadLetterSuffix = topic(node, "dead_letter_suffix", topics.deadLetterSuffix)
    topics.partitions = reader.int(node, "partitions", in: 1...1024, default: topics.partitions)
    topics.replication = reader.int(node, "replication", in: 1...32, default: topics.replication)
    topics.create = reader.bool(node, "create", default: topics.create)
    var seen: [String: String] = [:]
    for (key, name) in [
      ("features", topics.features), ("labels", topics.labels), ("examples", topics.examples), ("predictions", topics.predictions),
    ] {
      if let other = seen[name] { reader.problem(node, key, "is \"\(name)\", and so is topics.\(other): each needs its own topic") }
      seen[name] = key
    }
    return topics
  }

  private mutating func models(_ root: SettingsNode) -> ([ModelSpecification], [InstanceSettings.BundleSettings]) {
    var models: [ModelSpecification] = []
    var bundles: [InstanceSettings.BundleSettings] = []
    var bundlePlaces: [String: SettingsNode] = [:]
    var places: [String: SettingsNode] = [:]
    for item in reader.list(root, "models", max: InstanceSettings.modelsMax) {
      if item.isMap, item.has("bundle") {
        guard let bundle = bundle(item) else { continue }
        // Names in bundles are known when they are loaded.
        let name = bundle.name ?? bundle.path
        if let first = bundlePlaces[name] {
          reader.problem(item, "is \(name), which line \(first.line) gives already: change its name")
          continue
        }
        bundlePlaces[name] = item
        bundles.append(bundle)
        continue
      }
      guard let specification = model(item) else { continue }
      if specification.family == .loaded {
        reader.problem(item, "is of family loaded, which has its parameters from a file: name its bundle instead, as {bundle: models/fraud}")
        continue
      }
      if let first = places[specification.identifier] {
        reader.problem(item, "is \(specification.identifier), which line \(first.line) gives already: change its name or version")
        continue
      }
      places[specification.identifier] = item
      models.append(specification)
    }
    for specification in models {
      if let item = bundlePlaces[specification.name] {
        reader.problem(item, "is named \(specification.name), as the model of line \(places[specification.identifier]?.line ?? 0) is: change its name")
      }
    }
    return (models, bundles)
  }

  /// A file name, or the specification itself.
  private mutating func model(_ item: SettingsNode) -> ModelSpecification? {
    guard case .scalar(let name, _) = item.content else {
      guard item.isMap else {
        reader.problem(item, "expected the path of a model file, a specification, or a map with bundle, found \(item.kind)")
        return nil
      }
      return ModelSpecification.read(item, &reader)
    }
    let path = beside(item, name)
    guard FileManager.default.fileExists(atPath: path) else {
      reader.problem(item, "there is no file \(path) (paths are relative to this file)")
      return nil
    }
    do {
      return ModelSpecification.read(try SettingsDocument.load(path: path), &reader)
    } catch {
      for problem in error.problems {
        let place = SettingsNode(
          file: problem.file, line: problem.line, column: problem.column, path: problem.path, content: .empty)
        reader.problem(place, problem.message)
      }
      return nil
    }
  }

  private mutating func arms(_ root: SettingsNode) -> [InstanceSettings.ArmSettings] {
    guard root.child("arms") != nil else { return InstanceSettings().arms }
    var arms: [InstanceSettings.ArmSettings] = []
    for item in reader.list(root, "arms", max: InstanceSettings.armsMax) {
      guard let arm = arm(item) else { continue }
      if arms.contains(where: { $0.name == arm.name }) { reader.problem(item, "the name \"\(arm.name)\" is used by an earlier arm") }
      arms.append(arm)
    }
    if let list = root.child("arms"), list.isList, list.items.isEmpty {
      reader.problem(list, "is empty: a model needs at least one arm to answer; remove the key for the arm online")
    }
    return arms
  }

  private mutating func arm(_ item: SettingsNode) -> InstanceSettings.ArmSettings? {
    guard check(item, "arms[]") else { return nil }
    guard let name = reader.require(item, "name", "the arm's name").flatMap({ reader.string($0) }) else { return nil }
    if !isName(name) { reader.problem(item, "name", "expected letters, digits, '_' and '-', found \"\(name)\"") }
    var policies: [InstanceSettings.ArmSettings.Policy] = []
    if let follow = item.child("follow"), let online = reader.bool(follow) {
      if online { policies.append(.online) } else { reader.problem(follow, "is false: use held_until or refresh_every instead") }
    }
    if let held = item.child("held_until"), let text = reader.string(held) {
      if let milliseconds = Timestamp.milliseconds(text) ?? Int64(text) {
        policies.append(.held(untilMilliseconds: milliseconds))
      } else {
        reader.problem(held, "expected a time as 2013-04-01T00:00:00Z, or milliseconds since 1970, found \(held.kind)")
      }
    }
    if let every = item.child("refresh_every"), let milliseconds = reader.milliseconds(every, in: 1000 ... .max) {
      policies.append(.refreshed(everyMilliseconds: Int64(milliseconds)))
    }
    if policies.count > 1 { reader.problem(item, "has \(policies.count) of follow, held_until and refresh_every: keep one") }
    return InstanceSettings.ArmSettings(name: name, policy: policies.first ?? .online)
  }

  private mutating func serving(_ node: SettingsNode) -> InstanceSettings.ServingSettings {
    var serving = InstanceSettings.ServingSettings()
    check(node, "serving")
    serving.group = text(node, "group", serving.group)
    serving.pollEventsMax = reader.int(node, "poll_events_max", in: 1...65536, default: serving.pollEventsMax)
    serving.openRangesMax = reader.int(node, "open_ranges_max", in: 1...65536, default: serving.openRangesMax)
    serving.commitIntervalMilliseconds = reader.milliseconds(
      node, "commit_interval", in: 1...60_000, default: serving.commitIntervalMilliseconds)
    serving.lingerMicroseconds = reader.microseconds(node, "linger", in: 0...100_000, default: serving.lingerMicroseconds)
    serving.logsRequests = reader.bool(node, "log_requests", default: serving.logsRequests)
    serving.precision = reader.choice(node, "precision", default: serving.precision)
    let limits = reader.section(node, "limits")
    check(limits, "serving.limits")
    let most = serving.limits
    serving.limits.payloadBytesMax = reader.bytes(limits, "payload_bytes_max", in: 64 ... 64 << 20, default: most.payloadBytesMax)
    serving.limits.valuesMax = reader.int(limits, "values_max", in: 1 ... 1 << 20, default: most.valuesMax)
    serving.limits.textBytesMax = reader.bytes(limits, "text_bytes_max", in: 1 ... 1 << 20, default: most.textBytesMax)
    serving.limits.idBytesMax = reader.bytes(limits, "id_bytes_max", in: 1...65536, default: most.idBytesMax)
    serving.limits.jsonDepthMax = reader.int(limits, "json_depth_max", in: 2...1024, default: most.jsonDepthMax)
    return serving
  }

  private mutating func training(_ node: SettingsNode) -> InstanceSettings.TrainingSettings {
    var training = InstanceSettings.TrainingSettings()
    check(node, "training")
    training.joiner = reader.bool(node, "joiner", default: training.joiner)
    training.trainer = reader.bool(node, "trainer", default: training.trainer)
    training.beaconMilliseconds = reader.milliseconds(node, "beacon", in: 10...60_000, default: training.beaconMilliseconds)
    training.backlogBytesMax = reader.bytes(node, "backlog_bytes_max", in: 1 << 20 ... 16 << 30, default: training.backlogBytesMax)
    let checkpoints = reader.section(node, "checkpoints")
    check(checkpoints, "training.checkpoints")
    training.checkpoints.directory = checkpoints.child("directory").flatMap { directory($0) }
    if let every = checkpoints.child("every") {
      if case .scalar("never", _) = every.content {
        training.checkpoints.everyMilliseconds = nil
      } else {
        training.checkpoints.everyMilliseconds = reader.milliseconds(every, in: 1000...86_400_000)
      }
    }
    training.checkpoints.trimsLog = reader.bool(checkpoints, "trim", default: training.checkpoints.trimsLog)
    return training
  }

  private mutating func admin(_ node: SettingsNode) -> InstanceSettings.AdminSettings {
    var admin = InstanceSettings.AdminSettings()
    check(node, "admin")
    admin.listen = address(node, "listen") ?? admin.listen
    if !reader.bool(node, "enabled", default: true) { admin.listen = nil }
    return admin
  }

  private mutating func logging(_ node: SettingsNode) -> InstanceSettings.LoggingSettings {
    var logging = InstanceSettings.LoggingSettings()
    check(node, "logging")
    logging.level = reader.choice(node, "level", default: logging.level)
    logging.format = reader.choice(node, "format", default: logging.format)
    return logging
  }

  // MARK: Values

  @discardableResult
  mutating func check(_ node: SettingsNode, _ path: String) -> Bool {
    reader.keys(node, InstanceSettings.keys[path] ?? [])
  }

  /// Text that may not be empty.
  private mutating func text(_ node: SettingsNode, _ key: String, _ value: String) -> String {
    guard let child = node.child(key), let text = reader.string(child) else { return value }
    if text.isEmpty { reader.problem(child, "is empty") }
    return text
  }

  private mutating func directory(_ node: SettingsNode) -> String? {
    guard let text = reader.string(node) else { return nil }
    if text.isEmpty { reader.problem(node, "is empty: expected a directory") }
    return text
  }

  /// A path as the file that names it means it.
  func beside(_ node: SettingsNode, _ name: String) -> String {
    let folder = (node.file as NSString).deletingLastPathComponent
    return name.hasPrefix("/") || folder.isEmpty ? name : folder + "/" + name
  }

  private func isOff(_ text: String) -> Bool { ["off", "no", "none", "false", ""].contains(text.lowercased()) }

  mutating func address(_ node: SettingsNode, _ key: String) -> ListenAddress? {
    guard let child = node.child(key), let text = reader.string(child) else { return nil }
    if let address = ListenAddress(text) { return address }
    reader.problem(child, "expected host:port, as 127.0.0.1:8002 or [::1]:8002, found \(child.kind)\(isOff(text) ? ": `enabled: false` switches it off" : "")")
    return nil
  }

  /// What Kafka takes as (a part of) a topic's name.
  private mutating func topic(_ node: SettingsNode, _ key: String, _ value: String) -> String {
    guard let child = node.child(key), let name = reader.string(child) else { return value }
    let isTopic = !name.isEmpty && name.utf8.count <= 200 && name != "." && name != ".." && isName(name, dots: true)
    if !isTopic { reader.problem(child, "expected a topic name of up to 200 letters, digits, '.', '_' and '-', found \(child.kind)") }
    return name
  }

  func isName(_ name: String, dots: Bool = false) -> Bool {
    name.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
        true
      case UInt8(ascii: "."): dots
      default: false
      }
    } && !name.isEmpty
  }

  /// Replaces each `${NAME}` by that environment variable; `$$` stands for a dollar sign. Messages name
  /// the variable and never its value.
  private mutating func substitute(_ node: SettingsNode, _ text: String) -> String? {
    var result = ""
    var rest = Substring(text)
    var good = true
    while let dollar = rest.firstIndex(of: "$") {
      result += rest[..<dollar]
      rest = rest[dollar...]
      if rest.hasPrefix("$$") {
        result += "$"
        rest = rest.dropFirst(2)
      } else if rest.hasPrefix("${"), let end = rest.firstIndex(of: "}") {
        let name = String(rest[rest.index(rest.startIndex, offsetBy: 2)..<end])
        rest = rest[rest.index(after: end)...]
        if name.isEmpty || !isName(name) {
          reader.problem(node, "\"${\(name)}\" names no environment variable")
          good = false
        } else if let value = environment[name] {
          result += value
        } else {
          reader.problem(node, "the environment variable \(name) is not set")
          good = false
        }
      } else {
        reader.problem(node, "has a lone '$': write ${NAME} for an environment variable, or $$ for a dollar sign")
        return nil
      }
    }
    return good ? result + rest : nil
  }
}
