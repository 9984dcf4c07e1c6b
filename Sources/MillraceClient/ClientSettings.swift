public import RPC

/// How a `PredictionClient` asks.
public struct ClientSettings: Sendable {
  /// For each call, unless the request says another; retries count within it.
  public var timeoutMilliseconds = 5_000
  /// Predictions change nothing, so they may be asked again when the server is gone. Nil: never.
  public var retry: RetryPolicy? = RetryPolicy()
  /// Waits while no server is there, as long as the timeout allows.
  public var waitsForReady = false
  /// Sent with every call.
  public var metadata = RPCMetadata()
  /// Connections, keepalive, TLS (a target that begins with https:// turns it on).
  public var channel = RPCChannelSettings()

  public init() {}
}
