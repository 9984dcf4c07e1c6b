internal import Foundation
public import Logging
import Synchronization
public import UnixSignals

/// Starts the parts of a process in order and stops them in reverse, on a signal, on request, or when a
/// part fails.
///
/// `start` of a part returns when the part can be used by the next one; work goes on in the part's own
/// threads or tasks. `stop` returns when the part has let go of everything; it is called once, only for
/// parts whose start was begun, in reverse order, and all stops together have a deadline.
///
/// A second signal while stopping ends the process at once.
public final class Lifecycle: Sendable {
  private struct Part: Sendable {
    let name: String
    let start: @Sendable () async throws -> Void
    let stop: @Sendable () async throws -> Void
  }

  private enum Event: Sendable {
    case signal(UnixSignal)
    case requested
    case failed(String, any Error)
    case started
    case startFailed(String, any Error)
  }

  private struct State {
    var parts: [Part] = []
    var begun = 0
  }

  private let logger: Logger
  private let stopWithinMilliseconds: Int
  private let quit: @Sendable (UnixSignal) -> Void
  private let state = Mutex(State())
  private let events: AsyncStream<Event>
  private let send: AsyncStream<Event>.Continuation

  /// `quit` is what a second signal does; it is given for tests only.
  public init(
    logger: Logger, stopWithinMilliseconds: Int = 30_000, quit: @escaping @Sendable (UnixSignal) -> Void = Lifecycle.exitNow
  ) {
    self.logger = logger
    self.stopWithinMilliseconds = stopWithinMilliseconds
    self.quit = quit
    (events, send) = AsyncStream.makeStream()
  }

  /// Adds a part. Parts start in the order in which they were added.
  public func add(
    _ name: String, start: @escaping @Sendable () async throws -> Void = {},
    stop: @escaping @Sendable () async throws -> Void = {}
  ) {
    state.withLock { $0.parts.append(Part(name: name, start: start, stop: stop)) }
  }

  /// Asks for a clean stop; `run` returns when it is done. May be called at any time, from any thread.
  public func stop() {
    send.yield(.requested)
  }

  /// Reports that a part cannot go on. The process stops cleanly and `run` throws `error`.
  public func fail(_ name: String, _ error: any Error) {
    send.yield(.failed(name, error))
  }

  /// Starts everything, waits for a reason to stop, and stops everything.
  ///
  /// Returns after a signal or `stop()`. Throws what `start` of a part threw, what `fail` was told, or
  /// `LifecycleError.stopTimedOut`; in each case whatever was started has been told to stop.
  public func run(signals: [UnixSignal] = [.sigterm, .sigint], onStarted: @escaping @Sendable () -> Void = {}) async throws {
    let watch = await watchSignals(signals)
    defer { watch.cancel() }
    let starting = Task { await self.startAll() }
    var failure: (any Error)?
    var iterator = events.makeAsyncIterator()
    waiting: while let event = await iterator.next() {
      switch event {
      case .started:
        logger.info("started")
        onStarted()
      case .startFailed(let name, let error):
        logger.error("cannot start \(name): \(error)")
        failure = error
        break waiting
      case .signal(let signal):
        logger.info("stopping on \(signal); a second signal quits at once")
        break waiting
      case .requested:
        logger.info("stopping")
        break waiting
      case .failed(let name, let error):
        logger.error("\(name) failed: \(error); stopping")
        failure = error
        break waiting
      }
    }
    starting.cancel()
    let deadline = MonotonicDeadline(milliseconds: stopWithinMilliseconds)
    // Whatever comes now matters only if it is another signal.
    let rest = Task { [quit, logger, events] in
      for await event in events {
        if case .signal(let signal) = event {
          logger.warning("\(signal) again: quitting at once")
          quit(signal)
        }
      }
    }
    defer { rest.cancel() }
    let stopFailure = await stopAll(after: starting, deadline: deadline)
    if let error = failure ?? stopFailure { throw error }
    logger.info("stopped")
  }

  /// Ends the process without any clean-up, with the exit status that shells give to a signal's death.
  public static let exitNow: @Sendable (UnixSignal) -> Void = { signal in
    _exit(signal == .sigint ? 130 : 143)
  }

  // MARK: Steps

  private func watchSignals(_ signals: [UnixSignal]) async -> Task<Void, Never> {
    guard !signals.isEmpty else { return Task {} }
    let sequence = await UnixSignalsSequence(trapping: signals)
    return Task { [send] in
      for await signal in sequence { send.yield(.signal(signal)) }
    }
  }

  private func startAll() async {
    let parts = state.withLock { $0.parts }
    for part in parts {
      if Task.isCancelled { return }
      state.withLock { $0.begun += 1 }
      logger.debug("starting \(part.name)")
      do {
        try await part.start()
      } catch {
        // When it was told to stop, failing to start is what it should do.
        if !Task.isCancelled { send.yield(.startFailed(part.name, error)) }
        return
      }
    }
    send.yield(.started)
  }

  private func stopAll(after starting: Task<Void, Never>, deadline: MonotonicDeadline) async -> (any Error)? {
    let finished = await deadline.wait { await starting.value }
    guard finished else { return timedOut(state.withLock { $0.parts[max(0, $0.begun - 1)].name }) }
    let begun = state.withLock { Array($0.parts.prefix($0.begun)) }
    for part in begun.reversed() {
      logger.debug("stopping \(part.name)")
      let finished = await deadline.wait { [logger] in
        do {
          try await part.stop()
        } catch {
          logger.error("stopping \(part.name): \(error)")
        }
      }
      guard finished else { return timedOut(part.name) }
    }
    return nil
  }

  private func timedOut(_ name: String) -> LifecycleError {
    logger.error("\(name) did not stop within \(stopWithinMilliseconds) ms; giving up on a clean stop")
    return .stopTimedOut(part: name, milliseconds: stopWithinMilliseconds)
  }
}

public enum LifecycleError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The named part was still stopping when the time for all stops was over.
  case stopTimedOut(part: String, milliseconds: Int)

  public var description: String {
    switch self {
    case .stopTimedOut(let part, let milliseconds): "\(part) did not stop within \(milliseconds) ms"
    }
  }
}
