internal import Hummingbird
public import Logging
public import NIOCore
public import ServiceLifecycle
internal import Synchronization

/// The life of one HTTP server: it listens and says at which port, and stops when open requests have been answered.
public final class HTTPListener: Sendable {
  private struct State {
    var running: Task<Void, any Error>?
    var group: ServiceGroup?
  }

  /// What listens, for people, and the configuration key that says where.
  private let purpose: String
  private let key: String
  private let address: ListenAddress
  private let logger: Logger
  private let state = Mutex(State())

  /// `purpose`, as in "for the admin page"; `key`, as in "admin.listen".
  public init(address: ListenAddress, purpose: String, key: String, logger: Logger) {
    self.address = address
    self.purpose = purpose
    self.key = key
    self.logger = logger
  }

  /// Runs the server that `application` makes and returns its port. What it makes must call the function that it is given once it listens, and
  /// take the logger that it is given: Hummingbird says when it listens, and we say it in our own words.
  /// - Throws: `HTTPListenError` when it cannot listen.
  public func start(
    _ application: (_ onRunning: @escaping @Sendable (any Channel) async -> Void, _ logger: Logger) -> any Service
  ) async throws(HTTPListenError) -> Int {
    let (ports, send) = AsyncStream<Int>.makeStream()
    var quiet = logger
    quiet.logLevel = max(logger.logLevel, .warning)
    let service = application({ channel in send.yield(channel.localAddress?.port ?? 0) }, quiet)
    let group = ServiceGroup(configuration: .init(services: [service], logger: quiet))
    let running = Task {
      defer { send.finish() }
      try await group.run()
    }
    var port: Int?
    for await listening in ports {
      port = listening
      break
    }
    guard let port else {
      var reason = "the server ended at once"
      do { try await running.value } catch { reason = "\(error)" }
      throw HTTPListenError(address: address, purpose: purpose, key: key, reason: reason)
    }
    state.withLock { $0 = State(running: running, group: group) }
    return port
  }

  /// Stops listening; returns when open requests have been answered.
  public func stop() async {
    let (running, group) = state.withLock { state in
      defer { state = State() }
      return (state.running, state.group)
    }
    await group?.triggerGracefulShutdown()
    // It ends by our own wish, so whatever it throws now has no reader.
    _ = try? await running?.value
  }
}

/// An HTTP server could not listen.
public struct HTTPListenError: Error, Sendable, CustomStringConvertible {
  public let address: ListenAddress
  public let purpose: String
  public let key: String
  public let reason: String

  public var description: String {
    "cannot listen at \(address) for \(purpose): \(reason). Is another process using the port? Set \(key) to another one, or to port 0."
  }
}
