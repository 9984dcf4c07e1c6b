internal import HTTPTypes
internal import Hummingbird
internal import HummingbirdCore
public import Logging
internal import NIOCore
public import Operations
internal import RPC
internal import Synchronization
public import Telemetry

/// The V2 protocol over HTTP/1.1 and JSON, for people and scripts: docs/endpoint.md lists the paths. It shares models, statistics,
/// validation and scoring with gRPC, and runs on Swift concurrency, never on an event loop of gRPC.
///
/// Bounded: connections, the bytes of one body, the bytes of all bodies at a time. Errors are `{"error": "…"}` with a status.
public final class RESTServer: Sendable {
  public struct Settings: Sendable {
    public var address: ListenAddress
    /// Bytes of the body of one inference request. Larger ones are 413.
    public var bodyBytesMax = 16 << 20
    /// Bytes of all bodies being received or answered. What does not fit is 503.
    public var bodiesBytesMax = 128 << 20
    /// Open connections; further ones wait to be accepted.
    public var connectionsMax = 1024
    /// A connection on which nothing happens for so long is closed.
    public var idleSeconds = 60

    public init(address: ListenAddress) { self.address = address }
  }

  /// Bytes of the body of a request that does not infer.
  static let controlBodyBytesMax = 64 << 10

  private let settings: Settings
  private let responder: RESTResponder
  private let logger: Logger
  private let listener: HTTPListener

  /// `access` says whether models may be loaded and unloaded and settings changed here. `sink` is told of requests that were answered.
  public init(
    settings: Settings, control: ControlService, access: ControlService.Access, sink: ServedRequestSink? = nil, registry: Registry,
    logger: Logger
  ) {
    self.settings = settings
    self.logger = logger
    listener = HTTPListener(address: settings.address, purpose: "REST", key: "http.listen", logger: logger)
    responder = RESTResponder(
      service: RESTService(control: control, access: access, sink: sink), settings: settings,
      budget: BodyBudget(bytesMax: settings.bodiesBytesMax), registry: registry)
  }

  /// Starts listening and returns the port.
  public func start() async throws(HTTPListenError) -> Int {
    let address = settings.address
    let port = try await listener.start { onRunning, logger in
      Application(
        responder: responder, server: .http1(configuration: .init(idleTimeout: .seconds(Int64(settings.idleSeconds)))),
        configuration: ApplicationConfiguration(
          address: .hostname(address.host, port: address.port), serverName: ControlService.serverName,
          availableConnectionsDelegate: MaximumAvailableConnections(settings.connectionsMax, logger: logger)),
        onServerRunning: onRunning, logger: logger)
    }
    logger.info("V2 inference by REST at http://\(ListenAddress(host: address.host, port: port))/v2")
    return port
  }

  /// Stops listening; returns when open requests have been answered.
  public func stop() async { await listener.stop() }
}

/// Bytes of bodies in memory, over all requests. Any thread.
final class BodyBudget: Sendable {
  private let bytesMax: Int
  private let taken = Atomic<Int>(0)

  init(bytesMax: Int) { self.bytesMax = bytesMax }

  /// To be followed by `give` when true.
  func take(_ bytes: Int) -> Bool {
    let (_, now) = taken.wrappingAdd(bytes, ordering: .relaxed)
    if now <= bytesMax { return true }
    give(bytes)
    return false
  }

  func give(_ bytes: Int) { taken.wrappingSubtract(bytes, ordering: .relaxed) }

  var bytes: Int { taken.load(ordering: .relaxed) }
}

/// From Hummingbird's requests to the service and back: what HTTP itself asks for stands here.
struct RESTResponder: HTTPResponder {
  typealias Context = BasicRequestContext

  let service: RESTService
  let settings: RESTServer.Settings
  let budget: BodyBudget
  let registry: Registry

  func respond(to request: Request, context: BasicRequestContext) async throws -> Response {
    let answer: RESTService.Answer
    do {
      answer = try await answered(request)
    } catch let problem as RESTProblem {
      answer = RESTService.Answer(problem)
    }
    registry.counter(
      "millrace_http_requests_total", "REST requests answered, by HTTP status.", labels: [("status", String(answer.status))]
    ).add()
    return Self.response(answer, isHead: request.method == .head)
  }

  private func answered(_ request: Request) async throws -> RESTService.Answer {
    let route = try RESTRoute(method: request.method.rawValue, path: request.uri.path)
    if let encoding = request.headers[.contentEncoding], encoding.lowercased() != "identity" {
      throw RESTProblem(415, "Content-Encoding: \"\(clipped(encoding))\" is not taken; send the body as it is")
    }
    let jsonBytes = try Self.jsonBytes(request)
    let bytesMax = if case .infer = route { settings.bodyBytesMax } else { RESTServer.controlBodyBytesMax }
    // What is not told may be the most.
    var bytes = bytesMax
    if let length = request.headers[.contentLength] {
      guard let length = Int(length), length >= 0, length <= bytesMax else { throw Self.tooLarge(bytesMax) }
      bytes = length
    } else if request.headers[.transferEncoding] == nil {
      bytes = 0
    }
    guard budget.take(bytes) else { throw RESTProblem(503, "the server holds as many request bodies as it may: try again later") }
    defer { budget.give(bytes) }
    var body: ByteBuffer
    do {
      body = try await request.body.collect(upTo: bytesMax)
    } catch is NIOTooManyBytesError {
      throw Self.tooLarge(bytesMax)
    }
    if let answer = await service.change(route, body: Array(body.readableBytesView)) { return answer }
    return body.withUnsafeReadableBytes { service.answer(route, body: $0, jsonBytes: jsonBytes) }
  }

  private static let jsonBytesName = HTTPField.Name(RESTInferRequest.jsonBytesHeader)

  private static func jsonBytes(_ request: Request) throws -> Int? {
    guard let name = jsonBytesName, let text = request.headers[name] else { return nil }
    guard let bytes = Int(text), bytes >= 0 else {
      throw RESTProblem(400, "\(RESTInferRequest.jsonBytesHeader): \"\(clipped(text))\" is no number of bytes")
    }
    return bytes
  }

  private static func tooLarge(_ bytesMax: Int) -> RESTProblem {
    RESTProblem(413, "the body may have \(bytesMax) bytes at most (http.body_bytes_max, for inference)")
  }

  private static func response(_ answer: RESTService.Answer, isHead: Bool) -> Response {
    var response = Response(
      status: HTTPResponse.Status(code: answer.status), body: answer.body.isEmpty ? ResponseBody() : ResponseBody(byteBuffer: ByteBuffer(bytes: answer.body)))
    if !answer.body.isEmpty {
      response.headers[.contentType] = answer.jsonBytes == nil ? "application/json" : "application/octet-stream"
    }
    if let name = jsonBytesName, let bytes = answer.jsonBytes { response.headers[name] = String(bytes) }
    if !answer.allowed.isEmpty { response.headers[.allow] = answer.allowed.joined(separator: ", ") }
    response.headers[.cacheControl] = "no-store"
    return isHead ? response.createHeadResponse() : response
  }
}
