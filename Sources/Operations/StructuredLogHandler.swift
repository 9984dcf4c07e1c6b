internal import Foundation
public import Logging
import Telemetry

/// A swift-log handler that writes text or JSON lines to a sink, with its logger's and each message's
/// metadata, and holds back messages that repeat.
public struct StructuredLogHandler: LogHandler {
  /// Equal messages of one logger: this many pass in each period.
  public static let repeatsMax = 10
  public static let repeatPeriodMilliseconds = 10_000

  public var metadata: Logger.Metadata = [:]
  public var metadataProvider: Logger.MetadataProvider?
  /// The level of the switch, until a logger is given one of its own.
  public var logLevel: Logger.Level {
    get { ownLevel ?? levels.level }
    set { ownLevel = newValue }
  }

  private let levels: LogLevelSwitch
  private var ownLevel: Logger.Level?
  private let label: String
  private let format: LogFormat
  private let colour: Bool
  private let sink: LogSink
  private let limiter: RepeatLimiter
  private let clock: @Sendable () -> (wallMilliseconds: Int64, monotonicNanoseconds: Int64)

  public init(label: String, level: Logger.Level, format: LogFormat, colour: Bool, sink: LogSink) {
    self.init(
      label: label, levels: LogLevelSwitch(level), format: format, colour: colour, sink: sink,
      limiter: RepeatLimiter(periodMilliseconds: Self.repeatPeriodMilliseconds, passesMax: Self.repeatsMax)
    ) { (WallClock.milliseconds(), MonotonicClock.nanoseconds()) }
  }

  init(
    label: String, levels: LogLevelSwitch, format: LogFormat, colour: Bool, sink: LogSink, limiter: RepeatLimiter,
    clock: @escaping @Sendable () -> (wallMilliseconds: Int64, monotonicNanoseconds: Int64)
  ) {
    self.label = label
    self.levels = levels
    self.format = format
    self.colour = colour
    self.sink = sink
    self.limiter = limiter
    self.clock = clock
  }

  public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  public func log(event: LogEvent) {
    let message = event.message.description
    let now = clock()
    var hasher = Hasher()
    hasher.combine(label)
    hasher.combine(message)
    guard case .pass(let suppressed) = limiter.verdict(key: hasher.finalize(), nowNanoseconds: now.monotonicNanoseconds)
    else { return }
    var all = metadata
    if let provided = metadataProvider?.get() { all.merge(provided) { $1 } }
    if let own = event.metadata { all.merge(own) { $1 } }
    if let error = event.error { all["error"] = "\(error)" }
    if suppressed > 0 { all["suppressed"] = "\(suppressed)" }
    sink.write(
      format.line(
        timeMilliseconds: now.wallMilliseconds, level: event.level, label: label, message: message, metadata: all,
        colour: colour))
  }

  /// Whether colour makes sense on a descriptor: a terminal that is not dumb, and no `NO_COLOR`.
  public static func wantsColour(descriptor: Int32 = 2) -> Bool {
    let environment = ProcessInfo.processInfo.environment
    return isatty(descriptor) == 1 && environment["NO_COLOR"] == nil && environment["TERM"] != "dumb"
  }

  /// Makes this handler the one of all loggers of the process. Call once, at start. `LogLevelSwitch.process` changes the level later.
  ///
  /// All loggers share one sink and one limiter. What is still waiting when the process exits normally
  /// is written then; call `flush` of the result before any other kind of exit.
  @discardableResult
  public static func bootstrap(level: Logger.Level, format: LogFormat, colour: Bool? = nil) -> LogSink {
    let sink = LogSink()
    let colour = colour ?? wantsColour()
    let limiter = RepeatLimiter(periodMilliseconds: repeatPeriodMilliseconds, passesMax: repeatsMax)
    let levels = LogLevelSwitch.process
    levels.level = level
    LoggingSystem.bootstrap { label in
      StructuredLogHandler(
        label: label, levels: levels, format: format, colour: colour && format == .text, sink: sink, limiter: limiter
      ) { (WallClock.milliseconds(), MonotonicClock.nanoseconds()) }
    }
    ExitFlush.sink.withLock { $0 = sink }
    atexit { ExitFlush.sink.withLock { $0 }?.flush() }
    return sink
  }
}

import Synchronization

/// `atexit` takes a C function, which can reach only a global.
private enum ExitFlush {
  static let sink = Mutex<LogSink?>(nil)
}
