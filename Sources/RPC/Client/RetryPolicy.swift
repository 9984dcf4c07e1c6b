/// Which failures of an idempotent call are worth another attempt, and when. Source: gRPC's client retry design ("Retry policy").
public struct RetryPolicy: Sendable {
  /// Attempts in all, the first included.
  public var attemptsMax: Int
  public var initialMilliseconds: Int
  public var multiplier: Double
  public var millisecondsMax: Int
  public var codes: Set<RPCCode>

  public init(
    attemptsMax: Int = 4, initialMilliseconds: Int = 20, multiplier: Double = 2, millisecondsMax: Int = 1000,
    codes: Set<RPCCode> = [.unavailable]
  ) {
    self.attemptsMax = attemptsMax
    self.initialMilliseconds = initialMilliseconds
    self.multiplier = multiplier
    self.millisecondsMax = millisecondsMax
    self.codes = codes
  }
}

/// The attempts of one call. A pure state machine.
struct RetryState {
  private let policy: RetryPolicy
  private(set) var attempts = 0
  private var milliseconds: Double

  init(_ policy: RetryPolicy) {
    self.policy = policy
    milliseconds = Double(max(0, policy.initialMilliseconds))
  }

  /// Nanoseconds to wait before the next attempt; nil: the failure stands. `pushback`: what the server asked for
  /// (`grpc-retry-pushback-ms`; below 0: no retry). `left`: nanoseconds until the deadline.
  mutating func next(
    after code: RPCCode, pushbackMilliseconds: Int?, left: Int64, budget: inout RetryBudget, using generator: inout some RandomNumberGenerator
  ) -> Int64? {
    attempts += 1
    guard policy.codes.contains(code) else { return nil }
    let isAllowed = budget.failed()
    guard isAllowed, attempts < policy.attemptsMax else { return nil }
    var wait: Double
    if let pushbackMilliseconds {
      guard pushbackMilliseconds >= 0 else { return nil }
      wait = Double(pushbackMilliseconds)
    } else {
      wait = milliseconds * Double.random(in: 0.8...1.2, using: &generator)
      milliseconds = min(milliseconds * max(1, policy.multiplier), Double(max(0, policy.millisecondsMax)))
    }
    wait *= 1_000_000
    guard wait < Double(left) else { return nil }
    return Int64(wait)
  }
}
