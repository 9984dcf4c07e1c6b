import Foundation
import Settings
import Testing

@testable import Operations

/// No container engine runs where this is tested, so what can be known without one is checked here.
@Suite struct DeployTests {
  private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../..")
    .standardizedFileURL.path

  private func text(_ path: String) throws -> String {
    try String(contentsOfFile: Self.root + "/" + path, encoding: .utf8)
  }

  private func node(_ path: String) throws -> SettingsNode {
    try SettingsDocument.parse(yaml: text(path), file: path)
  }

  @Test func theComposeFileIsWhole() throws {
    let compose = try node("deploy/compose.yaml")
    let services = try #require(compose.child("services"))
    let names = Set(services.entries.map(\.key))
    #expect(names.isSuperset(of: ["kafka", "millrace"]))
    let volumes = Set(compose.child("volumes")?.entries.map(\.key) ?? [])
    let known = [
      "image", "build", "environment", "ports", "volumes", "healthcheck", "depends_on", "stop_grace_period", "restart",
    ]
    for service in services.entries {
      for entry in service.value.entries { #expect(known.contains(entry.key), "\(service.key).\(entry.key)") }
      #expect(service.value.child("image") != nil)
      // Nothing is offered to other machines.
      for port in service.value.child("ports")?.items ?? [] { #expect(scalar(port).hasPrefix("127.0.0.1:")) }
      for volume in service.value.child("volumes")?.items ?? [] {
        let source = String(scalar(volume).split(separator: ":")[0])
        if source.hasPrefix("./") {
          #expect(FileManager.default.fileExists(atPath: Self.root + "/deploy/" + source), "\(source)")
        } else {
          #expect(volumes.contains(source), "\(source) is not declared")
        }
      }
      let dependencies = service.value.child("depends_on")
      for name in (dependencies?.entries.map(\.key) ?? []) + (dependencies?.items.map(scalar) ?? []) {
        #expect(names.contains(name))
      }
    }
    #expect(services.child("kafka")?.child("healthcheck")?.child("test") != nil)
    #expect(services.child("millrace")?.child("depends_on")?.child("kafka")?.child("condition").map(scalar) == "service_healthy")
  }

  @Test(arguments: ["deploy/prometheus.yaml", "deploy/grafana/datasources.yaml", "deploy/grafana/dashboards.yaml"])
  func otherYAMLIsWellFormed(path: String) throws {
    #expect(try node(path).entries.count >= 2)
  }

  @Test func prometheusScrapesTheAdminPort() throws {
    let job = try #require(try node("deploy/prometheus.yaml").child("scrape_configs")?.items.first)
    let target = job.child("static_configs")?.items.first?.child("targets")?.items.first
    #expect(target.map(scalar) == "millrace:8002")
  }

  @Test(arguments: [("deploy/millrace.yaml", "flights.1"), ("deploy/quickstart.yaml", "orders.1")])
  func configurationsAreValid(path: String, model: String) throws {
    let settings = try InstanceSettings.load(path: Self.root + "/" + path, environment: ["KAFKA_BOOTSTRAP": "kafka:9092"])
    #expect(settings.models.map(\.identifier) == [model])
  }

  /// What compose publishes, the image exposes and the process listens at for other containers.
  @Test func thePortsAgree() throws {
    let settings = try InstanceSettings.load(path: Self.root + "/deploy/millrace.yaml", environment: ["KAFKA_BOOTSTRAP": "kafka:9092"])
    let open = [settings.http.listen, settings.grpc.listen, settings.admin.listen].compactMap(\.self)
    #expect(open.allSatisfy { $0.host == "0.0.0.0" })
    #expect(settings.control.listen?.isLoopback == true, "the control listener asks for no password")
    let millrace = try #require(try node("deploy/compose.yaml").child("services")?.child("millrace"))
    let published = (millrace.child("ports")?.items ?? []).map(scalar)
    #expect(published == open.map { "127.0.0.1:\($0.port):\($0.port)" })
    let exposed = try text("deploy/Dockerfile").split(separator: "\n").first { $0.hasPrefix("EXPOSE ") }
    #expect(exposed == "EXPOSE \(open.map { String($0.port) }.joined(separator: " "))")
  }

  @Test func aCleanStopFitsInTheGracePeriod() throws {
    let settings = try InstanceSettings.load(path: Self.root + "/deploy/millrace.yaml", environment: ["KAFKA_BOOTSTRAP": "kafka:9092"])
    let millrace = try #require(try node("deploy/compose.yaml").child("services")?.child("millrace"))
    var reader = SettingsReader()
    let grace = reader.milliseconds(try #require(millrace.child("stop_grace_period")))
    #expect(try #require(grace) > settings.stopWithinMilliseconds)
  }

  @Test func theDockerfileHasOnlyKnownInstructionsAndRunsWithoutRoot() throws {
    let known = [
      "FROM", "RUN", "WORKDIR", "COPY", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "STOPSIGNAL", "ENTRYPOINT", "CMD", "ENV", "ARG", "LABEL",
    ]
    var instructions: [(name: String, rest: String)] = []
    var continued = false
    for line in try text("deploy/Dockerfile").split(separator: "\n").map(String.init) {
      let trimmed = line.trimmingCharacters(in: .whitespaces)
      if trimmed.hasPrefix("#") { continue }
      let body = trimmed.hasSuffix("\\") ? String(trimmed.dropLast()) : trimmed
      if continued {
        instructions[instructions.count - 1].rest += " " + body
      } else {
        let parts = body.split(separator: " ", maxSplits: 1).map(String.init)
        #expect(known.contains(parts[0]), "\(line)")
        instructions.append((parts[0], parts.count > 1 ? parts[1] : ""))
      }
      continued = trimmed.hasSuffix("\\")
    }
    #expect(!continued)
    #expect(instructions.first?.name == "FROM")
    let last = instructions.lastIndex { $0.name == "FROM" } ?? 0
    let final = instructions[last...]
    #expect(final.contains { $0.name == "USER" && $0.rest != "root" && $0.rest != "0" })
    #expect(final.contains { $0.name == "HEALTHCHECK" && $0.rest.contains("/healthz") })
    // Every copied path exists, or comes from an earlier stage.
    for instruction in instructions where instruction.name == "COPY" && !instruction.rest.contains("--from=") {
      for source in instruction.rest.split(separator: " ").dropLast() {
        #expect(FileManager.default.fileExists(atPath: Self.root + "/" + source), "\(source)")
      }
    }
    // A list in JSON that is none would be taken as a shell command.
    for instruction in instructions where ["ENTRYPOINT", "CMD", "VOLUME"].contains(instruction.name) {
      #expect((try? JSONSerialization.jsonObject(with: Data(instruction.rest.utf8))) is [String], "\(instruction)")
    }
  }

  /// Every metric that is exported is described, and the dashboard asks for no other.
  @Test func everyMetricIsDescribed() throws {
    let exported = try exportedMetrics()
    #expect(exported.contains("process_threads"))
    let reference = try text("docs/operations.md")
    let dashboard = try text("deploy/grafana/millrace.json")
    #expect(throws: Never.self) { try JSONSerialization.jsonObject(with: Data(dashboard.utf8)) }
    for match in dashboard.matches(of: #/(?:millrace|process|nv)_[a-z_]+/#) {
      let name = String(match.0)
      let whole = name.replacing(#/_(bucket|sum|count)$/#, with: "")
      #expect(reference.contains("`\(name)`") || reference.contains("`\(whole)`"), "the dashboard asks for \(name), which docs/operations.md does not describe")
    }
    for name in exported.sorted() {
      #expect(reference.contains("`\(name)`"), "docs/operations.md does not describe the metric \(name)")
    }
  }

  private func exportedMetrics() throws -> Set<String> {
    var names: Set<String> = []
    let walk = try #require(FileManager.default.enumerator(atPath: Self.root + "/Sources"))
    for case let path as String in walk where path.hasSuffix(".swift") {
      let source = try text("Sources/" + path)
      for match in source.matches(of: #/(?:counter|gauge|histogram|sizes|gaugeReading|counterReading|microseconds|duration)\(\s*"((?:millrace|process|nv)_[a-z_]+)"/#) {
        names.insert(String(match.1))
      }
    }
    return names
  }

  private func scalar(_ node: SettingsNode) -> String {
    if case .scalar(let text, _) = node.content { return text }
    return ""
  }
}
