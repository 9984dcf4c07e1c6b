public import Logging
import NIOCore
import NIOPosix
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// A single-node, file-backed broker that speaks the Kafka protocol, for development and tests: the zero-install default. Use real
/// Kafka where data must survive the machine.
///
/// Not there: replication, transactions, compaction, TLS, SASL. It listens on loopback unless told otherwise, because whoever
/// reaches it may do everything.
public final class EmbeddedBroker: Sendable {
  private let settings: BrokerSettings
  private let logger: Logger
  private let state = StateBox()

  /// Creates a broker; nothing happens before `start()`.
  public init(settings: BrokerSettings, logger: Logger) {
    self.settings = settings
    self.logger = logger
  }

  /// Opens the data directory (repairing what a crash left), listens, and returns the port.
  ///
  /// Throws `EmbeddedBrokerError` when the directory is in use by another broker or damaged or the port is taken, and the system's errors
  /// when the directory cannot be written.
  public func start() async throws -> Int {
    try state.begin()
    do {
      let running = try await open()
      state.set(.running(running))
      return running.port
    } catch {
      state.set(.stopped)
      throw error
    }
  }

  /// Closes all connections, saves indexes and releases the data directory. Does nothing when it does not run.
  public func stop() async {
    guard let running = state.end() else { return }
    try? await running.server.close()
    _ = try? await running.broker.loop.submit { running.broker.shutDown() }.get()
    try? await running.group.shutdownGracefully()
    closeDescriptor(running.lock)
    state.set(.stopped)
    logger.info("broker stopped")
  }

  // MARK: Parts

  fileprivate struct Running: Sendable {
    let group: MultiThreadedEventLoopGroup
    let server: any Channel
    let broker: Broker
    let lock: Int32
    let port: Int
  }

  private func open() async throws -> Running {
    let settings = settings
    let logger = logger
    try LogFile.makeDirectories(settings.dataDirectory)
    let lock = try Self.lock(settings.dataDirectory)
    // One event loop: the broker's state has one owner and no locks, and a loop is faster than what two cores ask
    // for.
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    do {
      let loop = group.next()
      let clusterID = try Identity.clusterID(settings.dataDirectory)
      let broker = try await loop.submit {
        try Broker(settings: settings, clusterID: clusterID, loop: loop, logger: logger)
      }.get()
      let identities = ConnectionIdentities()
      let bootstrap = ServerBootstrap(group: group)
        .serverChannelOption(.backlog, value: 256)
        .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
        .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
        .childChannelOption(.maxMessagesPerRead, value: 4)
        .childChannelOption(.recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 1024, initial: 8192, maximum: 256 * 1024))
        .childChannelOption(.writeBufferWaterMark, value: .init(low: 256 * 1024, high: 1024 * 1024))
        .childChannelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHandler(ConnectionHandler(broker: broker, identity: identities.next()))
          }
        }
      let server: any Channel
      do {
        server = try await bootstrap.bind(host: settings.host, port: settings.port).get()
      } catch {
        throw EmbeddedBrokerError(
          """
          cannot listen at \(settings.host):\(settings.port) for Kafka clients: \(error). Is another broker using the port? \
          Set kafka.embedded.listen (`millrace broker`: --listen) to another one, or to port 0.
          """)
      }
      let port = server.localAddress?.port ?? settings.port
      try await loop.submit {
        broker.port = port
        broker.startUpkeep()
      }.get()
      logger.info(
        "embedded broker listens (for development and tests: one node, no replication)",
        metadata: ["host": "\(settings.host)", "port": "\(port)", "data": "\(settings.dataDirectory)"])
      return Running(group: group, server: server, broker: broker, lock: lock, port: port)
    } catch {
      try? await group.shutdownGracefully()
      closeDescriptor(lock)
      throw error
    }
  }

  /// Takes the directory for this process; the system gives it back however the process ends.
  private static func lock(_ directory: String) throws -> Int32 {
    let path = directory + "/lock"
    let descriptor = try LogFile.open(path, create: true)
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      closeDescriptor(descriptor)
      throw EmbeddedBrokerError("\(directory) is in use by another broker: stop that one or give another data directory")
    }
    return descriptor
  }
}

/// Numbers connections. Used on the event loop only.
private final class ConnectionIdentities: @unchecked Sendable {
  private var last: UInt64 = 0
  func next() -> UInt64 {
    last += 1
    return last
  }
}

/// Where a broker is in its life.
private final class StateBox: Sendable {
  enum State: Sendable {
    case stopped
    case starting
    case running(EmbeddedBroker.Running)
    case stopping
  }

  private let state = Mutex(State.stopped)

  func set(_ new: State) { state.withLock { $0 = new } }

  func begin() throws {
    try state.withLock { state in
      guard case .stopped = state else { throw EmbeddedBrokerError("the broker is running already") }
      state = .starting
    }
  }

  func end() -> EmbeddedBroker.Running? {
    state.withLock { state in
      guard case .running(let running) = state else { return nil }
      state = .stopping
      return running
    }
  }
}
