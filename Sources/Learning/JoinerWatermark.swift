/// How far event time has come in one partition: windows that end before it are closed.
///
/// It is the lesser of what features and labels have reached, so that a source that is being caught up with does not close windows whose
/// records are still to be read. A source that has been read to its end and has been quiet for a while does not hold it
/// back; when both are quiet, it goes on at the speed of real time, so that waiting events expire in an idle partition too.
///
/// All times are milliseconds of event time but for `nowNanoseconds`, which is monotonic.
struct JoinerWatermark {
  struct Source {
    /// Greatest event time seen.
    var reached: Int64?
    /// Read to the end of its partition, as far as is known.
    var isCaughtUp = false
    var lastRecordNanoseconds: Int64

    func isIdle(_ nowNanoseconds: Int64, after idleNanoseconds: Int64) -> Bool {
      isCaughtUp && nowNanoseconds - lastRecordNanoseconds >= idleNanoseconds
    }
  }

  private(set) var features: Source
  private(set) var labels: Source
  private(set) var current: Int64?
  /// Real time does not carry it beyond this.
  var ceiling: Int64
  private let idleNanoseconds: Int64
  /// Where an earlier joiner had come to.
  private let restored: Int64?

  init(idleMilliseconds: Int64, ceiling: Int64, nowNanoseconds: Int64, current: Int64? = nil) {
    idleNanoseconds = idleMilliseconds * 1_000_000
    self.ceiling = ceiling
    self.current = current
    restored = current
    features = Source(lastRecordNanoseconds: nowNanoseconds)
    labels = Source(lastRecordNanoseconds: nowNanoseconds)
  }

  @inline(__always)
  mutating func sawFeature(_ time: Int64, _ nowNanoseconds: Int64) { Self.saw(&features, time, nowNanoseconds) }

  @inline(__always)
  mutating func sawLabel(_ time: Int64, _ nowNanoseconds: Int64) { Self.saw(&labels, time, nowNanoseconds) }

  /// A record without a usable time: it shows life all the same.
  mutating func sawFeature(_ nowNanoseconds: Int64) { features.lastRecordNanoseconds = nowNanoseconds }
  mutating func sawLabel(_ nowNanoseconds: Int64) { labels.lastRecordNanoseconds = nowNanoseconds }

  @inline(__always)
  private static func saw(_ source: inout Source, _ time: Int64, _ nowNanoseconds: Int64) {
    source.reached = max(source.reached ?? .min, time)
    source.lastRecordNanoseconds = nowNanoseconds
  }

  mutating func setCaughtUp(features caughtUp: Bool) { features.isCaughtUp = caughtUp }
  mutating func setCaughtUp(labels caughtUp: Bool) { labels.isCaughtUp = caughtUp }

  func isQuiet(_ nowNanoseconds: Int64) -> Bool {
    features.isIdle(nowNanoseconds, after: idleNanoseconds) && labels.isIdle(nowNanoseconds, after: idleNanoseconds)
  }

  /// Moves on as far as is known at this moment; never back.
  /// - Parameter elsewhere: where other partitions of the same topics are: what an idle one may follow.
  mutating func advance(nowNanoseconds: Int64, elsewhere: Int64?) -> Int64? {
    let featuresIdle = features.isIdle(nowNanoseconds, after: idleNanoseconds)
    let labelsIdle = labels.isIdle(nowNanoseconds, after: idleNanoseconds)
    var next: Int64?
    switch (featuresIdle, labelsIdle) {
    case (false, false):
      if let f = features.reached, let l = labels.reached { next = min(f, l) }
    case (true, false): next = labels.reached
    case (false, true): next = features.reached
    case (true, true):
      let base = max(max(features.reached ?? .min, labels.reached ?? .min), restored ?? .min)
      if base != .min {
        let quiet = (nowNanoseconds - max(features.lastRecordNanoseconds, labels.lastRecordNanoseconds)) / 1_000_000
        next = max(base, min(ceiling, base.addingReportingOverflow(quiet).partialValue))
      }
      if let elsewhere { next = max(next ?? .min, elsewhere) }
    }
    if let next { current = max(current ?? .min, next) }
    return current
  }
}
