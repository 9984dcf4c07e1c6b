public import Logging
internal import NIOCore
internal import NIOPosix
internal import NIOSSL
internal import Synchronization
public import Telemetry

/// A gRPC server: one listening socket, a few event loops with a thread each, and the services they answer for.
///
/// Connections are handed to the loops in turn. (Sockets that share a port by SO_REUSEPORT would be spread by a hash, which leaves loops
/// idle when there are few connections.) `start` once, then `beginDrain` and `stop`, or `stop` alone.
public final class RPCServer: Sendable {
  private let settings: RPCServerSettings
  private let services: [RPCService]
  private let logger: Logger
  private let metrics: ServerMetrics
  private let running = Mutex<Running?>(nil)
  private let isStopped = Atomic<Bool>(false)

  private struct Running: Sendable {
    let group: MultiThreadedEventLoopGroup
    let loops: [ServerLoop]
    let listener: any Channel
  }

  /// `registry` takes the server's metrics, under the label `listener` (see `RPCServerSettings.name`).
  public init(settings: RPCServerSettings, services: [RPCService], registry: Registry, logger: Logger) {
    self.settings = settings
    self.services = services
    self.logger = logger
    metrics = ServerMetrics(registry, listener: settings.name)
  }

  /// Listens. Returns the port. Throws `RPCServerError`.
  public func start() async throws -> Int {
    try settings.validate()
    guard running.withLock({ $0 == nil }), !isStopped.load(ordering: .relaxed) else {
      throw RPCServerError(.state, "the server was started or stopped already")
    }
    let context = try settings.tls.map(TLSContext.make)
    let group = MultiThreadedEventLoopGroup(numberOfThreads: settings.loops > 0 ? settings.loops : System.coreCount)
    do {
      let running = try await start(group, context)
      self.running.withLock { $0 = running }
      let port = running.listener.localAddress?.port ?? 0
      logger.info("gRPC listens", metadata: ["listener": "\(settings.name)", "host": "\(settings.host)", "port": "\(port)"])
      return port
    } catch {
      try? await group.shutdownGracefully()
      throw error
    }
  }

  private func start(_ group: MultiThreadedEventLoopGroup, _ context: NIOSSLContext?) async throws -> Running {
    var loops: [ServerLoop] = []
    for eventLoop in group.makeIterator() {
      guard let loop = ServerLoop(index: loops.count, eventLoop: eventLoop, settings: settings, metrics: metrics) else {
        throw RPCServerError(.state, "there is no memory")
      }
      loops.append(loop)
      try await eventLoop.submit { [services] in loop.start(services) }.get()
    }
    let loopsByEventLoop = Dictionary(uniqueKeysWithValues: loops.map { (ObjectIdentifier($0.eventLoop), $0) })
    let bootstrap = ServerBootstrap(group: group)
      .serverChannelOption(.backlog, value: 4096)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .serverChannelOption(.maxMessagesPerRead, value: 16)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelOption(.maxMessagesPerRead, value: 1)
      .childChannelOption(
        .writeBufferWaterMark,
        value: .init(low: ServerConnection.outputBytes / 2, high: ServerConnection.outputBytes + ServerConnection.outputBytes / 2))
      .childChannelInitializer { [metrics, settings] channel in
        guard let loop = loopsByEventLoop[ObjectIdentifier(channel.eventLoop)] else { return channel.close() }
        metrics.connectionsAccepted.add()
        let count = metrics.connectionCount.wrappingAdd(1, ordering: .relaxed).newValue
        guard count <= settings.connectionsMax else {
          metrics.connectionClosed()
          metrics.connectionsRefused.add()
          return channel.close()
        }
        return Self.prepare(channel, loop, context)
      }
    do {
      let listener = try await bootstrap.bind(host: settings.host, port: settings.port).get()
      return Running(group: group, loops: loops, listener: listener)
    } catch {
      for loop in loops { try? await loop.eventLoop.submit { loop.stop() }.get() }
      throw RPCServerError(.listen, "cannot listen at \(settings.host):\(settings.port): \(error)")
    }
  }

  private static func prepare(_ channel: any Channel, _ loop: ServerLoop, _ context: NIOSSLContext?) -> EventLoopFuture<Void> {
    do {
      if let context {
        try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
      } else {
        try channel.syncOptions?.setOption(.recvAllocator, value: SharedReadBufferAllocator(loop.readBuffer))
      }
      try channel.pipeline.syncOperations.addHandler(ServerConnection(loop: loop, isTLS: context != nil))
      return channel.eventLoop.makeSucceededVoidFuture()
    } catch {
      return channel.eventLoop.makeFailedFuture(error)
    }
  }

  /// Takes no more connections, and tells the clients of those there are to go elsewhere: first without refusing calls, then with the
  /// last one taken. Calls in flight go on. Does not wait.
  public func beginDrain() {
    guard let running = running.withLock({ $0 }) else { return }
    running.listener.close(promise: nil)
    for loop in running.loops { loop.eventLoop.execute { loop.beginDrain() } }
  }

  /// Drains, waits until all connections are gone but no longer than `graceMilliseconds`, closes those that are left and frees the port
  /// and the threads. Calls of one that was stopped already return at once.
  public func stop(graceMilliseconds: Int) async {
    guard !isStopped.exchange(true, ordering: .relaxed), let running = running.withLock({ $0 }) else { return }
    beginDrain()
    try? await running.listener.closeFuture.get()
    let end = MonotonicClock.nanoseconds() + Int64(max(0, graceMilliseconds)) * 1_000_000
    while metrics.connectionCount.load(ordering: .relaxed) > 0, MonotonicClock.nanoseconds() < end {
      try? await Task.sleep(nanoseconds: 5_000_000)
      if Task.isCancelled { break }
    }
    for loop in running.loops {
      try? await loop.eventLoop.submit {
        loop.closeAll()
        loop.stop()
      }.get()
    }
    try? await running.group.shutdownGracefully()
    for loop in running.loops { loop.releaseHandlers() }
    self.running.withLock { $0 = nil }
  }
}
