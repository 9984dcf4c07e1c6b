/// How a channel connects and what it allows. The defaults suit a client of one nearby server.
public struct RPCChannelSettings: Sendable {
  /// Event loops of the channel's own; each runs its own connections. 1 drives several hundred thousand calls a second.
  public var loops = 1
  /// Connections of each loop. They are opened with the first call.
  public var connections = 1
  /// Calls in flight on one connection, at most; the server's MAX_CONCURRENT_STREAMS counts as well. Further calls wait.
  public var streamsMax = 1000
  /// Calls of one loop, in flight and waiting. One more ends with RESOURCE_EXHAUSTED.
  public var callsMax = 65_536
  /// An answer larger than this ends its call with RESOURCE_EXHAUSTED.
  public var messageBytesMax = 64 << 20
  /// Header and trailer fields of one answer, decoded.
  public var headerBytesMax = 64 << 10
  /// Flow control: what the server may send before we have taken it.
  public var connectionWindowBytes = 16 << 20
  public var streamWindowBytes = 4 << 20
  /// From the start of connecting until the server's SETTINGS.
  public var connectTimeoutMilliseconds = 20_000
  public var backoff = ReconnectBackoff.Settings()
  /// Nil: no pings.
  public var keepalive: KeepaliveSettings?
  /// Nil: HTTP/2 without TLS.
  public var tls: TLSClientSettings?
  public var retryThrottling = RetryBudget.Settings()
  public var userAgent = "millrace"

  public init() {}
}

/// Pings on a connection from which nothing comes, so that a dead one is noticed.
public struct KeepaliveSettings: Sendable {
  /// Silence after which a ping is sent. Servers object to less than 10 s without need.
  public var silenceMilliseconds = 20_000
  /// Silence after the ping that ends the connection.
  public var timeoutMilliseconds = 5_000
  /// Also while no call is in flight.
  public var withoutCalls = false

  public init(silenceMilliseconds: Int = 20_000, timeoutMilliseconds: Int = 5_000, withoutCalls: Bool = false) {
    self.silenceMilliseconds = silenceMilliseconds
    self.timeoutMilliseconds = timeoutMilliseconds
    self.withoutCalls = withoutCalls
  }
}

/// TLS with ALPN `h2`. Paths name PEM files.
public struct TLSClientSettings: Sendable {
  /// Who may have signed the server's certificate. Nil: the system's authorities.
  public var certificateAuthorityPath: String?
  /// The client's own certificate chain and key, for servers that ask for one.
  public var certificateChainPath: String?
  public var privateKeyPath: String?
  /// The name that the server's certificate must carry. Nil: the authority's host.
  public var serverName: String?
  /// Takes any certificate. For tests only: whoever stands in between can read and change everything.
  public var skipsVerification = false

  public init(
    certificateAuthorityPath: String? = nil, certificateChainPath: String? = nil, privateKeyPath: String? = nil,
    serverName: String? = nil, skipsVerification: Bool = false
  ) {
    self.certificateAuthorityPath = certificateAuthorityPath
    self.certificateChainPath = certificateChainPath
    self.privateKeyPath = privateKeyPath
    self.serverName = serverName
    self.skipsVerification = skipsVerification
  }
}
