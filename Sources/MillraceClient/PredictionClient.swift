internal import Logging
public import RPC
internal import Synchronization

/// Asks a V2 server for predictions. Any thread; one is enough for a program.
///
///     let client = try PredictionClient(target: "127.0.0.1:8001")
///     let prediction = try await client.predict(PredictionRequest(model: "flights", features: ["carrier": "AA", "temp": 39.2]))
///     print(prediction.scores[0], prediction.stalenessMilliseconds ?? 0)
///     await client.close()
///
/// Calls that fail because no server answered (UNAVAILABLE) are made again within the deadline and a budget. Types come from the model's
/// metadata, which is asked for once.
public final class PredictionClient: Sendable {
  public static let service = "inference.GRPCInferenceService"

  public let channel: RPCChannel
  public let settings: ClientSettings
  private let models = Mutex<[String: RemoteModel]>([:])

  /// `target`: "host:port", several of them with commas between, or "https://host:port" for TLS. Throws INVALID_ARGUMENT for another, and
  /// when TLS files cannot be read.
  public init(target: String, settings: ClientSettings = ClientSettings()) throws(PredictionError) {
    var settings = settings
    var address = target[...]
    if address.hasPrefix("https://") {
      address = address.dropFirst(8)
      if settings.channel.tls == nil { settings.channel.tls = TLSClientSettings() }
    } else if address.hasPrefix("http://") {
      address = address.dropFirst(7)
    } else if address.hasPrefix("grpc://") {
      address = address.dropFirst(7)
    }
    if address.hasSuffix("/") { address = address.dropLast() }
    guard let target = RPCTarget(String(address)) else {
      throw PredictionError(.invalidArgument, "the target is \"\(target)\", expected host:port, for example 127.0.0.1:8001")
    }
    self.settings = settings
    do {
      channel = try RPCChannel(target: target, settings: settings.channel)
    } catch let status as RPCStatus {
      throw PredictionError(status: status)
    } catch {
      throw PredictionError(.internal, "\(error)")
    }
  }

  /// Closes connections. To be called before the client is let go.
  public func close() async { await channel.close() }

  // MARK: Predictions

  /// Predicts one row or many. Rows that have different features are asked for separately, and their answers joined: `position` is then
  /// the least of them, `stalenessMilliseconds` and `labelsThroughMilliseconds` the greatest.
  public func predict(_ request: PredictionRequest) async throws(PredictionError) -> Prediction {
    let method = MethodPath(service: Self.service, method: "ModelInfer")
    if !request.tensors.isEmpty {
      return try await infer(method, Self.write(request), request)
    }
    let model = try await knownModel(request.model, request.version)
    let requests = try FeatureRows(model).requests(request, writer: InferRequestWriter())
    if requests.count == 1, let only = requests.first { return try await infer(method, only.bytes, request) }
    var joined = Prediction()
    for part in requests {
      let answer = try await infer(method, part.bytes, request)
      joined.place(answer, at: part.rows, of: request.rows.count)
    }
    return joined
  }

  private func infer(_ method: MethodPath, _ bytes: [UInt8], _ request: PredictionRequest) async throws(PredictionError) -> Prediction {
    let answer = try await call(method, bytes, timeoutMilliseconds: request.timeoutMilliseconds)
    do { return try Prediction(response: answer) } catch { throw PredictionError(status: error) }
  }

  private static func write(_ request: PredictionRequest) -> [UInt8] {
    let writer = InferRequestWriter()
    writer.begin(model: request.model, version: request.version, id: request.id)
    writer.parameters(request.parameters)
    for tensor in request.tensors {
      writer.input(tensor.name, tensor.datatype, shape: tensor.shape)
      tensor.bytes.withUnsafeBytes { _ = writer.elements($0) }
    }
    return Array(writer.finish())
  }

  // MARK: About the server and its models

  /// True when the server answers that it is alive.
  public func isLive() async throws(PredictionError) -> Bool { try await flag("ServerLive", [], 1) }

  /// True when the server answers that it takes requests.
  public func isReady() async throws(PredictionError) -> Bool { try await flag("ServerReady", [], 1) }

  /// True when the server answers that the model takes requests.
  public func isReady(model: String, version: String = "") async throws(PredictionError) -> Bool {
    try await flag("ModelReady", Self.named(model, version), 1)
  }

  /// What the model takes and gives.
  public func metadata(model: String, version: String = "") async throws(PredictionError) -> RemoteModel {
    let answer = try await call("ModelMetadata", Self.named(model, version))
    let found = try Self.read { () throws(RPCStatus) in try RemoteModel(response: answer) }
    models.withLock { $0["\(model)\u{0}\(version)"] = found }
    return found
  }

  /// The models that the server has, ready or not.
  public func index() async throws(PredictionError) -> [RemoteModelState] {
    let answer = try await call("RepositoryIndex", [])
    return try Self.read { () throws(RPCStatus) in
      var models: [RemoteModelState] = []
      var reader = ProtobufReader(answer, of: "RepositoryIndexResponse")
      while let (number, value) = try reader.next() {
        guard number == 1 else { continue }
        var model = RemoteModelState()
        var entry = ProtobufReader(try reader.bytes(value, "models"), of: "ModelIndex")
        while let (number, value) = try entry.next() {
          switch number {
          case 1: model.name = try entry.text(value, "name")
          case 2: model.version = try entry.text(value, "version")
          case 3: model.state = try entry.text(value, "state")
          case 4: model.reason = try entry.text(value, "reason")
          default: break
          }
        }
        models.append(model)
      }
      return models
    }
  }

  /// Counts and times of the model's requests; of all models when `model` is empty.
  public func statistics(model: String = "", version: String = "") async throws(PredictionError) -> [RemoteModelStatistics] {
    let answer = try await call("ModelStatistics", Self.named(model, version))
    return try Self.read { () throws(RPCStatus) in
      var statistics: [RemoteModelStatistics] = []
      var reader = ProtobufReader(answer, of: "ModelStatisticsResponse")
      while let (number, value) = try reader.next() {
        if number == 1 { statistics.append(try RemoteModelStatistics(try reader.bytes(value, "model_stats"))) }
      }
      return statistics
    }
  }

  // MARK: Parts

  private func knownModel(_ name: String, _ version: String) async throws(PredictionError) -> RemoteModel {
    if let known = models.withLock({ $0["\(name)\u{0}\(version)"] }) { return known }
    return try await metadata(model: name, version: version)
  }

  private static func named(_ model: String, _ version: String) -> [UInt8] {
    var writer = ProtobufWriter()
    if !model.isEmpty { writer.text(1, model) }
    if !version.isEmpty { writer.text(2, version) }
    return writer.bytes
  }

  private func flag(_ method: String, _ request: [UInt8], _ field: UInt32) async throws(PredictionError) -> Bool {
    let answer = try await call(method, request)
    return try Self.read { () throws(RPCStatus) in
      var reader = ProtobufReader(answer, of: method)
      var isSet = false
      while let (number, value) = try reader.next() {
        if number == field { isSet = try reader.number(value, "the answer") != 0 }
      }
      return isSet
    }
  }

  private static func read<Value>(_ body: () throws(RPCStatus) -> Value) throws(PredictionError) -> Value {
    do { return try body() } catch { throw PredictionError(.internal, "the server's answer cannot be read: \(error.message)") }
  }

  private func call(_ method: String, _ request: [UInt8]) async throws(PredictionError) -> [UInt8] {
    try await call(MethodPath(service: Self.service, method: method), request, timeoutMilliseconds: nil)
  }

  private func call(_ method: MethodPath, _ request: [UInt8], timeoutMilliseconds: Int?) async throws(PredictionError) -> [UInt8] {
    let options = CallOptions(
      timeoutMilliseconds: timeoutMilliseconds ?? settings.timeoutMilliseconds, metadata: settings.metadata,
      waitsForReady: settings.waitsForReady, retry: settings.retry)
    do { return try await channel.unary(method, request, options).message } catch { throw PredictionError(status: error) }
  }
}
