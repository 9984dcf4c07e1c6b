/// What an asynchronous method knows of its call.
public struct CallContext: Sendable {
  public let metadata: RPCMetadata
  /// When the client gives up, by `MonotonicClock`; `.max` when it never said.
  public let deadlineNanoseconds: Int64
  /// The client's address.
  public let peer: String

  public init(metadata: RPCMetadata, deadlineNanoseconds: Int64, peer: String) {
    self.metadata = metadata
    self.deadlineNanoseconds = deadlineNanoseconds
    self.peer = peer
  }
}

extension RPCMethod {
  /// A unary method that runs on Swift concurrency: for control, where a task and a copy for each call cost nothing that matters. A
  /// thrown `RPCStatus` is the answer, any other error is UNKNOWN; the task is cancelled when the call ends early.
  public static func asyncUnary(
    _ name: String, _ body: @escaping @Sendable (_ request: [UInt8], _ context: CallContext) async throws -> [UInt8]
  ) -> RPCMethod {
    RPCMethod(name, .unary) { AsyncUnaryHandler(loop: $0, body: body) }
  }
}

/// Runs one task for each call.
private final class AsyncUnaryHandler: MethodHandler, @unchecked Sendable {
  private let body: @Sendable ([UInt8], CallContext) async throws -> [UInt8]
  /// On the loop's thread only.
  private var tasks: [Call: Task<Void, Never>] = [:]

  init(loop: ServerLoop, body: @escaping @Sendable ([UInt8], CallContext) async throws -> [UInt8]) {
    self.body = body
    super.init(loop: loop)
  }

  override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {
    let request = [UInt8](bytes)
    let context = CallContext(
      metadata: loop.metadata(call), deadlineNanoseconds: loop.deadlineNanoseconds(call), peer: loop.peer(call))
    tasks[call] = Task { [body, loop] in
      let result: Result<[UInt8], RPCStatus>
      do {
        result = .success(try await body(request, context))
      } catch let status as RPCStatus {
        result = .failure(status.code == .ok ? RPCStatus(.unknown, "the method threw OK") : status)
      } catch is CancellationError {
        result = .failure(RPCStatus(.cancelled))
      } catch {
        result = .failure(RPCStatus(.unknown, "\(error)"))
      }
      loop.execute { self.answer(call, result) }
    }
  }

  override func ended(_ call: Call) {
    tasks.removeValue(forKey: call)?.cancel()
  }

  private func answer(_ call: Call, _ result: Result<[UInt8], RPCStatus>) {
    tasks[call] = nil
    switch result {
    case .success(let response): response.withUnsafeBytes { _ = loop.reply(call, $0) }
    case .failure(let status): loop.finish(call, status)
    }
  }
}
