import Foundation
import Telemetry

/// One line on standard error that is written over and over, when that is a terminal.
final class Progress {
  private let isShown = isatty(STDERR_FILENO) == 1
  private var isThere = false
  private var lastNanoseconds: Int64 = 0
  private static let intervalNanoseconds: Int64 = 200_000_000

  func show(_ line: @autoclosure () -> String) {
    guard isShown else { return }
    let now = MonotonicClock.nanoseconds()
    guard now - lastNanoseconds >= Self.intervalNanoseconds else { return }
    lastNanoseconds = now
    isThere = true
    FileHandle.standardError.write(Data("\r\u{1B}[K\(line())".utf8))
  }

  func clear() {
    guard isThere else { return }
    isThere = false
    FileHandle.standardError.write(Data("\r\u{1B}[K".utf8))
  }
}
