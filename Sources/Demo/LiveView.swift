internal import Telemetry

/// Shows a replay while it runs: a screen that redraws in place, or a line now and then where there is no terminal.
///
/// Owned by the replay's thread. `close` gives the terminal back; it must be called on every way out.
public final class LiveView {
  public enum Style: Sendable { case screen, lines, silent }

  /// The screen is redrawn no more often.
  private static let redrawNanoseconds: Int64 = 100_000_000
  private static let lineNanoseconds: Int64 = 5_000_000_000

  public let style: Style
  private let title: String
  private var lastDraw = Int64.min / 2
  private var isOpen = false
  private var rate = 0.0
  private var rateQuestions = 0
  private var rateNanoseconds: Int64 = 0
  private var latency: HistogramWindow?
  private var recent: HistogramSnapshot?

  /// `isPlain`: lines, whatever standard output is. Without a terminal, or with NO_COLOR, it is lines too.
  public init(title: String, isPlain: Bool = false, isSilent: Bool = false) {
    self.title = title
    style = isSilent ? .silent : isPlain || !Terminal.isInteractive || Terminal.wantsNoColor ? .lines : .screen
  }

  /// Draws when it is time.
  public func update(_ replay: Replay) {
    guard style != .silent else { return }
    let now = MonotonicClock.nanoseconds()
    let isLast = replay.fraction >= 1
    guard now - lastDraw >= (style == .screen ? Self.redrawNanoseconds : Self.lineNanoseconds) || isLast else { return }
    lastDraw = now
    measure(replay, now)
    let picture = LivePicture(replay, title: title, perSecond: rate, recentLatency: recent ?? replay.latency.snapshot())
    if style == .lines { return Terminal.write(picture.line + "\n") }
    let size = Terminal.size
    var frame = isOpen ? "" : Terminal.enter
    isOpen = true
    // Home, then each line over the old one: no flicker, and leftovers of longer lines go. Synchronized where the terminal can.
    frame += "\u{1B}[?2026h\u{1B}[H"
    let lines = picture.lines(columns: size.columns, rows: size.rows).prefix(size.rows)
    frame += lines.joined(separator: "\u{1B}[K\r\n")
    frame += "\u{1B}[K\u{1B}[J\u{1B}[?2026l"
    Terminal.write(frame)
  }

  /// Gives the terminal back.
  public func close() {
    guard isOpen else { return }
    isOpen = false
    Terminal.write(Terminal.leave)
  }

  /// Rate and latency of the last second or so.
  private func measure(_ replay: Replay, _ now: Int64) {
    if latency == nil {
      latency = HistogramWindow(replay.latency)
      rateNanoseconds = replay.startNanoseconds
    }
    let span = now - rateNanoseconds
    guard span >= 1_000_000_000 || rate == 0 else { return }
    if span > 0 { rate = Double(replay.answered - rateQuestions) / (Double(span) / 1e9) }
    rateQuestions = replay.answered
    rateNanoseconds = now
    if let window = latency?.advance(), window.count > 0 { recent = window }
  }
}
