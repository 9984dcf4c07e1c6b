public import Logging
public import NIOCore
internal import NIOPosix
internal import NIOSSL
internal import Synchronization

/// A client of one service target: connections, on event loops of its own or given ones. Any thread.
public final class RPCChannel: Sendable {
  public let target: RPCTarget
  public let settings: RPCChannelSettings
  /// The hot, callback-based side: one for each event loop.
  public let loops: [LoopClient]
  private let ownGroup: MultiThreadedEventLoopGroup?
  private let turn = Atomic<Int>(0)
  private let closed = Atomic<Bool>(false)
  let retryBudget: Mutex<RetryBudget>

  /// Connects with the first call. `eventLoops`: nil for `settings.loops` of its own. Throws `RPCStatus` (INVALID_ARGUMENT) when TLS files
  /// cannot be read.
  public init(
    target: RPCTarget, settings: RPCChannelSettings = RPCChannelSettings(), eventLoops: [any EventLoop]? = nil,
    logger: Logger = Logger(label: "millrace.client")
  ) throws {
    self.target = target
    self.settings = settings
    retryBudget = Mutex(RetryBudget(settings.retryThrottling))
    let tls = try settings.tls.map { try $0.clientContext(for: target) }
    let loops: [any EventLoop]
    if let eventLoops, !eventLoops.isEmpty {
      ownGroup = nil
      loops = eventLoops
    } else {
      let group = MultiThreadedEventLoopGroup(numberOfThreads: max(1, settings.loops))
      ownGroup = group
      loops = Array(group.makeIterator())
    }
    self.loops = loops.enumerated().map { index, loop in
      LoopClient(index: index, loops: loops.count, eventLoop: loop, target: target, settings: settings, tls: tls, logger: logger)
    }
  }

  /// The loop whose turn it is.
  var nextLoop: LoopClient { loops[turn.wrappingAdd(1, ordering: .relaxed).oldValue & .max % loops.count] }

  var isClosed: Bool { closed.load(ordering: .acquiring) }

  /// Ends calls in flight with UNAVAILABLE, closes connections and own loops. To be called before the channel is let go.
  public func close() async {
    guard !closed.exchange(true, ordering: .acquiringAndReleasing) else { return }
    for loop in loops {
      try? await loop.eventLoop.flatSubmit { loop.close() }.get()
    }
    try? await ownGroup?.shutdownGracefully()
  }
}

extension TLSClientSettings {
  /// The context, and the name to ask for and check.
  func clientContext(for target: RPCTarget) throws -> (context: NIOSSLContext, name: String?) {
    var configuration = TLSConfiguration.makeClientConfiguration()
    configuration.applicationProtocols = ["h2"]
    configuration.minimumTLSVersion = .tlsv12
    func read<Value>(_ what: String, _ path: String, _ body: () throws -> Value) throws -> Value {
      do {
        return try body()
      } catch {
        throw RPCStatus(.invalidArgument, "TLS: the \(what) \(path) cannot be read: \(error)")
      }
    }
    if let path = certificateAuthorityPath {
      configuration.trustRoots = .certificates(try read("certificate authority", path) { try NIOSSLCertificate.fromPEMFile(path) })
    }
    if let path = certificateChainPath {
      configuration.certificateChain = try read("certificate", path) { try NIOSSLCertificate.fromPEMFile(path).map { .certificate($0) } }
    }
    if let path = privateKeyPath {
      configuration.privateKey = .privateKey(try read("private key", path) { try NIOSSLPrivateKey(file: path, format: .pem) })
    }
    if skipsVerification { configuration.certificateVerification = .none }
    var name = serverName ?? Self.host(of: target.authority)
    // SNI carries names only.
    if isAddress(name) {
      if !skipsVerification, serverName == nil { return (try context(configuration), nil) }
      name = ""
    }
    return (try context(configuration), name.isEmpty ? nil : name)
  }

  private func context(_ configuration: TLSConfiguration) throws -> NIOSSLContext {
    do {
      return try NIOSSLContext(configuration: configuration)
    } catch {
      throw RPCStatus(.invalidArgument, "TLS: \(error)")
    }
  }

  private static func host(of authority: String) -> String {
    if authority.hasPrefix("["), let end = authority.firstIndex(of: "]") {
      return String(authority[authority.index(after: authority.startIndex)..<end])
    }
    return String(authority.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).first ?? "")
  }

  private func isAddress(_ name: String) -> Bool { (try? SocketAddress(ipAddress: name, port: 0)) != nil }
}
