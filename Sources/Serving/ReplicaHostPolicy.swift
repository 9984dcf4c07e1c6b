/// How far a host lets its replicas follow the log.
public enum PositionPolicy: Sendable, Equatable {
  /// Every record as it comes.
  case follow
  /// Records whose label times lie before the given event time, then never again.
  case hold(untilEventTimeMilliseconds: Int64)
  /// Up to the last multiple of `everyMilliseconds` (plus `offsetMilliseconds`) of event time that the
  /// model's watermark has passed. Partitions wait paused in between; nothing is buffered.
  case refresh(everyMilliseconds: Int64, offsetMilliseconds: Int64 = 0)

  /// Records with a label time at or after this are held back; `Int64.max`: none are.
  func boundary(watermarkMilliseconds: Int64) -> Int64 {
    switch self {
    case .follow: return .max
    case .hold(let until): return until
    case .refresh(let every, let offset):
      guard every > 0, watermarkMilliseconds > .min / 2, watermarkMilliseconds < .max / 2 else {
        return watermarkMilliseconds >= .max / 2 ? .max : .min
      }
      let (shifted, overflow) = watermarkMilliseconds.subtractingReportingOverflow(offset)
      guard !overflow else { return .min }
      var steps = shifted / every
      if shifted % every < 0 { steps -= 1 }
      return steps * every + offset
    }
  }
}
