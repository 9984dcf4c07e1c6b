public import RPC

/// What `GRPCLoadTest` does: where it sends, how, and how hard.
public struct GRPCLoadSettings: Sendable {
  public enum Call: String, Sendable, CaseIterable {
    /// ModelInfer: a call for each request.
    case unary
    /// ModelStreamInfer: one call for each connection, requests and answers are its messages.
    case stream
  }

  public enum Answers: String, Sendable, CaseIterable {
    /// Of the V2 protocol.
    case infer
    /// The request's own bytes, from a server that is compared with; another length is an error.
    case echo
  }

  public enum Load: Sendable, Equatable {
    /// Requests come when the arrival process says; `profile` has rates and times.
    case open
    /// So many requests are in flight on each connection all the time: as fast as the server answers. The profile's steps are rounds of the
    /// same, their rates mean nothing.
    case closed(inFlight: Int)
  }

  public static let threadsMax = 64
  public static let connectionsMax = 10_000
  public static let inFlightMax = 10_000
  /// Requests of one thread that wait for an answer; what is due beyond is not sent and counts as an error.
  static let waitingMax = 60_000

  public var target: RPCTarget
  public var tls: TLSClientSettings?
  public var call = Call.unary
  public var answers = Answers.infer
  public var load = Load.open
  /// Threads that send and receive; connections are spread over them.
  public var threads = 1
  public var connections = 8
  /// 0: none.
  public var timeoutMilliseconds = 0
  /// Open loop: what comes due within this time is sent together, or waking up and writing for each request would cost the generator more
  /// than anything else at high rates. It counts in the latencies, which run from when a request was due.
  public var gatherMicroseconds = 30
  /// The server's process on this machine, to tell which side was the limit.
  public var serverProcess: Int32?

  public init(target: RPCTarget) { self.target = target }

  /// Connections of each thread.
  var connectionsPerThread: Int { max(1, (connections + threads - 1) / threads) }
}
