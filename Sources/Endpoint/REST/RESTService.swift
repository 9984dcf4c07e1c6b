internal import Events
internal import RPC
internal import Synchronization

/// Answers V2 requests over REST from the same control service and the same inference path as gRPC. Sans-IO: a request in, an answer
/// out. Any thread; one that infers works with a batch of its own meanwhile.
final class RESTService: Sendable {
  struct Answer: Equatable {
    var status = 200
    var body: [UInt8] = []
    /// How many bytes of the body are JSON, when tensors follow them.
    var jsonBytes: Int?
    /// Methods that the path takes, with status 405.
    var allowed: [String] = []

    init(body: [UInt8] = [], jsonBytes: Int? = nil) {
      self.body = body
      self.jsonBytes = jsonBytes
    }

    init(_ problem: RESTProblem) {
      status = problem.status
      allowed = problem.allowed
      let json = OutputBuffer()
      json.append("{\"error\":")
      json.appendJSON(problem.message)
      json.append("}")
      body = Array(json.bytes)
    }

    init(_ message: ControlMessage) {
      let json = OutputBuffer()
      message.writeJSON(to: json)
      body = Array(json.bytes)
    }
  }

  private let control: ControlService
  private let access: ControlService.Access
  private let batches: IdleBatches

  init(control: ControlService, access: ControlService.Access, sink: ServedRequestSink?) {
    self.control = control
    self.access = access
    batches = IdleBatches(catalog: control.catalog, limits: control.limits, sink: sink)
  }

  /// - Parameters:
  ///   - body: borrowed until the return.
  ///   - jsonBytes: what the request's header says of its JSON part.
  func answer(_ route: RESTRoute, body: UnsafeRawBufferPointer, jsonBytes: Int?) -> Answer {
    do throws(RPCStatus) {
      return try answered(route, body, jsonBytes)
    } catch {
      return Answer(RESTProblem(error))
    }
  }

  /// Loading or unloading a model from a bundle, which takes time; nil for every other route.
  func change(_ route: RESTRoute, body: [UInt8]) async -> Answer? {
    let name: String
    let unloads: Bool
    switch route {
    case .load(let model): (name, unloads) = (model, false)
    case .unload(let model): (name, unloads) = (model, true)
    default: return nil
    }
    guard control.isLoadedModel(name) else { return nil }
    do throws(RPCStatus) {
      if let denial = access.denial(of: unloads ? "unload" : "load") { throw denial }
      var parameters: [String] = []
      var problem: RPCStatus?
      body.withUnsafeBytes { bytes in
        do throws(RPCStatus) { parameters = try Self.parameters(bytes) } catch { problem = error }
      }
      if let problem { throw problem }
      try await control.changeLoaded(model: name, unloads: unloads, parameters: parameters)
      return Answer()
    } catch {
      return Answer(RESTProblem(error))
    }
  }

  private func answered(_ route: RESTRoute, _ body: UnsafeRawBufferPointer, _ jsonBytes: Int?) throws(RPCStatus) -> Answer {
    switch route {
    case .live: return Answer()
    case .ready:
      guard control.isServerReady else { throw RPCStatus(.unavailable, "the server is not ready") }
      return Answer()
    case .serverMetadata: return Answer(control.serverMetadata(allowsChanges: access.allowsChanges))
    case .modelMetadata(let name, let version): return Answer(try control.modelMetadata(name: name, version: version))
    case .modelReady(let name, let version):
      let model = try control.catalog.find(name: name, version: version)
      guard model.isReady else { throw RPCStatus(.unavailable, "model \"\(clipped(name))\" is not ready: \(model.problem)") }
      return Answer()
    case .modelConfiguration(let name, let version): return Answer(try control.modelConfiguration(name: name, version: version))
    case .statistics(let name, let version): return Answer(try control.statistics(name: name, version: version))
    case .infer(let name, let version):
      let request = try RESTInferRequest(body: body, jsonBytes: jsonBytes, model: name, version: version, limits: control.limits)
      return try batches.infer(request)
    case .repositoryIndex: return try index(body)
    case .load(let model):
      if let denial = access.denial(of: "load") { throw denial }
      try control.load(repository: "", model: model, parameters: try Self.parameters(body))
      return Answer()
    case .unload(let model):
      if let denial = access.denial(of: "unload") { throw denial }
      try control.unload(repository: "", model: model, parameters: try Self.parameters(body))
      return Answer()
    case .logSettings: return Answer(control.logSettings.message)
    case .changeLogSettings:
      if let denial = access.denial(of: "a change of log settings") { throw denial }
      try control.logSettings.apply(try Self.logSettings(body))
      return Answer(control.logSettings.message)
    case .traceSettings(let model):
      try control.applyTraceSettings([], model: model)
      return Answer(TraceSettings.message)
    case .changeTraceSettings(let model):
      if let denial = access.denial(of: "a change of trace settings") { throw denial }
      try control.applyTraceSettings(try Self.traceSettings(body), model: model)
      return Answer(TraceSettings.message)
    case .sharedMemory: throw RPCStatus(.unimplemented, "shared memory is not offered; send tensors in the request")
    }
  }

  /// A list, not an object: so clients know it.
  private func index(_ body: UnsafeRawBufferPointer) throws(RPCStatus) -> Answer {
    var readyOnly = false
    try Self.object(body) { cursor, key throws(RPCStatus) in
      if key == "ready" { readyOnly = try cursor.flag("ready") } else { try cursor.skip() }
    }
    let models = try control.repositoryIndex(repository: "", readyOnly: readyOnly)
    let json = OutputBuffer()
    ControlMessage.writeList(models, to: json) { $0.writeJSON(to: json) }
    return Answer(body: Array(json.bytes))
  }

  // MARK: Bodies of control requests: an object, or nothing

  private static func object(
    _ body: UnsafeRawBufferPointer, _ member: (inout JSONCursor, String) throws(RPCStatus) -> Void
  ) throws(RPCStatus) {
    if body.isEmpty { return }
    var cursor = try JSONCursor(body)
    try cursor.object("the body", member)
    try cursor.end()
  }

  /// The names of `parameters`.
  private static func parameters(_ body: UnsafeRawBufferPointer) throws(RPCStatus) -> [String] {
    var names: [String] = []
    try object(body) { cursor, key throws(RPCStatus) in
      guard key == "parameters" else {
        try cursor.skip()
        return
      }
      try cursor.object("parameters") { cursor, name throws(RPCStatus) in
        names.append(name)
        try cursor.skip()
      }
    }
    return names
  }

  private static func logSettings(_ body: UnsafeRawBufferPointer) throws(RPCStatus) -> [(name: String, value: LogSettings.Value)] {
    var settings: [(name: String, value: LogSettings.Value)] = []
    try object(body) { cursor, name throws(RPCStatus) in
      switch try cursor.kind() {
      case .flag: settings.append((name, .flag(try cursor.flag(""))))
      case .string: settings.append((name, .text(try cursor.string())))
      case .number:
        guard let number = try cursor.number().integer(as: UInt32.self) else {
          throw RPCStatus(.invalidArgument, "\(clipped(name)): the number is no whole one of 32 bits")
        }
        settings.append((name, .number(number)))
      case .object, .array, .null: throw RPCStatus(.invalidArgument, "\(clipped(name)): must be a string, a number, true or false")
      }
    }
    return settings
  }

  /// Values are a text, a list of texts, or null for the default.
  private static func traceSettings(_ body: UnsafeRawBufferPointer) throws(RPCStatus) -> [(name: String, values: [String])] {
    var settings: [(name: String, values: [String])] = []
    try object(body) { cursor, name throws(RPCStatus) in
      var values: [String] = []
      switch try cursor.kind() {
      case .null: try cursor.null()
      case .string: values = [try cursor.string()]
      case .array:
        try cursor.array(clipped(name)) { cursor, index throws(RPCStatus) in
          guard try cursor.kind() == .string else { throw RPCStatus(.invalidArgument, "\(clipped(name))[\(index)]: must be a string") }
          values.append(try cursor.string())
        }
      default: throw RPCStatus(.invalidArgument, "\(clipped(name)): must be a string, a list of strings or null")
      }
      settings.append((name, values))
    }
    return settings
  }
}

/// Batches that nobody uses at the moment. Each serves one request at a time.
private final class IdleBatches: Sendable {
  /// More are let go: a batch keeps the memory that its largest request needed.
  private static let idleMax = 4

  /// Handed from one thread to another through the lock, never shared.
  private struct Idle: @unchecked Sendable {
    var batches: [InferenceBatch] = []
  }

  private let make: @Sendable () -> InferenceBatch
  private let idle = Mutex(Idle())

  init(catalog: ModelCatalog, limits: InferenceLimits, sink: ServedRequestSink?) {
    make = { InferenceBatch(catalog: catalog, limits: limits, sink: sink) }
    // What waits here holds models that may be served no more.
    catalog.observe { [weak self] in self?.drop() }
  }

  private func drop() {
    // Let go outside of the lock: on the thread that changed the catalog, which is where models go.
    _ = idle.withLock { idle in
      let dropped = Idle(batches: idle.batches)
      idle.batches = []
      return dropped
    }
  }

  func infer(_ request: RESTInferRequest) throws(RPCStatus) -> RESTService.Answer {
    let taken = idle.withLock { idle in Idle(batches: idle.batches.popLast().map { [$0] } ?? []) }
    let batch = taken.batches.first ?? make()
    defer {
      batch.removeAll()
      batch.refresh()
      let returned = Idle(batches: [batch])
      idle.withLock { if $0.batches.count < Self.idleMax { $0.batches += returned.batches } }
    }
    request.message.withUnsafeBytes { batch.add($0, token: 0) }
    batch.run()
    guard batch.answerCount == 1 else { throw RPCStatus(.internal, "the request has \(batch.answerCount) answers") }
    let answer = batch.answer(0)
    guard answer.code == .ok else { throw RPCStatus(answer.code, String(decoding: answer.bytes, as: UTF8.self)) }
    let response = try RESTInferResponse(answer.bytes, forms: request.forms)
    return RESTService.Answer(body: response.body, jsonBytes: response.jsonBytes)
  }
}
