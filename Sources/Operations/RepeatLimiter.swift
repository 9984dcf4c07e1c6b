import Synchronization

/// Keeps a message that repeats from drowning the others: of equal messages, the first few in each
/// period pass, the rest are counted, and the first one of the next period says how many there were.
final class RepeatLimiter: Sendable {
  enum Verdict: Equatable {
    /// Write it; `suppressed` equal ones were left out before it.
    case pass(suppressed: Int)
    case suppress
  }

  /// Different messages that are tracked at a time. Beyond it all are forgotten: better a few lines too
  /// many than memory without a bound.
  static let messagesMax = 1024

  private struct Entry {
    var periodEndNanoseconds: Int64
    var passed: Int
    var suppressed: Int
  }

  private let periodNanoseconds: Int64
  private let passesMax: Int
  private let entries = Mutex<[Int: Entry]>([:])

  init(periodMilliseconds: Int, passesMax: Int) {
    periodNanoseconds = Int64(periodMilliseconds) * 1_000_000
    self.passesMax = passesMax
  }

  /// `key` stands for the message: its hash. Two messages with one hash share their limit, no more.
  func verdict(key: Int, nowNanoseconds: Int64) -> Verdict {
    entries.withLock { entries in
      guard var entry = entries[key] else {
        if entries.count >= Self.messagesMax { entries.removeAll(keepingCapacity: true) }
        entries[key] = Entry(periodEndNanoseconds: nowNanoseconds &+ periodNanoseconds, passed: 1, suppressed: 0)
        return .pass(suppressed: 0)
      }
      defer { entries[key] = entry }
      if nowNanoseconds >= entry.periodEndNanoseconds {
        let suppressed = entry.suppressed
        entry = Entry(periodEndNanoseconds: nowNanoseconds &+ periodNanoseconds, passed: 1, suppressed: 0)
        return .pass(suppressed: suppressed)
      }
      if entry.passed < passesMax {
        entry.passed += 1
        return .pass(suppressed: 0)
      }
      entry.suppressed += 1
      return .suppress
    }
  }
}
