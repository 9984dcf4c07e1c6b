internal import CKafka
internal import Logging
internal import Synchronization
internal import Telemetry

/// Routes librdkafka's log lines into swift-log. They come on librdkafka's own threads, and only
/// when something happens to a connection, never per record. A broker that is away repeats the
/// same line several times a second: each facility speaks once in `repeatMilliseconds`.
final class ClientLog: Sendable {
  static let repeatMilliseconds: Int64 = 5_000

  private struct Spoken {
    var atNanoseconds: Int64
    var suppressed: Int
  }

  let logger: Logger?
  private let spoken = Mutex<[String: Spoken]>([:])

  init(_ logger: Logger?) { self.logger = logger }

  /// Sets the callback; the client's opaque pointer must be a `ClientCallbacks`.
  static func install(in configuration: OpaquePointer) {
    rd_kafka_conf_set_log_cb(configuration) { client, level, facility, text in
      guard let opaque = rd_kafka_opaque(client), let facility, let text else { return }
      let owner = Unmanaged<ClientCallbacks>.fromOpaque(opaque).takeUnretainedValue()
      owner.log.write(
        level: level, facility: String(cString: facility), text: String(cString: text))
    }
  }

  private func write(level: Int32, facility: String, text: String) {
    guard let logger else { return }
    var suppressed = 0
    if facility == "FAIL" || facility == "ERROR" {
      let now = MonotonicClock.nanoseconds()
      let speaks = spoken.withLock { spoken in
        if var last = spoken[facility],
          now - last.atNanoseconds < Self.repeatMilliseconds * 1_000_000
        {
          last.suppressed += 1
          spoken[facility] = last
          return false
        }
        suppressed = spoken[facility]?.suppressed ?? 0
        spoken[facility] = Spoken(atNanoseconds: now, suppressed: 0)
        return true
      }
      guard speaks else { return }
    }
    var metadata: Logger.Metadata = ["facility": .string(facility)]
    if suppressed > 0 { metadata["suppressed"] = .stringConvertible(suppressed) }
    logger.log(level: Self.level(level, facility), "\(text)", metadata: metadata)
  }

  private static func level(_ syslog: Int32, _ facility: String) -> Logger.Level {
    // A lost connection is retried: worth a warning, not an error.
    if facility == "FAIL" || facility == "ERROR" { return .warning }
    // One property list serves both kinds of client: librdkafka remarks on the other kind's.
    if facility == "CONFWARN" { return .debug }
    switch syslog {
    case ...2: return .critical
    case 3: return .error
    case 4: return .warning
    case 5: return .notice
    case 6: return .debug
    default: return .trace
    }
  }
}

/// What a client's C callbacks reach through librdkafka's opaque pointer. It is created before the
/// client and outlives it.
class ClientCallbacks {
  let log: ClientLog
  init(log: ClientLog) { self.log = log }
}
