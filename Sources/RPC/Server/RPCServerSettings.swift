/// How a gRPC server listens and what it allows. The defaults are for a server that strangers can reach.
public struct RPCServerSettings: Sendable {
  /// What metrics and logs call this listener.
  public var name = "grpc"
  /// The address to listen at: a name, an IPv4 or IPv6 address.
  public var host = "127.0.0.1"
  /// 0 takes a free port.
  public var port = 0
  /// Event loops, one thread each; 0 takes as many as there are cores.
  public var loops = 0

  /// Most bytes of one message, as it stands on the wire and inflated.
  public var messageBytesMax = 64 << 20
  /// Most bytes of a call's headers: names, values and 32 for each (as HTTP/2 counts them).
  public var headerBytesMax = 16 << 10
  /// Most calls of one connection at a time; more are refused (REFUSED_STREAM).
  public var streamsMax = 1024
  /// Most connections; more are accepted and closed at once.
  public var connectionsMax = 20_000
  /// Most bytes of unfinished and undelivered messages that one connection may make us hold; calls that ask for more fail.
  public var heldBytesMax = 256 << 20
  /// The same for all connections together; when there are more, connections that hold more than 1 MiB get no more. Each event loop has
  /// an equal share.
  public var heldBytesTotalMax = 2 << 30
  /// Most calls of all connections at a time; more are refused. Each event loop has an equal share.
  public var callsMax = 200_000

  /// The flow control window of a connection, in bytes: how much all its calls may send ahead.
  public var connectionWindowBytes = 4 << 20
  /// The flow control window of one call, in bytes.
  public var streamWindowBytes = 1 << 20
  /// Bytes taken from one connection in one turn of its event loop, so that a greedy one lets others have their turn.
  public var readBytesMax = 64 << 10
  /// `MethodHandler.writable` is called when fewer bytes than this are pending.
  public var pendingLowMarkBytes = 64 << 10
  /// Most bytes of answers that one call may have pending; a call beyond fails with RESOURCE_EXHAUSTED.
  public var pendingBytesMax = 128 << 20

  /// A connection without calls is told to go after this long; 0 for never.
  public var idleMilliseconds = 30 * 60_000
  /// A connection is told to go at this age (a tenth more or less, so that not all go at once); 0 for never.
  public var ageMilliseconds = 0
  /// How long its calls then have to finish; 0 for as long as they take.
  public var ageGraceMilliseconds = 60_000
  /// How long a connection has for its handshake: TLS and the first bytes of HTTP/2.
  public var handshakeMilliseconds = 10_000
  /// A connection that has been silent this long is asked for a sign of life; 0 for never.
  public var pingIntervalMilliseconds = 2 * 60_000
  /// How long the sign of life may take.
  public var pingTimeoutMilliseconds = 20_000
  /// A connection that takes nothing of what is ready for it for this long is closed; 0 for never.
  public var stallMilliseconds = 60_000

  public var floods = FloodLimits()

  /// nil for plain text.
  public var tls: TLSServerSettings?

  public init() {}

  /// Throws `RPCServerError` that names the first setting that is out of its range.
  public func validate() throws {
    func check(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws {
      guard range.contains(value) else {
        throw RPCServerError(.setting, "\(name) must be \(range.lowerBound) to \(range.upperBound), it is \(value)")
      }
    }
    let time = 0...86_400_000 * 365
    try check("port", port, 0...65_535)
    try check("loops", loops, 0...1024)
    try check("messageBytesMax", messageBytesMax, 0...(1 << 31 - 1))
    try check("headerBytesMax", headerBytesMax, 256...(1 << 20))
    try check("streamsMax", streamsMax, 1...1_000_000)
    try check("connectionsMax", connectionsMax, 1...10_000_000)
    try check("heldBytesMax", heldBytesMax, 1024...(1 << 40))
    try check("heldBytesTotalMax", heldBytesTotalMax, 1024...(1 << 50))
    try check("callsMax", callsMax, 1...10_000_000)
    try check("connectionWindowBytes", connectionWindowBytes, 65_535...(1 << 31 - 1))
    try check("streamWindowBytes", streamWindowBytes, 1...(1 << 31 - 1))
    try check("readBytesMax", readBytesMax, 512...(1 << 24))
    try check("pendingLowMarkBytes", pendingLowMarkBytes, 0...(1 << 40))
    try check("pendingBytesMax", pendingBytesMax, 1024...(1 << 40))
    try check("idleMilliseconds", idleMilliseconds, time)
    try check("ageMilliseconds", ageMilliseconds, time)
    try check("ageGraceMilliseconds", ageGraceMilliseconds, time)
    try check("handshakeMilliseconds", handshakeMilliseconds, time)
    try check("pingIntervalMilliseconds", pingIntervalMilliseconds, time)
    try check("pingTimeoutMilliseconds", pingTimeoutMilliseconds, time)
    try check("stallMilliseconds", stallMilliseconds, time)
  }

  /// How often a loop looks for what has taken too long: a quarter of the shortest such time, between 10 ms and a second.
  var tickMilliseconds: Int {
    let times = [
      idleMilliseconds, ageMilliseconds, ageGraceMilliseconds, handshakeMilliseconds, pingIntervalMilliseconds,
      pingTimeoutMilliseconds, stallMilliseconds,
    ].filter { $0 > 0 }
    return min(max((times.min() ?? 4000) / 4, 10), 1000)
  }
}

/// How many frames that cost us more than their sender one connection may send beyond what its calls explain: a burst, and so many
/// more in each second. A connection beyond is cut off (GOAWAY, ENHANCE_YOUR_CALM).
public struct FloodLimits: Sendable {
  /// Calls that the client takes back before their answer, and calls beyond `streamsMax`.
  public var resets = Allowance(burst: 2000, perSecond: 200)
  /// PING. Answers that we send allow some more, so that clients that measure their bandwidth by them are fine.
  public var pings = Allowance(burst: 500, perSecond: 50)
  public var settings = Allowance(burst: 100, perSecond: 10)
  /// WINDOW_UPDATE. Data that we send allows some more.
  public var windowUpdates = Allowance(burst: 2000, perSecond: 200)
  /// DATA without bytes that does not end its call.
  public var emptyData = Allowance(burst: 200, perSecond: 20)
  /// CONTINUATION, PRIORITY and frames of kinds that nobody knows.
  public var others = Allowance(burst: 500, perSecond: 50)

  public struct Allowance: Sendable {
    public var burst: Int
    public var perSecond: Int

    public init(burst: Int, perSecond: Int) {
      self.burst = burst
      self.perSecond = perSecond
    }
  }

  public init() {}
}

/// Files in PEM form. Read once, at start.
public struct TLSServerSettings: Sendable {
  /// The server's certificate first, then those that lead to a root.
  public var certificateChainPath: String
  public var privateKeyPath: String
  /// Given: clients must show a certificate that one of these signed.
  public var clientCertificateAuthorityPath: String?

  public init(certificateChainPath: String, privateKeyPath: String, clientCertificateAuthorityPath: String? = nil) {
    self.certificateChainPath = certificateChainPath
    self.privateKeyPath = privateKeyPath
    self.clientCertificateAuthorityPath = clientCertificateAuthorityPath
  }
}

/// Why a server did not start.
public struct RPCServerError: Error, Sendable, Equatable, CustomStringConvertible {
  public enum Code: Sendable, Equatable {
    /// A setting is out of its range.
    case setting
    /// The address could not be listened at.
    case listen
    /// A certificate or key cannot be used.
    case certificate
    /// It was started or stopped already.
    case state
  }

  public let code: Code
  /// Names the setting or the file.
  public let description: String

  public init(_ code: Code, _ description: String) {
    self.code = code
    self.description = description
  }
}
