internal import Glibc

/// One rate held for some time.
public struct LoadStep: Sendable, Equatable {
  public var ratePerSecond: Double
  public var seconds: Double

  public init(ratePerSecond: Double, seconds: Double) {
    self.ratePerSecond = ratePerSecond
    self.seconds = seconds
  }
}

/// What is asked of the system: a warm-up at the first step's rate, which is not measured, then the
/// steps.
public struct LoadProfile: Sendable, Equatable {
  public static let stepsMax = 64
  public static let secondsMax = 24.0 * 3600
  public static let eventsMax = 1 << 30

  public var warmUpSeconds: Double
  public var steps: [LoadStep]
  public var arrivals: ArrivalProcess.Kind
  public var seed: UInt64

  /// - Precondition: `steps` is not empty.
  public init(
    warmUpSeconds: Double = 2, steps: [LoadStep], arrivals: ArrivalProcess.Kind = .poisson, seed: UInt64 = 1
  ) {
    precondition(!steps.isEmpty, "a profile without steps")
    self.warmUpSeconds = warmUpSeconds
    self.steps = steps
    self.arrivals = arrivals
    self.seed = seed
  }

  public var totalSeconds: Double { warmUpSeconds + steps.reduce(0) { $0 + $1.seconds } }

  /// More events than this never come: the mean and six standard deviations.
  public var eventsBound: Int {
    let mean = steps.reduce(steps[0].ratePerSecond * warmUpSeconds) { $0 + $1.ratePerSecond * $1.seconds }
    return Int(min(mean + 6 * mean.squareRoot() + 100, Double(Self.eventsMax)))
  }

  /// Ends of the warm-up and of each step, in nanoseconds from the start.
  var boundaries: [Int64] {
    var end = warmUpSeconds
    var boundaries = [Int64(end * 1e9)]
    for step in steps {
      end += step.seconds
      boundaries.append(Int64(end * 1e9))
    }
    return boundaries
  }
}
