/// Decides when to pause and when to resume reading, by how much is under way. Between the marks
/// nothing changes, so that it does not flutter: a pause drops what was read ahead.
public struct BackPressure: Sendable {
  public enum Change: Sendable, Equatable {
    case pause
    case resume
  }

  /// Pause at so many under way.
  public let highMark: Int
  /// Resume at so few.
  public let lowMark: Int
  public private(set) var isPaused = false

  public init(highMark: Int, lowMark: Int) {
    precondition(lowMark >= 0 && lowMark < highMark, "marks \(lowMark) and \(highMark)")
    self.highMark = highMark
    self.lowMark = lowMark
  }

  /// What to do now, if anything.
  public mutating func update(inFlight: Int) -> Change? {
    if !isPaused && inFlight >= highMark {
      isPaused = true
      return .pause
    }
    if isPaused && inFlight <= lowMark {
      isPaused = false
      return .resume
    }
    return nil
  }
}

extension KafkaConsumer {
  /// Pauses or resumes everything assigned as `pressure` says.
  public func apply(_ pressure: inout BackPressure, inFlight: Int) throws(KafkaError) {
    switch pressure.update(inFlight: inFlight) {
    case .pause: try pauseAll()
    case .resume: try resumeAll()
    case nil: break
    }
  }
}
