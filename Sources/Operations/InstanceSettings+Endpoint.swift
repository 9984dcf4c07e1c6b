extension InstanceSettings {
  /// The gRPC listener for everybody: V2 inference, ingest, health and reflection.
  public struct GRPCSettings: Sendable, Equatable {
    /// Nil: there is no gRPC listener.
    public var listen: ListenAddress? = ListenAddress(host: "127.0.0.1", port: 8001)
    /// Event loops, each a thread; 0 means one for each core.
    public var loops = 0
    public var messageBytesMax = 64 << 20
    public var headerBytesMax = 16 << 10
    /// Calls of one connection at a time; a client queues what goes beyond.
    public var streamsMax = 1024
    public var connectionsMax = 20_000
    public var connectionWindowBytes = 4 << 20
    public var streamWindowBytes = 1 << 20
    /// A connection without a call for so long is closed; nil: never.
    public var idleMilliseconds: Int? = 1_800_000
    /// A connection this old is asked to go; nil: never.
    public var ageMilliseconds: Int?
    /// How long the calls of a connection that was asked to go may take.
    public var ageGraceMilliseconds = 60_000
    /// How long a new connection may take to become one.
    public var handshakeMilliseconds = 10_000
    /// A connection silent for so long is asked for a sign of life; nil: never.
    public var pingIntervalMilliseconds: Int? = 120_000
    /// How long the sign may take.
    public var pingTimeoutMilliseconds = 20_000
    /// A connection that takes nothing of what is ready for it for so long is closed; nil: never.
    public var stallMilliseconds: Int? = 60_000
    /// Pings that a connection may send in the long run, beyond those that its data explains; ten seconds' worth at once.
    public var pingsPerSecondMax = 50
    /// Calls that a connection may take back in the long run; ten seconds' worth at once.
    public var resetsPerSecondMax = 200
    /// Rows that are scored as one batch, of all requests that one read brought.
    public var rowsPerBatchMax = 512
    /// How long calls in flight may take once the process was told to stop.
    public var drainMilliseconds = 10_000
    public var tls: TLSSettings?
  }

  /// Files in PEM form.
  public struct TLSSettings: Sendable, Equatable {
    /// The certificate, and those between it and the root.
    public var certificatePath: String
    public var keyPath: String
    /// Nil: clients need no certificate. Otherwise each needs one that these sign.
    public var clientCertificateAuthorityPath: String?

    public init(certificatePath: String, keyPath: String, clientCertificateAuthorityPath: String? = nil) {
      self.certificatePath = certificatePath
      self.keyPath = keyPath
      self.clientCertificateAuthorityPath = clientCertificateAuthorityPath
    }
  }

  /// V2 inference over REST.
  public struct HTTPSettings: Sendable, Equatable {
    /// Nil: there is no REST listener.
    public var listen: ListenAddress? = ListenAddress(host: "127.0.0.1", port: 8000)
    public var bodyBytesMax = 16 << 20
  }

  /// The gRPC listener of operators: what changes the server. It asks for no password.
  public struct ControlSettings: Sendable, Equatable {
    /// Nil: nobody can load or unload models, or change logging, while the process runs.
    public var listen: ListenAddress? = ListenAddress(host: "127.0.0.1", port: 8003)
  }

  /// Events and labels by gRPC, on the listener for everybody.
  public struct IngestSettings: Sendable, Equatable {
    public var isEnabled = true
  }

  /// How long the calls in flight at a stop may take: never more than half of the time for the whole stop.
  public var drainMilliseconds: Int { min(grpc.drainMilliseconds, stopWithinMilliseconds / 2) }
}
