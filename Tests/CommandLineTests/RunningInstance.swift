import Foundation
import Kafka

/// `millrace run` with a configuration of its own: free ports, a scratch folder, its log in a file.
final class RunningInstance {
  let folder: ScratchFolder
  let brokerPort: Int
  let adminPort: Int
  let grpcPort: Int
  let httpPort: Int
  let controlPort: Int
  let configuration: URL
  private(set) var process: MillraceProcess?

  /// Keys for a configuration whose instance nobody asks: it listens at none of the usual ports.
  static let noEndpoint = "grpc: {enabled: false}\nhttp: {enabled: false}\ncontrol: {enabled: false}"

  /// How Kafka clients reach its broker.
  var kafka: KafkaSettings { KafkaSettings(bootstrapServers: "127.0.0.1:\(brokerPort)") }
  var log: URL { folder.url.appendingPathComponent("log") }

  /// - Parameters:
  ///   - yaml: the configuration without `kafka` and listeners; by default that of the quick start, word for word.
  ///   - bootstrap: the port of a broker of somebody else; nil: the embedded one.
  ///   - grpc: further keys of `grpc`.
  init(yaml: String? = nil, bootstrap: Int? = nil, grpc: String? = nil) throws {
    folder = try ScratchFolder()
    brokerPort = try bootstrap ?? freePort()
    adminPort = try freePort()
    grpcPort = try freePort()
    httpPort = try freePort()
    controlPort = try freePort()
    let quickStart = MillraceProcess.packageFolder.appendingPathComponent("deploy/quickstart.yaml")
    let text = try yaml ?? String(contentsOf: quickStart, encoding: .utf8)
    let kafka =
      bootstrap == nil
      ? "kafka: {embedded: {listen: \"127.0.0.1:\(brokerPort)\"}}" : "kafka: {bootstrap: \"127.0.0.1:\(brokerPort)\"}"
    configuration = try folder.write(
      "millrace.yaml",
      """
      \(text)
      \(kafka)
      admin: {listen: "127.0.0.1:\(adminPort)"}
      grpc: {listen: "127.0.0.1:\(grpcPort)"\(grpc.map { ", \($0)" } ?? "")}
      http: {listen: "127.0.0.1:\(httpPort)"}
      control: {listen: "127.0.0.1:\(controlPort)"}

      """)
  }

  /// Inference requests answered with scores since it started; nil when nobody answers.
  var requestsServed: Int? {
    guard let text = get("/metrics", port: adminPort)?.body else { return nil }
    return text.split(separator: "\n").filter { $0.hasPrefix("nv_inference_request_success{") }
      .compactMap { $0.split(separator: " ").last.flatMap { Double($0) } }.reduce(0) { $0 + Int($1) }
  }

  /// The end of the log, for messages of failed expectations.
  var tail: String { process?.tail ?? "(not started)" }

  /// All that was written to the log, over all starts.
  var logText: String { (try? String(contentsOf: log, encoding: .utf8)) ?? "" }

  var isRunning: Bool { process?.isRunning ?? false }

  /// Starts the process and does not wait for anything.
  func launch() throws {
    process = try MillraceProcess(["run", "--config", configuration.path], log: log, folder: folder.url)
  }

  /// Starts it and waits until it is ready.
  func start() throws {
    try launch()
    try waitUntilReady()
  }

  func waitUntilReady() throws {
    try eventually("ready\n\(tail)") {
      guard isRunning else { throw MillraceProcess.Failure(description: "ended early:\n\(tail)") }
      return get("/readyz", port: adminPort)?.status == 200
    }
  }

  /// SIGTERM.
  /// - Returns: the exit status.
  func stop() -> Int32 { process?.terminate() ?? -1 }

  /// Runs another command of the binary in the same folder, told where the broker is.
  func millrace(_ arguments: String..., input: String? = nil) throws -> MillraceProcess.Result {
    try MillraceProcess.run(
      arguments + ["--bootstrap", "127.0.0.1:\(brokerPort)"], input: input, folder: folder.url, seconds: 60)
  }

  /// One JSON line into a topic, as a user would; the result must be success.
  func produce(_ kind: String, _ line: String) throws {
    let result = try millrace("produce", kind, input: line + "\n")
    guard result.status == 0 else {
      throw MillraceProcess.Failure(description: "produce \(kind): \(result.status) \(result.output)\(result.errors)\n\(tail)")
    }
  }

  /// What `tail --json` shows of a topic, one object for each record.
  func tail(_ kind: String) throws -> [[String: Any]] {
    let result = try millrace("tail", kind, "--json")
    guard result.status == 0 else {
      throw MillraceProcess.Failure(description: "tail \(kind): \(result.status) \(result.errors)\n\(tail)")
    }
    return try result.output.split(separator: "\n").map { line in
      guard let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] else {
        throw MillraceProcess.Failure(description: "not an object: \(line)")
      }
      return object
    }
  }

  /// The scores of the events with this id, in the order of the log.
  func scores(of id: String) throws -> [Double] {
    try tail("predictions").compactMap { record in
      let prediction = record["value"] as? [String: Any] ?? record
      return prediction["id"] as? String == id ? (prediction["score"] as? NSNumber)?.doubleValue : nil
    }
  }

  /// The score of the one event with this id, once it is there.
  func score(of id: String) throws -> Double {
    var scores: [Double] = []
    try eventually("a prediction for \(id)\n\(tail)") {
      scores = try self.scores(of: id)
      return !scores.isEmpty
    }
    guard scores.count == 1 else { throw MillraceProcess.Failure(description: "\(id) has the scores \(scores)") }
    return scores[0]
  }
}
