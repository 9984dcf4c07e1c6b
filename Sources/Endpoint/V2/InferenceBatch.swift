// Hot: no allocation, existential, String, await or Foundation per request in the steady state.
public import RPC

/// One answered request. Slices live until the batch is emptied.
public struct InferenceAnswer {
  public var token: UInt64
  public var code: RPCCode
  /// OK: a ModelInferResponse. Otherwise the message for people, in UTF-8.
  public var bytes: UnsafeRawBufferPointer
}

/// The requests of one read, from bytes to answers: decoded into rows as they are added, scored once for each model and arm, encoded one
/// by one. Sans-IO, for any number of models; owned by one thread and reused.
///
///     batch.add(bytes, token: call)        // … any number
///     batch.run()
///     for index in 0..<batch.answerCount { … batch.answer(index) … }
///     batch.removeAll()
public final class InferenceBatch {
  public let catalog: ModelCatalog
  public let limits: InferenceLimits

  public init(catalog: ModelCatalog, limits: InferenceLimits = InferenceLimits(), sink: ServedRequestSink? = nil) {
    self.catalog = catalog
    self.limits = limits
  }

  private var tokens: [UInt64] = []

  /// Whether the cap on rows of one run is reached: run and empty the batch before more is added.
  public var isFull: Bool { false }

  /// Takes a ModelInferRequest; `request` is borrowed until the return. `token` comes back with its answer. A request whose deadline
  /// (`MonotonicClock`) has passed is not scored.
  public func add(_ request: UnsafeRawBufferPointer, token: UInt64, deadlineNanoseconds: Int64 = .max) { tokens.append(token) }

  /// Scores and answers everything added since the batch was emptied.
  public func run() {}

  /// Answers, in the order of `add`, after `run`.
  public var answerCount: Int { tokens.count }
  public func answer(_ index: Int) -> InferenceAnswer {
    InferenceAnswer(token: tokens[index], code: .unimplemented, bytes: UnsafeRawBufferPointer(start: nil, count: 0))
  }

  /// Forgets requests and answers, keeps the memory.
  public func removeAll() { tokens.removeAll(keepingCapacity: true) }
}
