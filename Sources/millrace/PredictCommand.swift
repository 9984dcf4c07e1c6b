import ArgumentParser
import Events
import Foundation
import MillraceClient
import RPC

/// `millrace predict`: asks a server.
struct PredictCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "predict",
    abstract: "Ask a server for predictions: one from flags or JSON, many from a file.",
    discussion: """
      Types come from the model: with a numeric feature temp and a categorical one carrier, temp=39.2 is sent as a number \
      and carrier=AA as a text. Features that are not given are absent. Any server of the V2 protocol will do.

      EXAMPLES
        One row from flags:
          millrace predict --model flights --feature carrier=AA --feature temp=39.2

        The same as JSON, the form that `millrace produce` takes (its id, key and time may be left out):
          millrace predict --model flights --json '{"features":{"carrier":"AA","temp":39.2}}'

        A file with one JSON event on each line, as a table; lines without a known feature are reported and left out:
          millrace predict --model flights --file events.jsonl

        From a pipe, JSON out:
          tail -f events.jsonl | millrace predict --model flights --file - --output json

        A server elsewhere, by TLS:
          millrace predict --target models.example:443 --tls --model flights --feature carrier=AA

      EXIT CODES
        0 predicted, 1 some line was wrong or the server refused or did not answer, 64 for wrong usage.
      """)

  enum Output: String, ExpressibleByArgument, CaseIterable { case table, json }

  @Option(name: .shortAndLong, help: ArgumentHelp("The model. Default: the only one that the server has.", valueName: "name"))
  var model: String?

  @Option(help: ArgumentHelp("The model's version. Default: the one that the server would serve.", valueName: "number"))
  var version = ""

  @Option(name: [.customShort("f"), .long], help: ArgumentHelp("A feature; repeatable. Several values: name=a,b.", valueName: "name=value"))
  var feature: [String] = []

  @Option(help: ArgumentHelp("One event as JSON.", valueName: "json"))
  var json: String?

  @Option(help: ArgumentHelp("A file with one JSON event on each line; - for standard input.", valueName: "file"))
  var file: String?

  @Option(help: ArgumentHelp("The server; several that answer the same with commas between.", valueName: "host:port"))
  var target = "127.0.0.1:8001"

  @Option(help: ArgumentHelp("The request's id. A server that logs requests logs those that have one.", valueName: "text"))
  var id: String?

  @Option(name: .customLong("parameter"), help: ArgumentHelp("A request parameter, such as max_staleness_ms=500 or arm=online; repeatable.", valueName: "name=value"))
  var parameters: [String] = []

  @Option(help: ArgumentHelp("How long to wait for an answer.", valueName: "milliseconds"))
  var timeout = 5000

  @Option(help: ArgumentHelp("table for people, json for programs.", valueName: "form"))
  var output = Output.table

  @Option(help: ArgumentHelp("Lines in one request. Default: 256; from standard input 1, so that each is answered as it comes.", valueName: "count"))
  var rows: Int?

  @Flag(help: "Speak TLS.") var tls = false
  @Option(help: ArgumentHelp("PEM of the authority that signed the server's certificate. Default: the system's.", valueName: "file"))
  var tlsCA: String?
  @Option(help: ArgumentHelp("PEM of this client's certificate, for servers that ask for one.", valueName: "file"))
  var tlsCertificate: String?
  @Option(help: ArgumentHelp("PEM of its key.", valueName: "file"))
  var tlsKey: String?
  @Option(help: ArgumentHelp("The name that the server's certificate carries, when it is not the target's.", valueName: "name"))
  var tlsServerName: String?

  func validate() throws {
    let sources = [!feature.isEmpty, json != nil, file != nil].count { $0 }
    guard sources > 0 else { throw ValidationError("nothing to predict: give --feature name=value, --json or --file") }
    guard sources == 1 else { throw ValidationError("--feature, --json and --file exclude each other") }
    guard timeout > 0 else { throw ValidationError("--timeout takes milliseconds above 0") }
    guard (1...1024).contains(rows ?? 1) else { throw ValidationError("--rows takes 1 to 1024") }
    guard (tlsCertificate == nil) == (tlsKey == nil) else { throw ValidationError("--tls-certificate and --tls-key go together") }
    if id != nil, file != nil { throw ValidationError("--id goes with one request; events of a file carry their own") }
    _ = try flagFeatures()
    _ = try requestParameters()
  }

  func run() async throws {
    // A reader that went away (`… | head`) ends this quietly.
    signal(SIGPIPE, SIG_DFL)
    var settings = ClientSettings()
    settings.timeoutMilliseconds = timeout
    if tls || tlsCA != nil || tlsCertificate != nil || tlsServerName != nil {
      settings.channel.tls = TLSClientSettings(
        certificateAuthorityPath: tlsCA, certificateChainPath: tlsCertificate, privateKeyPath: tlsKey, serverName: tlsServerName)
    }
    let client: PredictionClient
    do { client = try PredictionClient(target: target, settings: settings) } catch {
      report("predict: \(error.status.message)")
      throw ExitCode.failure
    }
    var isWhole = true
    do {
      isWhole = try await predict(client)
    } catch let error as PredictionError {
      report("predict: \(await explain(error, client))")
      isWhole = false
    }
    await client.close()
    if !isWhole { throw ExitCode.failure }
  }

  // MARK: Requests

  /// False when a line was left out.
  private func predict(_ client: PredictionClient) async throws -> Bool {
    let name = try await modelName(client)
    let parameters = try requestParameters()
    var printer = PredictionPrinter(output)
    if let file { return try await predictLines(of: file, name, parameters, client, &printer) }
    var request = PredictionRequest(model: name, version: version, id: id ?? "", features: try flagFeatures())
    if let json {
      let event: EventFields
      do throws(EventProblem) { event = try JSONEvent.read(json, EventFieldsReader()) } catch {
        report("predict: --json: \(error.field.isEmpty ? "" : "\(error.field): ")\(error.message)")
        return false
      }
      request.rows = [event.values]
      if id == nil { request.id = event.id == JSONEvent.noID ? "" : event.id }
      request.parameters = event.parameters
    }
    request.parameters.merge(parameters) { $1 }
    printer.print(try await client.predict(request), ids: [request.id])
    printer.finish()
    return true
  }

  /// Rows share requests, which carry no id then.
  private func predictLines(
    of path: String, _ name: String, _ parameters: [String: PredictionRequest.Parameter], _ client: PredictionClient,
    _ printer: inout PredictionPrinter
  ) async throws -> Bool {
    guard let lines = LineReader(path: path) else {
      report("\(path) cannot be read: \(String(cString: strerror(errno)))")
      return false
    }
    let model = try await client.metadata(model: name, version: version)
    let known = Set(model.namedInputs.map(\.name))
    let rowsMax = rows ?? (path == "-" ? 1 : 256)
    let reader = EventFieldsReader()
    var template = PredictionRequest(model: name, version: version, rows: [])
    template.parameters = parameters
    var isWhole = true
    var waiting: [EventLine] = []
    while let text = lines.next() {
      if text.allSatisfy(\.isWhitespace) { continue }
      do throws(EventProblem) {
        var event = try JSONEvent.read(text, reader)
        // Events carry what other models use, too.
        event.features.removeAll { !known.contains($0.name) }
        guard !event.features.isEmpty else {
          throw EventProblem(reason: .other, message: "none of its features is one of the model \(name)'s")
        }
        waiting.append(EventLine(number: lines.number, event: event))
      } catch {
        report("line \(lines.number): \(error.field.isEmpty ? "" : "\(error.field): ")\(error.message)")
        isWhole = false
      }
      if waiting.count >= rowsMax {
        if try await !Self.send(waiting, template, client, &printer) { isWhole = false }
        waiting.removeAll(keepingCapacity: true)
      }
    }
    if try await !Self.send(waiting, template, client, &printer) { isWhole = false }
    printer.finish()
    return isWhole
  }

  private struct EventLine {
    var number: Int
    var event: EventFields

    var id: String { event.id == JSONEvent.noID ? "" : event.id }
  }

  /// The lines in one request; when one of them is wrong, each by itself. False when one was left out.
  private static func send(
    _ lines: [EventLine], _ template: PredictionRequest, _ client: PredictionClient, _ printer: inout PredictionPrinter
  ) async throws -> Bool {
    guard !lines.isEmpty else { return true }
    var request = template
    request.rows = lines.map(\.event.values)
    do {
      printer.print(try await client.predict(request), ids: lines.map(\.id))
      return true
    } catch {
      guard error.status.code == .invalidArgument else { throw error }
      guard lines.count > 1 else {
        report("line \(lines[0].number): \(error.status.message)")
        return false
      }
    }
    var isWhole = true
    for line in lines {
      if try await !send([line], template, client, &printer) { isWhole = false }
    }
    return isWhole
  }

  /// The one asked for, or the only one there.
  private func modelName(_ client: PredictionClient) async throws -> String {
    if let model { return model }
    let names = Set(try await client.index().map(\.name)).sorted()
    guard names.count == 1, let only = names.first else {
      report(
        names.isEmpty
          ? "predict: the server at \(target) has no model yet"
          : "predict: the server at \(target) has \(names.joined(separator: ", ")): say which by --model")
      throw ExitCode.failure
    }
    return only
  }

  private func flagFeatures() throws -> [String: FeatureValue] {
    var features: [String: FeatureValue] = [:]
    for text in feature {
      guard let equals = text.firstIndex(of: "="), equals > text.startIndex else {
        throw ValidationError("--feature is '\(text)', expected name=value, for example carrier=AA")
      }
      let name = String(text[..<equals])
      guard features[name] == nil else { throw ValidationError("--feature \(name) is given twice; several values are \(name)=a,b") }
      let value = text[text.index(after: equals)...]
      let parts = value.split(separator: ",", omittingEmptySubsequences: false).map { FeatureValue.text(String($0)) }
      features[name] = parts.count == 1 ? parts[0] : .list(parts)
    }
    return features
  }

  private func requestParameters() throws -> [String: PredictionRequest.Parameter] {
    var parameters: [String: PredictionRequest.Parameter] = [:]
    for text in self.parameters {
      guard let equals = text.firstIndex(of: "="), equals > text.startIndex else {
        throw ValidationError("--parameter is '\(text)', expected name=value, for example max_staleness_ms=500")
      }
      let value = String(text[text.index(after: equals)...])
      let name = String(text[..<equals])
      if let integer = Int64(value) {
        parameters[name] = .integer(integer)
      } else if value == "true" || value == "false" {
        parameters[name] = .flag(value == "true")
      } else {
        parameters[name] = .text(value)
      }
    }
    return parameters
  }

  // MARK: Errors, with what to do next

  private func explain(_ error: PredictionError, _ client: PredictionClient) async -> String {
    let message = error.status.message
    switch error.status.code {
    case .unavailable:
      return """
        no server answers at \(target): \(message)
          Is it running? `millrace run --config deploy/quickstart.yaml` starts one on 127.0.0.1:8001; --target names another.
        """
    case .deadlineExceeded: return "\(message). --timeout allows more."
    case .notFound:
      guard let index = try? await client.index(), !index.isEmpty else { return message }
      let models = Set(index.map { $0.version.isEmpty ? $0.name : "\($0.name) (version \($0.version))" }).sorted()
      return "\(message)\n  The server has \(models.joined(separator: ", "))."
    case .invalidArgument: return message
    default: return error.description
    }
  }
}

/// Reads an event whose id may be missing, which a prediction does not need.
enum JSONEvent {
  static let noID = "-"

  static func read(_ text: String, _ reader: EventFieldsReader) throws(EventProblem) -> EventFields {
    do throws(EventProblem) { return try reader.read(json: text) } catch {
      guard error.reason == .missingID, let brace = text.firstIndex(of: "{") else { throw error }
      let rest = text[text.index(after: brace)...]
      let comma = rest.first { !$0.isWhitespace } == "}" ? "" : ","
      return try reader.read(json: "{\"id\":\"\(noID)\"\(comma)\(rest)")
    }
  }
}

extension EventFields {
  var values: [String: FeatureValue] { Dictionary(features.map { ($0.name, FeatureValue($0.value)) }, uniquingKeysWith: { $1 }) }

  var parameters: [String: PredictionRequest.Parameter] {
    var parameters: [String: PredictionRequest.Parameter] = [:]
    if let key { parameters["key"] = .text(key) }
    if let eventTimeMilliseconds { parameters["event_time"] = .integer(eventTimeMilliseconds) }
    return parameters
  }
}
