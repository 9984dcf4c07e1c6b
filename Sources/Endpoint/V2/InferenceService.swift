// Hot: no allocation, existential, String, await or Foundation per request in the steady state.
internal import Events
public import RPC

/// The V2 calls that score: ModelInfer and ModelStreamInfer, each over an `InferenceBatch` of its own on each event loop.
public enum InferenceService {
  /// Answers of a stream that its client has not taken: beyond this the stream's requests are not read.
  static let streamPendingBytesMax = 256 << 10

  /// - Parameter log: told of requests that carry an id, after their answers.
  public static func methods(catalog: ModelCatalog, limits: InferenceLimits = InferenceLimits(), log: ServedRequestSink? = nil) -> [RPCMethod] {
    [
      RPCMethod("ModelInfer", .unary) {
        let handler = ModelInferHandler(loop: $0, batch: InferenceBatch(catalog: catalog, limits: limits, sink: log))
        refresh(handler.batch, on: $0, catalog)
        return handler
      },
      RPCMethod("ModelStreamInfer", .streaming) {
        let handler = ModelStreamInferHandler(loop: $0, batch: InferenceBatch(catalog: catalog, limits: limits, sink: log))
        refresh(handler.batch, on: $0, catalog)
        return handler
      },
    ]
  }

  /// A loop without requests lets go of a model that is served no more, too.
  private static func refresh(_ batch: InferenceBatch, on loop: ServerLoop, _ catalog: ModelCatalog) {
    let reference = WeakBatch(batch: batch)
    catalog.observe { [weak loop] in loop?.execute { reference.batch?.refresh() } }
  }

  /// Looked at on the loop's thread only.
  private final class WeakBatch: @unchecked Sendable {
    weak var batch: InferenceBatch?

    init(batch: InferenceBatch) { self.batch = batch }
  }
}

/// ModelInfer on one loop: the requests of one read are scored together.
final class ModelInferHandler: MethodHandler {
  let batch: InferenceBatch

  init(loop: ServerLoop, batch: InferenceBatch) {
    self.batch = batch
    super.init(loop: loop)
  }

  override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {
    batch.add(bytes, token: call.token, deadlineNanoseconds: loop.deadlineNanoseconds(call))
    if batch.isFull { flush() }
  }

  override func flush() {
    if batch.isEmpty { return }
    batch.run()
    for index in 0..<batch.answerCount {
      let answer = batch.answer(index)
      let call = Call(token: answer.token)
      // The answer to a call that is gone is nobody's.
      if answer.code == .ok { loop.reply(call, answer.bytes) } else { loop.fail(call, answer.code, answer.bytes) }
    }
    batch.removeAll()
  }
}

/// ModelStreamInfer on one loop: one answer for each request, in the order of the requests of a stream. What is wrong with a request is said
/// in its answer and does not end the stream.
final class ModelStreamInferHandler: MethodHandler {
  let batch: InferenceBatch
  private let message = OutputBuffer()
  /// Streams whose client has sent its last request, and waits for answers of this run.
  @exclusivity(unchecked) private var closing: [Call] = []

  init(loop: ServerLoop, batch: InferenceBatch) {
    self.batch = batch
    super.init(loop: loop)
  }

  override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {
    batch.add(bytes, token: call.token, deadlineNanoseconds: loop.deadlineNanoseconds(call))
    if batch.isFull { flush() }
  }

  override func halfClosed(_ call: Call) {
    if batch.isEmpty { loop.finish(call) } else { closing.append(call) }
  }

  override func writable(_ call: Call) { loop.resumeReading(call) }

  override func flush() {
    if !batch.isEmpty {
      batch.run()
      for index in 0..<batch.answerCount { send(batch.answer(index)) }
      batch.removeAll()
    }
    for call in closing { loop.finish(call) }
    closing.removeAll(keepingCapacity: true)
  }

  private func send(_ answer: InferenceAnswer) {
    let call = Call(token: answer.token)
    message.removeAll()
    if answer.code == .ok {
      message.appendField(2, bytes: answer.bytes)
    } else {
      message.appendField(1, bytes: answer.bytes)
      // The id tells which request it was.
      let response = message.beginMessage(2)
      if answer.id.count > 0 { message.appendField(3, bytes: answer.id) }
      message.endMessage(response)
    }
    guard loop.send(call, message.bytes) else { return }
    if loop.pendingBytes(call) > InferenceService.streamPendingBytesMax { loop.pauseReading(call) }
  }
}
