internal import NIOCore
internal import Synchronization
internal import Telemetry

extension RPCChannel {
  /// Makes a unary call. Throws the status that it ended with; CANCELLED when the task is cancelled.
  ///
  ///     let answer = try await channel.unary(method, request, CallOptions(timeoutMilliseconds: 500))
  public func unary(_ method: MethodPath, _ message: [UInt8], _ options: CallOptions = CallOptions()) async throws(RPCStatus) -> UnaryResponse {
    let timeout = options.timeoutNanoseconds
    let deadline = timeout == .max ? Int64.max : MonotonicClock.nanoseconds() + timeout
    var retry = options.retry.map { RetryState($0) }
    var generator = SystemRandomNumberGenerator()
    while true {
      if isClosed { throw RPCStatus(.unavailable, "the channel is closed") }
      let left = deadline == .max ? Int64.max : max(0, deadline - MonotonicClock.nanoseconds())
      let outcome = await attempt(method, message, options, left)
      switch outcome {
      case .success(let response):
        if retry != nil { retryBudget.withLock { $0.succeeded() } }
        return response
      case .failure(let failure):
        let rest = deadline == .max ? Int64.max : deadline - MonotonicClock.nanoseconds()
        let wait = retryBudget.withLock { budget in
          retry?.next(
            after: failure.status.code, pushbackMilliseconds: failure.pushbackMilliseconds, left: rest, budget: &budget, using: &generator)
        }
        guard let wait, !Task.isCancelled else { throw failure.status }
        do { try await Task.sleep(nanoseconds: UInt64(wait)) } catch { throw RPCStatus(.cancelled, "cancelled by the caller") }
      }
    }
  }

  private func attempt(
    _ method: MethodPath, _ message: [UInt8], _ options: CallOptions, _ timeoutNanoseconds: Int64
  ) async -> Result<UnaryResponse, AttemptFailure> {
    let loop = nextLoop
    let attempt = UnaryAttempt()
    return await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        loop.execute { loop in
          attempt.continuation = continuation
          if attempt.isCancelled {
            attempt.finish(.failure(AttemptFailure(RPCStatus(.cancelled, "cancelled by the caller"))))
            return
          }
          let prepared = loop.prepareOnce(
            method, timeoutNanoseconds: timeoutNanoseconds, waitsForReady: options.waitsForReady, metadata: options.metadata)
          attempt.call = message.withUnsafeBytes { loop.start(prepared, $0, token: 0, completion: attempt.completion) }
        }
      }
    } onCancel: {
      loop.execute { loop in
        attempt.isCancelled = true
        loop.cancel(attempt.call)
      }
    }
  }
}

struct AttemptFailure: Error {
  let status: RPCStatus
  var pushbackMilliseconds: Int?

  init(_ status: RPCStatus, pushbackMilliseconds: Int? = nil) {
    self.status = status
    self.pushbackMilliseconds = pushbackMilliseconds
  }
}

/// One attempt of an async call. Touched on its loop's thread only.
private final class UnaryAttempt: @unchecked Sendable {
  var continuation: CheckedContinuation<Result<UnaryResponse, AttemptFailure>, Never>?
  var call = ClientCall.none
  var isCancelled = false
  lazy var completion: UnaryCompletion = Completion(self)

  func finish(_ result: Result<UnaryResponse, AttemptFailure>) {
    continuation?.resume(returning: result)
    continuation = nil
  }

  private final class Completion: UnaryCompletion {
    private let attempt: UnaryAttempt
    private var metadata: CallMetadata?

    init(_ attempt: UnaryAttempt) { self.attempt = attempt }

    override var collectsMetadata: Bool { true }

    override func collected(token: UInt64, _ metadata: CallMetadata) { self.metadata = metadata }

    override func completed(token: UInt64, status: RPCCode, message: UnsafeRawBufferPointer) {
      if status == .ok {
        attempt.finish(
          .success(
            UnaryResponse(
              message: Array(message), metadata: metadata?.initial ?? RPCMetadata(), trailers: metadata?.trailing ?? RPCMetadata())))
      } else {
        let text = String(decoding: message, as: UTF8.self)
        attempt.finish(
          .failure(
            AttemptFailure(
              RPCStatus(status, text, details: metadata?.details ?? []), pushbackMilliseconds: metadata?.pushbackMilliseconds)))
      }
      // Each holds the other until here.
      attempt.completion = UnaryCompletion()
    }
  }
}
