/// What one call of a channel asks for.
public struct CallOptions: Sendable {
  /// The call ends with DEADLINE_EXCEEDED when it has no answer after this, whatever it waits for. Nil: no deadline.
  public var timeoutMilliseconds: Int?
  public var metadata: RPCMetadata
  /// Waits while the server cannot be reached. False: UNAVAILABLE at once, when connecting has just failed.
  public var waitsForReady: Bool
  /// Nil: a call that may have reached the server is not made again.
  public var retry: RetryPolicy?

  public init(
    timeoutMilliseconds: Int? = nil, metadata: RPCMetadata = RPCMetadata(), waitsForReady: Bool = false, retry: RetryPolicy? = nil
  ) {
    self.timeoutMilliseconds = timeoutMilliseconds
    self.metadata = metadata
    self.waitsForReady = waitsForReady
    self.retry = retry
  }

  var timeoutNanoseconds: Int64 {
    guard let timeoutMilliseconds else { return .max }
    let (product, overflow) = Int64(max(0, timeoutMilliseconds)).multipliedReportingOverflow(by: 1_000_000)
    return overflow ? .max : min(product, .max / 4)
  }
}

/// The answer of a unary call.
public struct UnaryResponse: Sendable {
  public var message: [UInt8]
  /// Header fields before the message.
  public var metadata: RPCMetadata
  /// Header fields after it.
  public var trailers: RPCMetadata
}
