/// Keeps retries from making an overload worse: a bucket of tokens that failures empty and successes fill slowly; retries stop while it
/// is not more than half full. Source: gRPC's client retry design, "Throttling retry attempts".
public struct RetryBudget: Sendable {
  public struct Settings: Sendable {
    /// The size of the bucket; it starts full.
    public var tokensMax = 100.0
    /// What each call that succeeds puts back; one that fails in a retriable way takes 1.
    public var tokensPerSuccess = 0.1

    public init(tokensMax: Double = 100, tokensPerSuccess: Double = 0.1) {
      self.tokensMax = tokensMax
      self.tokensPerSuccess = tokensPerSuccess
    }
  }

  private let settings: Settings
  private(set) var tokens: Double

  public init(_ settings: Settings = .init()) {
    self.settings = settings
    tokens = max(0, settings.tokensMax)
  }

  public mutating func succeeded() { tokens = min(settings.tokensMax, tokens + settings.tokensPerSuccess) }

  /// Counts the failure. True when a retry is still allowed.
  public mutating func failed() -> Bool {
    tokens = max(0, tokens - 1)
    return tokens > settings.tokensMax / 2
  }
}
