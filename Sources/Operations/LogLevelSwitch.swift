public import Logging
internal import Synchronization

/// A log level that can be changed while the process runs. Every logger that follows it takes the new level with its next line. Any
/// thread.
public final class LogLevelSwitch: Sendable {
  /// The one that `StructuredLogHandler.bootstrap` sets, and that all loggers follow from then on.
  public static let process = LogLevelSwitch(.info)

  private let index: Atomic<Int>

  public init(_ level: Logger.Level) { index = Atomic(Self.index(of: level)) }

  public var level: Logger.Level {
    get { Logger.Level.allCases[index.load(ordering: .relaxed)] }
    set { index.store(Self.index(of: newValue), ordering: .relaxed) }
  }

  private static func index(of level: Logger.Level) -> Int { Logger.Level.allCases.firstIndex(of: level) ?? 0 }
}
