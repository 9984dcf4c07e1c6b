import ArgumentParser
import EmbeddedBroker
import Logging
import UnixSignals

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// `millrace broker`: the embedded broker alone in a process.
struct BrokerCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "broker",
    abstract: "Run the embedded single-node broker, which speaks the Kafka protocol.",
    discussion: """
      For development and tests: one node, files in a directory, no replication, transactions, compaction, TLS or SASL. \
      What was acknowledged survives kill -9. Any Kafka client can use it.

      EXAMPLES
        Run a broker and talk to it with kcat:
          millrace broker --listen 127.0.0.1:9092 --data ./broker-data
          echo hello | kcat -b 127.0.0.1:9092 -P -t greetings
          kcat -b 127.0.0.1:9092 -C -t greetings -e

        Four partitions for topics that appear by use, 1 GiB kept for each partition:
          millrace broker --data ./broker-data --default-partitions 4 --retention-bytes 1073741824

        Let other machines in (they can do everything, there is no authentication):
          millrace broker --listen 0.0.0.0:9092 --advertise 192.168.1.5 --data ./broker-data

      EXIT CODES
        0 after SIGTERM or SIGINT, 1 when it cannot start (port taken, directory in use or damaged), 64 for wrong usage.
      """)

  @Option(help: ArgumentHelp("Address and port to listen on. Port 0 lets the system choose.", valueName: "host:port"))
  var listen = "127.0.0.1:9092"

  @Option(help: ArgumentHelp("Directory for topics, offsets and identity. Made when missing.", valueName: "directory"))
  var data: String

  @Option(help: ArgumentHelp("Host name that clients are told to connect to. Default: the address each one used.", valueName: "host"))
  var advertise: String?

  @Option(help: ArgumentHelp("Partitions of topics created without a count.", valueName: "count"))
  var defaultPartitions = 1

  @Flag(inversion: .prefixedNo, help: "Create topics when clients first name them.")
  var autoCreateTopics = true

  @Option(help: ArgumentHelp("Bytes of a log segment.", valueName: "bytes"))
  var segmentBytes = 128 << 20

  @Option(help: ArgumentHelp("Bytes kept for each partition; -1: all.", valueName: "bytes"))
  var retentionBytes = -1

  @Option(help: ArgumentHelp("Milliseconds that records are kept, by their timestamps; -1: forever.", valueName: "milliseconds"))
  var retentionMs: Int64 = -1

  @Option(
    help: ArgumentHelp(
      "When data is forced to disk: never, batch (before each acknowledgement), or every so many milliseconds.",
      valueName: "never|batch|milliseconds"))
  var flush = "never"

  @Option(help: ArgumentHelp("Log level: trace, debug, info, notice, warning, error, critical.", valueName: "level"))
  var logLevel = "info"

  func validate() throws {
    _ = try address()
    _ = try flushPolicy()
    guard Logger.Level(rawValue: logLevel) != nil else {
      throw ValidationError("--log-level is '\(logLevel)', expected trace, debug, info, notice, warning, error or critical")
    }
    guard (1...1024).contains(defaultPartitions) else { throw ValidationError("--default-partitions takes 1 to 1024") }
    guard (16 * 1024 ... 1 << 31).contains(segmentBytes) else { throw ValidationError("--segment-bytes takes 16384 to 2147483648") }
    guard retentionBytes >= -1, retentionMs >= -1 else { throw ValidationError("a retention is -1 (all) or more") }
    guard !data.isEmpty else { throw ValidationError("--data needs a directory") }
  }

  private func address() throws -> (host: String, port: Int) {
    guard let colon = listen.lastIndex(of: ":"), let port = Int(listen[listen.index(after: colon)...]), (0...65535).contains(port),
      colon > listen.startIndex
    else {
      throw ValidationError("--listen is '\(listen)', expected host:port, for example 127.0.0.1:9092")
    }
    var host = String(listen[..<colon])
    if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
    return (host, port)
  }

  private func flushPolicy() throws -> BrokerSettings.FlushPolicy {
    switch flush {
    case "never": return .never
    case "batch": return .everyBatch
    default:
      guard let milliseconds = Int(flush), (1...86_400_000).contains(milliseconds) else {
        throw ValidationError("--flush is '\(flush)', expected never, batch, or milliseconds from 1 on")
      }
      return .interval(milliseconds: milliseconds)
    }
  }

  func run() async throws {
    var logger = Logger(label: "broker", factory: { StreamLogHandler.standardError(label: $0) })
    logger.logLevel = Logger.Level(rawValue: logLevel) ?? .info
    var settings = BrokerSettings(dataDirectory: data)
    (settings.host, settings.port) = try address()
    settings.advertisedHost = advertise
    settings.defaultPartitions = defaultPartitions
    settings.autoCreateTopics = autoCreateTopics
    settings.segmentBytes = segmentBytes
    settings.retentionBytes = retentionBytes
    settings.retentionMilliseconds = retentionMs
    settings.flush = try flushPolicy()

    // A write beyond a limit on file sizes is an error like a full disk, not the end.
    signal(SIGXFSZ, SIG_IGN)
    // Before the start, so that no signal is missed.
    let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
    let broker = EmbeddedBroker(settings: settings, logger: logger)
    let port: Int
    do {
      port = try await broker.start()
    } catch {
      logger.error("could not start", metadata: ["listen": "\(listen)", "data": "\(data)", "error": "\(error)"])
      throw ExitCode.failure
    }
    // For whoever started this with port 0.
    print("listening on \(settings.host):\(port)")
    fflush(nil)
    for await signal in signals {
      logger.info("stopping", metadata: ["signal": "\(signal)"])
      break
    }
    await broker.stop()
  }
}
