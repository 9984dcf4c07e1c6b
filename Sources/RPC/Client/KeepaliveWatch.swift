/// When to send a keepalive ping and when to give a silent connection up. A pure state machine; nanoseconds of the monotonic clock.
struct KeepaliveWatch {
  enum Action: Equatable { case wait, ping, close }

  let settings: KeepaliveSettings
  private let start: Int64
  /// When the ping went out that nothing has answered yet.
  private(set) var pingedAt: Int64?

  init(_ settings: KeepaliveSettings, now: Int64) {
    self.settings = settings
    start = now
  }

  private var silence: Int64 { Int64(max(1, settings.silenceMilliseconds)) &* 1_000_000 }
  private var timeout: Int64 { Int64(max(1, settings.timeoutMilliseconds)) &* 1_000_000 }

  /// `lastRead`: when something last came from the server; 0 for never.
  mutating func next(now: Int64, lastRead: Int64, hasCalls: Bool) -> Action {
    let heard = max(lastRead, start)
    if let pinged = pingedAt {
      if heard > pinged {
        pingedAt = nil
      } else {
        return now - pinged >= timeout ? .close : .wait
      }
    }
    guard hasCalls || settings.withoutCalls, now - heard >= silence else { return .wait }
    pingedAt = now
    return .ping
  }

  /// When to ask `next` again.
  func wakeNanoseconds(now: Int64, lastRead: Int64) -> Int64 {
    if let pingedAt { return pingedAt + timeout }
    let due = max(lastRead, start) + silence
    // Silent because nothing was asked: look again after a while.
    return due > now ? due : now + silence
  }
}
