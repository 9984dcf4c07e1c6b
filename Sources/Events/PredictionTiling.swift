/// Which records of the predictions topic count: those whose ranges tile the source, the first in the log winning. One for each
/// (partition, model, arm). A pure value.
///
/// A predictor that takes over may answer offsets again that another had answered; whoever reads the log drops the second answer by
/// this rule, and every reader drops the same.
public struct PredictionTiling: Sendable, Equatable {
  public enum Decision: Sendable, Equatable {
    /// Continues what was accepted: use it.
    case accept
    /// Answered before, all of it: drop it.
    case duplicate
    /// Begins with offsets answered before: only those from here on are new. Drop what is older (a prediction answers one offset, so
    /// this happens to gaps only).
    case partly(from: Int64)
    /// Offsets from here up to the record's own are unanswered. The record was not taken: `skip(to:)` first to go on without them.
    case missing(from: Int64)
  }

  /// The next source offset to be answered; nil before the first record, which may begin anywhere.
  public private(set) var next: Int64?

  public init(next: Int64? = nil) { self.next = next }

  /// Decides about the record that answers `from ..< to`, and takes it when it counts.
  public mutating func decide(from: Int64, to: Int64) -> Decision {
    guard to > from else { return .duplicate }
    guard let next else {
      self.next = to
      return .accept
    }
    if from == next {
      self.next = to
      return .accept
    }
    if to <= next { return .duplicate }
    if from > next { return .missing(from: next) }
    self.next = to
    return .partly(from: next)
  }

  /// Gives up the offsets before `offset`.
  public mutating func skip(to offset: Int64) {
    next = max(next ?? offset, offset)
  }
}

/// The tilings of a whole predictions topic.
public struct PredictionTilings: Sendable {
  private struct Key: Hashable, Sendable {
    var partition: Int32
    var model: String
    var arm: String
  }

  private var tilings: [Key: PredictionTiling] = [:]
  /// Records that were dropped because another had answered.
  public private(set) var duplicates = 0
  /// Source offsets that no record answered.
  public private(set) var missingOffsets: Int64 = 0

  public init() {}

  /// True when the record counts. Unanswered offsets before it are counted and given up. Allocates for a new arm only, but makes
  /// texts of the names: not for the hottest loops.
  public mutating func accepts(partition: Int32, _ prediction: PredictionView) -> Bool {
    let key = Key(partition: partition, model: prediction.model.text, arm: prediction.arm.text)
    switch tilings[key, default: PredictionTiling()].decide(from: prediction.from, to: prediction.to) {
    case .accept, .partly: return true
    case .duplicate:
      duplicates += 1
      return false
    case .missing(let from):
      missingOffsets += prediction.from - from
      tilings[key]?.skip(to: prediction.from)
      _ = tilings[key]?.decide(from: prediction.from, to: prediction.to)
      return true
    }
  }
}
