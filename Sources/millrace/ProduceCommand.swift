import ArgumentParser
import Events
import Foundation
import Kafka
import MillraceClient
import Model

/// `millrace produce`: events, labels or examples from text into a topic.
struct ProduceCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "produce",
    abstract: "Send events, labels or examples to a topic, from JSON lines or a table.",
    discussion: """
      Each line is checked before it is sent. A line that is wrong is reported with its number and left out; the others are sent.

      A line of JSON:
        {"id":"u1","event_time":"2013-06-01T12:00:00Z","features":{"carrier":"AA","temp":39.2}}    an event
        {"id":"u1","event_time":"2013-06-01T13:10:00Z","label":1}                                  its label

      EXAMPLES
        One event and its label, by hand:
          echo '{"id":"u1","features":{"carrier":"AA"}}' | millrace produce features
          echo '{"id":"u1","label":1}' | millrace produce labels

        A file of JSON lines, sent as protobuf, 1000 a second:
          millrace produce features --jsonl events.jsonl --form protobuf --rate 1000

        A table whose columns are features, but for the id and the time:
          millrace produce features --csv events.csv --id-column order --time-column created

        Labels from a table:
          millrace produce labels --csv outcomes.csv --id-column order --label-column paid

        Events by gRPC, where Kafka cannot be reached:
          millrace produce features --jsonl events.jsonl --grpc 127.0.0.1:8001

      EXIT CODES
        0 all sent, 1 some lines were wrong or not delivered or nobody answered, 64 for wrong usage.
      """)

  enum Kind: String, ExpressibleByArgument, CaseIterable { case features, labels, examples }

  @Argument(help: "What the lines are: features (events), labels, or examples (events with a label).")
  var kind: Kind

  @Option(help: ArgumentHelp("The topic. Default: the name of what is sent.", valueName: "topic"))
  var topic: String?

  @Option(help: ArgumentHelp("A file of JSON lines; - for standard input, the default.", valueName: "file"))
  var jsonl: String?

  @Option(help: ArgumentHelp("A comma-separated file with a header; - for standard input.", valueName: "file"))
  var csv: String?

  @Option(help: ArgumentHelp("CSV: the column that is the id.", valueName: "name")) var idColumn = "id"
  @Option(help: ArgumentHelp("CSV: the column that is the key.", valueName: "name")) var keyColumn: String?
  @Option(help: ArgumentHelp("CSV: the column that is the event time.", valueName: "name")) var timeColumn: String?
  @Option(help: ArgumentHelp("CSV: the column that is the label.", valueName: "name")) var labelColumn: String?
  @Option(help: ArgumentHelp("CSV: the column that is the weight.", valueName: "name")) var weightColumn: String?
  @Option(help: ArgumentHelp("CSV: a column that is a text even where it looks like a number; repeatable.", valueName: "name"))
  var textColumn: [String] = []

  @Option(help: ArgumentHelp("The form of the records: json, protobuf or v2 (labels: json or protobuf).", valueName: "form"))
  var form = "json"

  @Option(help: ArgumentHelp("One key for all records, instead of each one's own.", valueName: "text"))
  var key: String?

  @Option(help: ArgumentHelp("Records a second. Default: as fast as possible.", valueName: "count"))
  var rate: Double?

  @Option(help: ArgumentHelp("Send through this server's ingest service instead of Kafka; features and labels only.", valueName: "host:port"))
  var grpc: String?

  @OptionGroup var connection: KafkaConnection

  func validate() throws {
    if jsonl != nil, csv != nil { throw ValidationError("--jsonl and --csv exclude each other") }
    guard let form = eventForm else { throw ValidationError("--form is '\(form)', expected json, protobuf or v2") }
    if kind == .labels, form == .v2 { throw ValidationError("labels are json or protobuf, not v2") }
    if let rate, !(rate > 0 && rate.isFinite) { throw ValidationError("--rate takes a number above 0") }
    if csv != nil, kind != .features, labelColumn == nil {
      throw ValidationError("\(kind.rawValue) from a table need --label-column")
    }
    _ = try connection.settings()
    guard grpc != nil else { return }
    if kind == .examples { throw ValidationError("--grpc takes features and labels; an example can be sent as a feature event with its label") }
    if topic != nil { throw ValidationError("--grpc and --topic exclude each other: the server knows its topics") }
    if key != nil { throw ValidationError("--grpc and --key exclude each other: the server takes each record's own key") }
  }

  private var eventForm: EventForm? {
    switch form {
    case "json": .json
    case "protobuf": .protobuf
    case "v2": .v2
    default: nil
    }
  }

  func run() async throws {
    guard let eventForm else { throw ExitCode.validationFailure }
    let path = csv ?? jsonl ?? "-"
    guard let lines = LineReader(path: path) else {
      report("\(path) cannot be read: \(String(cString: strerror(errno)))")
      throw ExitCode.failure
    }
    var source: any RecordSource
    if csv != nil {
      source = try CSVSource(lines, columns, eventForm, kind)
    } else {
      source = JSONLinesSource(lines, eventForm, kind)
    }
    let name = path == "-" ? "standard input" : path
    do {
      if let grpc {
        var sender = try IngestSender(server: grpc, kind: kind, contentType: "\(eventForm.contentType)", rate: rate)
        return try await sender.sendAll(from: &source, name: name, kind: kind)
      }
      let sender = try RecordSender(
        connection.settings(), topic: topic ?? kind.rawValue, contentType: "\(eventForm.contentType)", key: key, rate: rate)
      try sender.sendAll(from: &source, name: name, kind: kind)
    } catch let error as PredictionError {
      report("\(error)")
      throw ExitCode.failure
    } catch let error as KafkaError {
      report(error.message)
      throw ExitCode.failure
    }
  }

  private var columns: CSVTable.Columns {
    CSVTable.Columns(
      id: idColumn, key: keyColumn, eventTime: timeColumn, label: labelColumn, weight: weightColumn, texts: Set(textColumn))
  }
}
